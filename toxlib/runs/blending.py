"""Blend finished runs: a weighted mean of their logits, with weights fitted out of fold.

A blend is a run whose members are the models of other runs. It has a run folder of its own, on
which 04_thresholds and 05_submission work as on any other.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import files
from toxlib.errors import InputError
from toxlib.evaluation import intervals
from toxlib.evaluation.parts import join, to_logits
from toxlib.evaluation.weights import Blended, apply_weights, fit_part_weights
from toxlib.recipes import Recipe
from toxlib.runs.predictions import SET_ASIDE, VALIDATION, Predictions
from toxlib.runs.run import Run, reopen_all, run_folder, set_up_display
from toxlib.training.linear import LINEAR

BLEND = "blend"
WEIGHTS_FILE = "weights.json"
WEIGHTINGS = ("fitted", "equal")
KEPT = ("folds", "seed", "id_column", "text_column", "wanted_precision", "mask_comments")
"""Recipe values that a blend takes over from its first run."""
EXACT = 17
"""Digits with which a float64 is written exactly, so that 04 fits on the blend's very scores."""


@dataclass(frozen=True)
class Member:
    """One model of a blend: a run's encoder, or a linear model that was fitted beside it."""

    name: str
    run: Run
    predictions: Predictions


def open_blend(
    folders: Sequence[str], run_dir: str = "", weights: str = "fitted"
) -> tuple[Run, list[Member]]:
    """Check that runs can be blended, and claim a run folder for their blend.

    The linear models of the first run become members as well. Those of the other runs are equal
    to them, because they are fitted on the same rows.

    Args:
        folders: finished run folders, of several folds each.
        run_dir: the blend's folder; if empty, `outputs/blend`.
        weights: `fitted`, or `equal` for the plain average of logits.

    Raises:
        InputError: if there are no runs, one is unfinished, or they differ in data or folds.
    """
    set_up_display()
    if weights not in WEIGHTINGS:
        raise InputError(f"weights={weights}: choose {' or '.join(WEIGHTINGS)}")
    if not folders:
        raise InputError("nothing to blend: give at least one finished run folder")
    runs = reopen_all(folders)
    first = runs[0]
    for run in runs:
        _check_fits(run, first)
    target = run_folder(run_dir, BLEND)
    if target in [run.folder for run in runs]:
        raise InputError(
            f"{target}: the blend needs a folder of its own; choose another --run-dir"
        )
    members = [
        Member(n, run, run.predictions()) for n, run in zip(_names(runs), runs, strict=True)
    ]
    members += [Member(name, first, first.predictions(name)) for name in LINEAR]
    for member in members:
        member.predictions.test()  # raises an InputError if the run is not finished
    name = BLEND if weights == "fitted" else f"{BLEND} of equal weights"
    recipe = Recipe(name, checkpoint="", **{key: getattr(first.recipe, key) for key in KEPT})
    sources = {
        m.name: {"run": _relative(m.run.folder, target), "predictions": m.predictions.name}
        for m in members
    }
    blend = Run(recipe, target, first.data_dir, first.is_sample, first.tables, sources)
    blend.claim(first.split)
    return blend, members


def correlations(members: list[Member]) -> pd.DataFrame:
    """Return the correlation of the members' out-of-fold logits, (M, M), averaged over labels.

    A member that correlates little with the others adds most to a blend.
    """
    logits = [to_logits(member.predictions.validation()) for member in members]
    tables = [pd.DataFrame([x[:, j] for x in logits]).T for j in range(logits[0].shape[1])]
    per_label = [table.corr().to_numpy() for table in tables]
    names = [member.name for member in members]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a model may be constant for all labels
        return pd.DataFrame(np.nanmean(per_label, axis=0), index=names, columns=names)


def blend_parts(labels: np.ndarray, members: list[Member], equal: bool = False) -> Blended:
    """Fit weights for each part, and once on all validation rows, and blend the members with them.

    Args:
        labels: (N, L) of the validation rows, in the file's order.
        equal: use the plain average of logits.
    """
    return fit_part_weights(labels, [m.predictions.parts() for m in members], equal)


def write_blend(run: Run, members: list[Member], blended: Blended) -> None:
    """Write the blend's predictions and weights to its run folder, as any run keeps its own."""
    own = run.predictions()
    for fold, part in zip(run.split.folds, blended.parts, strict=True):
        own.write_fold(fold, VALIDATION, part.probabilities, EXACT)
        own.write_fold(fold, SET_ASIDE, part.fit_probabilities, EXACT)
    test = np.stack([member.predictions.test() for member in members])
    own.write(join(blended.parts), apply_weights(blended.final, test), EXACT)
    names = [member.name for member in members]
    rows = zip(run.label_names, blended.final.tolist(), strict=True)
    weights = {label: dict(zip(names, row, strict=True)) for label, row in rows}
    files.write_json(run.path(WEIGHTS_FILE), weights)


def weights_table(
    blended: Blended, members: list[Member], label_names: Sequence[str]
) -> pd.DataFrame:
    """Return each member's final weight, and its lowest and highest over the parts, per label."""
    lowest, highest = blended.per_part.min(axis=0), blended.per_part.max(axis=0)
    table = {}
    for m, member in enumerate(members):
        columns = zip(blended.final[:, m], lowest[:, m], highest[:, m], strict=True)
        table[member.name] = [f"{w:.2f} ({low:.2f} to {high:.2f})" for w, low, high in columns]
    return pd.DataFrame(table, index=pd.Index(label_names, name="label"))


def blend_report(run: Run, members: list[Member], blended: Blended) -> dict:
    """Return the blend's scores beside those of its members, ready for JSON."""
    others = {member.name: member.predictions.validation() for member in members}
    note = "Out-of-fold: no model was trained, and no weight fitted, on rows that it is judged on."
    return intervals.evaluate_against(
        run.validation_labels, join(blended.parts), others, run.label_names, note
    )


def _check_fits(run: Run, first: Run) -> None:
    if run.members:
        raise InputError(
            f"{run.folder}: this is a blend itself; give the runs that it was made from"
        )
    if run.recipe.folds == 1:
        raise InputError(
            f"{run.folder}: a run with one validation set; a blend's weights are fitted on rows "
            "set aside in every fold, so run it with folds=5"
        )
    if any(not np.array_equal(a, vars(first.split)[n]) for n, a in vars(run.split).items()):
        raise InputError(
            f"{run.folder}: its folds are not those of {first.folder}; run both with the same "
            "folds and seed"
        )


def _names(runs: list[Run]) -> list[str]:
    """Return the folders' names, numbered where two are alike or one is taken."""
    names = [run.folder.name for run in runs]
    taken = [*names, *LINEAR, BLEND]
    return [
        name if taken.count(name) == 1 else f"{name} ({number})"
        for number, name in enumerate(names, start=1)
    ]


def _relative(folder: Path, blend: Path) -> str:
    """Return a path relative to the blend's folder if it lies inside, so that both can move."""
    return str(folder.relative_to(blend) if folder.is_relative_to(blend) else folder)
