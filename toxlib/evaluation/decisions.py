"""What a threshold does where the model is used: how many comments it flags, and at what cost.

The validation comments say which share of the comments with a label is found (recall), and which
share of the others is flagged as well (the false-positive rate). How common the label is where the
model is used, the base rate, may be another one than here; the rest follows from these three.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from toxlib.evaluation.parts import Part
from toxlib.evaluation.thresholds import DEFAULT, threshold_where

DRAWS = 2000
PER = 1000
"""Comments that counts and costs are told for."""


@dataclass(frozen=True)
class Use:
    """Where a model is used: how common the label is there, and what its errors cost."""

    base_rate: float
    """The share of comments that have the label."""
    miss: float = 1.0
    """The cost of a comment with the label that is not flagged."""
    false_alarm: float = 1.0
    """The cost of a comment without the label that is flagged."""

    def costs(self, recall: np.ndarray, false_positive_rate: np.ndarray) -> np.ndarray:
        """Return the expected cost of `PER` comments, for arrays of any shape."""
        missed = self.base_rate * (1 - recall) * self.miss
        return PER * (missed + (1 - self.base_rate) * false_positive_rate * self.false_alarm)


def consequences(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float, use: Use
) -> pd.DataFrame:
    """Return what a threshold does, for one label of N comments, with 95 % intervals.

    Intervals come from draws of the recall and the false-positive rate from their posterior
    distributions (Jeffreys' prior; Brown, Cai & DasGupta 2001, doi 10.1214/ss/1009213286). The
    base rate is taken as given. Without a comment of a class, its rate is unknown: NaN.

    Returns:
        A row per measure with `value`, `low` and `high`.
    """
    said, rng = probabilities >= threshold, np.random.default_rng(0)
    values, draws = [], []
    for carried in (labels == 1, labels == 0):
        yes, count = int(said[carried].sum()), int(carried.sum())
        values.append(yes / count if count else np.nan)
        draws.append(
            rng.beta(yes + 0.5, count - yes + 0.5, DRAWS) if count else np.full(1, np.nan)
        )
    value, drawn = _measures(*values, use), _measures(*draws, use)
    low, high = (
        {k: np.nanquantile(v, q) if np.isfinite(v).any() else np.nan for k, v in drawn.items()}
        for q in (0.025, 0.975)
    )
    table = pd.DataFrame({"value": value, "low": low, "high": high}).rename_axis("measure")
    # Jeffreys' interval of 0 of n, or of all of n, would leave out the share itself.
    table["low"] = table[["low", "value"]].min(axis=1)
    table["high"] = table[["high", "value"]].max(axis=1)
    return table


def _measures(recall: np.ndarray, false_positive_rate: np.ndarray, use: Use) -> dict:
    found = use.base_rate * recall
    false_alarms = (1 - use.base_rate) * false_positive_rate
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = found / (found + false_alarms)
    return {
        "precision": precision,
        "recall": recall,
        "false-positive rate": false_positive_rate,
        f"flagged per {PER}": PER * (found + false_alarms),
        f"false alarms per {PER}": PER * false_alarms,
        f"misses per {PER}": PER * (use.base_rate - found),
        f"cost per {PER}": use.costs(recall, false_positive_rate),
    }


def least_cost_threshold(labels: np.ndarray, probabilities: np.ndarray, use: Use) -> float:
    """Return the threshold of one label, on N rows, with the least expected cost.

    It is 0.5 if there is no row of one of the classes, and above the highest score if no yes pays.
    """
    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        return DEFAULT
    costs: list[np.ndarray] = []

    def choose(hits: np.ndarray, alarms: np.ndarray) -> int:
        costs.append(use.costs(hits / positives, alarms / (len(labels) - positives)))
        return int(np.argmin(costs[0]))

    chosen = threshold_where(labels, probabilities, choose)
    if costs[0].min() > use.costs(0.0, 0.0):
        return float(min(np.nextafter(probabilities.max(), 1), np.nextafter(1, 0)))
    return chosen


def cross_fitted_cost(labels: np.ndarray, parts: list[Part], label: int, use: Use) -> pd.Series:
    """Return the expected cost of `PER` comments, its thresholds chosen on other comments.

    Args:
        labels: those of all held-out rows, (N, L), in the file's order.
        label: the position of the label.

    Returns:
        `cost`, the expected cost; `lowest` and `highest`, the thresholds of the parts.
    """
    said, chosen = np.zeros(len(labels), dtype=bool), []
    for part in parts:
        fit = part.fit_labels[:, label], part.fit_probabilities[:, label]
        chosen.append(least_cost_threshold(*fit, use))
        said[part.rows] = part.probabilities[:, label] >= chosen[-1]
    carried = labels[:, label] == 1
    rates = [said[rows].mean() if rows.any() else np.nan for rows in (carried, ~carried)]
    return pd.Series({"cost": use.costs(*rates), "lowest": min(chosen), "highest": max(chosen)})
