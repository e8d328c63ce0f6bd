"""What each choice of a recipe is worth: one baseline, one change at a time, several seeds.

A fixed split of the training file: a few thousand comments to learn from, as where labels are
dear, and all others to judge by, so that differences show.

Letters: N judged comments, L labels.
"""

import dataclasses
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
import numpy as np
import pandas as pd
import torch

from toxlib import (
    checkpoints,
    data,
    intervals,
    metrics,
    paths,
    predictions,
    splits,
    text,
    tokens,
    training,
)
from toxlib.errors import InputError
from toxlib.inference import longer_than, predict_probabilities
from toxlib.recipes import Recipe, get_recipe

LABELLED = 6000
SPLIT_SEED = 42
LONG = 512
"""Tokens above which comments are also looked at alone, all labels pooled, seeds averaged."""
BASELINE = "max_length=512 folds=1"
"""Overrides of the recipe `quick`."""
CHANGES = {
    "baseline": "",
    "mean head": "head=mean",
    "cls4 head": "head=cls4",
    "layer decay 0.8": "layer_decay=0.8",
    "mean head, rate 5e-4, decay 0.8": "head=mean learning_rate=5e-4 layer_decay=0.8",
    "mean head, 4 epochs": "head=mean epochs=4",
    "mean head, 1,024 tokens": "head=mean max_length=1024",
}


@dataclasses.dataclass(frozen=True)
class Rows:
    """The split: comments and labels to learn from and to judge by."""

    label_names: list[str]
    texts: list[str]
    labels: np.ndarray
    judged_texts: list[str]
    judged_labels: np.ndarray
    """(N, L)."""
    sha256: str
    """Of the training file."""


def read_rows(folder: Path, labelled: int = LABELLED) -> Rows:
    """Split the training file, stratified, identical comments on one side."""
    tables = data.read_tables(folder)
    texts = text.prepare(tables.train["comment_text"], thorough=False)
    labels = tables.train[tables.label_names].to_numpy()
    groups = splits.duplicate_groups(texts)
    share = 1 - min(labelled / (groups.max() + 1), 0.5)
    judged = splits.split_validation(labels, groups, share, SPLIT_SEED)
    sides = [
        [t for t, j in zip(texts, judged, strict=True) if j == side] for side in (False, True)
    ]
    digest = next(v for k, v in tables.sha256.items() if k.startswith("train."))
    return Rows(tables.label_names, sides[0], labels[~judged], sides[1], labels[judged], digest)


def ablate(folder: Path, output: Path, seeds: int = 3, jobs: int = 1) -> pd.DataFrame:
    """Train every change with every seed, and set each beside the baseline.

    A training whose predictions lie in `output` is not done again. The changes come in turn
    within a seed, so that what is finished can be compared at any time.

    Args:
        folder: Kaggle's files.
        jobs: trainings side by side, each with its share of the CPU's threads: smaller matrix
            products wait less for each other.
    """
    output.mkdir(parents=True, exist_ok=True)
    rows, threads = read_rows(folder), max(1, (os.cpu_count() or 1) // jobs)
    run = joblib.delayed(_train_once)
    joblib.Parallel(jobs)(
        run(rows, _recipe(name, seed), output / f"{name}-{seed}.npz", threads)
        for seed in range(seeds)
        for name in CHANGES
    )
    return report(rows, output, seeds)


def _train_once(rows: Rows, recipe: Recipe, path: Path, threads: int) -> None:
    if path.exists():
        _check_made_from(path, rows, recipe)
        return
    torch.set_num_threads(threads)
    start = time.perf_counter()
    probabilities = _train_and_predict(rows, recipe)
    seconds = time.perf_counter() - start
    with paths.replacing(path) as temporary, temporary.open("wb") as file:
        source = _source(rows, recipe)
        np.savez(file, probabilities=probabilities, seconds=seconds, source=source)


def _recipe(name: str, seed: int) -> Recipe:
    return get_recipe("quick", f"{BASELINE} {CHANGES[name]} seed={seed}")


def _source(rows: Rows, recipe: Recipe) -> str:
    """What a training follows from."""
    return json.dumps([dataclasses.asdict(recipe), rows.sha256], sort_keys=True)


def _check_made_from(path: Path, rows: Rows, recipe: Recipe) -> None:
    if str(np.load(path)["source"]) != _source(rows, recipe):
        raise InputError(
            f"{path}: made from other data or another recipe; choose another folder by -o"
        )


def _train_and_predict(rows: Rows, recipe: Recipe) -> np.ndarray:
    classifier, tokenizer = checkpoints.load_classifier(recipe, rows.label_names)
    with TemporaryDirectory() as work:
        cache = Path(work) / "train.arrow"
        train_set = tokens.tokenize(rows.texts, tokenizer, cache, rows.labels)
        training.train(classifier, tokenizer, train_set, None, recipe, Path(work) / "checkpoints")
    return predict_probabilities(classifier, tokenizer, rows.judged_texts, recipe.precision)


def report(rows: Rows, output: Path, seeds: int) -> pd.DataFrame:
    """A line per change: scores, the mean over the seeds, and paired differences from baseline.

    Intervals are over judged comments, all seeds scored on the same resample; beside them stands
    the spread of the difference over the seeds.
    """
    tokenizer = checkpoints.load_tokenizer(get_recipe("quick"))
    _, is_long = longer_than(rows.judged_texts, tokenizer, LONG)
    trained = {name: _read(output, name, seeds) for name in CHANGES}
    baseline = trained["baseline"]
    lines = {}
    for name, runs in trained.items():
        if not runs or len(runs) > len(baseline):
            continue
        scores, firsts = [p for p, _ in runs], [p for p, _ in baseline[: len(runs)]]
        aucs = [metrics.mean_columnwise_auc(rows.judged_labels, p) for p in scores]
        others = [metrics.mean_columnwise_auc(rows.judged_labels, p) for p in firsts]
        gain = intervals.paired_bootstrap_auc_of_seeds(rows.judged_labels, scores, firsts)
        long = "none is so long"
        if is_long.any():
            ways = [predictions.average([p[is_long] for p in way]) for way in (scores, firsts)]
            long = str(intervals.paired_bootstrap_pooled_auc(rows.judged_labels[is_long], *ways))
        losses = [metrics.mean_log_loss(rows.judged_labels, p) for p in scores]
        lines[name] = {
            "seeds": len(runs),
            "AUC": np.mean(aucs),
            "AUC minus baseline": gain.estimate,
            "AUC minus baseline low": gain.low,
            "AUC minus baseline high": gain.high,
            "of the seeds": " ".join(f"{a - b:+.4f}" for a, b in zip(aucs, others, strict=True)),
            "log loss": np.mean(losses),
            f"pooled AUC minus baseline, over {LONG} tokens": long,
            "minutes": np.mean([seconds for _, seconds in runs]) / 60,
        }
    return pd.DataFrame(lines).T.rename_axis("change")


def _read(output: Path, name: str, seeds: int) -> list[tuple[np.ndarray, float]]:
    files = [output / f"{name}-{seed}.npz" for seed in range(seeds)]
    loaded = [np.load(path) for path in files if path.exists()]
    return [(each["probabilities"], float(each["seconds"])) for each in loaded]
