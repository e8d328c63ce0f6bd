"""How sure a score, or a difference of two, is: 95 % bootstrap intervals over rows.

Letters: N comments, L labels, R resamples.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from toxlib.metrics import evaluate, mean_columnwise_auc, row_losses

BLOCK_WEIGHTS = 2_000_000
"""Row weights drawn together: bounds the bootstrap's memory whatever N and R are."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % bootstrap interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"


def compare(
    labels: np.ndarray,
    model: np.ndarray,
    others: dict[str, np.ndarray],
    label_names: Sequence[str],
    note: str,
) -> dict:
    """A model's validation scores beside those of others, with intervals, ready for JSON.

    Args:
        labels: (N, L) of the validation rows.
        model: its probabilities, (N, L).
        others: name → probabilities, (N, L), of the models to compare it with.
        note: what a reader must know of the scores.
    """
    # All on the same resamples, each scored once.
    resampled = _resampled_means(labels, [model, *others.values()], resamples=1000, seed=0)
    own, own_draws = _quiet_mean_auc(labels, model), resampled[0]
    intervals = {"mean column-wise AUC": vars(_interval(own, own_draws))}
    for (name, other), draws in zip(others.items(), resampled[1:], strict=True):
        score = _quiet_mean_auc(labels, other)
        intervals |= {
            f"mean column-wise AUC minus {name}": vars(_interval(own - score, own_draws - draws)),
            f"error divided by {name}'s": vars(_error_ratio(own, score, own_draws, draws)),
            f"log loss minus {name}": vars(paired_bootstrap_log_loss(labels, model, other)),
        }
    return {
        "validation": evaluate(labels, model, label_names),
        "validation_note": note,
        "others": {name: evaluate(labels, p, label_names) for name, p in others.items()},
        "intervals_95": intervals,
    }


def bootstrap_auc(
    labels: np.ndarray, probabilities: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Mean column-wise AUC with its percentile interval over rows drawn with replacement."""
    draws = _resampled_means(labels, [probabilities], resamples, seed)[0]
    return _interval(_quiet_mean_auc(labels, probabilities), draws)


def paired_bootstrap_auc(
    labels: np.ndarray, a: np.ndarray, b: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Mean column-wise AUC of `a` minus that of `b`, both scored on the same resampled rows.

    Pairing matters: two models err on the same comments, so that their difference is known much
    better than either score.
    """
    return paired_bootstrap_auc_of_seeds(labels, [a], [b], resamples, seed)


def paired_bootstrap_auc_of_seeds(
    labels: np.ndarray,
    a: Sequence[np.ndarray],
    b: Sequence[np.ndarray],
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """`paired_bootstrap_auc` of two ways to train, each with several seeds: the mean difference.

    All are scored on the same resampled rows; how far seeds differ is not in the interval.
    """
    draws = _resampled_means(labels, [*a, *b], resamples, seed)
    scores = [_quiet_mean_auc(labels, p) for p in (*a, *b)]
    means = [np.mean(x[: len(a)], axis=0) - np.mean(x[len(a) :], axis=0) for x in (scores, draws)]
    return _interval(*means)


def _error_ratio(a: float, b: float, a_draws: np.ndarray, b_draws: np.ndarray) -> Interval:
    """1 - AUC of `a` divided by that of `b`; NaN if `b` makes no error."""
    if b == 1:
        return Interval(float("nan"), float("nan"), float("nan"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return _interval((1 - a) / (1 - b), (1 - a_draws) / (1 - b_draws))


def paired_bootstrap_log_loss(
    labels: np.ndarray, a: np.ndarray, b: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Log loss of `a` minus that of `b` (negative: `a` is better) on the same resampled rows."""
    differences = row_losses(labels, a) - row_losses(labels, b)
    rng = np.random.default_rng(seed)
    draws = np.concatenate(
        [differences @ w / len(differences) for w in _weights(len(differences), resamples, rng)]
    )
    return _interval(float(differences.mean()), draws)


def paired_bootstrap_pooled_auc(
    labels: np.ndarray, a: np.ndarray, b: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Interval:
    """AUC of `a` minus that of `b`, over all N x L decisions at once, on the same resampled rows.

    For few comments: pooled over the labels there are pairs enough to rank, where most columns
    alone would have none. It is not the competition's metric.
    """
    ranked = [_Ranked(labels.ravel(), p.ravel()) for p in (a, b)]
    rng = np.random.default_rng(seed)
    draws = []
    for weights in _weights(len(labels), resamples, rng):
        each = np.repeat(weights, labels.shape[1], axis=0)  # (N, R) → (N*L, R)
        draws.append(ranked[0].auc(each) - ranked[1].auc(each))
    once = np.ones((labels.size, 1))
    return _interval(float((ranked[0].auc(once) - ranked[1].auc(once))[0]), np.concatenate(draws))


def _quiet_mean_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mean_columnwise_auc(labels, probabilities)


def _interval(estimate: float, draws: np.ndarray) -> Interval:
    if np.isnan(draws).all():
        return Interval(float(estimate), float("nan"), float("nan"))
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return Interval(float(estimate), float(low), float(high))


def _weights(rows: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each row is drawn, (N, R), in blocks of R: a resample without copying rows.

    The draws, and so the interval, do not depend on the size of a block.
    """
    block = max(1, BLOCK_WEIGHTS // rows)
    for start in range(0, resamples, block):
        drawn = rng.integers(0, rows, (min(block, resamples - start), rows))
        counts = [np.bincount(draw, minlength=rows) for draw in drawn]
        yield np.stack(counts, axis=1, dtype=float)


def _resampled_means(
    labels: np.ndarray, predictions: list[np.ndarray], resamples: int, seed: int
) -> list[np.ndarray]:
    """Mean column-wise AUC of each prediction on each resample: one (R,) array per prediction.

    A column that loses a class in a resample is left out of that resample's mean.
    """
    rng = np.random.default_rng(seed)
    ranked = [
        [_Ranked(labels[:, j], p[:, j]) for j in range(labels.shape[1])] for p in predictions
    ]
    means: list[list[np.ndarray]] = [[] for _ in predictions]
    for weights in _weights(len(labels), resamples, rng):
        for columns, collected in zip(ranked, means, strict=True):
            aucs = np.stack([column.auc(weights) for column in columns])  # (L, R)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a resample without any class
                collected.append(np.nanmean(aucs, axis=0))
    return [np.concatenate(collected) for collected in means]


class _Ranked:
    """One column ranked once, so that each resample's AUC costs one pass over its weights.

    A row's place is 2g + 1 if it ties with the g-th distinct score of a positive row, 2g if it
    lies just below it. Only these places need to be summed up, and positives are few.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray):
        positive = labels == 1
        cuts = np.unique(scores[positive])
        place = np.searchsorted(cuts, scores, "left") + np.searchsorted(cuts, scores, "right")
        self.positive, self.negative = (
            csr_array(
                (np.ones(len(rows)), (place[rows], rows)), shape=(2 * len(cuts) + 1, len(labels))
            )
            for rows in (np.flatnonzero(positive), np.flatnonzero(~positive))
        )

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """Weighted AUC per resample, ties counted half: (N, R) → (R,)."""
        positive, negative = self.positive @ weights, self.negative @ weights  # (places, R)
        below = np.cumsum(negative, axis=0) - negative / 2
        pairs = positive.sum(axis=0) * negative.sum(axis=0)
        wins = (positive * below).sum(axis=0)
        return np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
