"""The predictions that a run keeps on disk: written fold by fold, read for all rows or by part."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib.data import kaggle
from toxlib.data.splits import Split
from toxlib.errors import InputError
from toxlib.evaluation.parts import Part, average

OWN = "own"
"""The run's own predictions: its encoder's, or the blend's. Others are those of linear models."""
DONE = "training.json"
"""Each fold's last file: a fold that has it is finished. It holds the fold's cost and log."""
VALIDATION, SET_ASIDE, TEST = "validation", "set_aside", "test"
"""The rows that a fold's model predicts: those held out, those set aside, and the test rows."""


@dataclass(frozen=True)
class Predictions:
    """The predictions of one kind of model in a run, by one model per fold.

    The files of the run's own predictions lie in the run folder and the folds' folders; those of
    any other model lie in subfolders of these, which are called as the model is.
    """

    name: str
    folder: Path
    """The run folder."""
    fold_folders: list[Path]
    tables: kaggle.Tables
    split: Split
    remedy: str
    """What an error message tells the user to do when predictions are missing."""

    @property
    def done(self) -> bool:
        """Whether every fold is finished."""
        return all(self.done_path(fold).exists() for fold in self.split.folds)

    def done_path(self, fold: int) -> Path:
        """Return the path of the fold's last file, `DONE`."""
        return self._inside(self.fold_folders[fold]) / DONE

    def rows(self, fold: int, kind: str) -> np.ndarray:
        """Return which training rows, (N,), are of a kind: `VALIDATION` or `SET_ASIDE`."""
        return self.split.held_out(fold) if kind == VALIDATION else self.split.set_aside(fold)

    def write_fold(self, fold: int, kind: str, probabilities: np.ndarray, digits: int = 9) -> None:
        """Write what a fold's model predicts for the rows of a kind, (n, L), with their ids."""
        ids = (
            self.tables.test_ids if kind == TEST else self.tables.train_ids[self.rows(fold, kind)]
        )
        path = self._path(self.fold_folders[fold], kind)
        kaggle.write_scores(path, ids, probabilities, self.tables.label_names, digits)

    def write(self, validation: np.ndarray, test: np.ndarray, digits: int = 9) -> None:
        """Write predictions for all validation rows and all test rows to the run folder."""
        names, ids = self.tables.label_names, self.tables.train_ids[self.split.is_validation]
        kaggle.write_scores(self._path(self.folder, VALIDATION), ids, validation, names, digits)
        kaggle.write_scores(self._path(self.folder, TEST), self.tables.test_ids, test, names)

    def join_folds(self) -> None:
        """Write the folds' predictions as one: validation rows together, test rows averaged."""
        if self.fold_folders == [self.folder]:
            return  # the only fold's files are the run's files
        joined = np.empty(self.tables.labels.shape)
        tests = []
        for fold, folder in enumerate(self.fold_folders):
            held_out = self.split.held_out(fold)
            joined[held_out] = self._read(folder, VALIDATION, self.tables.train_ids[held_out])
            tests.append(self._read(folder, TEST, self.tables.test_ids))
        self.write(joined[self.split.is_validation], average(tests))

    def validation(self) -> np.ndarray:
        """Return the predictions for the validation rows, (N, L), in the file's order.

        With several folds they are out-of-fold: each row is predicted by the one model that was
        not trained on it.
        """
        ids = self.tables.train_ids[self.split.is_validation]
        return self._read(self.folder, VALIDATION, ids)

    def test(self) -> np.ndarray:
        """Return the predictions for the test rows, (N, L), averaged over the folds."""
        return self._read(self.folder, TEST, self.tables.test_ids)

    def parts(self) -> list[Part]:
        """Return the parts in which thresholds, calibrators and blend weights are fitted."""
        position = np.cumsum(self.split.is_validation) - 1
        by_fold = {fold: self._by_row(fold) for fold in self.split.folds}
        return [
            Part(
                rows=position[held_out],
                probabilities=by_fold[fold][held_out],
                fit_labels=self.tables.labels[fit],
                fit_probabilities=by_fold[fold][fit],
            )
            for fold, held_out, fit in self.split.parts()
        ]

    def _by_row(self, fold: int) -> np.ndarray:
        """Return what the fold's model predicted for the training rows, (N, L); NaN elsewhere."""
        predicted = np.full(self.tables.labels.shape, np.nan)
        for kind in (VALIDATION, SET_ASIDE):
            rows = self.rows(fold, kind)
            if rows.any():
                ids = self.tables.train_ids[rows]
                predicted[rows] = self._read(self.fold_folders[fold], kind, ids)
        return predicted

    def _inside(self, folder: Path) -> Path:
        return folder if self.name == OWN else folder / self.name

    def _path(self, folder: Path, kind: str) -> Path:
        return self._inside(folder) / f"{kind}_predictions.csv"

    def _read(self, folder: Path, kind: str, ids: pd.Series) -> np.ndarray:
        """Read (n, L) probabilities and check that they are those of `ids`, in order."""
        path = self._path(folder, kind)
        if not path.exists():
            raise InputError(f"{path}: no such file yet; {self.remedy}")
        table = kaggle.read_scores(path, ids.name)
        names = self.tables.label_names
        if list(table.columns[1:]) != names or list(table.iloc[:, 0]) != list(ids):
            raise InputError(f"{path}: its ids or labels are not those of this run; {self.remedy}")
        return table[names].to_numpy()
