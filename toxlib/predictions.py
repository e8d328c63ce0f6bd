"""What models say of the rows they were not trained on: written, read, and laid out by part.

Letters: N training rows, M test rows, L labels, K folds; in a part n rows held out, m set aside.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from toxlib import data, splits
from toxlib.errors import InputError
from toxlib.run import Run

INNER_FOLDS = 5
VALIDATION, CALIBRATION, TEST = (
    f"{name}_predictions.csv" for name in ("validation", "calibration", "test")
)


@dataclass(frozen=True)
class Part:
    """Held-out rows, and others by which to fit what is then applied to them.

    Neither the model that predicted both nor the others' labels know the held-out rows' labels.
    """

    rows: np.ndarray
    """(n,) places among the run's validated rows."""
    probabilities: np.ndarray
    """(n, L)."""
    fit_labels: np.ndarray
    """(m, L) of 0 and 1."""
    fit_probabilities: np.ndarray
    """(m, L)."""

    def transform(self, function: Callable[[np.ndarray], np.ndarray]) -> "Part":
        """The part with both tables of probabilities passed through a function."""
        return replace(
            self,
            probabilities=function(self.probabilities),
            fit_probabilities=function(self.fit_probabilities),
        )


def deal(labels: np.ndarray, probabilities: np.ndarray, hand: np.ndarray) -> list[Part]:
    """One part per number 0, 1, … in `hand`, (n,): its rows held out, all others to fit by."""
    return [
        Part(
            np.flatnonzero(hand == k),
            probabilities[hand == k],
            labels[hand != k],
            probabilities[hand != k],
        )
        for k in range(hand.max() + 1)
    ]


def join(parts: list[Part]) -> np.ndarray:
    """Probabilities of all validated rows, (rows of all parts, L), in the file's order."""
    joined = np.empty((sum(len(part.rows) for part in parts), parts[0].probabilities.shape[1]))
    for part in parts:
        joined[part.rows] = part.probabilities
    return joined


def average(probabilities: list[np.ndarray]) -> np.ndarray:
    """The sigmoid of the mean logit of several predictions of the same shape.

    The mean of logits, not of probabilities: near 0 and 1, where these rows are, a mean of
    probabilities hears only the least certain of the models.
    """
    return expit(np.mean([to_logits(p) for p in probabilities], axis=0))


def to_logits(probabilities: np.ndarray) -> np.ndarray:
    """Logits, finite also where a probability has been rounded to 0 or 1."""
    smallest = 1e-9
    return logit(np.clip(probabilities.astype(np.float64), smallest, 1 - smallest))


def write_fold(run: Run, fold: int, predict: Callable[[list[str]], dict[str, np.ndarray]]) -> None:
    """Let a fold's models predict the rows held out, the rows set aside for it, and the test rows.

    Args:
        predict: from n comments to (n, L) probabilities of each member: "" for the recipe's
            model, else a subfolder's name.
    """
    held_out, aside = run.split.held_out(fold), run.split.calibration(fold)
    tasks = [(VALIDATION, run.ids(held_out), run.texts(held_out))]
    if aside.any():
        tasks.append((CALIBRATION, run.ids(aside), run.texts(aside)))
    tasks.append((TEST, run.tables.test[run.recipe.id_column], run.test_texts))
    for name, ids, texts in tasks:
        for member, probabilities in predict(texts).items():
            path = run.fold_folder(fold) / member / name
            data.write_scores(path, ids, probabilities, run.label_names)


def gather(run: Run, member: str = "") -> None:
    """Join the folds' predictions in the run folder: validation rows in order, test averaged.

    Args:
        member: subfolder of a model that is fitted beside the recipe's, such as `lr`.
    """
    if run.recipe.folds == 1:
        return  # they lie there already
    folders = [run.fold_folder(fold) / member for fold in run.split.folds]
    held_out = np.empty(run.labels.shape)
    for fold, folder in zip(run.split.folds, folders, strict=True):
        rows = run.split.held_out(fold)
        held_out[rows] = _read(folder / VALIDATION, run, run.ids(rows))
    rows, test_ids = run.split.is_validation, run.tables.test[run.recipe.id_column]
    test = average([_read(folder / TEST, run, test_ids) for folder in folders])
    target = run.path(member)
    data.write_scores(target / VALIDATION, run.ids(rows), held_out[rows], run.label_names)
    data.write_scores(target / TEST, test_ids, test, run.label_names)


def read_validation(run: Run, member: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of the validated rows, (n, L) each, in the file's order.

    With several folds they are out-of-fold: each row is predicted by the model that has not
    seen it.
    """
    rows = run.split.is_validation
    return run.labels[rows], _read(run.path(member) / VALIDATION, run, run.ids(rows))


def read_test(run: Run, member: str = "") -> np.ndarray:
    """Probabilities of the test rows, (M, L), averaged over the folds, in the file's order."""
    return _read(run.path(member) / TEST, run, run.tables.test[run.recipe.id_column])


def read_parts(run: Run, member: str = "") -> list[Part]:
    """The parts in which thresholds, calibrators and blend weights are fitted and applied.

    With several folds, a part is a fold and the rows set aside for it. With one validation set,
    that is dealt into `INNER_FOLDS`, and a part is one of these and all the others: no model has
    been trained on any of them.
    """
    labels, split = run.labels, run.split
    places = np.cumsum(split.is_validation) - 1
    if run.recipe.folds == 1:
        truth, probabilities = read_validation(run, member)
        groups = splits.near_duplicate_groups(run.texts(split.is_validation))
        return deal(
            truth,
            probabilities,
            splits.stratified_folds(truth, groups, INNER_FOLDS, run.recipe.seed),
        )
    parts = []
    for fold in split.folds:
        folder = run.fold_folder(fold) / member
        rows, aside = split.held_out(fold), split.calibration(fold)
        parts.append(
            Part(
                places[rows],
                _read(folder / VALIDATION, run, run.ids(rows)),
                labels[aside],
                _read(folder / CALIBRATION, run, run.ids(aside)),
            )
        )
    return parts


def _read(path: Path, run: Run, ids: pd.Series) -> np.ndarray:
    """(n, L), in the order of `ids`."""
    if not path.exists():
        raise InputError(f"{path} is not there yet: {_remedy(run)}")
    table = data.read_scores(path, run.recipe.id_column)
    if list(table.columns[1:]) != run.label_names or list(table.iloc[:, 0]) != list(ids):
        raise InputError(f"{path}: its ids or labels are not this run's; {_remedy(run)}")
    return table[run.label_names].to_numpy()


def _remedy(run: Run) -> str:
    if run.members:
        return "blend the members again"
    return (
        "run 03_train; it makes a fold anew if its training.json, or of the linear models "
        "lr/training.json, is deleted"
    )
