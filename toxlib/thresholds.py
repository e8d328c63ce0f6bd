"""Choose per-label cut-offs for yes/no decisions, without fooling oneself.

A threshold turns a probability into a decision (flag this comment or not). The competition ranks
probabilities, so that no threshold changes its score.

Letters: N comments, L labels, K folds.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold
from sklearn.metrics import f1_score, precision_recall_curve, precision_score, recall_score

from toxlib import metrics, paths
from toxlib.csv_files import show
from toxlib.errors import InputError

DEFAULT = 0.5


@dataclass(frozen=True)
class CrossFitted:
    """Thresholds chosen on some rows and applied to others."""

    decisions: np.ndarray
    """(N, L) booleans; each row decided by thresholds chosen without its fold."""
    per_fold: np.ndarray
    """(K, L): the spread shows how far a threshold can be trusted."""
    final: np.ndarray
    """(L,), chosen on all rows: for use on new comments, never for a score on these."""


def f1_optimal_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The cut-off with the best F1 on these rows, midway to the next lower score.

    Args:
        labels: (N,) of 0 and 1.
        probabilities: (N,).

    Returns:
        A value in (0, 1), however near to 0 or 1 the scores crowd; rows at or above it are a
        yes. 0.5 if there is no positive row, as nothing can be learnt then.
    """
    if not labels.any():
        return DEFAULT
    exact = probabilities.astype(np.float64)  # between neighbouring float32 there is no middle
    precision, recall, cutoffs = precision_recall_curve(labels, exact)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(np.argmax(f1[:-1]))  # the last point has no cut-off
    lower = cutoffs[best - 1] if best else 0.0
    middle = lower + (cutoffs[best] - lower) / 2
    chosen = middle if middle > lower else cutoffs[best]
    return float(np.clip(chosen, np.nextafter(0, 1), np.nextafter(1, 0)))


def choose_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """`f1_optimal_threshold` of each column: (L,)."""
    columns = range(labels.shape[1])
    return np.array([f1_optimal_threshold(labels[:, j], probabilities[:, j]) for j in columns])


def cross_fitted_thresholds(
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray | None = None,
    folds: int = 5,
    seed: int = 0,
) -> CrossFitted:
    """Choose thresholds on K-1 folds, decide on the remaining one, for each fold in turn.

    F1 of thresholds reported on the rows they were tuned on is too high, most for rare labels
    (Lipton 2014; Lin & Lin, CIKM 2023); F1 of these decisions is not.

    Args:
        labels, probabilities: (N, L), rows the model was not trained on.
        groups: (N,) numbers of identical comments, which stay in one fold; None: all differ.

    Raises:
        InputError: if there are fewer distinct comments than folds.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    fold_of_row = _folds(labels, groups, folds, seed)
    decisions = np.zeros(labels.shape, dtype=bool)
    per_fold = np.empty((folds, labels.shape[1]))
    for fold in range(folds):
        held_out = fold_of_row == fold
        per_fold[fold] = choose_thresholds(labels[~held_out], probabilities[~held_out])
        decisions[held_out] = probabilities[held_out] >= per_fold[fold]
    return CrossFitted(decisions, per_fold, choose_thresholds(labels, probabilities))


def _folds(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Fold of each row, (N,). Stratified by the labels of all rows; thresholds see none of it."""
    distinct, first, group_of_row = np.unique(groups, return_index=True, return_inverse=True)
    if len(distinct) < folds:
        raise InputError(
            f"{len(distinct)} distinct validation comments are too few for {folds} folds"
        )
    # With "no label" as a column of its own, the all-zero rows are spread evenly, too.
    strata = np.column_stack([labels[first], 1 - labels[first].max(axis=1)])
    splitter = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    fold_of_group = np.empty(len(distinct), dtype=int)
    for fold, (_, held_out) in enumerate(splitter.split(distinct[:, None], strata)):
        fold_of_group[held_out] = fold
    return fold_of_group[group_of_row]


def threshold_report(
    labels: np.ndarray,
    probabilities: np.ndarray,
    fitted: CrossFitted,
    label_names: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Per label: F1, precision and recall at 0.5 and at cross-fitted thresholds.

    F1 carries a 95 % bootstrap interval over rows, the decisions being given; the thresholds'
    spread over folds stands beside the one chosen on all rows.
    """
    rows = []
    for j, name in enumerate(label_names):
        spread = fitted.per_fold[:, j]
        row = {"label": name, "positives": int(labels[:, j].sum())}
        row |= _scores(labels[:, j], probabilities[:, j] >= DEFAULT, "at 0.5", resamples, seed)
        row |= _scores(labels[:, j], fitted.decisions[:, j], "cross-fitted", resamples, seed)
        row |= {"threshold": fitted.final[j], "lowest": spread.min()}
        row |= {"median": np.median(spread), "highest": spread.max()}
        rows.append(row)
    return pd.DataFrame(rows).set_index("label")


def pooled_report(
    labels: np.ndarray, probabilities: np.ndarray, fitted: CrossFitted
) -> pd.DataFrame:
    """Micro and macro F1 at 0.5 and at cross-fitted thresholds."""
    ways = {"at 0.5": probabilities >= DEFAULT, "cross-fitted": fitted.decisions}
    return pd.DataFrame(
        {
            f"{average} F1": {
                way: metrics.f1(labels, decisions, average) for way, decisions in ways.items()
            }
            for average in ("micro", "macro")
        }
    )


def _scores(
    labels: np.ndarray, decisions: np.ndarray, when: str, resamples: int, seed: int
) -> dict[str, float | str]:
    low, high = _f1_interval(labels == 1, decisions, resamples, seed)
    return {
        f"F1 {when}": f1_score(labels, decisions, zero_division=0),
        f"F1 interval {when}": f"{low:.3f} to {high:.3f}",
        f"precision {when}": precision_score(labels, decisions, zero_division=0),
        f"recall {when}": recall_score(labels, decisions, zero_division=0),
    }


def _f1_interval(
    labels: np.ndarray, decisions: np.ndarray, resamples: int, seed: int
) -> tuple[float, float]:
    """Percentile interval. F1 depends on rows by three counts, so the counts are resampled."""
    counts = [(labels & decisions).sum(), (~labels & decisions).sum(), (labels & ~decisions).sum()]
    shares = np.array([*counts, len(labels) - sum(counts)]) / len(labels)
    drawn = np.random.default_rng(seed).multinomial(len(labels), shares, size=resamples)
    f1 = 2 * drawn[:, 0] / np.maximum(2 * drawn[:, 0] + drawn[:, 1] + drawn[:, 2], 1)
    low, high = np.percentile(f1, [2.5, 97.5])
    return float(low), float(high)


def write_thresholds(path: Path, fitted: CrossFitted, label_names: Sequence[str]) -> None:
    """Save {label: {threshold, lowest, highest}} as JSON; the last two over the folds."""
    content = {
        name: {
            "threshold": fitted.final[j],
            "lowest": fitted.per_fold[:, j].min(),
            "highest": fitted.per_fold[:, j].max(),
        }
        for j, name in enumerate(label_names)
    }
    with paths.replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def read_thresholds(path: Path) -> dict[str, float]:
    """The thresholds that `write_thresholds` saved: label → cut-off.

    Raises:
        InputError: if the file is missing, or is not of that form.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        chosen = {name: float(entry["threshold"]) for name, entry in content.items()}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run 04_thresholds first") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{path}: not a file of thresholds; run 04_thresholds again") from None
    for name, value in chosen.items():
        if not 0 < value < 1:
            raise InputError(f"{path}: label {show(name)}: a threshold lies in (0, 1)")
    return chosen
