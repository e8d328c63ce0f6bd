"""How sure a score, or the difference of two scores, is: 95 % bootstrap intervals.

A resample draws N of the N comments with replacement. We keep it as N weights, which say how
often each comment was drawn. Scores are computed from weights, so that no rows are copied.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from toxlib.evaluation.metrics import evaluate, row_losses

RESAMPLES = 1000
BLOCK_WEIGHTS = 2_000_000  # weights that are held at a time, to limit memory


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"


def bootstrap(labels: np.ndarray, probabilities: np.ndarray) -> Interval:
    """Return the mean column-wise AUC of (N, L) predictions with its interval."""
    return to_interval(_scores(labels, [probabilities], "auc")[0])


def paired_bootstrap(
    labels: np.ndarray, a: Sequence[np.ndarray], b: Sequence[np.ndarray], metric: str = "auc"
) -> Interval:
    """Return the score of `a` minus that of `b`, both on the same resamples, with its interval.

    Two models err on the same comments, so that their difference is known better than either
    score. `a` and `b` are (N, L) predictions, or sequences of them from several seeds. Scores
    are averaged over seeds; the interval does not cover how much seeds differ.
    `metric` is "auc", the mean column-wise AUC; "log_loss"; or "pooled_auc", which ranks all N · L
    decisions together. That suits few comments, where single labels have hardly any pairs to rank.
    """
    first, second = ([p] if np.ndim(p) == 2 else list(p) for p in (a, b))
    scores = _scores(labels, [*first, *second], metric)
    return to_interval(scores[: len(first)].mean(axis=0) - scores[len(first) :].mean(axis=0))


def evaluate_against(
    labels: np.ndarray,
    probabilities: np.ndarray,
    others: dict[str, np.ndarray],
    label_names: Sequence[str],
    note: str,
) -> dict:
    """Return a model's scores and those of others, (N, L) each, with intervals, ready for JSON."""
    predictions = [probabilities, *others.values()]
    by_label, losses = (_scores(labels, predictions, m) for m in ("label_auc", "log_loss"))
    aucs = [_mean(columns) for columns in by_label]
    intervals = {"mean column-wise AUC": to_interval(aucs[0])}
    for name, auc, loss in zip(others, aucs[1:], losses[1:], strict=True):
        intervals |= _differences(name, aucs[0], losses[0], auc, loss)
    return {
        "validation": evaluate(labels, probabilities, label_names),
        "validation_note": note,
        "others": {name: evaluate(labels, p, label_names) for name, p in others.items()},
        "intervals_95": {name: vars(interval) for name, interval in intervals.items()},
        "auc_intervals_95": {
            name: _label_intervals(columns, label_names)
            for name, columns in zip(("validation", *others), by_label, strict=True)
        },
    }


def compare_with_first(
    labels: np.ndarray, predictions: Sequence[np.ndarray]
) -> list[dict[str, Interval]]:
    """Return the AUC of each of M predictions, (N, L), and its differences from the first.

    All are scored on the same resamples. The intervals are named as `evaluate_against` does.
    """
    aucs, losses = (_scores(labels, list(predictions), metric) for metric in ("auc", "log_loss"))
    return [
        {"mean column-wise AUC": to_interval(auc)}
        | _differences("first", auc, loss, aucs[0], losses[0])
        for auc, loss in zip(aucs, losses, strict=True)
    ]


def _differences(
    name: str, auc: np.ndarray, loss: np.ndarray, other_auc: np.ndarray, other_loss: np.ndarray
) -> dict[str, Interval]:
    """Compare the scores of one prediction, (1 + R,) each, with those of the one called `name`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (1 - auc) / (1 - other_auc)
    if other_auc[0] == 1:  # there is no error to divide by
        ratio[:] = np.nan
    return {
        f"mean column-wise AUC minus {name}": to_interval(auc - other_auc),
        f"error divided by {name}'s": to_interval(ratio),
        f"log loss minus {name}": to_interval(loss - other_loss),
    }


def auc_tables(report: dict, name: str) -> dict[str, pd.DataFrame]:
    """Return the AUCs in a report of `evaluate_against`: model → (L, 3) with AUC, low and high.

    The model that the report is about is called `name`.
    """
    scores = {"validation": report["validation"]} | report["others"]
    tables = {}
    for key, found in scores.items():
        table = pd.DataFrame(report["auc_intervals_95"][key], index=["low", "high"]).T
        table.insert(0, "AUC", pd.Series(found["auc_per_label"], dtype=float))
        tables[name if key == "validation" else key] = table.astype(float)
    return tables


def _label_intervals(aucs: np.ndarray, label_names: Sequence[str]) -> dict[str, list[float]]:
    """Return {label: [low, high]} for AUCs of each label, (L, 1 + R)."""
    ends = pd.DataFrame(aucs[:, 1:].T).quantile([0.025, 0.975])  # this leaves out NaN
    return dict(zip(label_names, ends.to_numpy().T.tolist(), strict=True))


def _mean(aucs: np.ndarray) -> np.ndarray:
    """Return the mean over labels, (L, R) → (R,); labels that lose a class are left out."""
    return pd.DataFrame(aucs).mean().to_numpy()


def to_interval(scores: np.ndarray) -> Interval:
    """Make an interval from (1 + R,) scores: those of all rows and of the resamples."""
    with np.errstate(invalid="ignore"):  # a ratio may be infinite
        low, high = pd.Series(scores[1:]).quantile([0.025, 0.975])  # this leaves out NaN
    return Interval(float(scores[0]), float(low), float(high))


def _scores(labels: np.ndarray, predictions: list[np.ndarray], metric: str) -> np.ndarray:
    """Score M predictions, (N, L) each, on all rows and on the same R resamples: (M, 1 + R).

    The metric "label_auc" gives the AUC of each label: (M, L, 1 + R).
    """
    functions = [_score_function(labels, p, metric) for p in predictions]
    rows = len(labels)
    scores = [[score(np.ones((rows, 1))) for score in functions]]
    rng = np.random.default_rng(0)  # its draws do not depend on the size of a block
    block = max(1, BLOCK_WEIGHTS // rows)
    for start in range(0, RESAMPLES, block):
        drawn = rng.integers(0, rows, (min(block, RESAMPLES - start), rows))
        counts = [np.bincount(draw, minlength=rows) for draw in drawn]
        weights = np.stack(counts, axis=1, dtype=float)  # (N, R)
        scores.append([score(weights) for score in functions])
    return np.concatenate(scores, axis=-1)


def _score_function(labels: np.ndarray, probabilities: np.ndarray, metric: str) -> Callable:
    """Return a function from weights, (N, R), to the scores of a prediction, (R,)."""
    if metric == "log_loss":
        losses = row_losses(labels, probabilities)
        return lambda weights: losses @ weights / len(losses)
    if metric == "pooled_auc":
        return Ranked(labels, probabilities).auc
    columns = [Ranked(labels[:, [j]], probabilities[:, [j]]) for j in range(labels.shape[1])]
    if metric == "label_auc":  # (L, R)
        return lambda weights: np.stack([column.auc(weights) for column in columns])
    if metric == "auc":
        return lambda weights: _mean([column.auc(weights) for column in columns])
    raise ValueError(f"metric={metric}: give auc, pooled_auc or log_loss")


class Ranked:
    """Decisions that are ranked once, so that the AUC of a resample only has to add up weights.

    AUC is the share of pairs of a positive and a negative in which the positive has the higher
    score; a tie counts half. So we only need the place of each score among those of the positives,
    which are few: if these are 0.4 and 0.7, then 0.3, 0.4, 0.5, 0.7 and 0.9 are in groups 0 to 4.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray):
        """Count the positive and the negative ones of (N, L) decisions, (groups, N) each."""
        cuts = np.unique(scores[labels == 1])
        group = np.searchsorted(cuts, scores, "left") + np.searchsorted(cuts, scores, "right")
        shape = (2 * len(cuts) + 1, len(labels))
        self.positive, self.negative = (
            csr_array((np.ones(chosen.sum()), (group[chosen], np.nonzero(chosen)[0])), shape)
            for chosen in (labels == 1, labels != 1)
        )

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """Return the AUC of each resample, (N, R) → (R,); NaN where a class is missing."""
        positive, negative = self.positive @ weights, self.negative @ weights  # (groups, R)
        lower = np.cumsum(negative, axis=0) - negative / 2  # negatives of the same group tie
        wins = (positive * lower).sum(axis=0)
        pairs = positive.sum(axis=0) * negative.sum(axis=0)
        return np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
