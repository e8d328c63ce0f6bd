"""Choose per-label cut-offs for yes/no decisions, without fooling oneself.

A threshold turns a probability into a decision (flag this comment or not). The competition ranks
probabilities, so that no threshold changes its score.

Letters: N comments, L labels, K parts (see `toxlib.predictions`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import f1_score, precision_score, recall_score

from toxlib import metrics
from toxlib.predictions import Part, join, to_logits
from toxlib.run import write_json

DEFAULT = 0.5
RESAMPLES = 30


@dataclass(frozen=True)
class CrossFitted:
    """Thresholds chosen on some rows and applied to others."""

    decisions: np.ndarray
    """(N, L) booleans; each row decided by thresholds chosen on other rows."""
    per_part: np.ndarray
    """(K, L): the spread shows how far a threshold can be trusted."""
    final: np.ndarray
    """(L,), chosen on all rows: for use on new comments, never for a score on these."""


def best_f1_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
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
    hits, alarms, cutoffs = _counts(labels, probabilities)
    f1 = 2 * hits / (hits + alarms + labels.sum())
    return _below(cutoffs, int(np.argmax(f1)))


def f1_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """`best_f1_threshold` smoothed: the mean, in logits, over bootstrap resamples (Breiman 1996).

    F1 of a rare label jumps with single rows, and its highest jump on given rows is often luck
    (Lin & Lin, CIKM 2023). Resamples jump elsewhere. On real comments macro F1 on other rows was
    0.650, 0.645 without; see docs/LOG.md. Shapes as above.
    """
    rng = np.random.default_rng(0)
    chosen = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(labels), len(labels))
        if labels[rows].any():
            chosen.append(best_f1_threshold(labels[rows], probabilities[rows]))
    return float(expit(np.mean(to_logits(np.array(chosen))))) if chosen else DEFAULT


def precision_threshold(labels: np.ndarray, probabilities: np.ndarray, wanted: float) -> float:
    """The lowest cut-off from which on precision is at least `wanted`; shapes as above.

    The one with the best precision where none reaches it.
    """
    if not labels.any():
        return DEFAULT
    hits, alarms, cutoffs = _counts(labels, probabilities)
    precision = hits / (hits + alarms)
    enough = np.flatnonzero(precision >= wanted)
    return _below(cutoffs, int(enough[-1] if len(enough) else np.argmax(precision)))


def choose_thresholds(
    labels: np.ndarray, probabilities: np.ndarray, precision: float = 0.0
) -> np.ndarray:
    """A threshold per column, (L,): for the best F1, or for a wanted precision if it is given."""
    columns = zip(labels.T, probabilities.T, strict=True)
    if precision:
        return np.array([precision_threshold(y, p, precision) for y, p in columns])
    return np.array([f1_threshold(y, p) for y, p in columns])


def _counts(
    labels: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits and false alarms at each distinct score, and these scores, the highest first."""
    exact = probabilities.astype(np.float64)  # between neighbouring float32 there is no middle
    order = np.argsort(-exact, kind="stable")
    last = np.append(np.flatnonzero(np.diff(exact[order])), len(order) - 1)
    hits = np.cumsum(labels[order])[last]
    return hits, last + 1 - hits, exact[order][last]


def _below(cutoffs: np.ndarray, place: int) -> float:
    """Midway between a score and the next lower one."""
    lower = cutoffs[place + 1] if place + 1 < len(cutoffs) else 0.0
    middle = lower + (cutoffs[place] - lower) / 2
    chosen = middle if middle > lower else cutoffs[place]
    return float(np.clip(chosen, np.nextafter(0, 1), np.nextafter(1, 0)))


def cross_fitted_thresholds(
    labels: np.ndarray, parts: list[Part], precision: float = 0.0
) -> CrossFitted:
    """Choose each part's thresholds on the rows set aside for it, and decide on its own.

    F1 of thresholds reported on the rows they were tuned on is too high, most for rare labels
    (Lipton 2014; Lin & Lin, CIKM 2023); F1 of these decisions is not.

    Args:
        labels: (N, L) of the parts' held-out rows, in the file's order.
        parts: from `toxlib.predictions.read_parts`.
        precision: choose for this precision; 0: for F1.
    """
    decisions = np.zeros(labels.shape, dtype=bool)
    per_part = np.empty((len(parts), labels.shape[1]))
    for number, part in enumerate(parts):
        per_part[number] = choose_thresholds(part.fit_labels, part.fit_probabilities, precision)
        decisions[part.rows] = part.probabilities >= per_part[number]
    return CrossFitted(decisions, per_part, choose_thresholds(labels, join(parts), precision))


def threshold_report(
    labels: np.ndarray,
    probabilities: np.ndarray,
    fitted: CrossFitted,
    label_names: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Per label: F1, precision and recall at 0.5 and at cross-fitted thresholds.

    F1, and what the chosen thresholds gain over 0.5, carry 95 % bootstrap intervals over rows,
    the decisions being given; the thresholds' spread over the parts stands beside the one chosen
    on all rows.
    """
    rows = []
    for j, name in enumerate(label_names):
        spread = fitted.per_part[:, j]
        row = {"label": name, "positives": int(labels[:, j].sum())}
        row |= _scores(labels[:, j], probabilities[:, j] >= DEFAULT, "at 0.5", resamples, seed)
        row |= _scores(labels[:, j], fitted.decisions[:, j], "cross-fitted", resamples, seed)
        row |= _gain(
            labels[:, j], fitted.decisions[:, j], probabilities[:, j] >= DEFAULT, resamples, seed
        )
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
    low, high = np.percentile(_resampled_f1(labels, [decisions], resamples, seed)[0], [2.5, 97.5])
    return {
        f"F1 {when}": f1_score(labels, decisions, zero_division=0),
        f"F1 interval {when}": f"{low:.3f} to {high:.3f}",
        f"precision {when}": precision_score(labels, decisions, zero_division=0),
        f"recall {when}": recall_score(labels, decisions, zero_division=0),
    }


def _gain(
    labels: np.ndarray, tuned: np.ndarray, plain: np.ndarray, resamples: int, seed: int
) -> dict[str, float | str]:
    first, second = _resampled_f1(labels, [tuned, plain], resamples, seed)
    low, high = np.percentile(first - second, [2.5, 97.5])
    scores = [f1_score(labels, decisions, zero_division=0) for decisions in (tuned, plain)]
    return {
        "F1 cross-fitted minus at 0.5": scores[0] - scores[1],
        "interval of cross-fitted minus at 0.5": f"{low:+.3f} to {high:+.3f}",
    }


def _resampled_f1(
    labels: np.ndarray, decisions: list[np.ndarray], resamples: int, seed: int
) -> list[np.ndarray]:
    """F1 of each of the decisions, (N,), on the same resampled rows: (R,) for each.

    Rows that agree in label and decisions are alike, so that their counts are resampled.
    """
    cells, counts = np.unique(np.stack([labels, *decisions]), axis=1, return_counts=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(labels), counts / len(labels), size=resamples)  # (R, cells)
    results = []
    for decided in cells[1:]:
        hits = drawn @ (cells[0] * decided)
        results.append(2 * hits / np.maximum(drawn @ (cells[0] + decided), 1))
    return results


def write_thresholds(path: Path, fitted: CrossFitted, label_names: Sequence[str]) -> None:
    """Save {label: {threshold, lowest, highest}} as JSON; the last two over the parts."""
    content = {
        name: {
            "threshold": fitted.final[j],
            "lowest": fitted.per_part[:, j].min(),
            "highest": fitted.per_part[:, j].max(),
        }
        for j, name in enumerate(label_names)
    }
    write_json(path, content)
