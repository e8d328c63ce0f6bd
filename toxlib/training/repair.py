"""What it would be worth to leave out likely label errors in training, or to correct them.

It is measured with linear models on words, because this takes dozens of fits. The labels that
models are judged by stay as they are, errors included.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit

from toxlib.data.duplicates import near_duplicate_groups
from toxlib.data.splits import stratified_folds
from toxlib.data.text import evenly_spaced
from toxlib.evaluation.label_errors import likely_errors
from toxlib.progress import progress
from toxlib.training.linear import FEATURES, LINEAR, fit_column

AS_THEY_ARE, LEFT_OUT, CORRECTED = "labels as they are", "likely errors left out", "corrected"
FOLDS = 4
MOST_ROWS = 20_000
"""The most comments to measure with; more of them are thinned out evenly."""


def repaired_predictions(
    texts: Sequence[str], labels: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Train on labels as they are, without likely errors, and corrected; predict out of fold.

    Return the labels of the comments that were used, (n, L), and for each way of training the
    predictions for them, (n, L). Folds are stratified, and nearly identical comments share one.

    Errors are found without any knowledge of the fold that a model is judged on: of its training
    rows, each other fold is predicted by a model that was trained on the remaining two folds.
    """
    rows = evenly_spaced(len(labels), MOST_ROWS)
    texts, labels = texts[rows], labels[rows]
    fold = stratified_folds(labels, near_duplicate_groups(texts), FOLDS, seed)
    matrix = csr_array(FEATURES["words"]().fit_transform(texts))
    found = _find_errors(matrix, labels, fold)
    predictions = {way: np.empty(labels.shape) for way in (AS_THEY_ARE, LEFT_OUT, CORRECTED)}
    for k in progress(range(FOLDS), total=FOLDS, description="Judge repairs", unit="fold"):
        train, errors = fold != k, found[k]
        everything = np.ones(errors.shape, dtype=bool)
        for way, kept, given in (
            (AS_THEY_ARE, everything, labels),
            (LEFT_OUT, ~errors, labels),
            (CORRECTED, everything, np.where(errors, 1 - labels, labels)),
        ):
            predictions[way][~train] = _predict(matrix, given, kept & train[:, None], ~train)
    return labels, predictions


def _find_errors(matrix: csr_array, labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return for each fold the likely errors in the labels of other folds' rows, (K, n, L)."""
    scores = np.zeros((FOLDS, *labels.shape))  # [k]: by models that know nothing of fold k
    pairs = list(combinations(range(FOLDS), 2))
    for i, k in progress(pairs, total=len(pairs), description="Find label errors", unit="fit"):
        rows = (fold == i) | (fold == k)
        train = np.broadcast_to(~rows[:, None], labels.shape)
        predicted = np.zeros(labels.shape)
        predicted[rows] = _predict(matrix, labels, train, rows)  # it serves both folds
        scores[i, fold == k], scores[k, fold == i] = predicted[fold == k], predicted[fold == i]
    errors = np.zeros(scores.shape, dtype=bool)
    for k in range(FOLDS):
        others = fold != k
        errors[k, others] = likely_errors(labels[others], scores[k, others])
    return errors


def _predict(
    matrix: csr_array, labels: np.ndarray, train: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Fit per label on its rows of `train`, (n, L), and predict `rows`, (n,): the models' mean."""
    logits = np.empty((rows.sum(), labels.shape[1]))
    for j, column in enumerate(labels.T):
        fitted = fit_column(matrix[train[:, j]], column[train[:, j]])
        coefficients, intercepts = zip(*(fitted[name] for name in LINEAR), strict=True)
        logits[:, j] = matrix[rows] @ np.mean(coefficients, axis=0) + np.mean(intercepts)
    return expit(logits)
