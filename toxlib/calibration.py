"""Make probabilities mean what they say: of comments scored 0.8, eight in ten carry the label.

Letters: N comments, L labels.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from toxlib.errors import InputError
from toxlib.predictions import Part, join, to_logits
from toxlib.run import write_json

BINS = 10


@dataclass(frozen=True)
class Calibrator:
    """A slope and an intercept per label, applied to logits (Platt 1999).

    Two numbers per label are what a handful of positives can bear; and where the slope is
    positive the ranking, and so the AUC, stays.
    """

    slope: np.ndarray
    """(L,)."""
    intercept: np.ndarray
    """(L,)."""

    @classmethod
    def fit(cls, labels: np.ndarray, probabilities: np.ndarray) -> "Calibrator":
        """Fit on rows that the model was not trained on, (N, L) each.

        A label with one class only, or that the model ranks the wrong way round, is left as it
        is.
        """
        fits = [
            _fit_column(y, x) for y, x in zip(labels.T, to_logits(probabilities).T, strict=True)
        ]
        slope, intercept = np.array(fits).T
        return cls(slope, intercept)

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, (N, L) → (N, L)."""
        return expit(to_logits(probabilities) * self.slope + self.intercept)


def _fit_column(labels: np.ndarray, logits: np.ndarray) -> tuple[float, float]:
    """Platt's smoothed targets: a few rows that a line separates do not make it certain."""
    positives, negatives = int(labels.sum()), int((labels == 0).sum())
    if not positives or not negatives:
        return 1.0, 0.0
    target = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Each row once as a yes and once as a no, by weight.
    twice = np.concatenate([logits, logits])[:, None]
    answers = np.repeat([1, 0], len(labels))
    weights = np.concatenate([target, 1 - target])
    fitted = LogisticRegression(C=np.inf, max_iter=1000).fit(twice, answers, weights)
    slope = float(fitted.coef_[0, 0])
    return (slope, float(fitted.intercept_[0])) if slope > 0 else (1.0, 0.0)


def calibrate_parts(parts: list[Part]) -> list[Part]:
    """Fit a calibrator on each part's rows set aside, and apply it to the part."""
    return [
        part.transform(Calibrator.fit(part.fit_labels, part.fit_probabilities)) for part in parts
    ]


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean distance between what is said and what is so, over tenths of the rows by score.

    Tenths of equal count (Nixon 2019): bins of equal width leave a rare label's all in one.

    Args:
        labels, probabilities: (N,), a single label's.
    """
    order = np.argsort(probabilities, kind="stable")
    groups = [rows for rows in np.array_split(order, BINS) if len(rows)]
    gaps = [abs(labels[rows].mean() - probabilities[rows].mean()) for rows in groups]
    return float(np.average(gaps, weights=[len(rows) for rows in groups]))


def calibration_report(
    labels: np.ndarray, parts: list[Part], label_names: Sequence[str]
) -> pd.DataFrame:
    """Per label: Brier score and expected calibration error, before and after.

    Args:
        labels: (N, L) of the parts' held-out rows, in the file's order.
        parts: before calibration; each is calibrated on the rows set aside for it.
    """
    ways = {"before": join(parts), "after": join(calibrate_parts(parts))}
    rows = []
    for j, name in enumerate(label_names):
        row = {"label": name}
        for way, probabilities in ways.items():
            truth, said = labels[:, j], probabilities[:, j]
            row[f"Brier {way}"] = brier_score_loss(truth, said)
            row[f"ECE {way}"] = expected_calibration_error(truth, said)
        rows.append(row)
    return pd.DataFrame(rows).set_index("label")


def meaning_of(
    score: float, labels: np.ndarray, probabilities: np.ndarray, name: str, width: float = 0.05
) -> str:
    """A plain sentence on what a score means: how many comments near it carry the label.

    Args:
        labels, probabilities: (N,), a single label's, on rows the model was not trained on.
        name: the label's.
    """
    near = np.abs(probabilities - score) <= width
    count, carry = int(near.sum()), int(labels[near].sum())
    about = f"scored {score - width:.2f} to {score + width:.2f} for {name!r}"
    if not count:
        return f"No held-out comment was {about}: what such a score means cannot be said."
    interval = binomtest(carry, count).proportion_ci(method="wilson")
    return (
        f"Of {count} held-out comments {about}, {carry} carry the label: {carry / count:.0%} "
        f"(95 % interval {interval.low:.0%} to {interval.high:.0%})."
    )


def write_calibrator(path: Path, calibrator: Calibrator, label_names: Sequence[str]) -> None:
    """Save {label: {slope, intercept}} as JSON."""
    content = {
        name: {"slope": slope, "intercept": intercept}
        for name, slope, intercept in zip(
            label_names, calibrator.slope, calibrator.intercept, strict=True
        )
    }
    write_json(path, content)


def read_calibrator(path: Path, label_names: Sequence[str]) -> Calibrator:
    """What `write_calibrator` saved, in the order of the labels.

    Raises:
        InputError: if the file is missing, of another form, or of other labels.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        numbers = [(content[name]["slope"], content[name]["intercept"]) for name in label_names]
        slope, intercept = np.array(numbers, dtype=float).T
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run 04_thresholds first") from None
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{path}: not a calibrator of these labels; run 04_thresholds") from None
    return Calibrator(slope, intercept)
