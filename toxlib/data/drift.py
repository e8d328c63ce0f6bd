"""Measure how much the test comments differ from the training comments."""

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

from toxlib.data.text import evenly_spaced

MOST_ROWS = 200_000
"""Comments of a file, evenly spaced, from which those to compare are drawn. It limits memory."""


def adversarial_auc(train_texts: Sequence[str], test_texts: Sequence[str], seed: int) -> float:
    """Return the out-of-fold AUC of a classifier that tells test from training comments.

    0.5 means that they are alike. At most 5,000 distinct comments of each file are used, without
    those that occur in both. If fewer than five are left in a file, return NaN.
    """
    rng = np.random.default_rng(seed)
    train, test = (set(t[evenly_spaced(len(t), MOST_ROWS)]) for t in (train_texts, test_texts))
    sides = [sorted(train - test), sorted(test - train)]
    drawn = [[side[i] for i in rng.permutation(len(side))[:5000]] for side in sides]
    texts, is_test = drawn[0] + drawn[1], np.repeat([0, 1], [len(side) for side in drawn])
    if min(len(side) for side in drawn) < 5:
        return float("nan")
    model = make_pipeline(TfidfVectorizer(max_features=20_000), LogisticRegression())
    scores = cross_val_predict(model, texts, is_test, cv=5, method="decision_function")
    return roc_auc_score(is_test, scores)
