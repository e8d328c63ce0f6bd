"""Find labels that are probably wrong, by confident learning (Northcutt et al. 2021, cleanlab)."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import pandas as pd

from toxlib.errors import InputError

INSTALL = "pip install -r requirements-audit.txt"


def check_installed() -> None:
    """Raise an InputError if cleanlab is missing."""
    if find_spec("cleanlab") is None:
        raise InputError(f"the audit needs cleanlab, which is not installed; run `{INSTALL}`")


def likely_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return which labels are probably wrong, (N, L) of bool; both arguments are (N, L).

    cleanlab estimates how many labels of each class are wrong: a comment counts if it gets at
    least the mean score of the comments that have the other class. It then takes as many with the
    lowest scores for the label that they have. No model may predict comments that it was trained
    on. In a label with one class no errors are found.
    """
    check_installed()
    from cleanlab.filter import find_label_issues  # its import takes seconds

    found = np.zeros(labels.shape, dtype=bool)
    for j in np.flatnonzero((labels == 1).any(axis=0) & (labels == 0).any(axis=0)):
        both = np.stack([1 - probabilities[:, j], probabilities[:, j]], axis=1)
        found[:, j] = find_label_issues(labels[:, j].astype(int), both, n_jobs=1)
    return found


def label_error_report(
    labels: np.ndarray, errors: np.ndarray, label_names: Sequence[str]
) -> pd.DataFrame:
    """Count per label the likely errors, (N, L), among the comments with and without it."""
    positives = (labels == 1).sum(axis=0)
    return pd.DataFrame(
        {
            "with the label": positives,
            "probably without it": (errors & (labels == 1)).sum(axis=0),
            "without the label": len(labels) - positives,
            "probably with it": (errors & (labels == 0)).sum(axis=0),
        },
        index=pd.Index(label_names, name="label"),
    )
