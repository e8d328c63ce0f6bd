"""Two linear models on tf-idf features: a baseline to beat, and good members of a blend."""

from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array, hstack
from scipy.special import expit, logit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from toxlib import files
from toxlib.errors import InputError
from toxlib.progress import progress

LINEAR = ("lr", "nb-lr")
"""Logistic regression, and the same on features that are scaled by naive Bayes."""
FEATURES = {
    "words": {"max_features": 10_000, "sublinear_tf": True},
    "characters": {
        "analyzer": "char",
        "ngram_range": (2, 6),
        "max_features": 50_000,
        "sublinear_tf": True,
    },
}
"""The tf-idf features: words, and character sequences of length 2 to 6."""


class LinearModels:
    """The two models of `LINEAR`: per label, a logistic regression (C = 1) on the same features.

    The scale that naive Bayes gives each feature is multiplied into NB-LR's coefficients, so that
    both models are a matrix of coefficients and a vector of intercepts.
    """

    vectorizers: dict[str, TfidfVectorizer]
    """One per entry of `FEATURES`."""
    coefficients: dict[str, np.ndarray]
    """Model → (L, V)."""
    intercepts: dict[str, np.ndarray]
    """Model → (L,)."""

    def fit(self, texts: list[str], labels: np.ndarray) -> "LinearModels":
        """Fit both models on N comments and their labels, (N, L) of 0 and 1."""
        self.vectorizers = {name: TfidfVectorizer(**FEATURES[name]) for name in FEATURES}
        with progress(total=1 + labels.shape[1], description="Fit", unit="part") as bar:
            matrix = hstack([v.fit_transform(texts) for v in self.vectorizers.values()], "csr")
            bar.update()
            columns = []
            for column in labels.T:
                columns.append(_fit_column(csr_array(matrix), column))
                bar.update()
        self.coefficients = {m: np.stack([c[m][0] for c in columns]) for m in LINEAR}
        self.intercepts = {m: np.array([c[m][1] for c in columns]) for m in LINEAR}
        return self

    def predict(self, texts: list[str]) -> dict[str, np.ndarray]:
        """Return each model's probabilities, (N, L)."""
        matrix = hstack([v.transform(texts) for v in self.vectorizers.values()], "csr")
        return {
            name: expit(matrix @ self.coefficients[name].T + self.intercepts[name])
            for name in LINEAR
        }

    def save(self, folder: Path) -> None:
        """Save vocabularies as JSON and numbers as safetensors; neither can run code."""
        arrays = {f"idf {name}": v.idf_ for name, v in self.vectorizers.items()}
        for name in LINEAR:
            arrays[f"coefficients {name}"] = self.coefficients[name]
            arrays[f"intercepts {name}"] = self.intercepts[name]
        files.write_json(
            folder / "vocabulary.json",
            {n: v.get_feature_names_out().tolist() for n, v in self.vectorizers.items()},
        )
        with files.replacing(folder / "weights.safetensors") as temporary:
            save_file(arrays, temporary)

    @classmethod
    def load(cls, folder: Path) -> "LinearModels":
        """Load what `save` has saved.

        Raises:
            InputError: if a file is missing or damaged.
        """
        remedy = "run 03_train again"
        vocabulary = files.read_json(folder / "vocabulary.json", remedy)
        models = cls()
        try:
            arrays = load_file(folder / "weights.safetensors")
            models.vectorizers = {}
            for name in FEATURES:
                vectorizer = TfidfVectorizer(vocabulary=vocabulary[name], **FEATURES[name])
                vectorizer.idf_ = arrays[f"idf {name}"]
                models.vectorizers[name] = vectorizer
            models.coefficients = {n: arrays[f"coefficients {n}"] for n in LINEAR}
            models.intercepts = {n: arrays[f"intercepts {n}"] for n in LINEAR}
        except (OSError, SafetensorError, KeyError, ValueError, TypeError):
            raise InputError(f"{folder}: no linear models, or damaged ones; {remedy}") from None
        return models


def log_count_ratio(matrix: csr_array, labels: np.ndarray) -> np.ndarray:
    """Return how much more often each feature occurs with the label than without it, (V,).

    These are the weights of naive Bayes, by which NB-LR scales the features (Wang & Manning
    2012), as logarithms. We count the comments that have a feature and add one to each count.

    Args:
        matrix: (N, V).
        labels: (N,) of 0 and 1; both must be present.
    """
    present = csr_array((np.ones_like(matrix.data), matrix.indices, matrix.indptr), matrix.shape)
    with_label = present.T @ labels.astype(float)
    without = present.sum(axis=0) - with_label
    shares = [(with_label + 1) / (labels.sum() + 2), (without + 1) / ((labels == 0).sum() + 2)]
    return np.log(shares[0] / shares[1])


def telling_words(
    texts: list[str], labels: np.ndarray, label_names: list[str], count: int = 10
) -> pd.DataFrame:
    """Return the words that raise each label's score most in a logistic regression on words.

    Returns:
        A column per label and `count` rows, the strongest word first.
    """
    vectorizer = TfidfVectorizer(**FEATURES["words"])
    matrix = csr_array(vectorizer.fit_transform(texts))
    words = vectorizer.get_feature_names_out()
    table = {}
    for name, column in zip(label_names, labels.T, strict=True):
        coefficients, _ = _fit_column(matrix, column)["lr"]
        table[name] = words[np.argsort(-coefficients, kind="stable")[:count]]
    return pd.DataFrame(table, index=range(1, len(next(iter(table.values()))) + 1))


def _fit_column(matrix: csr_array, labels: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
    """Fit both models for one label: model → coefficients (V,) and intercept."""
    if len(np.unique(labels)) < 2:
        # We predict a rate as if one more comment with and one without the label had been seen:
        # a certain 0 or 1 would outweigh all other members of a blend.
        rate = (labels.sum() + 1) / (len(labels) + 2)
        return dict.fromkeys(LINEAR, (np.zeros(matrix.shape[1]), float(logit(rate))))
    ratio = log_count_ratio(matrix, labels)
    fitted = {}
    for name, scale in (("lr", np.ones_like(ratio)), ("nb-lr", ratio)):
        inputs = csr_array(matrix.multiply(scale)) if name == "nb-lr" else matrix
        model = LogisticRegression(C=1.0, solver="liblinear").fit(inputs, labels)
        fitted[name] = (model.coef_[0] * scale, float(model.intercept_[0]))
    return fitted
