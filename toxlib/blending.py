"""Blend the predictions of several runs: a weighted mean of logits, weights fitted out of fold.

Letters: N comments, M members, L labels, K folds.
"""

import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from toxlib import data, intervals, predictions
from toxlib.errors import InputError
from toxlib.linear import LINEAR
from toxlib.predictions import CALIBRATION, TEST, VALIDATION, Part, to_logits
from toxlib.recipes import Recipe
from toxlib.run import Run, claim, reopen_all, run_folder, set_up_display

PULL = 0.01
"""How strongly weights are drawn to the plain average: see `fit_weights`."""
BLEND = "blend"
WEIGHTS = ("fitted", "equal")


@dataclass(frozen=True)
class Member:
    """One model of a blend: a run's own, or one of the linear ones fitted beside it."""

    name: str
    run: Run
    subfolder: str = ""


def open_blend(
    folders: Sequence[str], run_dir: str = "", weights: str = "fitted"
) -> tuple[Run, list[Member]]:
    """Read the runs to blend, check that they fit together, and open the blend's run folder.

    The linear models of the first run are members too: fitted on the same rows, every run's are
    the same.

    Args:
        folders: finished run folders, of several folds each.
        run_dir: the blend's folder; empty: `outputs/blend`.
        weights: `fitted`, or `equal` for the plain average of logits.

    Raises:
        InputError: if there is none, one is unfinished, or they differ in data or folds.
    """
    set_up_display()
    if weights not in WEIGHTS:
        raise InputError(f"weights={weights}: choose {' or '.join(WEIGHTS)}")
    if not folders:
        raise InputError("nothing to blend: give at least one finished run folder")
    runs = reopen_all(folders)
    for run in runs:
        _check_fits(run, runs[0])
    target = run_folder(BLEND, run_dir)
    if target in {run.folder for run in runs}:
        raise InputError(
            f"{target}: the blend needs a folder of its own; choose another --run-dir"
        )
    members = [Member(name, run) for name, run in zip(_names(runs), runs, strict=True)]
    members += [Member(name, runs[0], name) for name in LINEAR]
    for member in members:
        predictions.read_test(member.run, member.subfolder)  # finished?
    first = runs[0].recipe
    kept = ("folds", "seed", "clean", "id_column", "text_column", "wanted_precision")
    name = BLEND if weights == "fitted" else f"{BLEND} of equal weights"
    recipe = Recipe(name, checkpoint="", **{key: getattr(first, key) for key in kept})
    paths = tuple(str(run.folder) for run in runs)
    blend = Run(recipe, target, runs[0].data_dir, runs[0].is_sample, runs[0].tables, paths)
    claim(blend)
    shutil.copyfile(runs[0].path("split.csv"), blend.path("split.csv"))
    return blend, members


def _check_fits(run: Run, first: Run) -> None:
    if run.members:
        raise InputError(
            f"{run.folder}: a blend itself; name its members, {' '.join(run.members)}"
        )
    if run.recipe.folds == 1:
        raise InputError(
            f"{run.folder}: a run of one validation set; a blend's weights are fitted on rows set "
            "aside in every fold, so run it with folds=5"
        )
    same = np.array_equal(run.split.fold, first.split.fold)
    if not (same and np.array_equal(run.split.calibrates, first.split.calibrates)):
        raise InputError(
            f"{run.folder}: its folds are not those of {first.folder}; run both with the same "
            "folds, seed and clean"
        )


def _names(runs: list[Run]) -> list[str]:
    """The folders' names, numbered where one stands twice or is taken."""
    names = [run.folder.name for run in runs]
    taken = [*names, *LINEAR, BLEND]
    return [
        name if taken.count(name) == 1 else f"{name} ({number})"
        for number, name in enumerate(names, start=1)
    ]


def correlations(members: list[Member]) -> pd.DataFrame:
    """Correlation of the members' out-of-fold logits, (M, M), the mean over the labels.

    What is far from 1 adds something of its own.
    """
    logits = [to_logits(predictions.read_validation(m.run, m.subfolder)[1]) for m in members]
    tables = [pd.DataFrame([x[:, j] for x in logits]).T for j in range(logits[0].shape[1])]
    per_label = [table.corr().to_numpy() for table in tables]
    names = [member.name for member in members]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # logits that are constant for all labels
        return pd.DataFrame(np.nanmean(per_label, axis=0), index=names, columns=names)


def fit_weights(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Weights of the members' logits, not below 0 and of sum 1, for each label.

    They have the least log loss plus `PULL` times their squared distance from equal weights: a
    convex problem with one solution. Without the pull, a rare label's few positives would decide
    by chance; with it, labels may still differ, as members do: an encoder is strong where there
    are many positives, a linear model where there are few.

    Args:
        labels: (N, L) of 0 and 1.
        probabilities: (M, N, L), of rows that no member was trained on.

    Returns:
        (L, M).
    """
    logits = to_logits(probabilities)
    return np.array([_fit_column(labels[:, j], logits[:, :, j]) for j in range(labels.shape[1])])


def _fit_column(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    equal = np.full(len(logits), 1 / len(logits))
    if len(np.unique(labels)) < 2:
        return equal  # nothing to be learnt

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        blended = weights @ logits
        value = np.mean(np.logaddexp(0, blended) - labels * blended)
        gradient = logits @ (expit(blended) - labels) / len(labels)
        away = weights - equal
        return value + PULL * away @ away, gradient + 2 * PULL * away

    fitted = minimize(
        loss,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(equal),
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-10},
    )
    return fitted.x


def apply_weights(weights: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The sigmoid of the weighted mean of logits: (L, M) and (M, N, L) → (N, L)."""
    return expit(np.einsum("lm,mnl->nl", weights, to_logits(probabilities)))


@dataclass(frozen=True)
class Blended:
    """Weights that were fitted on some rows and applied to others."""

    parts: list[Part]
    """Blended; each by weights fitted on the rows set aside for it."""
    per_part: np.ndarray
    """(K, L, M): the spread shows how far a weight can be trusted."""
    final: np.ndarray
    """(L, M), fitted on all out-of-fold predictions: for the test rows."""


def blend_parts(labels: np.ndarray, members: list[Member], equal: bool = False) -> Blended:
    """Fit weights part by part, and once on all rows; `equal`: the plain average of logits.

    Args:
        labels: (N, L) of the validated rows, in the file's order.
    """
    count = len(members)
    fit = (lambda truth, _: np.full((truth.shape[1], count), 1 / count)) if equal else fit_weights
    by_member = [predictions.read_parts(member.run, member.subfolder) for member in members]
    parts, weights = [], []
    for each in zip(*by_member, strict=True):  # one part, as each member predicts it
        aside = np.stack([part.fit_probabilities for part in each])
        weights.append(fit(each[0].fit_labels, aside))
        held_out = apply_weights(weights[-1], np.stack([part.probabilities for part in each]))
        parts.append(
            Part(each[0].rows, held_out, each[0].fit_labels, apply_weights(weights[-1], aside))
        )
    everything = np.stack([predictions.join(parts_of) for parts_of in by_member])
    return Blended(parts, np.stack(weights), fit(labels, everything))


def write_blend(run: Run, members: list[Member], blended: Blended) -> np.ndarray:
    """Leave the blend's predictions where a run leaves its own; returns those of the test rows."""
    for fold, part in zip(run.split.folds, blended.parts, strict=True):
        folder, names = run.fold_folder(fold), run.label_names
        held_out, aside = run.split.held_out(fold), run.split.calibration(fold)
        data.write_scores(folder / VALIDATION, run.ids(held_out), part.probabilities, names)
        data.write_scores(folder / CALIBRATION, run.ids(aside), part.fit_probabilities, names)
    rows = run.split.is_validation
    joined = predictions.join(blended.parts)
    data.write_scores(run.path(VALIDATION), run.ids(rows), joined, run.label_names)
    test = np.stack([predictions.read_test(m.run, m.subfolder) for m in members])
    probabilities = apply_weights(blended.final, test)
    test_ids = run.tables.test[run.recipe.id_column]
    data.write_scores(run.path(TEST), test_ids, probabilities, run.label_names)
    return probabilities


def weights_table(
    blended: Blended, members: list[Member], label_names: Sequence[str]
) -> pd.DataFrame:
    """The final weight of each member, and the parts' lowest and highest, per label."""
    table = {}
    for m, member in enumerate(members):
        table[member.name] = [
            f"{final:.2f} ({low:.2f} to {high:.2f})"
            for final, low, high in zip(
                blended.final[:, m],
                blended.per_part[:, :, m].min(axis=0),
                blended.per_part[:, :, m].max(axis=0),
                strict=True,
            )
        ]
    return pd.DataFrame(table, index=pd.Index(label_names, name="label"))


def blend_report(run: Run, members: list[Member], blended: Blended) -> dict:
    """The blend's scores beside its members', ready for JSON."""
    labels = run.labels[run.split.is_validation]
    others = {m.name: predictions.read_validation(m.run, m.subfolder)[1] for m in members}
    note = "Out-of-fold: no model has been trained, and no weight fitted, on rows it is judged on."
    joined = predictions.join(blended.parts)
    report = intervals.compare(labels, joined, others, run.label_names, note)
    names = [member.name for member in members]
    weights = {
        label: dict(zip(names, row, strict=True))
        for label, row in zip(run.label_names, blended.final.tolist(), strict=True)
    }
    return report | {"weights": weights}
