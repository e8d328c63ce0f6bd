"""Choose which comments share a forward pass, so that little padding is computed."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

PER_COMMENT = ("labels", "weight")
"""Entries of a batch that have a row per comment, not a value per token."""
# Padded tokens per forward pass. On a CPU they depend on whether the model computes padding.
GPU_BUDGET = 16384  # training halves it when memory runs out
CPU_BUDGET_PADDED = 1024  # the activations of a larger batch would not fit in the caches
CPU_BUDGET_UNPADDED = 4096  # comments of different lengths share a batch at no cost


def default_token_budget(model: PreTrainedModel) -> int:
    """Return the padded tokens per forward pass that suit the model and its device."""
    if model.device.type != "cpu":
        return GPU_BUDGET
    return CPU_BUDGET_PADDED if getattr(model, "computes_padding", True) else CPU_BUDGET_UNPADDED


def micro_batches(
    lengths: Sequence[int], token_budget: int, share: int = 0, shares: int = 1
) -> list[np.ndarray]:
    """Group B comments by length in tokens; return the positions of each group's comments.

    A group has at most `token_budget` tokens, padding counted; a longer comment gets a group of
    its own. The longest comments come first, so that a lack of memory shows at once.

    Several processes each group one of `shares` shares of the comments. All shares have about as
    many long comments; one is empty if there are fewer comments than shares.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")[share::shares]
    groups, start = [], 0
    while start < len(order):
        rows = max(1, token_budget // max(1, lengths[order[start]]))
        groups.append(order[start : start + rows])
        start += rows
    return groups


def take_rows(batch: dict[str, torch.Tensor], rows: np.ndarray) -> dict[str, torch.Tensor]:
    """Take some comments of a right-padded batch, without the columns where all have padding.

    The batch has `attention_mask`, (B, T), and other tensors per token, and perhaps those of
    `PER_COMMENT`: `labels`, (B, L), and `weight`, (B,).
    """
    index = torch.as_tensor(rows, device=batch["attention_mask"].device)
    longest = int(batch["attention_mask"][index].sum(dim=1).max())
    taken = {name: values[index] for name, values in batch.items()}
    return {n: v if n in PER_COMMENT else v[:, :longest] for n, v in taken.items()}


def batch_lengths(batch: dict[str, torch.Tensor]) -> list[int]:
    """Return the tokens per comment of a padded batch, without the padding."""
    return batch["attention_mask"].sum(dim=1).tolist()
