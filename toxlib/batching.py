"""Which comments share a forward pass.

Letters: N rows, T padded tokens, L labels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel


def default_token_budget(model: PreTrainedModel) -> int:
    """Padded tokens per forward pass: on a CPU a larger batch falls out of the caches.

    A model that computes no padding bears a larger one, in which more comments differ in length.
    """
    if model.device.type != "cpu":
        return 16384
    return 1024 if getattr(model, "computes_padding", True) else 4096


def micro_batches(lengths: Sequence[int], token_budget: int) -> list[np.ndarray]:
    """Group rows of similar length, so that little padding is computed.

    Args:
        lengths: tokens per row, (N,).
        token_budget: most padded tokens (rows x longest row) in a group; a row that is longer
            than the budget stands alone.

    Returns:
        Row indices per group, the longest rows first: if memory is short, it shows at once.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    groups, start = [], 0
    while start < len(order):
        rows = max(1, token_budget // max(1, lengths[order[start]]))
        groups.append(order[start : start + rows])
        start += rows
    return groups


def take_rows(batch: dict[str, torch.Tensor], rows: np.ndarray) -> dict[str, torch.Tensor]:
    """Some rows of a right-padded batch, without the columns in which all of them are padding.

    Args:
        batch: `attention_mask` and other per-token tensors (N, T), and per-row ones (`labels`).
        rows: which rows to keep.
    """
    tokens = batch["attention_mask"].shape[1]
    index = torch.as_tensor(rows, device=batch["attention_mask"].device)
    longest = int(batch["attention_mask"][index].sum(dim=1).max())
    return {
        name: values[index, :longest]
        if name != "labels" and values.ndim == 2 and values.shape[1] == tokens
        else values[index]
        for name, values in batch.items()
    }


def batch_lengths(batch: dict[str, torch.Tensor]) -> list[int]:
    """Tokens per row, padding not counted, of a padded batch."""
    return batch["attention_mask"].sum(dim=1).tolist()
