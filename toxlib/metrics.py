"""Scores of predicted probabilities.

Letters: N comments, L labels.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import f1_score, roc_auc_score

from toxlib.csv_files import show_all


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


def evaluate(labels: np.ndarray, probabilities: np.ndarray, label_names: Sequence[str]) -> dict:
    """All metrics of a prediction, ready for JSON but for NaN (see `toxlib.run.nan_to_none`).

    The tutorial's three carry names that say what they are; its "roc_auc" is computed on values
    thresholded at 0.5 and pooled over labels, so it ignores the ranking and is no competition
    score.

    Args:
        labels, probabilities: (N, L).
    """
    decisions = (probabilities >= 0.5).astype(int)
    aucs = auc_per_label(labels, probabilities, label_names)
    return {
        "rows": len(labels),
        "mean_columnwise_auc": _mean_of_defined(aucs),
        "auc_per_label": dict(zip(label_names, aucs.tolist(), strict=True)),
        "log_loss": mean_log_loss(labels, probabilities),
        "f1_macro_at_0.5": f1(labels, decisions, "macro"),
        "tutorial": {
            "f1_micro_on_thresholded_values": f1(labels, decisions, "micro"),
            "roc_auc_micro_on_thresholded_values": _micro_auc(labels, decisions),
            "subset_accuracy_on_thresholded_values": _subset_accuracy(labels, decisions),
        },
    }


def f1(labels: np.ndarray, decisions: np.ndarray, average: str) -> float:
    """F1 of (N, L) decisions, `average` being "micro" (pooled) or "macro" (mean over labels)."""
    if labels.shape[1] == 1:  # scikit-learn would count the rows of 0 as hits, too: accuracy
        return f1_score(labels[:, 0], decisions[:, 0], zero_division=0)
    return f1_score(labels, decisions, average=average, zero_division=0)


def mean_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Binary log loss in nats, the mean over all N x L decisions, clipped as scikit-learn does."""
    return float(row_losses(labels, probabilities).mean())


def row_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Log loss of each row, the mean over its labels, in nats: (N,)."""
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
