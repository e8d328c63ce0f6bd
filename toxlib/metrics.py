"""Scores of predicted probabilities, with intervals.

Letters: N comments, L labels, R resamples.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from sklearn.metrics import f1_score, roc_auc_score

from toxlib.csv_files import show_all

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


def auc_per_label(
    labels: np.ndarray, probabilities: np.ndarray, label_names: Sequence[str] | None = None
) -> np.ndarray:
    """ROC AUC of each column.

    Args:
        labels: (N, L) of 0 and 1.
        probabilities: (N, L); any scores that rank will do.
        label_names: what the warning calls the columns; their indices if left out.

    Returns:
        (L,); NaN, with a warning, for a column that has one class only: its AUC is undefined.
    """
    aucs = np.full(labels.shape[1], np.nan)
    for column in range(labels.shape[1]):
        if len(np.unique(labels[:, column])) == 2:
            aucs[column] = roc_auc_score(labels[:, column], probabilities[:, column])
    if np.isnan(aucs).any():
        single = np.flatnonzero(np.isnan(aucs)).tolist()
        told = show_all(single if label_names is None else [label_names[j] for j in single])
        warnings.warn(f"AUC is undefined for one-class columns {told}", stacklevel=2)
    return aucs


def mean_columnwise_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The competition's metric: the mean over the label columns of their ROC AUC.

    A column with one class only is left out of the mean, with a warning; NaN if all are.
    """
    return _mean_of_defined(auc_per_label(labels, probabilities))


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    label_names: Sequence[str],
    threshold: float = 0.5,
) -> dict:
    """All metrics of a prediction, ready for JSON but for NaN (see `toxlib.run.nan_to_none`).

    The tutorial's three carry names that say what they are; its "roc_auc" is computed on values
    thresholded at 0.5 and pooled over labels, so it ignores the ranking and is no competition
    score.

    Args:
        labels, probabilities: (N, L).
        threshold: from which probability F1 and subset accuracy count a yes; their names say it.
    """
    decisions = (probabilities >= threshold).astype(int)
    at_half = (probabilities >= 0.5).astype(int)
    aucs = auc_per_label(labels, probabilities, label_names)
    return {
        "rows": len(labels),
        "mean_columnwise_auc": _mean_of_defined(aucs),
        "auc_per_label": dict(zip(label_names, aucs.tolist(), strict=True)),
        "log_loss": mean_log_loss(labels, probabilities),
        f"f1_micro_at_{threshold:g}": f1(labels, decisions, "micro"),
        f"f1_macro_at_{threshold:g}": f1(labels, decisions, "macro"),
        f"subset_accuracy_at_{threshold:g}": _subset_accuracy(labels, decisions),
        "tutorial": {
            "f1_micro_on_thresholded_values": f1(labels, at_half, "micro"),
            "roc_auc_micro_on_thresholded_values": _micro_auc(labels, at_half),
            "subset_accuracy_on_thresholded_values": _subset_accuracy(labels, at_half),
        },
    }


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


def f1(labels: np.ndarray, decisions: np.ndarray, average: str) -> float:
    """F1 of (N, L) decisions, `average` being "micro" (pooled) or "macro" (mean over labels)."""
    if labels.shape[1] == 1:  # scikit-learn would count the rows of 0 as hits, too: accuracy
        return f1_score(labels[:, 0], decisions[:, 0], zero_division=0)
    return f1_score(labels, decisions, average=average, zero_division=0)


def mean_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Binary log loss in nats, the mean over all N x L decisions, clipped as scikit-learn does."""
    return float(_row_losses(labels, probabilities).mean())


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


def paired_bootstrap_error_ratio(
    labels: np.ndarray, a: np.ndarray, b: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Error of `a` divided by that of `b`, the error being 1 - mean column-wise AUC.

    Scored on the same resampled rows, as in `paired_bootstrap_auc`.
    """
    draws = _resampled_means(labels, [a, b], resamples, seed)
    return _error_ratio(_quiet_mean_auc(labels, a), _quiet_mean_auc(labels, b), *draws)


def _error_ratio(a: float, b: float, a_draws: np.ndarray, b_draws: np.ndarray) -> Interval:
    if b == 1:
        return Interval(float("nan"), float("nan"), float("nan"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return _interval((1 - a) / (1 - b), (1 - a_draws) / (1 - b_draws))


def paired_bootstrap_log_loss(
    labels: np.ndarray, a: np.ndarray, b: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Log loss of `a` minus that of `b` (negative: `a` is better) on the same resampled rows."""
    differences = _row_losses(labels, a) - _row_losses(labels, b)
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


def _row_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    smallest = np.finfo(np.float64).eps
    p = np.clip(probabilities.astype(np.float64), smallest, 1 - smallest)
    return -np.where(labels == 1, np.log(p), np.log(1 - p)).mean(axis=1)


def _subset_accuracy(labels: np.ndarray, decisions: np.ndarray) -> float:
    """Share of rows whose every label is right."""
    return float((labels == decisions).all(axis=1).mean())


def _micro_auc(labels: np.ndarray, decisions: np.ndarray) -> float:
    if len(np.unique(labels)) < 2:
        return float("nan")
    return roc_auc_score(labels, decisions, average="micro")


def _mean_of_defined(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


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
