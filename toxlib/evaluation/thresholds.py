"""Choose a threshold per label: the score from which on a comment gets the label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import precision_recall_fscore_support

from toxlib.evaluation import metrics
from toxlib.evaluation.parts import Part, join, to_logits

DEFAULT = 0.5
JUDGED = tuple(f"{name} cross-fitted" for name in ("precision", "recall", "F1", "F1 interval"))
"""Columns of `threshold_report`: how good the decisions are on rows that chose no threshold."""


@dataclass(frozen=True)
class CrossFitted:
    """Thresholds chosen on some rows and applied to others."""

    decisions: np.ndarray  # (N, L) booleans; the thresholds of each row were chosen on other rows
    per_part: np.ndarray  # (K, L): each part's; their spread shows how far one can be trusted
    final: np.ndarray  # (L,): chosen on all rows, for new comments, never for a score on these


def best_threshold(labels: np.ndarray, probabilities: np.ndarray, precision: float = 0.0) -> float:
    """Return the threshold of one label with the best F1 on N rows; 0.5 without a positive row.

    If a precision is wanted, return the lowest threshold that reaches it, or the one that comes
    closest. Thresholds lie midway between two scores, above 0 and below 1.
    """

    def choose(hits: np.ndarray, alarms: np.ndarray) -> int:
        if not precision:
            return np.argmax(2 * hits / (hits + alarms + labels.sum()))
        reached = hits / (hits + alarms)
        enough = np.flatnonzero(reached >= precision)
        return enough[-1] if len(enough) else np.argmax(reached)

    return threshold_where(labels, probabilities, choose) if labels.any() else DEFAULT


def threshold_where(
    labels: np.ndarray,
    probabilities: np.ndarray,
    choose: Callable[[np.ndarray, np.ndarray], int],
) -> float:
    """Return the threshold that `choose` takes, for one label of N rows.

    Args:
        choose: is given how many rows with the label (hits) and without it (false alarms) have at
            least each of the scores, from the highest score to the lowest. It returns the
            position of the lowest score that shall be a yes.
    """
    # scikit-learn's confusion_matrix_at_thresholds gives the same counts, but its checks take
    # twice as long as these lines, which are called 180 times per label.
    falling, place = np.unique(-probabilities, return_inverse=True)
    hits = np.cumsum(np.bincount(place, labels))  # at each score, from the highest to the lowest
    alarms = np.cumsum(np.bincount(place)) - hits
    chosen = choose(hits, alarms)
    scores = np.append(-falling.astype(np.float64), 0.0)  # the middle may not be a float32
    score, lower = scores[chosen], scores[chosen + 1]
    middle = lower + (score - lower) / 2
    threshold = middle if middle > lower else score
    return float(np.clip(threshold, np.nextafter(0, 1), np.nextafter(1, 0)))


def f1_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean, in logits, of the best thresholds of 30 resamples (bagging, Breiman 1996).

    A single best threshold depends on few rows if the label is rare (Lin & Lin, CIKM 2023).
    """
    rng = np.random.default_rng(0)
    draws = (rng.integers(0, len(labels), len(labels)) for _ in range(30))
    chosen = [best_threshold(labels[d], probabilities[d]) for d in draws if labels[d].any()]
    return float(expit(np.mean(to_logits(np.array(chosen))))) if chosen else DEFAULT


def _choose(labels: np.ndarray, probabilities: np.ndarray, wanted_precision: float) -> np.ndarray:
    """Return a threshold per label, (L,): for the wanted precision, or for F1 if that is 0."""
    columns = zip(labels.T, probabilities.T, strict=True)
    if wanted_precision:
        return np.array([best_threshold(y, p, wanted_precision) for y, p in columns])
    return np.array([f1_threshold(y, p) for y, p in columns])


def cross_fitted_thresholds(
    labels: np.ndarray, parts: list[Part], wanted_precision: float = 0.0
) -> CrossFitted:
    """Choose thresholds on each part's rows to fit on, and apply them to its held-out rows.

    F1 on the rows that thresholds were chosen on is too high, most of all for rare labels (Lipton
    2014; Lin & Lin, CIKM 2023). `labels` are those of all held-out rows, (N, L), in file order.
    """
    decisions, per_part = np.zeros(labels.shape, dtype=bool), []
    for part in parts:
        chosen = _choose(part.fit_labels, part.fit_probabilities, wanted_precision)
        decisions[part.rows] = part.probabilities >= chosen
        per_part.append(chosen)
    final = _choose(labels, join(parts), wanted_precision)
    return CrossFitted(decisions, np.array(per_part), final)


def threshold_report(
    labels: np.ndarray, probabilities: np.ndarray, fitted: CrossFitted, label_names: Sequence[str]
) -> pd.DataFrame:
    """Return each label's scores at 0.5 and at cross-fitted thresholds, with 95 % intervals."""
    columns = zip(labels.T, (probabilities >= DEFAULT).T, fitted.decisions.T, strict=True)
    chosen = pd.DataFrame(thresholds_to_json(fitted, label_names)).T.rename_axis("label")
    return pd.DataFrame([_label_report(*column) for column in columns], chosen.index).join(chosen)


def _label_report(labels: np.ndarray, at_half: np.ndarray, tuned: np.ndarray) -> dict:
    row = {"positives": int(labels.sum())}
    for when, said in (("at 0.5", at_half), ("cross-fitted", tuned)):
        scores = precision_recall_fscore_support(labels, said, average="binary", zero_division=0)
        low, high = np.percentile(_resampled_f1(labels, said), [2.5, 97.5])
        row |= {f"F1 {when}": scores[2], f"F1 interval {when}": f"{low:.3f} to {high:.3f}"}
        row |= {f"precision {when}": scores[0], f"recall {when}": scores[1]}
    low, high = np.percentile(np.subtract(*_resampled_f1(labels, tuned, at_half)), [2.5, 97.5])
    row["F1 gain"] = row["F1 cross-fitted"] - row["F1 at 0.5"]
    return row | {"F1 gain interval": f"{low:+.3f} to {high:+.3f}"}


def _resampled_f1(labels: np.ndarray, *decisions: np.ndarray) -> list[np.ndarray]:
    """Return F1 of each array of decisions, (N,), on the same 1,000 resamples.

    Rows with equal label and decisions are alike, so we only draw how often each kind occurs.
    """
    kinds, counts = np.unique(np.stack([labels, *decisions]), axis=1, return_counts=True)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(labels), counts / len(labels), size=1000)  # (R, kinds)
    truth, *decided = kinds
    return [2 * (drawn @ (truth * d)) / np.maximum(drawn @ (truth + d), 1) for d in decided]


def pooled_report(
    labels: np.ndarray, probabilities: np.ndarray, fitted: CrossFitted
) -> pd.DataFrame:
    """Return micro and macro F1 over all labels, at 0.5 and at cross-fitted thresholds."""
    ways = {"at 0.5": probabilities >= DEFAULT, "cross-fitted": fitted.decisions}
    table = {}
    for average in ("micro", "macro"):
        table[f"{average} F1"] = {way: metrics.f1(labels, d, average) for way, d in ways.items()}
    return pd.DataFrame(table)


def thresholds_to_json(fitted: CrossFitted, label_names: Sequence[str]) -> dict:
    """Return {label: {threshold, lowest, highest}}; the last two are over the parts."""
    spread = {"lowest": fitted.per_part.min(axis=0), "highest": fitted.per_part.max(axis=0)}
    table = pd.DataFrame({"threshold": fitted.final, **spread}, index=list(label_names))
    return table.to_dict("index")


def report_to_json(report: pd.DataFrame) -> dict:
    """Return what `threshold_report` says of the chosen thresholds, ready for JSON, by label."""
    kept = ["threshold", "lowest", "highest", "positives", *JUDGED]
    return report[kept].to_dict("index")


def thresholds_from_json(content: dict, label_names: Sequence[str]) -> np.ndarray:
    """Return the thresholds, (L,), that 04 has stored; KeyError for other labels."""
    return np.array([float(content[name]["threshold"]) for name in label_names])
