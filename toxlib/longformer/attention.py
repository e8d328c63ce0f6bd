"""Longformer's attention, computed exactly, with little or no padding.

Each token attends to its neighbours, at most `reach` tokens away on either side, and to all global
tokens. A global token attends to all tokens, with projections (query, key and value) that only
global tokens use (Beltagy 2020, arXiv 2004.05150, section 3). These are pure functions of tensors.
Their results are those of transformers' `LongformerSelfAttention` at all positions that are not
padding.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

ONE_CHUNK_TOKENS = 512
"""Up to this length, one masked (T, T) square is as fast as several chunks (docs/LOG.md)."""
CHUNK_TOKENS = 128
"""Queries per chunk. Smaller chunks compute fewer masked keys; larger ones multiply faster."""


def full_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    is_padding: Tensor | None = None,
    bias: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Return the attention output of Q queries that attend to all T tokens, (S, H, Q, D).

    Args:
        query: (S, H, Q, D), not scaled yet; key, value: (S, H, T, D).
        is_padding: (S, T), True for keys that no token may attend to. None if there are none.
        bias: added to the scaled scores; a shape that broadcasts to (S, H, Q, T).
        scale: of the scores; None for 1/sqrt(D).
    """
    if is_padding is not None and bias is None:
        bias = ~is_padding[:, None, None]
    elif is_padding is not None:
        bias = bias.masked_fill(is_padding[:, None, None], -torch.inf)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, dropout_p=dropout, scale=scale
    )


def window_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    reach: int,
    global_index: Tensor,
    is_padding: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Return the attention output, (S, H, T, D), valid for all tokens but global ones.

    If the window covers the whole comment, this is full attention. Otherwise the queries are split
    into chunks, and each chunk attends to the keys within its reach and to the global keys, so
    time and memory grow linearly with T.

    Args:
        query, key, value: (S, H, T, D); the query is not scaled yet.
        reach: tokens to attend to on either side, half of Longformer's `attention_window`.
        global_index: (S, G), positions of the global tokens. The output there has no meaning and
            must be replaced by that of `project_gathered`.
        is_padding: (S, T), True for keys that no token may attend to. None if there are none.
    """
    tokens = query.shape[2]
    if tokens <= reach + 1 and is_padding is None:
        return full_attention(query, key, value, dropout=dropout)
    size = tokens if tokens <= ONE_CHUNK_TOKENS else CHUNK_TOKENS
    neighbours = math.ceil(reach / size)  # chunks within reach on either side
    if is_padding is None:
        is_padding = query.new_zeros(len(query), tokens, dtype=torch.bool)
    # Global keys are prepended to every window, so no window may contain them a second time.
    excluded = is_padding.scatter(1, global_index, True)
    global_key, global_value = _gather(key, global_index), _gather(value, global_index)
    # One split is faster than slices: the gradient of each slice would have T rows.
    keys, values = key.split(size, dim=2), value.split(size, dim=2)
    positions = torch.arange(tokens, device=query.device).split(size)
    outputs = []
    for number, queries in enumerate(query.split(size, dim=2)):
        near = slice(max(0, number - neighbours), number + neighbours + 1)
        i, j = positions[number][:, None], torch.cat(positions[near])
        allowed = ((i - j).abs() <= reach) & ~excluded[:, None, j]  # (S, queries, keys)
        allowed = allowed | (i == j)  # padding too: a softmax over no keys would be NaN
        output = F.scaled_dot_product_attention(
            queries,
            torch.cat([global_key, *keys[near]], dim=2),
            torch.cat([global_value, *values[near]], dim=2),
            attn_mask=F.pad(allowed[:, None], (global_index.shape[1], 0), value=True),
            dropout_p=dropout,
        )
        outputs.append(output)
    return torch.cat(outputs, dim=2)


def make_probes(query: Tensor, key_weight: Tensor) -> Tensor:
    """Return global queries multiplied by the key projection and by 1/sqrt(D), (P, H, C).

    The score of a query q and a token x is q·(Wx) = (Wᵀq)·x. We call Wᵀq a probe; with it no
    token needs a global key. The key's bias would add the same number to all scores of a query,
    and softmax ignores that number.

    Args:
        query: (P, H, D), not scaled yet.
        key_weight: (C, C), the weight W of the global key projection.
    """
    heads, size = query.shape[1:]
    weight = key_weight.view(heads, size, -1)  # (C, C) → (H, D, C)
    return torch.einsum("phd,hdc->phc", query / math.sqrt(size), weight)


def gather_by_probes(
    probes: Tensor, hidden: Tensor, is_padding: Tensor | None = None, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the attention-weighted sum of hidden states, per global token and head.

    Args:
        probes: (S, G, H, C), from `make_probes`.
        hidden: (S, T, C). The other arguments are those of `window_attention`.

    Returns:
        The weighted sums, (S*G, H, C), and the weights' sums, (S*G, H), all 1 without dropout.
    """
    scores = probes.flatten(1, 2) @ hidden.transpose(1, 2)  # (S, G*H, T)
    if is_padding is not None:
        scores = scores.masked_fill(is_padding[:, None], -torch.inf)
    weights = F.dropout(scores.softmax(dim=-1), dropout)
    heads, size = probes.shape[2:]  # (S, G*H, …) → (S*G, H, …)
    return (weights @ hidden).reshape(-1, heads, size), weights.sum(dim=-1).reshape(-1, heads)


def project_gathered(gathered: Tensor, sums: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the attention output of the global tokens, (P, C).

    The value projection is applied to the sums, because Σ a(Wx + b) = W(Σ ax) + bΣ a.

    Args:
        gathered, sums: (P, H, C) and (P, H), from `gather_by_probes` for all blocks.
        weight, bias: (C, C) and (C,), W and b of the global value projection.
    """
    heads = gathered.shape[1]
    weight = weight.view(heads, -1, weight.shape[1])  # (C, C) → (H, D, C)
    values = torch.einsum("phc,hdc->phd", gathered, weight)
    return (values + sums[:, :, None] * bias.view(heads, -1)).flatten(1)


def _gather(x: Tensor, index: Tensor) -> Tensor:
    """Select the tokens at (S, G) of (S, H, T, D): (S, H, G, D)."""
    return x.gather(2, index[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3]))
