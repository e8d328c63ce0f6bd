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
from toxlib.inference import predict_probabilities
from toxlib.recipes import Recipe, get_recipe

LABELLED = 6000
SPLIT_SEED = 42
LONG = 512
"""Tokens above which comments are also looked at alone, all labels pooled, seeds averaged."""
BASELINE = "max_length=512 learning_rate=2e-4 layer_decay=1 head_rate=1"
"""Overrides of the recipe `quick`."""
MINILM = "head=cls4 head_rate=30 learning_rate=5e-4 layer_decay=0.8"
"""Overrides of the baseline: the recipe `minilm`."""
CHANGES = {
    "head rate 30": ("baseline", "head_rate=30"),
    "mean head": ("baseline", "head=mean"),
    "cls4 head": ("baseline", "head=cls4"),
    "layer decay 0.8": ("baseline", "layer_decay=0.8"),
    "minilm": ("baseline", MINILM),
    "minilm, CLS head": ("minilm", "head=cls"),
    "minilm, mean head": ("minilm", "head=mean"),
    "minilm, no layer decay": ("minilm", "layer_decay=1"),
    "minilm, 3 epochs": ("minilm", "epochs=3"),
    "minilm, 1,024 tokens": ("minilm", "max_length=1024"),
}
"""Name → what it is set beside, and in which values it differs from that."""


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
    """Train the baseline and every change with every seed, and set each beside its reference.

    A training whose predictions lie in `output` is not done again.

    Args:
        folder: Kaggle's files.
        jobs: trainings side by side, each with its share of the CPU's threads: smaller matrix
            products wait less for each other.

    Raises:
        InputError: if `output` is a file, or holds trainings on other data.
    """
    paths.check_folder(output)
    output.mkdir(parents=True, exist_ok=True)
    rows, threads = read_rows(folder), max(1, (os.cpu_count() or 1) // jobs)
    run = joblib.delayed(_train_once)
    joblib.Parallel(jobs)(
        run(rows, _recipe(name, seed), _file(output, name, seed), threads)
        for seed in range(seeds)
        for name in ("baseline", *CHANGES)
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
    return get_recipe("quick", f"{BASELINE} {_overrides(name)} seed={seed}")


def _overrides(name: str) -> str:
    if name == "baseline":
        return ""
    reference, overrides = CHANGES[name]
    return f"{_overrides(reference)} {overrides}"


def _file(output: Path, name: str, seed: int) -> Path:
    return output / f"{name}-{seed}.npz"


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
    """A line per change: scores, the mean over the seeds, and paired differences.

    A change is set beside its reference, seed by seed. Intervals are over judged comments, all
    seeds scored on the same resample; how far the difference spreads over the seeds stands in a
    column of its own.
    """
    tokenizer = checkpoints.load_tokenizer(get_recipe("quick"))
    is_long = tokens.token_lengths(rows.judged_texts, tokenizer) > LONG
    lines = {}
    for name in ("baseline", *CHANGES):
        scores, minutes = _read(output, name, seeds)
        lines[name] = {
            "AUC": np.mean([metrics.mean_columnwise_auc(rows.judged_labels, p) for p in scores]),
            "log loss": np.mean([metrics.mean_log_loss(rows.judged_labels, p) for p in scores]),
            "minutes": minutes,
        }
        if name in CHANGES:
            reference, _ = CHANGES[name]
            firsts, _ = _read(output, reference, seeds)
            lines[name] |= {"minus": reference, **_difference(rows, scores, firsts, is_long)}
    return pd.DataFrame(lines).T.rename_axis("change")


def _difference(
    rows: Rows, scores: list[np.ndarray], firsts: list[np.ndarray], is_long: np.ndarray
) -> dict:
    """`scores` minus `firsts`, a table (N, L) per seed."""
    labels, auc = rows.judged_labels, metrics.mean_columnwise_auc
    pairs = zip(scores, firsts, strict=True)
    gain = intervals.paired_bootstrap_auc_of_seeds(labels, scores, firsts)
    long = "none is so long"
    if is_long.any():
        ways = [predictions.average([p[is_long] for p in way]) for way in (scores, firsts)]
        long = str(intervals.paired_bootstrap_pooled_auc(labels[is_long], *ways))
    return {
        "AUC minus it": str(gain),
        "of the seeds": " ".join(f"{auc(labels, a) - auc(labels, b):+.4f}" for a, b in pairs),
        f"pooled AUC minus it, over {LONG} tokens": long,
    }


def _read(output: Path, name: str, seeds: int) -> tuple[list[np.ndarray], float]:
    """Probabilities (N, L) of each seed, and the mean minutes of a training."""
    loaded = [np.load(_file(output, name, seed)) for seed in range(seeds)]
    minutes = np.mean([float(each["seconds"]) for each in loaded]) / 60
    return [each["probabilities"] for each in loaded], minutes
