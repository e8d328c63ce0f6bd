"""Scores of predicted probabilities, (N, L), first of them the competition's metric."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from toxlib.errors import show_all


def auc_per_label(
    labels: np.ndarray, probabilities: np.ndarray, label_names: Sequence[str] | None = None
) -> np.ndarray:
    """Return the ROC AUC of each label, (L,): NaN, with a warning, for a label of one class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # it does not name the label
        aucs = np.atleast_1d(roc_auc_score(labels, probabilities, average=None))
    undefined = np.flatnonzero(np.isnan(aucs)).tolist()
    if undefined:
        names = undefined if label_names is None else [label_names[j] for j in undefined]
        warnings.warn(f"AUC is undefined for one-class columns {show_all(names)}", stacklevel=2)
    return aucs


def mean_columnwise_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the competition's metric: the mean of the labels' AUCs that are defined."""
    return float(pd.Series(auc_per_label(labels, probabilities)).mean())


def evaluate(labels: np.ndarray, probabilities: np.ndarray, label_names: Sequence[str]) -> dict:
    """Return all metrics, ready for `toxlib.files.write_json`."""
    aucs = auc_per_label(labels, probabilities, label_names)
    return {
        "rows": len(labels),
        "mean_columnwise_auc": float(pd.Series(aucs).mean()),
        "auc_per_label": dict(zip(label_names, aucs.tolist(), strict=True)),
        "log_loss": mean_log_loss(labels, probabilities),
        "f1_macro_at_0.5": f1(labels, probabilities >= 0.5, "macro"),
    }


def tutorial_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return the tutorial's metrics. They score decisions, so its AUC is not the competition's."""
    decisions = (probabilities >= 0.5).astype(int)
    return {
        "f1_micro_on_thresholded_values": f1(labels, decisions, "micro"),
        "roc_auc_micro_on_thresholded_values": roc_auc_score(labels, decisions, average="micro"),
        "subset_accuracy_on_thresholded_values": accuracy_score(labels, decisions),
    }


def f1(labels: np.ndarray, decisions: np.ndarray, average: str) -> float:
    """Return F1 of (N, L) decisions: `average` is "micro" (pooled) or "macro" (mean of labels)."""
    if labels.shape[1] == 1:  # scikit-learn would average over the classes 0 and 1 instead
        average = "binary"
    return f1_score(labels, decisions, average=average, zero_division=0)


def mean_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the binary log loss in nats, the mean over all N · L decisions."""
    return float(row_losses(labels, probabilities).mean())


def row_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the log loss of each row, (N,): the mean over its labels."""
    return losses(labels, probabilities).mean(axis=1)


def losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the log loss of each decision, (N, L), clipped as scikit-learn's `log_loss` does."""
    smallest = np.finfo(np.float64).eps
    p = np.clip(probabilities.astype(np.float64), smallest, 1 - smallest)
    return -np.where(labels == 1, np.log(p), np.log(1 - p))
