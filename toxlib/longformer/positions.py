"""The number of tokens that fit an encoder's position table."""

from transformers import PreTrainedConfig

COUNTS_POSITIONS_FROM_PADDING = ("longformer", "roberta", "xlm-roberta", "camembert", "mpnet")
"""Model types that number the first token `pad_token_id + 1` instead of 0."""


def longest_sequence(config: PreTrainedConfig) -> int | None:
    """Return how many tokens fit the position table; None for encoders without one."""
    rows = getattr(config, "max_position_embeddings", None)
    if rows is None or getattr(config, "position_embedding_type", "absolute") != "absolute":
        return rows
    counts_from_padding = config.model_type in COUNTS_POSITIONS_FROM_PADDING
    return rows - (config.pad_token_id + 1) if counts_from_padding else rows


def check_sequence_length(tokens: int, config: PreTrainedConfig) -> None:
    """Raise a ValueError with both numbers, in place of upstream's IndexError without them."""
    longest = longest_sequence(config)
    if longest is not None and tokens > longest:
        raise ValueError(
            f"a text of {tokens} tokens does not fit the model's {longest} positions; "
            "truncate it, or use a model with more positions"
        )
