"""The number of tokens that fit an encoder's position table."""

from transformers import PreTrainedConfig

COUNTS_POSITIONS_FROM_PADDING = (
    *("longformer", "toxlib_pooled_longformer"),
    *("roberta", "xlm-roberta", "camembert", "mpnet"),
)
"""Model types that number the first token `pad_token_id + 1` instead of 0."""


def longest_sequence(config: PreTrainedConfig) -> int | None:
    """Return the most tokens that the configuration allows; None if it sets no limit."""
    rows = getattr(config, "max_position_embeddings", None)
    if config.model_type in COUNTS_POSITIONS_FROM_PADDING:
        return rows - (config.pad_token_id + 1)
    return rows
