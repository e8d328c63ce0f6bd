"""Which comments are held out: stratified over labels, repeated comments on one side.

Letters: N comments, L labels, G groups of identical or nearly identical comments, K folds.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sparse_dot_topn import sp_matmul_topn

from toxlib import paths
from toxlib.csv_files import read_chunks, show, show_all
from toxlib.errors import InputError

FEWEST_COMMENTS = 20
FEWEST_ON_A_SIDE = 5
NO_FOLD = -1
CALIBRATION_PARTS = 10
"""Of the rows that a fold trains on, one in so many is set aside to choose thresholds on."""
SIMILARITY = 0.85
"""Cosine of two comments' tf-idf vectors from which they are told to be the same one, edited."""
NEIGHBOURS = 100
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Split:
    """Which part each training row plays in each fold's model.

    Calibrators, thresholds and blend weights that are applied to fold k are fitted on rows set
    aside for it. On other folds' out-of-fold predictions they would not be blind to fold k: the
    models that made those were trained on it.
    """

    fold: np.ndarray
    """(N,): the fold that holds the row out, 0 … K-1; -1: always trained on."""
    calibrates: np.ndarray
    """(N,): the fold whose model does not train on the row though it could; -1: none."""

    @property
    def folds(self) -> range:
        """0 … K-1."""
        return range(int(self.fold.max()) + 1)

    @property
    def is_validation(self) -> np.ndarray:
        """(N,): rows that some fold holds out, and that get a prediction."""
        return self.fold != NO_FOLD

    def held_out(self, fold: int) -> np.ndarray:
        """(N,): rows that the fold's model is judged on."""
        return self.fold == fold

    def calibration(self, fold: int) -> np.ndarray:
        """(N,): rows that are set aside for the fold's calibrator, thresholds, blend weights."""
        return (self.calibrates == fold) & ~self.held_out(fold)

    def fitting(self, fold: int) -> np.ndarray:
        """(N,): rows that the fold's model is trained on."""
        return ~self.held_out(fold) & ~self.calibration(fold)


def make_split(
    labels: np.ndarray, groups: np.ndarray, folds: int, fraction: float, seed: int
) -> Split:
    """One validation set of `fraction` if `folds` is 1, else K folds and rows set aside for each.

    Args:
        labels: (N, L) of 0 and 1.
        groups: (N,) group numbers 0 … G-1, from `near_duplicate_groups`; a group's rows are
            never separated.

    Raises:
        InputError: if there are too few distinct comments.
    """
    count = check_enough(groups)
    if folds == 1:
        held_out = split_validation(labels, groups, fraction, seed)
        return Split(np.where(held_out, 0, NO_FOLD), np.full(len(labels), NO_FOLD))
    fold = stratified_folds(labels, groups, folds, seed)
    calibrates = stratified_folds(labels, groups, CALIBRATION_PARTS, seed + 1)
    split = Split(fold, np.where(calibrates < folds, calibrates, NO_FOLD))
    for k in split.folds:
        if not (split.calibration(k).any() and split.fitting(k).any()):
            raise InputError(
                f"train: {count} distinct comments are too few for {folds} folds with rows set "
                "aside in each; set folds=1, or give more comments"
            )
    return split


def stratified_folds(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Deal groups into K folds, stratified over the label columns: (N,), 0 … K-1.

    Shapes as in `make_split`.

    Raises:
        InputError: if there are fewer groups than folds.
    """
    distinct, group_of_row = np.unique(groups, return_inverse=True)
    if len(distinct) < folds:
        raise InputError(f"{len(distinct)} distinct comments are too few for {folds} folds")
    strata = _strata(_group_labels(labels, group_of_row, len(distinct)))
    splitter = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    fold_of_group = np.empty(len(distinct), dtype=int)
    for fold, (_, held_out) in enumerate(splitter.split(distinct[:, None], strata)):
        fold_of_group[held_out] = fold
    return fold_of_group[group_of_row]


def near_duplicate_groups(texts: Sequence[str]) -> np.ndarray:
    """Number the comments, equal for identical and nearly identical ones: (N,).

    Nearly: the same words, as often, but for a few (`SIMILARITY`), whatever their case and
    order; directly, or by way of others. A warning pasted with another name is one comment.
    """
    words = [" ".join(sorted(WORD.findall(text.lower()))) for text in texts]
    # A comment without a word is compared as it stands. Copies would use up each other's places
    # among the nearest neighbours, so that each distinct comment stands once.
    same = duplicate_groups([w or text for w, text in zip(words, texts, strict=True)])
    distinct = list(dict.fromkeys(w or text for w, text in zip(words, texts, strict=True)))
    vectorizer = TfidfVectorizer(token_pattern=WORD.pattern, sublinear_tf=True, dtype=np.float32)
    try:
        vectors = vectorizer.fit_transform(distinct)
    except ValueError:  # not a word in all of them
        return same
    neighbours = sp_matmul_topn(
        vectors, vectors.T.tocsr(), NEIGHBOURS, threshold=SIMILARITY, n_threads=-1
    )
    return connected_components(neighbours, directed=False)[1][same]


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
        groups: (N,) group numbers 0 … G-1.
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
    group_labels = _group_labels(labels, groups, count)
    _warn_of_rare_labels(group_labels)
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
    _, held_out = next(splitter.split(group_labels, _strata(group_labels)))
    _check_sides(len(held_out), count, fraction)
    return np.isin(groups, held_out)


def _group_labels(labels: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """A label holds for a group if it holds for one of its comments: (N, L) → (G, L)."""
    group_labels = np.zeros((count, labels.shape[1]), dtype=labels.dtype)
    np.maximum.at(group_labels, groups, labels)
    return group_labels


def _strata(group_labels: np.ndarray) -> np.ndarray:
    """A column more, for "no label": without it all-zero rows would not be spread evenly."""
    return np.hstack([group_labels, 1 - group_labels.max(axis=1, keepdims=True)])


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
    if min(held_out, count - held_out) < FEWEST_ON_A_SIDE:
        raise InputError(
            f"train: holding out {fraction} of {count} distinct comments gives {held_out} for "
            f"validation; at least {FEWEST_ON_A_SIDE} are needed on each side, so change "
            "validation_fraction"
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


def write_split(path: Path, ids: pd.Series, split: Split) -> None:
    """Save the split: columns id, fold and calibrates, as in `Split`."""
    table = pd.DataFrame({ids.name: ids, "fold": split.fold, "calibrates": split.calibrates})
    with paths.replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def read_split(path: Path, ids: pd.Series, folds: int) -> Split:
    """The saved split into `folds` folds, in the order of `ids`.

    Raises:
        InputError: if it is not a split of these ids, or is damaged.
    """
    chunks = [(header, rows) for _, header, rows in read_chunks(path, 65536)]
    columns = [ids.name, "fold", "calibrates"]
    if chunks[0][0] != columns:
        raise InputError(f"{path}: columns must be {show_all(columns)}; delete it")
    saved, *numbers = zip(*(row for _, rows in chunks for row in rows), strict=True)
    if list(saved) != list(ids):
        raise InputError(f"{path}: its ids are not those of the training file; delete it")
    allowed = {str(fold): fold for fold in range(NO_FOLD, folds)}
    for column, values in zip(columns[1:], numbers, strict=True):
        for row, value in enumerate(values, start=1):
            if value not in allowed:
                raise InputError(
                    f"{path}: row {row}, column {show(column)}: {show(value)} is none of "
                    f"{NO_FOLD} … {folds - 1}; delete it"
                )
    return Split(*(np.array([allowed[value] for value in values]) for values in numbers))


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
