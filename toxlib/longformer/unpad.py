"""Remove the padding of a batch.

A padded batch of B comments with T tokens each becomes one sequence of its U real tokens, comment
after comment. Projections, feed-forward layers and layer norm run on this sequence and so compute
nothing for padding. Attention runs on blocks of comments that have the same length.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

CUDA_MULTIPLE = 64
"""CUDA lengths are rounded up to a multiple of this: padding costs less than many small blocks."""


@dataclass(frozen=True)
class Block:
    """Consecutive comments with the same length and the same number of global tokens."""

    comments: int  # S
    length: int  # the number of tokens of each comment
    global_index: Tensor  # (S, G), positions of the global tokens within their comment
    is_padding: Tensor | None  # (S, length), marks padding that is kept; None if there is none


@dataclass(frozen=True)
class Layout:
    """The positions of a padded batch's tokens after the padding is removed."""

    blocks: list[Block]  # longest comments first
    index: Tensor  # (U,), position of each token in the flattened (B, T) batch
    global_positions: Tensor  # (P,), positions of the global tokens among the U tokens
    first: Tensor  # (B,), position of each comment's first token among the U tokens
    batch_order: Tensor  # (B,), `x[batch_order]` sorts rows from the blocks' order to the batch's
    only_first_is_global: bool  # whether each comment has one global token, its first

    def unpad(self, padded: Tensor) -> Tensor:
        """Remove the padding: (B, T, …) → (U, …)."""
        return padded.flatten(0, 1)[self.index]

    def pad(self, unpadded: Tensor, shape: tuple[int, int]) -> Tensor:
        """Put the padding back, as zeros: (U, C) → (B, T, C) for `shape` (B, T)."""
        padded = unpadded.new_zeros(math.prod(shape), unpadded.shape[1])
        return padded.index_copy(0, self.index, unpadded).unflatten(0, shape)

    def split(self, unpadded: Tensor) -> list[Tensor]:
        """Split tokens into blocks: (U, …) → (S, length, …) for each block."""
        return _split(unpadded, [(b.comments, b.length) for b in self.blocks])

    def split_globals(self, of_globals: Tensor) -> list[Tensor]:
        """Split global tokens into blocks: (P, …) → (S, G, …) for each block."""
        return _split(of_globals, [b.global_index.shape for b in self.blocks])


def layout_for(attention_mask: Tensor, global_attention_mask: Tensor | None = None) -> Layout:
    """Return the layout that suits the device of the masks; see `make_layout`."""
    multiple = CUDA_MULTIPLE if attention_mask.device.type == "cuda" else 1
    return make_layout(attention_mask, global_attention_mask, multiple)


def make_layout(
    attention_mask: Tensor, global_attention_mask: Tensor | None = None, multiple: int = 1
) -> Layout:
    """Compute the positions of a padded batch's tokens after the padding is removed.

    Padding before and after a comment is removed. Padding between two tokens of a comment is kept
    and marked, because without it the tokens on either side would be closer together.

    Args:
        attention_mask: (B, T), 0 for padding.
        global_attention_mask: (B, T), 1 for global tokens. None makes each comment's first token
            global.
        multiple: lengths are rounded up to a multiple of this, but not beyond T.

    Example: three comments, the last one padded on the left. The numbers are positions in the
    flattened batch, and dots are padding:

         0  1  .  .        longest comment   4  5  6
         4  5  6  .   →    the two others    0  1
         .  9 10  .                          9 10

    >>> layout = make_layout(torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0]]))
    >>> [(block.comments, block.length) for block in layout.blocks]
    [(1, 3), (2, 2)]
    >>> layout.index.tolist()
    [4, 5, 6, 0, 1, 9, 10]
    >>> layout.first.tolist()  # comment 0 starts at position 3 of `layout.index`, comment 1 at 0
    [3, 0, 5]
    """
    is_real = attention_mask.bool().cpu().numpy().copy()
    is_real[~is_real.any(axis=1), 0] = True  # an empty comment needs one token to get a score
    start, lengths = _find_comments(is_real, multiple)
    if global_attention_mask is None:
        is_global = np.arange(is_real.shape[1]) == start[:, None]
    else:
        is_global = global_attention_mask.bool().cpu().numpy() & is_real
    counts = is_global.sum(axis=1)
    # Comments with equal lengths and counts form a block. The longest come first.
    order = np.lexsort((counts, -lengths))
    changes = np.diff(lengths[order]) | np.diff(counts[order])
    to_tensor = partial(torch.as_tensor, device=attention_mask.device)
    blocks, indices = [], []
    for rows in np.split(order, np.flatnonzero(changes) + 1):
        columns = start[rows, None] + np.arange(lengths[rows[0]])
        index = rows[:, None] * is_real.shape[1] + columns  # (S, length), in the flattened batch
        global_index = np.take(is_global, index).nonzero()[1].reshape(len(rows), -1)
        padding = ~np.take(is_real, index)
        is_padding = to_tensor(padding) if padding.any() else None
        blocks.append(Block(*index.shape, to_tensor(global_index), is_padding))
        indices.append(index.ravel())
    index, batch_order = np.concatenate(indices), np.argsort(order)
    first = np.cumsum(lengths[order]) - lengths[order]
    return Layout(
        blocks=blocks,
        index=to_tensor(index),
        global_positions=to_tensor(np.flatnonzero(np.take(is_global, index))),
        first=to_tensor(first[batch_order]),
        batch_order=to_tensor(batch_order),
        only_first_is_global=bool(((counts == 1) & (is_global.argmax(axis=1) == start)).all()),
    )


def attend_in_blocks(
    functions: list[Callable[[Tensor, Tensor, Tensor], Tensor]],
    layout: Layout,
    heads: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
) -> Tensor:
    """Compute the attention of each block, in fp32 on a CPU: (U, C) → (U, C).

    Args:
        functions: one for each block. It takes queries, keys and values of S comments, (S, H, T,
            D), and returns their attention output.
        query: (U, C), or one row for each global token, (P, C), if only they have queries.
        key, value: (U, C).
    """
    dtype = query.dtype
    with torch.autocast("cpu", enabled=False):  # it would convert back to bf16
        query, key, value = (
            fp32_on_cpu(x).unflatten(-1, (heads, -1)) for x in (query, key, value)
        )  # (U, C) → (U, H, D)
        split = layout.split if len(query) == len(key) else layout.split_globals
        parts = split(query), layout.split(key), layout.split(value)  # (S, T, H, D) per block
        outputs = []
        for attend, *inputs in zip(functions, *parts, strict=True):
            output = attend(*(x.transpose(1, 2) for x in inputs))  # → (S, H, T, D)
            outputs.append(output.transpose(1, 2).flatten(0, 1).flatten(1))  # → (S*T, C)
    return torch.cat(outputs).to(dtype)


def fp32_on_cpu(x: Tensor) -> Tensor:
    """Convert bf16 to fp32 on a CPU, where the backward pass takes twice as long in bf16."""
    return x.float() if x.device.type == "cpu" and x.dtype == torch.bfloat16 else x


def _split(x: Tensor, shapes: list[tuple[int, int]]) -> list[Tensor]:
    """Split rows; slices would be slower, because the gradient of each one has all rows."""
    parts = x.split([math.prod(shape) for shape in shapes])
    return [part.unflatten(0, shape) for part, shape in zip(parts, shapes, strict=True)]


def _find_comments(is_real: np.ndarray, multiple: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each comment's first column, (B,), and its rounded length in tokens, (B,)."""
    tokens = is_real.shape[1]
    start = is_real.argmax(axis=1)
    stop = tokens - is_real[:, ::-1].argmax(axis=1)
    rounded = np.ceil((stop - start) / multiple).astype(int) * multiple
    return start, np.minimum(rounded, tokens - start)
