"""The floor: tf-idf and logistic regression, which any fine-tuned encoder has to beat."""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion

from toxlib.progress import progress

WORDS = {"max_features": 10_000, "sublinear_tf": True}
CHARACTERS = {
    "analyzer": "char",
    "ngram_range": (2, 6),
    "max_features": 50_000,
    "sublinear_tf": True,
}


class TfidfClassifier:
    """Words and characters 2 to 6 long, one logistic regression (C = 1) per label.

    Letters: N comments, L labels.
    """

    def fit(self, texts: list[str], labels: np.ndarray) -> "TfidfClassifier":
        """Fit on N comments and their labels, (N, L) of 0 and 1."""
        self.features = FeatureUnion(
            [("words", TfidfVectorizer(**WORDS)), ("characters", TfidfVectorizer(**CHARACTERS))]
        )
        with progress(total=1 + labels.shape[1], description="Fit the floor", unit="part") as bar:
            matrix = self.features.fit_transform(texts)
            bar.update()
            self.columns = []
            for column in labels.T:
                self.columns.append(_fit_column(matrix, column))
                bar.update()
        return self

    def predict(self, texts: list[str]) -> np.ndarray:
        """Probabilities, (N, L)."""
        matrix = self.features.transform(texts)
        columns = [
            c.predict_proba(matrix)[:, 1]
            if isinstance(c, LogisticRegression)
            else np.full(len(texts), c)
            for c in self.columns
        ]
        return np.stack(columns, axis=1)


def _fit_column(matrix, labels: np.ndarray) -> LogisticRegression | float:
    """A regression, or the constant rate of a label that training rows show on one side only."""
    if len(np.unique(labels)) < 2:
        return float(labels[0])
    return LogisticRegression(C=1.0, max_iter=1000).fit(matrix, labels)
