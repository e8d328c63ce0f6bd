"""Which comments are held out: stratified over labels, duplicates on one side.

Letters: N comments, L labels, G groups of identical comments.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

from toxlib import paths
from toxlib.errors import InputError

FEWEST_COMMENTS = 20
VALIDATION_FOLD, TRAINING_FOLD = 0, -1


def duplicate_groups(texts: Sequence[str]) -> np.ndarray:
    """Number the distinct comments: (N,), equal for identical ones."""
    return pd.factorize(np.asarray(texts, dtype=object))[0]


def split_validation(
    labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int
) -> np.ndarray:
    """Draw validation rows, stratified over the label columns.

    iterative-stratification (Sechidis 2011) knows no groups, so it is given one row per group,
    and the group's other rows follow.

    Args:
        labels: (N, L) of 0 and 1.
        groups: (N,) group numbers 0 … G-1, from `duplicate_groups`.
        fraction: share of the groups to hold out.

    Returns:
        (N,) booleans, True for validation rows.

    Raises:
        InputError: if there are too few distinct comments to split.
    """
    count = check_enough(groups)
    group_labels = np.zeros((count, labels.shape[1]), dtype=labels.dtype)
    np.maximum.at(group_labels, groups, labels)
    # A column for "no label": without it the all-zero rows would not be spread evenly.
    nothing = 1 - group_labels.max(axis=1, keepdims=True)
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
    _, held_out = next(splitter.split(group_labels, np.hstack([group_labels, nothing])))
    return np.isin(groups, held_out)


def check_enough(groups: np.ndarray) -> int:
    """The number of distinct comments; an InputError if they are too few to split."""
    count = int(groups.max()) + 1
    if count < FEWEST_COMMENTS:
        raise InputError(
            f"train: {count} distinct comments are too few to split into training and validation; "
            f"at least {FEWEST_COMMENTS} are needed"
        )
    return count


def write_split(path: Path, ids: pd.Series, is_validation: np.ndarray) -> None:
    """Save the split: id and fold, 0 for validation rows and -1 for rows always trained on."""
    folds = np.where(is_validation, VALIDATION_FOLD, TRAINING_FOLD)
    with paths.replacing(path) as temporary:
        pd.DataFrame({ids.name: ids, "fold": folds}).to_csv(temporary, index=False)


def read_split(path: Path, ids: pd.Series) -> np.ndarray:
    """The saved split as booleans, (N,), in the order of `ids`."""
    table = pd.read_csv(path, dtype={ids.name: str}, keep_default_na=False)
    if list(table[ids.name]) != list(ids):
        raise InputError(f"{path}: its ids are not those of the training file; delete it")
    return (table["fold"] == VALIDATION_FOLD).to_numpy()


def conflicting_rows(labels: np.ndarray, groups: np.ndarray) -> int:
    """Rows whose comment stands elsewhere with other labels. Shapes as in `split_validation`."""
    table = pd.DataFrame(labels).groupby(groups)
    return int((table.transform("nunique") > 1).any(axis=1).sum())


def adversarial_auc(train_texts: list[str], test_texts: list[str], seed: int) -> float:
    """Out-of-fold AUC of telling test comments from training ones; 0.5 if they are alike.

    At most 5,000 comments of each are looked at, each distinct one once: a comment that stands
    on both sides says nothing.
    """
    rng = np.random.default_rng(seed)
    train, test = set(train_texts), set(test_texts)
    sides = [sorted(train - test), sorted(test - train)]
    drawn = [[side[i] for i in rng.permutation(len(side))[:5000]] for side in sides]
    is_test = np.repeat([0, 1], [len(side) for side in drawn])
    if min(len(side) for side in drawn) < 5:
        return float("nan")
    classifier = make_pipeline(TfidfVectorizer(max_features=20_000), LogisticRegression())
    scores = cross_val_predict(
        classifier, drawn[0] + drawn[1], is_test, cv=5, method="decision_function"
    )
    return roc_auc_score(is_test, scores)
