"""How a model scores on different kinds of comments, such as short and long ones."""

from itertools import pairwise

import numpy as np
import pandas as pd

from toxlib.evaluation.intervals import bootstrap
from toxlib.evaluation.metrics import mean_log_loss

SCORE = "mean column-wise AUC"


def length_bins(lengths: np.ndarray, count: int = 6, unit: str = "characters") -> pd.Categorical:
    """Sort lengths, (N,), into bins of about equally many comments: named "up to 40 characters".

    There are fewer bins than `count` if many lengths are equal.
    """
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, count + 1)[1:], method="lower"))
    edges = edges.astype(int)
    names = [f"up to {edges[0]} {unit}"]
    names += [f"{low + 1} to {high}" for low, high in pairwise(edges)]
    return pd.Categorical.from_codes(np.searchsorted(edges, lengths), names, ordered=True)


def score_by_slice(
    labels: np.ndarray, probabilities: np.ndarray, slices: pd.Categorical
) -> pd.DataFrame:
    """Return a row per slice of the N comments: how many, their labels and scores, (N, L).

    The AUC has a 95 % interval, in columns that end in " low" and " high".
    """
    rows = {}
    for name in slices.categories:
        chosen = np.asarray(slices == name)
        if not chosen.any():
            continue
        auc = bootstrap(labels[chosen], probabilities[chosen])
        rows[name] = {
            "comments": int(chosen.sum()),
            "with any label (%)": 100 * labels[chosen].any(axis=1).mean(),
            SCORE: auc.estimate,
            f"{SCORE} low": auc.low,
            f"{SCORE} high": auc.high,
            "log loss": mean_log_loss(labels[chosen], probabilities[chosen]),
        }
    return pd.DataFrame(rows).T.astype({"comments": int})
