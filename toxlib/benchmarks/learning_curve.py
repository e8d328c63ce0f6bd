"""How the error falls with more training comments, and what that lets one expect of more.

The error, 1 − AUC, of many models falls with a power of the number of training examples (Hestness
et al. 2017, arXiv:1712.00409), so that it lies on a line if both axes are logarithmic.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import files
from toxlib.benchmarks.ablation import (
    DEFAULT,
    REFERENCE,
    Setting,
    path_of,
    prepare_rows,
    read_training,
    recipe_for,
    train_all,
)
from toxlib.benchmarks.rows import Rows, read_rows
from toxlib.data import splits
from toxlib.data.duplicates import near_duplicate_groups
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.evaluation.parts import Part, join
from toxlib.evaluation.weights import fit_part_weights
from toxlib.recipe_values import Recipe
from toxlib.runs.lock import lock
from toxlib.training.linear import LinearModels

SIZES = (2, 4, 8, 11)
"""Blocks to train on: 2,630 to 14,407 of the 20,888 real rows."""
KAGGLE = round(159_571 * 0.72)
"""The comments that a model of five folds trains on in Kaggle's file; a tenth is set aside."""


def learning_curve(
    folder: Path, output: Path, jobs: int = 1, max_length: int = DEFAULT.max_length
) -> pd.DataFrame:
    """Train on 2, 4, 8 and 11 blocks; return the AUC on the judged rows by size and model.

    The last line has the extrapolation to Kaggle's file. The blend's weights are fitted on one
    half of the judged rows and applied to the other one.

    Args:
        folder: holds Kaggle's files.
        output: keeps the trainings; those that are there are not repeated.
        jobs: trainings at the same time. The largest begins, because it takes longest.
        max_length: the most tokens of a comment that are read.
    """
    files.check_folder(output)
    lock(output)
    rows = read_rows(folder)
    recipe = recipe_for(REFERENCE, 0, Setting(max_length=max_length))
    train_all(rows, [(recipe, size, _path(output, size)) for size in SIZES[::-1]], jobs)
    lines = {len(rows.training(n)[0]): _scores(rows, recipe, n, output) for n in SIZES}
    table = pd.DataFrame(lines).T.rename_axis("comments")
    table.loc[KAGGLE] = {name: 1 - extrapolate(1 - table[name], KAGGLE) for name in table}
    return table


def extrapolate(errors: pd.Series, comments: int) -> float:
    """Return the error expected with so many training comments, by a power law.

    Args:
        errors: 1 − AUC, its index the number of training comments.
    """
    slope, intercept = np.polyfit(np.log(errors.index.to_numpy(float)), np.log(errors), 1)
    return float(np.exp(intercept + slope * np.log(comments)))


def _path(output: Path, blocks: int) -> Path:
    return path_of(output, f"{REFERENCE}, {blocks} blocks", 0)


def _scores(rows: Rows, recipe: Recipe, blocks: int, output: Path) -> dict[str, float]:
    """Return the AUC of the linear models, the encoder and their blend."""
    training, prepared = prepare_rows(rows, recipe, blocks)
    texts, labels = prepared["judged"], rows.judged[1]
    models = LinearModels().fit(training.texts, training.labels).predict(texts)
    models[REFERENCE] = read_training(_path(output, blocks))["judged"]
    half = splits.stratified_folds(labels, near_duplicate_groups(texts), 2, 0)
    parts = [[_part(p, labels, half == side) for side in (0, 1)] for p in models.values()]
    models["blend"] = join(fit_part_weights(labels, parts).parts)
    return {name: mean_columnwise_auc(labels, p) for name, p in models.items()}


def _part(probabilities: np.ndarray, labels: np.ndarray, held_out: np.ndarray) -> Part:
    fit = labels[~held_out], probabilities[~held_out]
    return Part(np.flatnonzero(held_out), probabilities[held_out], *fit)
