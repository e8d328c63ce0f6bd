"""Pseudo-labels: a finished run's scores of the test comments, used as labels in training.

Test comments have no labels, but a finished run, the teacher, has scored them. A fold may only
learn from scores by models that know nothing of the rows that the fold holds out. So fold k takes
the scores of the teacher's fold k, whose models were trained on the same rows. If the teacher is a
blend of fitted weights, those for fold k were fitted on the rows that are set aside for fold k.
"""

import numpy as np

from toxlib.data.examples import Examples
from toxlib.data.text import evenly_spaced
from toxlib.errors import InputError
from toxlib.evaluation.weights import apply_weights
from toxlib.runs.blending import EQUAL, blend_parts, members_of
from toxlib.runs.run import Run, reopen


def open_teacher(run: Run) -> Run:
    """Return the finished run that the recipe value `teacher` names.

    Raises:
        InputError: if it is no finished run, or has other data or folds than `run`.
    """
    teacher, fault = reopen(run.recipe.teacher), ""
    if teacher.tables.sha256 != run.tables.sha256:
        fault = "made from other data; give a run on the same files"
    elif teacher.recipe.folds == 1:
        fault = "its model may have learned from rows that a fold holds out; give one with folds=5"
    elif any(getattr(teacher.recipe, k) != getattr(run.recipe, k) for k in ("folds", "seed")):
        how = f"folds={teacher.recipe.folds} seed={teacher.recipe.seed}"
        fault = f"its folds are others; set {how} as it has, so that the folds are the same"
    if fault:
        raise InputError(f"teacher={run.recipe.teacher}: {fault}")
    return teacher


def pseudo_labelled(run: Run, fold: int) -> Examples:
    """Return test comments with the teacher's scores as labels, for the training of a fold.

    At most `pseudo_rows` comments are taken, evenly spaced; their weight is `pseudo_weight`.

    Raises:
        InputError: if the teacher does not fit this run or is not finished.
    """
    teacher = open_teacher(run)
    if not np.array_equal(teacher.split.trained_on(fold), run.split.trained_on(fold)):
        fault, remedy = "its folds are not those here", "choose another teacher or run folder"
        raise InputError(f"teacher={run.recipe.teacher}: {fault}; {remedy}")
    if teacher.members:
        members, is_equal = members_of(teacher), teacher.recipe.name == EQUAL
        weights = blend_parts(teacher.validation_labels, members, is_equal).per_part[fold]
        scores = np.stack([member.test_of(fold) for member in members.values()])  # (M, N, L)
        scores = apply_weights(weights, scores)
    else:
        scores = teacher.predictions().test_of(fold)
    rows = evenly_spaced(len(scores), run.recipe.pseudo_rows or len(scores))
    weights = np.full(len(scores[rows]), run.recipe.pseudo_weight)
    return Examples(run.test_texts[rows], scores[rows], run.tables.test_ids[rows], weights)
