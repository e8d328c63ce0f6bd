"""The loss of multilabel classification, and what keeps a small encoder from memorising."""

import torch
from torch import Tensor
from torch.nn import functional as F


def multilabel_loss(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, r_drop: float = 0.0
) -> Tensor:
    """Return the mean binary cross-entropy, and R-Drop's term if `r_drop` is not 0.

    R-Drop (Liang 2021, arXiv 2106.14448) computes each comment twice, with other units dropped,
    and asks both results to agree: the loss is the mean cross-entropy of both plus `r_drop` times
    the mean of `divergence`.

    Args:
        logits: (B, L), or (B, K, L) with K dropout samples, whose losses are averaged. With
            `r_drop`, (2B, …): the logits of all comments, and then those of the second time.
        labels: (B, L).
        weights: (B, 1), a factor for each comment's losses; None for all 1.
    """
    if logits.dim() == 3:
        labels = labels[:, None].expand(-1, logits.shape[1], -1)
        weights = None if weights is None else weights[:, None]
    if not r_drop:
        return F.binary_cross_entropy_with_logits(logits, labels, weights)
    first, second = logits.chunk(2)
    losses = [F.binary_cross_entropy_with_logits(x, labels, weights) for x in (first, second)]
    disagreement = divergence(first, second)
    if weights is not None:
        disagreement = disagreement * weights
    return sum(losses) / 2 + r_drop * disagreement.mean()


def divergence(a: Tensor, b: Tensor) -> Tensor:
    """Return the symmetric Kullback-Leibler divergence of each pair of logits, of any shape.

    It is (KL(p‖q) + KL(q‖p)) / 2 for labels that are present with the probabilities p and q. All
    logarithms fall into the logits: the sum of both is (p - q) × (logit p - logit q).
    """
    return (torch.sigmoid(a) - torch.sigmoid(b)) * (a - b) / 2


def twice(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a batch with all of its comments twice, (B, …) → (2B, …)."""
    return {name: torch.cat([values, values]) for name, values in inputs.items()}
