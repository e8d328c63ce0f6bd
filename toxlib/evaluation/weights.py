"""Blend several models: fit weights per label and average the models' logits with them."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from toxlib.evaluation.parts import Part, join, to_logits

PULL = 0.01  # how strongly weights are drawn to equal weights: see `fit_weights`


@dataclass(frozen=True)
class Blended:
    """Blended predictions, and the weights that were fitted for them on other rows."""

    parts: list[Part]
    per_part: np.ndarray  # (K, L, M): each part's; their spread shows how far one can be trusted
    final: np.ndarray  # (L, M): fitted on all out-of-fold predictions, for the test rows


def fit_part_weights(labels: np.ndarray, models: list[list[Part]], equal: bool = False) -> Blended:
    """Fit weights on each part's rows to fit on and blend the part; fit the final weights.

    Each of the M models has K parts, with the same rows in every model. `labels` are those of all
    held-out rows, (N, L), in file order. With `equal`, all weights are 1 / M.
    """
    equal_weights = np.full((labels.shape[1], len(models)), 1 / len(models))
    blended, per_part = [], []
    for same_part in zip(*models, strict=True):
        held_out = np.stack([part.probabilities for part in same_part])  # (M, n, L)
        to_fit = np.stack([part.fit_probabilities for part in same_part])  # (M, m, L)
        weights = equal_weights if equal else fit_weights(same_part[0].fit_labels, to_fit)
        held_out, to_fit = apply_weights(weights, held_out), apply_weights(weights, to_fit)
        blended.append(replace(same_part[0], probabilities=held_out, fit_probabilities=to_fit))
        per_part.append(weights)
    all_rows = np.stack([join(parts) for parts in models])  # (M, N, L)
    final = equal_weights if equal else fit_weights(labels, all_rows)
    return Blended(blended, np.stack(per_part), final)


def fit_weights(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Fit weights of the models' logits for each label, (N, L) and (M, N, L) → (L, M).

    Weights are not negative and add up to 1. They minimise the log loss plus `PULL` times the
    squared distance from equal weights; without this, the few positives of a rare label would
    decide by chance. No model may have trained on these rows.
    """
    logits = to_logits(probabilities)
    return np.array([_fit_column(labels[:, j], logits[:, :, j]) for j in range(labels.shape[1])])


def _fit_column(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Fit the weights of one label, (N,) and (M, N) → (M,)."""
    equal = np.full(len(logits), 1 / len(logits))
    if len(np.unique(labels)) < 2:
        return equal  # there is nothing to learn from

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        blended = weights @ logits
        value = np.mean(np.logaddexp(0, blended) - labels * blended)
        gradient = logits @ (expit(blended) - labels) / len(labels)
        away = weights - equal
        return value + PULL * away @ away, gradient + 2 * PULL * away

    bounds = [(0, 1)] * len(equal)
    sum_is_1 = {"type": "eq", "fun": lambda weights: weights.sum() - 1}
    how = {"method": "SLSQP", "jac": True, "options": {"ftol": 1e-10}}
    return minimize(loss, equal, bounds=bounds, constraints=sum_is_1, **how).x


def apply_weights(weights: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the sigmoid of the weighted mean of logits: (L, M) and (M, N, L) → (N, L)."""
    return expit(np.einsum("lm,mnl->nl", weights, to_logits(probabilities)))
