"""Compare values of `max_length`: what each cuts off, and what an epoch of training costs."""

import numpy as np
import pandas as pd
from transformers import PreTrainedConfig as Config

from toxlib.data.batching import micro_batches

LENGTHS = (128, 256, 512, 1024, 2048, 3048, 4096)


def truncation_table(
    lengths: np.ndarray, chosen: int, batch_size: int, token_budget: int
) -> pd.DataFrame:
    """Count what each `max_length` cuts, and which share of the computed tokens is not padding.

    `lengths` are the tokens per comment, nothing cut, (N,). Random batches are padded to their
    longest comment. Training cuts them into micro-batches first if the encoder computes padding;
    an encoder that runs without padding has 100 %.
    """
    shuffled = np.random.default_rng(0).permutation(lengths)
    rows = {}
    for limit in sorted({*LENGTHS, chosen}):
        kept = np.minimum(shuffled, limit)
        batches = np.split(kept, range(batch_size, len(kept), batch_size))
        micro = [batch[group] for batch in batches for group in micro_batches(batch, token_budget)]
        rows[limit] = {
            "comments cut": int((lengths > limit).sum()),
            "comments cut (%)": 100 * (lengths > limit).mean(),
            "tokens cut (%)": 100 * (1 - kept.sum() / lengths.sum()),
            "useful if padded to max_length (%)": 100 * kept.mean() / limit,
            "useful in random batches (%)": 100 * kept.sum() / _padded_tokens(batches),
            "useful in micro-batches (%)": 100 * kept.sum() / _padded_tokens(micro),
        }
    return pd.DataFrame(rows).T.rename_axis("max_length").astype({"comments cut": int})


def _padded_tokens(batches: list[np.ndarray]) -> int:
    """Return the tokens that are computed if each batch is padded to its longest comment."""
    return sum(len(lengths) * int(lengths.max()) for lengths in batches)


def recommend(table: pd.DataFrame, longest: int | None) -> int:
    """Return the shortest `max_length`, up to the encoder's `longest`, that cuts at most 1 %."""
    possible = table[table.index <= (longest or table.index.max())]
    enough = possible.index[possible["comments cut (%)"] <= 1]
    return int(enough.min() if len(enough) else possible.index.max())


def epoch_hours(lengths: np.ndarray, limits: pd.Index, config: Config, rate: float) -> list[float]:
    """Return the hours that an epoch takes at `rate`, in FLOP/s, for each of the `limits`.

    Padding is not counted. Forward and backward pass together cost three forward passes.
    """
    return [3 * _forward_flop(np.minimum(lengths, t), config).sum() / rate / 3600 for t in limits]


def _forward_flop(tokens: np.ndarray, config: Config) -> np.ndarray:
    """Count the operations for comments of these lengths; multiply-and-add counts as two."""
    hidden, layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", 4 * hidden)
    gated = config.model_type == "modernbert"  # its feed-forward layer has a third matrix, a gate
    weights = layers * (4 * hidden * hidden + (3 if gated else 2) * hidden * inner)
    spans = sum(np.minimum(tokens, span) for span in _attention_spans(config))
    return tokens * (2 * weights + 4 * hidden * spans)


def _attention_spans(config: Config) -> list[float]:
    """Return the most tokens that a token attends to in each layer."""
    if config.model_type == "modernbert":
        spans = {"full_attention": np.inf, "sliding_attention": config.local_attention + 1}
        return [spans[kind] for kind in config.layer_types]
    window = getattr(config, "attention_window", None)  # a Longformer has one
    return [np.inf if window is None else np.max(window) + 1] * config.num_hidden_layers
