"""Which comments are held out: stratified over labels, duplicates on one side.

Letters: N comments, L labels, G groups of identical comments.
"""

import warnings
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
from toxlib.csv_files import read_chunks, show
from toxlib.errors import InputError

FEWEST_COMMENTS = 20
VALIDATION_FOLD, TRAINING_FOLD = 0, -1
FOLDS = {str(VALIDATION_FOLD), str(TRAINING_FOLD)}


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
        fraction: share of the groups to hold out, between 0 and 1.

    Returns:
        (N,) booleans, True for validation rows.

    Raises:
        InputError: if there are too few distinct comments to split.

    Warns:
        UserWarning: if a label has too few comments to stand on both sides.
    """
    count = check_enough(groups)
    if not 0 < fraction < 1:
        raise InputError(f"validation_fraction is {fraction}; set it between 0 and 1, such as 0.1")
    group_labels = np.zeros((count, labels.shape[1]), dtype=labels.dtype)
    np.maximum.at(group_labels, groups, labels)
    _warn_of_rare_labels(group_labels)
    # A column for "no label": without it the all-zero rows would not be spread evenly.
    nothing = 1 - group_labels.max(axis=1, keepdims=True)
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
    _, held_out = next(splitter.split(group_labels, np.hstack([group_labels, nothing])))
    _check_sides(len(held_out), count, fraction)
    return np.isin(groups, held_out)


def _warn_of_rare_labels(group_labels: np.ndarray) -> None:
    for column, positives in enumerate(group_labels.sum(axis=0, dtype=int), start=1):
        if positives < 2:
            warnings.warn(
                f"label column {column} has {positives} positive comments: it cannot stand on "
                "both sides of the split",
                stacklevel=3,
            )


def _check_sides(held_out: int, count: int, fraction: float) -> None:
    """The splitter itself is content with an empty side."""
    if min(held_out, count - held_out) < 2:
        raise InputError(
            f"train: holding out {fraction} of {count} distinct comments gives {held_out} for "
            "validation; at least 2 are needed on each side, so change validation_fraction"
        )


def check_enough(groups: np.ndarray) -> int:
    """The number of distinct comments; an InputError if they are too few to split."""
    count = int(groups.max(initial=-1)) + 1
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
    """The saved split as booleans, (N,), in the order of `ids`.

    Raises:
        InputError: if it is not a split of these ids, or is damaged.
    """
    chunks = [(header, rows) for _, header, rows in read_chunks(path, 65536)]
    if chunks[0][0] != [ids.name, "fold"]:
        raise InputError(f"{path}: columns must be {show(ids.name)}, 'fold'; delete it")
    saved, folds = zip(*(row for _, rows in chunks for row in rows), strict=True)
    if list(saved) != list(ids):
        raise InputError(f"{path}: its ids are not those of the training file; delete it")
    for row, fold in enumerate(folds, start=1):
        if fold not in FOLDS:
            raise InputError(
                f"{path}: row {row}, column 'fold': {show(fold)} is neither 0 nor -1; delete it"
            )
    return np.array([fold == str(VALIDATION_FOLD) for fold in folds])


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
