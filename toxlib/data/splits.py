"""Split the rows: which comments a model is trained on and judged on, and which are set aside."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit

from toxlib import files
from toxlib.data.duplicates import near_duplicate_groups
from toxlib.data.tables import parse_labels, read_labelled, same_strings
from toxlib.errors import InputError

FEWEST_COMMENTS, FEWEST_ON_A_SIDE = 20, 5
NONE = -1
VALIDATION_PARTS = 5  # of a single validation set; what is fitted on four is applied to the fifth
SET_ASIDE_PARTS = 10  # one in ten of a fold's training rows is set aside


class Split:
    """What each row is used for in each fold. Rows are given as booleans, (N,).

    `parts()` returns (fold, held-out rows, rows to fit on) for each part: thresholds, calibrators
    and blend weights are fitted on the latter and applied to the former. `chooses_epoch` is True
    if the held-out rows choose the best epoch; `note` says how far their scores can be trusted.
    """

    @property
    def folds(self) -> range:
        return range(int(self.fold.max()) + 1)

    @property
    def is_validation(self) -> np.ndarray:
        """The rows that some fold holds out."""
        return self.fold != NONE

    def held_out(self, fold: int) -> np.ndarray:
        """Return the rows that the fold's model is judged on."""
        return self.fold == fold

    def set_aside(self, fold: int) -> np.ndarray:
        """Return the rows that the fold's model could be trained on but is not."""
        return (self.set_aside_for == fold) & ~self.held_out(fold)

    def trained_on(self, fold: int) -> np.ndarray:
        """Return the rows that the fold's model is trained on."""
        return ~self.held_out(fold) & ~self.set_aside(fold)


@dataclass(frozen=True)
class HoldOut(Split):
    """One validation set in parts. The only model is trained on all other rows."""

    part: np.ndarray  # (N,): the row's part of the validation set, 0 to 4; -1 if trained on
    set_aside_for = NONE
    chooses_epoch = True
    note = "Somewhat optimistic: the epoch was chosen on the validation rows."

    @property
    def fold(self) -> np.ndarray:
        return np.where(self.part == NONE, NONE, 0)

    def parts(self) -> list[tuple[int, np.ndarray, np.ndarray]]:
        masks = [self.part == part for part in range(VALIDATION_PARTS)]
        return [(0, mask, self.is_validation & ~mask) for mask in masks]


@dataclass(frozen=True)
class KFold(Split):
    """Each row is held out once, and a tenth of each fold's training rows is set aside.

    What is applied to fold k is fitted on the rows set aside for it. The out-of-fold predictions
    of the other folds would not do, because the models that made them were trained on fold k.
    """

    fold: np.ndarray  # (N,): the fold that holds the row out, 0 to K-1
    set_aside_for: np.ndarray  # (N,): a fold, or -1; ignored if that fold holds the row out
    chooses_epoch = False
    note = "Out-of-fold: no model was trained on the rows that it is judged on."

    def parts(self) -> list[tuple[int, np.ndarray, np.ndarray]]:
        return [(fold, self.held_out(fold), self.set_aside(fold)) for fold in self.folds]


def make_split(
    texts: Sequence[str], labels: np.ndarray, folds: int, share: float, seed: int
) -> Split:
    """Draw a `HoldOut` of a `share` of the comments if `folds` is 1, else a `KFold`.

    Both are stratified over the labels, (N, L). Nearly identical comments get the same role.
    """
    groups = near_duplicate_groups(texts)
    count = len(np.unique(groups))
    fault = f"train: {count} distinct comments are too few"
    if count < FEWEST_COMMENTS:
        raise InputError(f"{fault} to split; give at least {FEWEST_COMMENTS}")
    if folds == 1:
        rows = draw_validation(labels, groups, share, seed)
        part = np.full(len(texts), NONE)
        part[rows] = stratified_folds(labels[rows], groups[rows], VALIDATION_PARTS, seed)
        return HoldOut(part)
    aside = stratified_folds(labels, groups, SET_ASIDE_PARTS, seed + 1)
    fold = stratified_folds(labels, groups, folds, seed)
    split = KFold(fold, np.where(aside < folds, aside, NONE))
    if not all(split.set_aside(k).any() and split.trained_on(k).any() for k in split.folds):
        fault += f" for {folds} folds with rows set aside in each"
        raise InputError(f"{fault}; set folds=1, or give more comments")
    return split


def stratified_folds(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return each row's fold, (N,), stratified over the labels, (N, L); a group is in one fold."""
    splitter = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    return np.argmax(_draw(splitter, labels, groups), axis=0)  # each row is held out once


def draw_validation(labels: np.ndarray, groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return True for each validation row, (N,), stratified over the labels, (N, L).

    `share` is that of the groups to hold out; a group stays on one side. A warning names each
    label that has too few comments for both sides.
    """
    for label, column in enumerate(labels.T, start=1):
        positives = len(np.unique(groups[column == 1]))
        if positives < 2:
            fault = f"label column {label} has {positives} positive comments"
            warnings.warn(f"{fault}, too few for both sides of the split", stacklevel=2)
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    held_out = _draw(splitter, labels, groups)[0]
    drawn, count = len(np.unique(groups[held_out])), len(np.unique(groups))
    if min(drawn, count - drawn) < FEWEST_ON_A_SIDE:
        fault = f"{drawn} of {count} distinct comments would be held out; each side needs"
        raise InputError(f"train: {fault} {FEWEST_ON_A_SIDE}, so change validation_fraction")
    return held_out


def _draw(splitter, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the rows that each split holds out, (splits, N), with all rows of a group together.

    iterative-stratification (Sechidis 2011) cannot keep rows together, so we give it one row per
    group, with all labels of the group's comments. The last column means "no label"; without it,
    the comments without labels would not be spread evenly.
    """
    strata = pd.DataFrame(labels).groupby(groups).max().to_numpy()
    strata = np.hstack([strata, 1 - strata.max(axis=1, keepdims=True)])  # (groups, L + 1)
    group_of_row = np.unique(groups, return_inverse=True)[1]
    return np.stack([np.isin(group_of_row, drawn) for _, drawn in splitter.split(strata, strata)])


def write_split(path: Path, ids: pd.Series, split: Split) -> None:
    """Save the split as CSV: the ids, then the arrays of the split as columns."""
    with files.replacing(path) as temporary:
        pd.DataFrame({ids.name: ids, **vars(split)}).to_csv(temporary, index=False)


def read_split(path: Path, ids: pd.Series, folds: int) -> Split:
    """Read a saved split into `folds` folds; an InputError if it is not one of these ids."""
    kind, limit = (HoldOut, VALIDATION_PARTS) if folds == 1 else (KFold, folds)
    columns = [field.name for field in fields(kind)]
    parse = partial(parse_labels, path, values={str(n): n for n in range(NONE, limit)}, remedy="")
    try:
        table, _ = read_labelled(path, (ids.name,), parse, ",".join(columns))
    except InputError:  # its remedies are for files that people bring
        table = pd.DataFrame({ids.name: []})
    if not same_strings(table[ids.name], ids):
        fault = "damaged, or not the split of this training file into its folds"
        raise InputError(
            f"{path}: {fault}; delete it and run 03_train again, or 06_blend for a blend"
        )
    return kind(*(table[column].to_numpy() for column in columns))
