"""The predictions that a run keeps on disk: written fold by fold, read for all rows or by part."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import files
from toxlib.data import kaggle
from toxlib.data.splits import Split
from toxlib.data.tables import same_strings
from toxlib.errors import InputError
from toxlib.evaluation.parts import Part, average, join

OWN = "own"
"""The run's own predictions: its encoder's, or the blend's. Others are those of linear models."""
DONE = "training.json"
"""A fold's record: what its model was trained by, its log and cost. Once it exists, the model is
trained; once all predictions exist too, the fold is finished."""
VALIDATION, SET_ASIDE, TEST = "validation", "set_aside", "test"
"""The rows that a fold's model predicts: those held out, those set aside, and the test rows."""
ALL = None  # as the fold: the rows of all folds; their files lie in the run folder
REMEDY = "run 03_train again, or 06_blend for a blend"


@dataclass(frozen=True)
class Predictions:
    """The predictions of the encoder, a linear model or the blend, by one model per fold.

    The run's own predictions lie in the run folder and the folds' folders. Those of a linear model
    lie in subfolders with the model's name.
    """

    name: str
    folder: Path
    """The run folder."""
    fold_folders: list[Path]
    tables: kaggle.Tables
    split: Split

    def done_path(self, fold: int) -> Path:
        """Return the path of the fold's `DONE`."""
        return self._path(DONE, fold)

    def kinds(self, fold: int) -> list[str]:
        """Return the kinds of rows that the fold's model predicts; some folds set none aside."""
        kinds = (VALIDATION, SET_ASIDE, TEST)
        return [kind for kind in kinds if kind == TEST or self.rows(kind, fold).any()]

    def written(self, fold: int) -> bool:
        """Return whether all predictions of the fold's model are written."""
        return all(self._file(kind, fold).exists() for kind in self.kinds(fold))

    def delete(self, fold: int) -> None:
        """Delete the fold's record and predictions, the record first."""
        self.done_path(fold).unlink(missing_ok=True)
        for kind in self.kinds(fold):
            self._file(kind, fold).unlink(missing_ok=True)

    def records(self) -> list[dict]:
        """Return each fold's `DONE`."""
        return [self.record(fold) for fold in self.split.folds]

    def record(self, fold: int) -> dict:
        """Return a fold's `DONE`; an InputError if it is missing or damaged."""
        path, remedy = self.done_path(fold), "run 03_train again"
        record = files.read_json(path, remedy)
        if not all(isinstance(record.get(key), dict) for key in ("trained_by", "cost")):
            raise InputError(f"{path}: damaged; delete it and {remedy}")
        return record

    def rows(self, kind: str, fold: int | None) -> np.ndarray:
        """Return which rows of the training file, (N,), are `VALIDATION` or `SET_ASIDE`."""
        if fold is ALL:
            return self.split.is_validation
        return self.split.held_out(fold) if kind == VALIDATION else self.split.set_aside(fold)

    def write(self, kind: str, scores: np.ndarray, fold: int | None, digits: int = 9) -> None:
        """Write predictions, (n, L), for the rows of a kind, with their ids."""
        path, ids = self._file(kind, fold), self._ids(kind, fold)
        kaggle.write_scores(path, ids, scores, self.tables.label_names, digits)

    def join_folds(self) -> None:
        """Write the folds' predictions as one: validation rows together, test rows averaged."""
        if self.fold_folders == [self.folder]:
            return  # the only fold's files are the run's files
        self.write(VALIDATION, join(self.parts()), ALL)
        self.write(TEST, average(self._read(TEST, fold) for fold in self.split.folds), ALL)

    def validation(self) -> np.ndarray:
        """Return the predictions for the validation rows, (N, L), in the file's order.

        With several folds they are out-of-fold: no model predicts rows that it was trained on.
        """
        return self._read(VALIDATION, ALL)

    def test(self) -> np.ndarray:
        """Return the predictions for the test rows, (N, L), averaged over the folds."""
        return self._read(TEST, ALL)

    def test_of(self, fold: int) -> np.ndarray:
        """Return the predictions of a fold's model for the test rows, (N, L)."""
        return self._read(TEST, fold)

    def parts(self) -> list[Part]:
        """Return the parts for which thresholds, calibrators, weights are fitted; see `Part`."""
        position = np.cumsum(self.split.is_validation) - 1
        parts, labels, read = [], self.tables.labels, None
        for fold, held_out, fit in self.split.parts():
            if fold != read:  # the parts of a fold follow each other, so one is held at a time
                read, scores = fold, self._by_row(fold)
            parts.append(Part(position[held_out], scores[held_out], labels[fit], scores[fit]))
        return parts

    def _by_row(self, fold: int) -> np.ndarray:
        """Return the fold's predictions by row of the training file, (N, L); NaN if none."""
        predicted = np.full(self.tables.labels.shape, np.nan)
        for kind in (VALIDATION, SET_ASIDE):
            rows = self.rows(kind, fold)
            if rows.any():
                predicted[rows] = self._read(kind, fold)
        return predicted

    def _ids(self, kind: str, fold: int | None) -> pd.Series:
        tables = self.tables
        return tables.test_ids if kind == TEST else tables.train_ids[self.rows(kind, fold)]

    def _file(self, kind: str, fold: int | None) -> Path:
        return self._path(f"{kind}_predictions.csv", fold)

    def _path(self, file: str, fold: int | None) -> Path:
        folder = self.folder if fold is ALL else self.fold_folders[fold]
        return folder / file if self.name == OWN else folder / self.name / file

    def _read(self, kind: str, fold: int | None) -> np.ndarray:
        """Read (n, L) probabilities and check their labels and ids."""
        path, ids = self._file(kind, fold), self._ids(kind, fold)
        if not path.exists():
            raise InputError(f"{path}: no such file; {REMEDY}")
        names = self.tables.label_names
        try:
            table = kaggle.read_scores(path, ids.name)
        except InputError:  # its remedies are for files that people bring
            raise InputError(f"{path}: damaged; delete it and {REMEDY}") from None
        if list(table.columns[1:]) != names or not same_strings(table[ids.name], ids):
            fault = "its ids or labels are not those of this run"
            raise InputError(f"{path}: {fault}; delete it and {REMEDY}")
        return table[names].to_numpy()
