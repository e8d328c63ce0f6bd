"""The floor and a member of blends: tf-idf features into logistic regressions.

Letters: N comments, V features, L labels.
"""

import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion

from toxlib.progress import progress

LINEAR = ("lr", "nb-lr")
"""Logistic regression, and the same on features scaled by naive Bayes."""
WORDS = {"max_features": 10_000, "sublinear_tf": True}
CHARACTERS = {
    "analyzer": "char",
    "ngram_range": (2, 6),
    "max_features": 50_000,
    "sublinear_tf": True,
}


class LinearModels:
    """Words and characters 2 to 6 long; per label, the two regressions of `LINEAR` (C = 1)."""

    def fit(self, texts: list[str], labels: np.ndarray) -> "LinearModels":
        """Fit on N comments and their labels, (N, L) of 0 and 1."""
        self.features = FeatureUnion(
            [("words", TfidfVectorizer(**WORDS)), ("characters", TfidfVectorizer(**CHARACTERS))]
        )
        total = 1 + labels.shape[1]
        with progress(total=total, description="Fit the linear models", unit="part") as bar:
            matrix = csr_array(self.features.fit_transform(texts))
            bar.update()
            self.columns = []
            for column in labels.T:
                self.columns.append(_fit_column(matrix, column))
                bar.update()
        return self

    def predict(self, texts: list[str]) -> dict[str, np.ndarray]:
        """Probabilities of each model of `LINEAR`, (N, L)."""
        matrix = csr_array(self.features.transform(texts))
        columns = [column.predict(matrix) for column in self.columns]
        return {name: np.stack([c[name] for c in columns], axis=1) for name in LINEAR}


def log_count_ratio(matrix: csr_array, labels: np.ndarray) -> np.ndarray:
    """How much more often each feature occurs where the label holds, (V,), as a logarithm.

    Naive Bayes' weights, by which NB-LR scales the features of a regression (Wang & Manning
    2012). Counted is whether a comment has the feature, and one is added to each count.

    Args:
        matrix: (N, V).
        labels: (N,) of 0 and 1, both of them present.
    """
    present = csr_array((np.ones_like(matrix.data), matrix.indices, matrix.indptr), matrix.shape)
    with_label = present.T @ labels.astype(float)
    without = present.sum(axis=0) - with_label
    shares = [(with_label + 1) / (labels.sum() + 2), (without + 1) / ((labels == 0).sum() + 2)]
    return np.log(shares[0] / shares[1])


class _Column:
    """Both regressions of one label."""

    def __init__(self, matrix: csr_array, labels: np.ndarray):
        self.ratio = log_count_ratio(matrix, labels)
        self.regressions = {
            name: LogisticRegression(C=1.0, solver="liblinear").fit(inputs, labels)
            for name, inputs in self._inputs(matrix).items()
        }

    def predict(self, matrix: csr_array) -> dict[str, np.ndarray]:
        return {
            name: self.regressions[name].predict_proba(inputs)[:, 1]
            for name, inputs in self._inputs(matrix).items()
        }

    def _inputs(self, matrix: csr_array) -> dict[str, csr_array]:
        return {"lr": matrix, "nb-lr": csr_array(matrix.multiply(self.ratio))}


class _Constant:
    """The rate of a label that shows on one side only."""

    def __init__(self, rate: float):
        self.rate = rate

    def predict(self, matrix: csr_array) -> dict[str, np.ndarray]:
        return dict.fromkeys(LINEAR, np.full(matrix.shape[0], self.rate))


def _fit_column(matrix: csr_array, labels: np.ndarray) -> _Column | _Constant:
    one_sided = len(np.unique(labels)) < 2
    # As one of either were seen: a certain 0 or 1 would outweigh all other members of a blend.
    rate = (labels.sum() + 1) / (len(labels) + 2)
    return _Constant(float(rate)) if one_sided else _Column(matrix, labels)
