"""Two linear models on tf-idf features: a baseline to beat, and good members of a blend."""

from collections.abc import Sequence
from functools import partial
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
from toxlib.data.text import evenly_spaced
from toxlib.errors import InputError
from toxlib.progress import progress

LINEAR_NAMES = {
    "lr": "logistic regression on tf-idf",
    "nb-lr": "the same, its features scaled by naive Bayes",
}
LINEAR = tuple(LINEAR_NAMES)
MOST_ROWS = 200_000
"""The most comments to fit on. Counting the character sequences of one takes some 50 kB."""
Tfidf = partial(TfidfVectorizer, sublinear_tf=True)
FEATURES = {
    "words": partial(Tfidf, max_features=10_000),
    "characters": partial(Tfidf, max_features=50_000, analyzer="char", ngram_range=(2, 6)),
}
"""The tf-idf features: words, and character sequences of length 2 to 6."""


class LinearModels:
    """The two models of `LINEAR`: per label, a logistic regression (C = 1) on the same features.

    The scale that naive Bayes gives each feature is multiplied into NB-LR's coefficients.
    """

    vectorizers: dict[str, TfidfVectorizer]  # one per entry of `FEATURES`
    arrays: dict[str, np.ndarray]  # per model `coefficients …`, (L, V), and `intercepts …`, (L,)

    def fit(self, texts: Sequence[str], labels: np.ndarray) -> "LinearModels":
        """Fit both models on N comments and their labels, (N, L) of 0 and 1.

        Of more than `MOST_ROWS` comments, evenly spaced ones are taken, which is printed.
        """
        texts, labels = _within_memory(texts, labels)
        bar = progress(labels.T, total=labels.shape[1], description="Fit", unit="label")
        self.vectorizers = {name: make() for name, make in FEATURES.items()}
        parts = [v.fit_transform(texts) for v in self.vectorizers.values()]
        matrix = csr_array(hstack(parts, "csr"))
        columns = [fit_column(matrix, column) for column in bar]
        self.arrays = {f"idf {name}": v.idf_ for name, v in self.vectorizers.items()}
        for name in LINEAR:
            self.arrays[f"coefficients {name}"] = np.stack([c[name][0] for c in columns])
            self.arrays[f"intercepts {name}"] = np.array([c[name][1] for c in columns])
        return self

    def predict(self, texts: list[str]) -> dict[str, np.ndarray]:
        """Return each model's probabilities, (N, L)."""
        if not texts:  # scikit-learn refuses them
            return {name: np.empty((0, len(self.arrays[f"intercepts {name}"]))) for name in LINEAR}
        matrix = hstack([v.transform(texts) for v in self.vectorizers.values()], "csr")
        probabilities = {}
        for name in LINEAR:
            logits = matrix @ self.arrays[f"coefficients {name}"].T
            probabilities[name] = expit(logits + self.arrays[f"intercepts {name}"])
        return probabilities

    def save(self, folder: Path) -> None:
        """Save vocabularies as JSON and numbers as safetensors; neither can run code."""
        words = {n: v.get_feature_names_out().tolist() for n, v in self.vectorizers.items()}
        files.write_json(folder / "vocabulary.json", words)
        with files.replacing(folder / "weights.safetensors") as temporary:
            save_file(self.arrays, temporary)

    @classmethod
    def load(cls, folder: Path) -> "LinearModels":
        """Load what `save` has saved; an InputError if a file is missing or damaged."""
        models = cls()
        try:
            words = files.read_json(folder / "vocabulary.json", "")
            models.arrays = load_file(folder / "weights.safetensors")
            models.vectorizers = {n: make(vocabulary=words[n]) for n, make in FEATURES.items()}
            for name, vectorizer in models.vectorizers.items():
                vectorizer.idf_ = models.arrays[f"idf {name}"]
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError):
            fault = "no linear models, or damaged ones; delete this folder and run 03_train again"
            raise InputError(f"{folder}: {fault}") from None
        return models


def log_count_ratio(matrix: csr_array, labels: np.ndarray) -> np.ndarray:
    """Return log(rate with the label ÷ rate without it) of each feature, (V,).

    These are the weights of naive Bayes, by which nb-lr scales the features (Wang & Manning
    2012), as logarithms. We count the comments that have a feature and add one to each count.
    The labels, (N,), must have both 0 and 1.
    """
    present = matrix > 0
    with_label = present.T @ labels.astype(float)
    without = present.sum(axis=0) - with_label
    shares = [(with_label + 1) / (labels.sum() + 2), (without + 1) / ((labels == 0).sum() + 2)]
    return np.log(shares[0] / shares[1])


def _within_memory(texts: Sequence[str], labels: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the comments to fit on and their labels, at most `MOST_ROWS`."""
    rows = evenly_spaced(len(texts), MOST_ROWS)
    taken = texts[rows]
    if len(taken) < len(texts):
        which = f"on {len(taken):,} of {len(texts):,} comments, evenly spaced"
        print(f"The linear models are fitted {which}, to limit memory.", flush=True)
    return taken, labels[rows]


def telling_words(
    texts: Sequence[str], labels: np.ndarray, label_names: list[str], count: int = 10
) -> pd.DataFrame:
    """Return the words that raise each label's score most in a logistic regression on words.

    The table has a column per label and `count` rows, the strongest word first.
    """
    texts, labels = _within_memory(texts, labels)
    vectorizer = FEATURES["words"]()
    matrix = csr_array(vectorizer.fit_transform(texts))
    words = vectorizer.get_feature_names_out()
    table = {}
    for name, column in zip(label_names, labels.T, strict=True):
        coefficients, _ = fit_column(matrix, column)["lr"]
        table[name] = words[np.argsort(-coefficients, kind="stable")[:count]]
    return pd.DataFrame(table).rename(index=lambda row: row + 1)


def fit_column(matrix: csr_array, labels: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
    """Fit both models for one label: model → coefficients (V,) and intercept."""
    if len(np.unique(labels)) < 2:
        # A certain 0 or 1 would outweigh all other members of a blend. So we predict the rate as
        # if one more comment with the label and one without it had been seen.
        rate = (labels.sum() + 1) / (len(labels) + 2)
        return dict.fromkeys(LINEAR, (np.zeros(matrix.shape[1]), float(logit(rate))))
    ratio = log_count_ratio(matrix, labels)
    fitted = {}
    for name, scale in (("lr", np.ones_like(ratio)), ("nb-lr", ratio)):
        inputs = csr_array(matrix.multiply(scale)) if name == "nb-lr" else matrix
        model = LogisticRegression(C=1.0, solver="liblinear").fit(inputs, labels)
        fitted[name] = (model.coef_[0] * scale, float(model.intercept_[0]))
    return fitted
