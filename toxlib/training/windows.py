"""Score comments that are longer than the model: run it on windows and combine their logits.

A row of a batch holds all windows of one comment, one after the other, as `tokens.encode` has made
them. Each window but the last has `max_length` tokens, so the token in column c belongs to window
c // max_length. With `max_length=4`, a row `1 5 6 2 1 6 7 2 1 7 2` has the windows `1 5 6 2`,
`1 6 7 2` and `1 7 2`.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toxlib.data.batching import PER_COMMENT, batch_lengths, micro_batches, take_rows


def comment_logits(
    model: nn.Module, batch: dict[str, Tensor], max_length: int, token_budget: int | None = None
) -> Tensor:
    """Return one row of logits for each comment, (B, L), combined over its windows.

    If no comment has a second window, this is a single call of the model on the batch.

    Args:
        batch: right-padded tensors per token, (B, T), such as `input_ids` and `attention_mask`.
            Entries of `PER_COMMENT` are ignored.
        max_length: the most tokens in a window.
        token_budget: the most padded tokens per forward pass, which bounds the memory that a long
            comment takes in prediction. None, for training, computes all windows in one pass.
    """
    batch = {name: values for name, values in batch.items() if name not in PER_COMMENT}
    if batch["attention_mask"].shape[1] <= max_length:
        return model(**batch).logits
    windows, counts = split_windows(batch, max_length)
    groups = micro_batches(batch_lengths(windows), token_budget or sum(counts) * max_length)
    logits = torch.cat([model(**take_rows(windows, rows)).logits for rows in groups])
    place = torch.as_tensor(np.argsort(np.concatenate(groups)), device=logits.device)
    return combine(logits[place], counts)


def split_windows(
    batch: dict[str, Tensor], max_length: int
) -> tuple[dict[str, Tensor], list[int]]:
    """Cut the rows of a batch into W windows, (B, T) → (W, max_length), ordered by comment.

    Also return how many windows each of the B comments has.
    """
    # New columns are 0. That is so in the mask, too, and the model reads nothing where it is 0.
    missing = -batch["attention_mask"].shape[1] % max_length
    cut = {k: F.pad(v, (0, missing)).unflatten(1, (-1, max_length)) for k, v in batch.items()}
    exists = cut["attention_mask"][:, :, 0] == 1  # (B, W of the longest comment)
    return {name: values[exists] for name, values in cut.items()}, exists.sum(dim=1).tolist()


def combine(logits: Tensor, counts: list[int]) -> Tensor:
    """Return each comment's largest logit for each label, (W, L) → (B, L)."""
    return torch.stack([windows.amax(dim=0) for windows in logits.split(counts)])
