"""What a `max_length` cuts off and what it costs.

Letters: N comments, T tokens.
"""

import time

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedConfig

from toxlib.batching import micro_batches

LENGTHS = (128, 256, 512, 1024, 2048, 3048, 4096)
BUDGET = 2048


def truncation_table(lengths: np.ndarray, chosen: int, seed: int = 0) -> pd.DataFrame:
    """What each `max_length` cuts, and how many of the tokens computed would be useful.

    Args:
        lengths: tokens per comment, nothing cut, (N,).
        chosen: the recipe's `max_length`, which gets a row of its own.
    """
    rows = {}
    for limit in sorted({*LENGTHS, chosen}):
        kept = np.minimum(lengths, limit)
        rows[limit] = {
            "comments cut": int((lengths > limit).sum()),
            "comments cut (%)": 100 * (lengths > limit).mean(),
            "tokens cut (%)": 100 * (1 - kept.sum() / lengths.sum()),
            "useful if padded to max_length (%)": 100 * kept.mean() / limit,
            "useful in random batches (%)": 100 * kept.sum() / _random_batches(kept, seed),
            "useful here (%)": 100 * kept.sum() / _padded_tokens(kept),
        }
    return pd.DataFrame(rows).T.rename_axis("max_length").astype({"comments cut": int})


def recommend(table: pd.DataFrame, longest: int | None, tolerated: float = 1.0) -> int:
    """The shortest length that cuts at most `tolerated` per cent, within the position table."""
    possible = table[table.index <= (longest or table.index.max())]
    enough = possible.index[possible["comments cut (%)"] <= tolerated]
    return int(enough.min() if len(enough) else possible.index.max())


def matmul_rate(seconds: float = 0.5) -> float:
    """FLOP/s of fp32 matrix products of a transformer's size on this machine, the best seen."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = torch.randn(2048, 768, device=device), torch.randn(768, 3072, device=device)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        (a @ b)[0, 0].item()  # .item() waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * 2048 * 768 * 3072 / best


def epoch_hours(
    lengths: np.ndarray, limits: pd.Index, config: PreTrainedConfig, rate: float
) -> list[float]:
    """Hours of arithmetic in one epoch of training, for each `max_length`.

    Forward and backward are three forward passes; a multiplication and an addition are two
    operations. Padding is not counted: `truncation_table` says how much there is.
    """
    return [3 * _forward_flop(np.minimum(lengths, t), config).sum() / rate / 3600 for t in limits]


def _forward_flop(tokens: np.ndarray, config: PreTrainedConfig) -> np.ndarray:
    hidden = config.hidden_size
    inner = getattr(config, "intermediate_size", 4 * hidden)
    layers = config.num_hidden_layers
    weights = layers * (4 * hidden * hidden + 2 * hidden * inner)
    window = getattr(config, "attention_window", None)
    span = tokens if window is None else np.minimum(tokens, np.max(window) + 1)
    return tokens * (2 * weights + 4 * layers * hidden * span)


def _padded_tokens(lengths: np.ndarray) -> int:
    """Tokens computed if all comments are sorted and grouped under the budget."""
    groups = micro_batches(lengths, BUDGET)
    return sum(len(rows) * int(lengths[rows].max()) for rows in groups)


def _random_batches(lengths: np.ndarray, seed: int, size: int = 32) -> int:
    shuffled = np.random.default_rng(seed).permutation(lengths)
    batches = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
    return sum(len(batch) * int(batch.max()) for batch in batches)
