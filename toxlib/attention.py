"""Longformer's attention, exactly, at the cost of the tokens that are really there.

A token attends to its neighbours, at most `reach` tokens away on either side, and to every global
token; a global token attends to all tokens, by projections of its own (Beltagy 2020, arXiv
2004.05150, section 3). These are pure functions of tensors. At positions that are not padding
they give what transformers' `LongformerSelfAttention` gives.

Letters: B rows, H heads, T tokens, D head size, C = H x D hidden size, G global tokens per row,
P global tokens in all.
"""

import math

import torch
from torch.nn import functional as F

BANDED_TOKENS = 512
"""Up to this length, one band of the (T, T) square is as fast as blocks (docs/LOG.md)."""
BLOCK_TOKENS = 128
"""Queries in a block: smaller ones compute fewer keys in vain, larger ones multiply faster."""


def window_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    reach: int,
    global_index: torch.Tensor,
    is_padding: torch.Tensor | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """What each token gathers from its window and from the global tokens.

    Where the window covers the sequence this is full attention. Else queries are taken in blocks,
    each with the keys that its windows span: time and memory are linear in T.

    Args:
        query, key, value: (B, H, T, D), not yet scaled.
        reach: tokens on either side, half of Longformer's `attention_window`.
        global_index: (B, G), where the global tokens stand. The result means nothing there:
            `gather_by_probes` gives theirs.
        is_padding: (B, T), keys that no token attends to; None: there are none.
        dropout: probability with which an attention weight is dropped.

    Returns:
        (B, H, T, D).
    """
    tokens = query.shape[2]
    if tokens <= reach + 1 and is_padding is None:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
    size = tokens if tokens <= BANDED_TOKENS else BLOCK_TOKENS
    neighbours = math.ceil(reach / size)
    excluded = _excluded_keys(global_index, tokens, is_padding)
    global_key, global_value = _take(key, global_index), _take(value, global_index)
    # Split once: the gradient of a slice would be as long as the sequence, for every block.
    keys, values = key.split(size, dim=2), value.split(size, dim=2)
    blocks = []
    for number, block in enumerate(query.split(size, dim=2)):
        first = max(0, number - neighbours)
        near = slice(first, number + neighbours + 1)
        span = slice(first * size, min((number + neighbours + 1) * size, tokens))
        mask = _block_mask(number * size, block.shape[2], span, reach, excluded)
        blocks.append(
            F.scaled_dot_product_attention(
                block,
                torch.cat([global_key, *keys[near]], dim=2),
                torch.cat([global_value, *values[near]], dim=2),
                attn_mask=F.pad(mask, (global_index.shape[1], 0), value=True),
                dropout_p=dropout,
            )
        )
    return torch.cat(blocks, dim=2)


def make_probes(query: torch.Tensor, key_weight: torch.Tensor) -> torch.Tensor:
    """Global queries carried over to the hidden states, so that no token need be projected.

    A score q·(W x) is (Wᵀ q)·x. The key's bias adds the same to all of a query's scores, which
    softmax does not see, so that it has no part here (and its gradient is zero).

    Args:
        query: (P, H, D), not yet scaled.
        key_weight: (C, C) of the global key projection.

    Returns:
        (P, H, C), scaled by 1/sqrt(D).
    """
    heads, size = query.shape[1:]
    weight = key_weight.view(heads, size, -1)  # (C, C) → (H, D, C)
    return torch.einsum("phd,hdc->phc", query / math.sqrt(size), weight)


def gather_by_probes(
    probes: torch.Tensor,
    hidden: torch.Tensor,
    is_padding: torch.Tensor | None = None,
    dropout: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states as the global tokens weigh them, not yet projected to values.

    Args:
        probes: (B, G, H, C), from `make_probes`.
        hidden: (B, T, C).
        is_padding, dropout: as in `window_attention`.

    Returns:
        Weighted sums (B, G, H, C), and the sums of the weights (B, G, H), which are 1 but for
        dropout.
    """
    scores = probes.flatten(1, 2) @ hidden.transpose(1, 2)  # (B, G*H, T)
    if is_padding is not None:
        scores = scores.masked_fill(is_padding[:, None], -torch.inf)
    weights = F.dropout(scores.softmax(dim=-1), dropout)
    shape = probes.shape[:3]  # (B, G*H, …) → (B, G, H, …)
    return (weights @ hidden).unflatten(1, shape[1:]), weights.sum(dim=-1).view(shape)


def project_gathered(
    gathered: torch.Tensor, mass: torch.Tensor, value_weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Values of what the global tokens gathered: Σ a(W x + b) is W(Σ a x) + bΣ a.

    Args:
        gathered, mass: (P, H, C) and (P, H), from `gather_by_probes`.
        value_weight, bias: (C, C) and (C,) of the global value projection.

    Returns:
        (P, C).
    """
    heads = gathered.shape[1]
    weight = value_weight.view(heads, -1, value_weight.shape[1])  # (C, C) → (H, D, C)
    values = torch.einsum("phc,hdc->phd", gathered, weight)
    return (values + mass[:, :, None] * bias.view(heads, -1)).flatten(1)


def _excluded_keys(
    global_index: torch.Tensor, tokens: int, is_padding: torch.Tensor | None
) -> torch.Tensor:
    """Keys that no window holds, (B, T): padding, and the global ones, which stand before it."""
    excluded = torch.zeros(
        global_index.shape[0], tokens, dtype=torch.bool, device=global_index.device
    ).scatter(1, global_index, True)
    return excluded if is_padding is None else excluded | is_padding


def _block_mask(
    start: int, queries: int, keys: slice, reach: int, excluded: torch.Tensor
) -> torch.Tensor:
    """Which of a block's keys each of its queries attends to, (B, 1, queries, keys).

    Each query keeps itself, wanted or not: a softmax over nothing is NaN.
    """
    i = torch.arange(start, start + queries, device=excluded.device)[:, None]
    j = torch.arange(keys.start, keys.stop, device=excluded.device)
    near = (i - j).abs() <= reach
    return ((near & ~excluded[:, None, keys]) | (i == j))[:, None]


def _take(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Tokens at (B, G) of (B, H, T, D): (B, H, G, D)."""
    return x.gather(2, index[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3]))
