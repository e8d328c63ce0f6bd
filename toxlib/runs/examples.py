"""What a fold's encoder is trained on: its comments, and copies and test comments added to them.

Nothing that is added knows the labels of the rows that the fold holds out. Copies are made of the
fold's own training rows alone, and `toxlib.runs.pseudo_labels` says how test comments get labels.
"""

from collections.abc import Sequence

import numpy as np

from toxlib.data.examples import Examples, join_examples, vary_examples
from toxlib.runs.pseudo_labels import pseudo_labelled
from toxlib.runs.run import Run


def original_rows(run: Run, fold: int) -> tuple[Sequence[str], np.ndarray]:
    """Return the comments that the fold trains on and their labels, (n, L), without additions."""
    rows = run.split.trained_on(fold)
    return run.texts(rows), run.tables.labels[rows]


def training_examples(run: Run, fold: int) -> Examples:
    """Return the fold's comments, their copies in other words or spelling, and test comments.

    The recipe decides what is added: `translations`, `varied_copies` and, for test comments,
    `teacher`. A copy has the labels and the id of its original.
    """
    trained_on, labels, ids = run.split.trained_on(fold), run.tables.labels, run.tables.train_ids
    texts, rows = run.translations.train.of(np.flatnonzero(trained_on))
    parts = [Examples(texts, labels[rows], ids.iloc[rows])]
    if run.recipe.varied_copies:
        originals = Examples(*original_rows(run, fold), ids[trained_on])
        how = run.recipe.varied_copies, run.recipe.seed, run.recipe.clean_spelling
        parts.append(vary_examples(originals, np.flatnonzero(trained_on), *how))
    if run.recipe.teacher:
        parts.append(pseudo_labelled(run, fold))
    return join_examples(parts)


def validation_examples(run: Run, fold: int) -> Examples | None:
    """Return the comments to choose the best epoch by; None if it is not chosen.

    Translated copies are left out: they would only make the choice slower.
    """
    rows = run.split.held_out(fold)
    return Examples(run.texts(rows), run.tables.labels[rows]) if run.split.chooses_epoch else None
