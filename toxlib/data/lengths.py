"""Compare values of `max_length`: what each cuts off, and what an epoch of training costs."""

import numpy as np
import pandas as pd
from transformers import PreTrainedConfig

from toxlib.data.batching import micro_batches

LENGTHS = (128, 256, 512, 1024, 2048, 3048, 4096)


def truncation_table(
    lengths: np.ndarray, chosen: int, batch_size: int, token_budget: int, seed: int = 0
) -> pd.DataFrame:
    """Count what each `max_length` cuts, and which share of the computed tokens is not padding.

    "useful in random batches" pads random batches of `batch_size` to their longest comment.
    "useful as trained here" cuts the same batches into micro-batches under the token budget, as
    training does, for encoders that compute padding; an unpadded Longformer has 100 %.

    Args:
        lengths: tokens per comment, nothing cut, (N,).
        chosen: the recipe's `max_length`, which gets a row of its own.
    """
    shuffled = np.random.default_rng(seed).permutation(lengths)
    starts = range(0, len(shuffled), batch_size)
    rows = {}
    for limit in sorted({*LENGTHS, chosen}):
        kept = np.minimum(shuffled, limit)
        batches = [kept[start : start + batch_size] for start in starts]
        micro = [batch[group] for batch in batches for group in micro_batches(batch, token_budget)]
        rows[limit] = {
            "comments cut": int((lengths > limit).sum()),
            "comments cut (%)": 100 * (lengths > limit).mean(),
            "tokens cut (%)": 100 * (1 - kept.sum() / lengths.sum()),
            "useful if padded to max_length (%)": 100 * kept.mean() / limit,
            "useful in random batches (%)": 100 * kept.sum() / _padded_tokens(batches),
            "useful as trained here (%)": 100 * kept.sum() / _padded_tokens(micro),
        }
    return pd.DataFrame(rows).T.rename_axis("max_length").astype({"comments cut": int})


def _padded_tokens(batches: list[np.ndarray]) -> int:
    """Return the tokens that are computed if each batch is padded to its longest comment."""
    return sum(len(lengths) * int(lengths.max()) for lengths in batches)


def recommend(table: pd.DataFrame, longest: int | None, tolerated: float = 1.0) -> int:
    """Return the shortest `max_length` that cuts at most `tolerated` per cent of the comments.

    It is at most `longest`, the number of the encoder's positions (None: no limit).
    """
    possible = table[table.index <= (longest or table.index.max())]
    enough = possible.index[possible["comments cut (%)"] <= tolerated]
    return int(enough.min() if len(enough) else possible.index.max())


def epoch_hours(
    lengths: np.ndarray, limits: pd.Index, config: PreTrainedConfig, rate: float
) -> list[float]:
    """Return the hours that an epoch takes at `rate`, in FLOP/s, for each of the `limits`.

    Padding is not counted. Forward and backward pass together cost three forward passes.
    """
    return [3 * _forward_flop(np.minimum(lengths, t), config).sum() / rate / 3600 for t in limits]


def _forward_flop(tokens: np.ndarray, config: PreTrainedConfig) -> np.ndarray:
    """Count the operations for comments of these lengths; multiply-and-add counts as two."""
    hidden = config.hidden_size
    inner = getattr(config, "intermediate_size", 4 * hidden)
    layers = config.num_hidden_layers
    weights = layers * (4 * hidden * hidden + 2 * hidden * inner)
    window = getattr(config, "attention_window", None)
    span = tokens if window is None else np.minimum(tokens, np.max(window) + 1)
    return tokens * (2 * weights + 4 * layers * hidden * span)
