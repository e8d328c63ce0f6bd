"""Adversarial training: learn from the comments a second time, with weights that are moved so
that the loss rises.

A step has two passes over its micro-batches. The first gives the gradient of the whole batch. The
weights then move along it, the second pass adds the gradient at that place, and the weights return
to where they were before the optimiser's step.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel

SIZES = {"fgm": 1.0, "awp": 0.01}
"""How far each adversary moves weights if the recipe value `adversarial_size` is 0."""


@contextlib.contextmanager
def moved_weights(model: PreTrainedModel, adversary: str, size: float) -> Iterator[None]:
    """Move weights along their gradients; give them back bit for bit on exit.

    Args:
        adversary: "fgm" moves the word embeddings by `size` × g / ‖g‖, where g is their gradient
            (Miyato 2017, arXiv 1605.07725, for the whole table instead of each comment). "awp"
            moves each matrix of the encoder by `size` × ‖W‖ × g / ‖g‖ (Wu 2020, arXiv
            2004.05884). Rows without a gradient, such as those of words that no comment has, do
            not move and do not count in ‖W‖. A gradient that is 0 or not finite moves nothing.
        size: 0 takes the adversary's usual size, in `SIZES`.
    """
    size, before = size or SIZES[adversary], []
    try:
        with torch.no_grad():
            for weight in _attacked(model, adversary):
                rows, gradient = _rows_with_a_gradient(weight.grad)
                kept = weight[rows]
                before.append((weight, rows, kept))
                length = size * kept.norm() if adversary == "awp" else size
                move = gradient * (length / gradient.norm())
                weight.index_add_(0, rows, move.nan_to_num(0, 0, 0).to(weight.dtype))
        yield
    finally:
        with torch.no_grad():
            for weight, rows, kept in before:
                weight.index_copy_(0, rows, kept)


def _attacked(model: PreTrainedModel, adversary: str) -> list[Tensor]:
    """Return the parameters that an adversary moves, those without a gradient left out."""
    embeddings = model.get_input_embeddings().weight
    weights = [embeddings] if adversary == "fgm" else model.base_model.parameters()
    return [weight for weight in weights if weight.dim() > 1 and weight.grad is not None]


def _rows_with_a_gradient(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers and values of the rows that are not 0 in a dense or sparse gradient."""
    if gradient.is_sparse:
        gradient = gradient.coalesce()
        return gradient.indices()[0], gradient.values()
    rows = gradient.flatten(1).any(dim=1).nonzero()[:, 0]
    return rows, gradient[rows]
