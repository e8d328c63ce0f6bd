"""A padded batch without its padding: all its tokens in one row, one after the other.

What works token by token (projections, feed-forward, layer norm) then computes nothing but tokens;
attention takes the comments in runs of equal length, each a plain (rows, tokens) block.

Letters: B comments, T padded tokens, N tokens that are kept, R comments of a run, G global tokens
of each of them, P global tokens in all, C hidden size.
"""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Run:
    """Comments of the same length, and with as many global tokens each, that lie in a row."""

    tokens: slice
    """Where they lie among the N."""
    rows: int
    globals: slice
    """Where their global tokens lie among the P."""
    global_index: torch.Tensor
    """(R, G), positions within the comment."""
    is_padding: torch.Tensor | None
    """(R, tokens of one comment), True for padding among them; None if there is none."""


@dataclass(frozen=True)
class Packing:
    """Where the tokens of a padded batch went."""

    runs: list[Run]
    index: torch.Tensor
    """(N,), positions in the flattened (B, T) batch."""
    global_positions: torch.Tensor
    """(P,), positions among the N."""
    first: torch.Tensor
    """(B,), where each comment's first token is among the N, in the batch's order."""
    place: torch.Tensor
    """(B,), each comment's place among the packed ones."""
    only_first_is_global: bool

    def pack(self, padded: torch.Tensor) -> torch.Tensor:
        """(B, T, …) → (N, …)."""
        return padded.flatten(0, 1)[self.index]

    def split(self, packed: torch.Tensor) -> list[torch.Tensor]:
        """Each run's tokens: (N, …) → (R, tokens, …).

        Split, not sliced: the gradient of a slice would be as large as the whole, for every run.
        """
        parts = packed.split([run.tokens.stop - run.tokens.start for run in self.runs])
        return [p.unflatten(0, (run.rows, -1)) for p, run in zip(parts, self.runs, strict=True)]

    def split_globals(self, of_globals: torch.Tensor) -> list[torch.Tensor]:
        """Each run's global tokens: (P, …) → (R, G, …)."""
        parts = of_globals.split([run.globals.stop - run.globals.start for run in self.runs])
        return [p.unflatten(0, (run.rows, -1)) for p, run in zip(parts, self.runs, strict=True)]

    def unpack(self, packed: torch.Tensor, rows: int, tokens: int) -> torch.Tensor:
        """(N, C) → (B, T, C), zero at padding."""
        padded = packed.new_zeros(rows * tokens, packed.shape[-1])
        return padded.index_copy(0, self.index, packed).unflatten(0, (rows, tokens))


def pack(
    attention_mask: torch.Tensor,
    global_attention_mask: torch.Tensor | None = None,
    multiple: int = 1,
) -> Packing:
    """Lay out the comments of a padded batch without padding, the longest first.

    Padding before and behind a comment, wherever the tokenizer puts it, is left out; padding
    inside it is kept and marked, for it keeps its neighbours apart.

    Args:
        attention_mask: (B, T), 0 for padding.
        global_attention_mask: (B, T), 1 for global tokens; None: each comment's first token.
        multiple: lengths are rounded up to it, as far as the batch is padded: fewer and larger
            runs, for devices on which many small kernels are slow.
    """
    attended = attention_mask.bool().cpu().numpy().copy()
    rows, tokens = attended.shape
    attended[~attended.any(axis=1), 0] = True  # a comment of nothing still has a score
    start = attended.argmax(axis=1)
    stop = tokens - attended[:, ::-1].argmax(axis=1)
    lengths = np.minimum(-(-(stop - start) // multiple) * multiple, tokens - start)
    is_global = np.zeros_like(attended)
    if global_attention_mask is None:
        is_global[np.arange(rows), start] = True
    else:
        is_global = global_attention_mask.bool().cpu().numpy() & attended
    counts = is_global.sum(axis=1)
    order = np.lexsort((counts, -lengths))
    borders = np.flatnonzero(np.diff(lengths[order]) | np.diff(counts[order])) + 1
    device = attention_mask.device
    runs, index, global_positions, kept = [], [], [], 0
    for members in np.split(order, borders):
        columns = start[members, None] + np.arange(lengths[members[0]])  # (R, tokens)
        found = is_global[members[:, None], columns]
        padding = ~attended[members[:, None], columns]
        global_positions.append(kept + np.flatnonzero(found))
        done = sum(len(p) for p in global_positions)
        runs.append(
            Run(
                tokens=slice(kept, kept + columns.size),
                rows=len(members),
                globals=slice(done - len(global_positions[-1]), done),
                global_index=_tensor(found.nonzero()[1].reshape(len(members), -1), device),
                is_padding=_tensor(padding, device) if padding.any() else None,
            )
        )
        index.append((members[:, None] * tokens + columns).ravel())
        kept += columns.size
    first = np.empty(rows, dtype=np.int64)
    first[order] = np.cumsum(lengths[order]) - lengths[order]
    return Packing(
        runs=runs,
        index=_tensor(np.concatenate(index), device),
        global_positions=_tensor(np.concatenate(global_positions), device),
        first=_tensor(first, device),
        place=_tensor(np.argsort(order), device),
        only_first_is_global=bool((counts == 1).all() and is_global[np.arange(rows), start].all()),
    )


def _tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array).to(device)
