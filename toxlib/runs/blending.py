"""Blend finished runs: a weighted mean of their logits, with weights fitted out of fold.

A blend is a run whose members are the models of other runs: their encoders, and the linear models
fitted beside the first. 04_thresholds and 05_submission work on its run folder as on any other.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from toxlib import files
from toxlib.errors import InputError
from toxlib.evaluation import intervals
from toxlib.evaluation.parts import join, to_logits
from toxlib.evaluation.weights import Blended, apply_weights, fit_part_weights
from toxlib.recipe_values import Recipe
from toxlib.runs.predictions import ALL, OWN, SET_ASIDE, TEST, VALIDATION, Predictions
from toxlib.runs.run import Run, reopen, reopen_all, run_folder
from toxlib.training.linear import LINEAR

BLEND = "blend"
EQUAL = f"{BLEND} of equal weights"
"""The recipe's name of a blend whose weights are not fitted."""
WEIGHTS_FILE = "weights.json"
KEPT = (
    *("folds", "seed", "wanted_precision", "mask_comments"),
    *("id_column", "text_column", "label_columns"),
)
"""Recipe values that a blend takes over from its first run."""
EXACT = 17  # digits that keep a float64 unchanged, so that 04 reads exactly what was computed
Members = dict[str, Predictions]  # the name of each model of a blend → its predictions


def open_blend(
    folders: Sequence[str], run_dir: str = "", weights: str = "fitted"
) -> tuple[Run, Members]:
    """Check that runs can be blended, and claim a run folder for their blend.

    The linear models of the first run become members as well. Those of the other runs are left
    out: they are fitted on the same rows, and differ at most in `clean_spelling`.

    Args:
        folders: finished run folders of several folds each, with the same data and folds.
        run_dir: the blend's folder; if empty, `outputs/blend`.
        weights: `fitted`, or `equal` for the plain average of logits.
    """
    if weights not in ("fitted", "equal"):
        raise InputError(f"weights={weights}: choose fitted or equal")
    if not folders:
        raise InputError("nothing to blend: give at least one finished run folder")
    runs, target = reopen_all(folders, (*LINEAR, BLEND)), run_folder(run_dir, BLEND)
    first = next(iter(runs.values()))
    for run in runs.values():
        _check_fits(run, first, target)
    members = {name: run.predictions() for name, run in runs.items()}
    members |= {name: first.predictions(name) for name in LINEAR}
    for member in members.values():
        member.test()  # raises an InputError if the run is not finished
    sources = {
        name: {"run": _relative(member.folder, target), "predictions": member.name}
        for name, member in members.items()
    }
    name = BLEND if weights == "fitted" else EQUAL
    recipe = Recipe(name, checkpoint="", **{key: getattr(first.recipe, key) for key in KEPT})
    blend = Run(recipe, target, first.data_dir, first.is_sample, first.tables, sources)
    blend.claim(first.split)
    return blend, members


def correlations(members: Members) -> pd.DataFrame:
    """Return the correlation of the members' out-of-fold logits, (M, M), averaged over labels."""
    logits = np.stack([to_logits(member.validation()) for member in members.values()])  # (M, N, L)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a model may be constant for all labels
        per_label = [np.corrcoef(logits[:, :, j]) for j in range(logits.shape[2])]
        mean = np.nanmean(per_label, axis=0)
    return pd.DataFrame(mean, index=list(members), columns=list(members))


def disagreements(labels: np.ndarray, members: Members) -> pd.DataFrame:
    """Return the share of one member's yes decisions that another does not share, (M, M).

    Each member says yes to as many out-of-fold comments as have the label, so that members of
    different scales can be compared; then the share is the same both ways. It is averaged over
    the labels, (N, L).
    """
    counts = (labels == 1).sum(axis=0)
    ranks = [rankdata(-member.validation(), "ordinal", axis=0) for member in members.values()]
    said = [(rank <= counts).astype(float) for rank in ranks]  # M times (N, L)
    shared = [[(a * b).sum(axis=0) / np.maximum(counts, 1) for b in said] for a in said]
    differ = 1 - np.mean(np.array(shared)[:, :, counts > 0], axis=2)
    return pd.DataFrame(differ, index=list(members), columns=list(members))


def members_of(run: Run) -> Members:
    """Return the predictions of a blend's members; of another run, its own and linear models'."""
    if not run.members:
        return {OWN: run.predictions()} | {name: run.predictions(name) for name in LINEAR}
    opened = {folder: reopen(folder) for folder in run.member_folders}
    sources = {name: (opened[run.folder / m["run"]], m) for name, m in run.members.items()}
    return {name: member.predictions(m["predictions"]) for name, (member, m) in sources.items()}


def blend_parts(labels: np.ndarray, members: Members, equal: bool = False) -> Blended:
    """Blend each part with weights fitted for it, and fit final weights on all validation rows.

    `labels`, (N, L), are those of the validation rows, in the file's order. With `equal`, all
    weights are the same.
    """
    return fit_part_weights(labels, [member.parts() for member in members.values()], equal)


def write_blend(run: Run, members: Members, blended: Blended) -> None:
    """Write the blend's predictions and weights to its run folder."""
    own = run.predictions()
    for fold, part in zip(run.split.folds, blended.parts, strict=True):
        own.write(VALIDATION, part.probabilities, fold, EXACT)
        own.write(SET_ASIDE, part.fit_probabilities, fold, EXACT)
    own.write(VALIDATION, join(blended.parts), ALL, EXACT)
    test = np.stack([member.test() for member in members.values()])  # (M, N, L)
    own.write(TEST, apply_weights(blended.final, test), ALL)
    weights = pd.DataFrame(blended.final, index=run.label_names, columns=list(members))
    files.write_json(run.path(WEIGHTS_FILE), weights.to_dict("index"))


def weights_table(blended: Blended, members: Members, label_names: Sequence[str]) -> pd.DataFrame:
    """Return each member's final weight, and its lowest and highest over the parts, per label."""
    lowest, highest = blended.per_part.min(axis=0), blended.per_part.max(axis=0)
    table = {}
    for m, name in enumerate(members):
        columns = zip(blended.final[:, m], lowest[:, m], highest[:, m], strict=True)
        table[name] = [f"{w:.2f} ({low:.2f} to {high:.2f})" for w, low, high in columns]
    return pd.DataFrame(table, index=pd.Index(label_names, name="label"))


def blend_report(run: Run, members: Members, blended: Blended) -> dict:
    """Return the blend's scores beside those of its members, ready for JSON."""
    labels, scores = run.validation_labels, join(blended.parts)
    others = {name: member.validation() for name, member in members.items()}
    note = "Out-of-fold: no model was trained, and no weight fitted, on rows that it is judged on."
    return intervals.evaluate_against(labels, scores, others, run.label_names, note)


def _check_fits(run: Run, first: Run, target: Path) -> None:
    """Raise an InputError if a run cannot be blended with the first run into `target`."""
    split, other, fault = vars(run.split), vars(first.split), ""
    if run.members:
        fault = "this is a blend itself; give the runs that it was made from"
    elif run.recipe.folds == 1:
        fault = (
            "with one validation set, no rows are set aside to fit weights; run it with folds=5"
        )
    elif not all(np.array_equal(split[name], other[name]) for name in split):
        fault = f"its folds are not those of {first.folder}; run both with the same folds and seed"
    elif run.folder == target:
        fault = "the blend needs a folder of its own; choose another --run-dir"
    if fault:
        raise InputError(f"{run.folder}: {fault}")


def _relative(folder: Path, blend: Path) -> str:
    """Return a path relative to the blend's folder if it lies inside, so that both can move."""
    return str(folder.relative_to(blend) if folder.is_relative_to(blend) else folder)
