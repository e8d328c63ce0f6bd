"""Measure what a finished run loses on comments whose spelling is varied to get past it."""

from pathlib import Path

import numpy as np
import pandas as pd

from toxlib.data import spelling, text
from toxlib.evaluation.intervals import paired_bootstrap
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.progress import progress
from toxlib.runs.run import Run, reopen
from toxlib.scoring.predictor import Scorer

SEED = 0
"""It decides which words are varied, and how; the same for all runs, so that they compare."""
ALL, PLAIN = "all kinds", "as written"


def measure_robustness(run_dir: str | Path = "", most_rows: int = 2000) -> pd.DataFrame:
    """Score held-out comments as written and with varied spelling; compare the AUCs.

    A comment is scored by the models of the fold that holds it out. In a varied comment, a share
    of `spelling.SHARE` of the words is varied: by each kind of variation alone, and by all kinds.
    Of more than `most_rows` comments, evenly spaced ones are taken.

    Returns:
        A line per kind: the mean column-wise AUC, and how much lower it is than that of the
        comments as written, with its 95 % interval.

    Raises:
        InputError: if the run is not finished, or its data cannot be read.
    """
    run = reopen(run_dir)
    most = max(1, most_rows // len(run.split.folds))
    folds = [_evenly_spaced(run, fold, most) for fold in run.split.folds]
    labels = run.tables.labels[np.concatenate(folds)]
    kinds = {PLAIN: None, **{kind: [kind] for kind in spelling.KINDS}, ALL: [*spelling.KINDS]}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in kinds}
    with progress(total=len(labels) * len(kinds), description="Score") as bar:
        for fold, rows in enumerate(folds):
            scorer = Scorer(run.folder, fold=fold)
            for name, chosen in kinds.items():
                texts = _varied(run, rows, chosen)
                parts[name].append(scorer.predict(texts).to_numpy())
                bar.update(len(texts))
    scores = {name: np.concatenate(of_kind) for name, of_kind in parts.items()}
    return pd.DataFrame(
        {
            name: {
                "AUC": mean_columnwise_auc(labels, of_kind),
                "AUC lost": str(paired_bootstrap(labels, scores[PLAIN], of_kind)),
            }
            for name, of_kind in scores.items()
        }
    ).T.rename_axis(f"spelling, {len(labels)} comments")


def _evenly_spaced(run: Run, fold: int, most: int) -> np.ndarray:
    """Return the numbers of at most `most` rows that a fold holds out."""
    rows = np.flatnonzero(run.split.held_out(fold))
    return rows[text.evenly_spaced(len(rows), most)]


def _varied(run: Run, rows: np.ndarray, kinds: list[str] | None) -> list[str]:
    """Return the comments of rows, as written if `kinds` is None."""
    comments = run.tables.train[run.recipe.text_column].array
    texts = [comments[row] for row in rows]
    return texts if kinds is None else spelling.vary_rows(texts, rows, SEED, kinds)
