"""Calibrate probabilities: of comments with a score of 0.8, about 80 % should have the label."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from toxlib.evaluation.parts import Part, join, to_logits


@dataclass(frozen=True)
class Calibrator:
    """A slope and an intercept per label, (L,) each, applied to logits (Platt 1999).

    A few positives are enough to fit two numbers. Slopes are positive, so that the ranking of the
    comments, and with it the AUC, does not change.
    """

    slope: np.ndarray
    intercept: np.ndarray

    @classmethod
    def fit(cls, labels: np.ndarray, probabilities: np.ndarray) -> "Calibrator":
        """Fit on labels and probabilities, (N, L) each, of rows that the model did not train on.

        A label with one class only, or ranked the wrong way round, keeps its probabilities.
        """
        columns = zip(labels.T, to_logits(probabilities).T, strict=True)
        return cls(*np.array([_fit_column(y, x) for y, x in columns]).T)

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, (N, L) → (N, L)."""
        return expit(to_logits(probabilities) * self.slope + self.intercept)

    def to_json(self, label_names: Sequence[str], report: pd.DataFrame | None = None) -> dict:
        """Return {label: {slope, intercept}} and, per label, what `calibration_report` says."""
        table = pd.DataFrame(vars(self), index=list(label_names))
        return (table if report is None else table.join(report)).to_dict("index")

    @classmethod
    def from_json(cls, content: dict, label_names: Sequence[str]) -> "Calibrator":
        """Return the calibrator that `to_json` stored; raise a KeyError for other labels."""
        rows = [content[name] for name in label_names]
        slope = np.array([float(row["slope"]) for row in rows])
        return cls(slope, np.array([float(row["intercept"]) for row in rows]))


def _fit_column(labels: np.ndarray, logits: np.ndarray) -> tuple[float, float]:
    """Fit slope and intercept of one label by logistic regression, with Platt's targets.

    With 0 and 1 as targets, a few rows that one threshold separates would become certain.
    """
    positives, negatives = int(labels.sum()), int((labels == 0).sum())
    if not positives or not negatives:
        return 1.0, 0.0
    target = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # scikit-learn takes classes and no targets, so each row enters as 1 and as 0, weighted.
    twice, classes = np.tile(logits, 2)[:, None], np.repeat([1, 0], len(labels))
    weights = np.concatenate([target, 1 - target])
    fitted = LogisticRegression(C=np.inf, max_iter=1000).fit(twice, classes, weights)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return (slope, intercept) if slope > 0 else (1.0, 0.0)


def calibrate_parts(parts: list[Part]) -> list[Part]:
    """Calibrate each part's held-out rows, with a calibrator fitted on its rows to fit on."""
    calibrated = []
    for part in parts:
        calibrate = Calibrator.fit(part.fit_labels, part.fit_probabilities)
        calibrated.append(replace(part, probabilities=calibrate(part.probabilities)))
    return calibrated


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean gap between mean score and share of positives in ten bins of the N rows.

    Bins hold equally many rows (Nixon 2019); equal widths would put almost all rows in one bin.
    """
    order = np.argsort(probabilities, kind="stable")
    bins = [rows for rows in np.array_split(order, 10) if len(rows)]
    gaps = [abs(labels[rows].mean() - probabilities[rows].mean()) for rows in bins]
    return float(np.average(gaps, weights=[len(rows) for rows in bins]))


def calibration_report(
    labels: np.ndarray, parts: list[Part], label_names: Sequence[str]
) -> pd.DataFrame:
    """Return each label's Brier score and calibration error, before and after calibration."""
    table = pd.DataFrame(index=pd.Index(label_names, name="label"))
    for when, scores in (("before", join(parts)), ("after", join(calibrate_parts(parts)))):
        columns = list(zip(labels.T, scores.T, strict=True))
        table[f"Brier {when}"] = [brier_score_loss(y, p) for y, p in columns]
        table[f"ECE {when}"] = [expected_calibration_error(y, p) for y, p in columns]
    return table


def meaning_of(score: float, labels: np.ndarray, probabilities: np.ndarray, name: str) -> str:
    """Return a sentence on how many of N rows within 0.05 of a score have the label `name`."""
    near = np.abs(probabilities - score) <= 0.05
    count, positives = int(near.sum()), int(labels[near].sum())
    about = f"scored {score - 0.05:.2f} to {score + 0.05:.2f} for {name!r}"
    if not count:
        return f"No held-out comment was {about}, so we cannot say what such a score means."
    low, high = binomtest(positives, count).proportion_ci(method="wilson")
    share = f"{positives / count:.0%} (95 % interval {low:.0%} to {high:.0%})"
    return f"Of {count} held-out comments {about}, {positives} carry the label: {share}."
