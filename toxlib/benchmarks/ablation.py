"""Measure what each choice of a recipe is worth: one change at a time, with several seeds.

The training file is split once. Models train on a few thousand of its comments, because choices
matter most when labels are few. All other comments are held out, which makes intervals narrow.
"""

import dataclasses
import json
import os
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from toxlib import files
from toxlib.data import kaggle, splits, text, tokens
from toxlib.data.duplicates import duplicate_groups
from toxlib.errors import InputError
from toxlib.evaluation.intervals import paired_bootstrap
from toxlib.evaluation.metrics import mean_columnwise_auc, mean_log_loss
from toxlib.evaluation.parts import average
from toxlib.recipes import Recipe, get_recipe
from toxlib.runs.lock import end_with, lock
from toxlib.runs.run import set_up_display
from toxlib.training import machine
from toxlib.training.checkpoints import load_tokenizer
from toxlib.training.finetune import finetune
from toxlib.training.inference import predict_probabilities
from toxlib.training.resume import claim_work_folder

TRAINED_ON = 6000
"""Comments to train on; half of the file if it has fewer than twice as many."""
SPLIT_SEED = 42
LONG = 512
"""Comments with more tokens than this are also scored separately, by one AUC over all labels."""
BASELINE = "max_length=512 learning_rate=2e-4 layer_decay=1 head_lr_multiplier=1"
"""The baseline, as overrides of the recipe `quick`."""
MINILM = "head=cls4 head_lr_multiplier=30 learning_rate=5e-4 layer_decay=0.8"
"""The recipe `minilm`, as overrides of the baseline."""
CHANGES = {
    "head rate 30": ("baseline", "head_lr_multiplier=30"),
    "cls4 head": ("baseline", "head=cls4"),
    "layer decay 0.8": ("baseline", "layer_decay=0.8"),
    "minilm": ("baseline", MINILM),
    "minilm, CLS head": ("minilm", "head=cls"),
    "minilm, no layer decay": ("minilm", "layer_decay=1"),
    "minilm, 3 epochs": ("minilm", "epochs=3"),
    "minilm, 1,024 tokens": ("minilm", "max_length=1024"),
}
"""Name of a change → the reference that it is compared with, and overrides of the reference."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """The split of the training file."""

    label_names: list[str]
    training: tuple[list[str], np.ndarray]
    """Comments and labels to train on."""
    held_out_texts: list[str]
    held_out_labels: np.ndarray
    """(N, L)."""
    sha256: str
    """The digest of the training file."""


def read_rows(folder: Path) -> Rows:
    """Split Kaggle's training file, stratified over the labels.

    Identical comments are always on the same side.
    """
    tables = kaggle.read_tables(folder)
    texts = np.array(text.prepare(tables.train["comment_text"]), dtype=object)
    labels = tables.train[tables.label_names].to_numpy()
    groups = duplicate_groups(texts)
    fraction = 1 - min(TRAINED_ON / (groups.max() + 1), 0.5)
    held_out = splits.draw_validation(labels, groups, fraction, SPLIT_SEED)
    return Rows(
        tables.label_names,
        (texts[~held_out].tolist(), labels[~held_out]),
        texts[held_out].tolist(),
        labels[held_out],
        next(digest for name, digest in tables.sha256.items() if name.startswith("train.")),
    )


def run_ablation(data_dir: str, output: Path | None, seeds: int, jobs: int) -> None:
    """Run `ablate` on Kaggle's or the sample's comments; print the table and keep it."""
    set_up_display()
    output = output or files.outputs() / "ablation"
    folder, is_sample = kaggle.find_or_make_data(data_dir)
    if is_sample:
        print(kaggle.SAMPLE_NOTE)
    table = ablate(folder, output, seeds, jobs)
    with files.replacing(output / "ablation.csv") as temporary:
        table.to_csv(temporary)
    print(table.to_string(float_format="{:.4f}".format), output, sep="\n")


def ablate(folder: Path, output: Path, seeds: int = 3, jobs: int = 1) -> pd.DataFrame:
    """Train the baseline and every change with every seed, and compare each with its reference.

    Trainings that have left their predictions in `output` are skipped.

    Args:
        folder: holds Kaggle's files.
        jobs: trainings side by side, each with its share of the CPU's threads. Two trainings
            with one thread each take less time than one after the other with two threads.

    Returns:
        The table of `report`.

    Raises:
        InputError: if `output` is a file, or holds trainings on other data or by other recipes.
    """
    files.check_folder(output)
    lock(output)
    rows, train = read_rows(folder), joblib.delayed(_train_once)
    joblib.Parallel(jobs, initializer=end_with, initargs=(os.getpid(),))(
        train(rows, recipe_for(name, seed), _path(output, name, seed), jobs)
        for seed in range(seeds)
        for name in ("baseline", *CHANGES)
    )
    return report(rows, output, seeds)


def recipe_for(name: str, seed: int) -> Recipe:
    """Return the recipe of the baseline or of a change."""
    overrides = f"seed={seed}"
    while name != "baseline":
        name, changed = CHANGES[name]
        overrides = f"{changed} {overrides}"
    return get_recipe("quick", f"{BASELINE} {overrides}")


def _path(output: Path, name: str, seed: int) -> Path:
    return output / f"{name}-{seed}.npz"


def _train_once(rows: Rows, recipe: Recipe, path: Path, jobs: int) -> None:
    """Save held-out predictions and the seconds of the training, unless `path` has them."""
    set_up_display()
    source = json.dumps([dataclasses.asdict(recipe), rows.sha256], sort_keys=True)
    if path.exists():
        if str(np.load(path)["source"]) != source:
            raise InputError(
                f"{path}: made from other data or another recipe; choose another folder by -o"
            )
        return
    work = claim_work_folder(path.with_suffix(".work"), {"source": source})
    with machine.threads(max(1, (os.cpu_count() or 1) // jobs)):
        trained = finetune(recipe, rows.label_names, rows.training, None, work)
        start = time.perf_counter()
        probabilities = predict_probabilities(
            trained.model,
            trained.tokenizer,
            rows.held_out_texts,
            recipe.precision,
            long_texts=recipe.long_texts,
        )
    seconds = trained.cost["training_seconds"] + time.perf_counter() - start
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, probabilities=probabilities, seconds=seconds, source=source)
    files.remove(work)


def report(rows: Rows, output: Path, seeds: int) -> pd.DataFrame:
    """Return a line per change: mean scores of the seeds, and differences from its reference.

    The intervals are over held-out comments. They do not cover how much seeds differ, so the
    differences of single seeds are in a column of their own.
    """
    tokenizer = load_tokenizer(get_recipe("quick"))
    is_long = tokens.token_lengths(rows.held_out_texts, tokenizer) > LONG
    labels, lines, predictions = rows.held_out_labels, {}, {}
    for name in ("baseline", *CHANGES):
        saved = [np.load(_path(output, name, seed)) for seed in range(seeds)]
        predictions[name] = [training["probabilities"] for training in saved]
        lines[name] = {
            "AUC": np.mean([mean_columnwise_auc(labels, p) for p in predictions[name]]),
            "log loss": np.mean([mean_log_loss(labels, p) for p in predictions[name]]),
            "minutes": np.mean([training["seconds"] for training in saved]) / 60,
        }
    for name, (reference, _) in CHANGES.items():
        compared = predictions[name], predictions[reference]
        lines[name] |= {"reference": reference, **_difference(labels, *compared, is_long)}
    return pd.DataFrame(lines).T.rename_axis("change")


def _difference(
    labels: np.ndarray, change: list[np.ndarray], reference: list[np.ndarray], is_long: np.ndarray
) -> dict[str, str]:
    """Compare a change with its reference; both have predictions, (N, L), for each seed."""
    aucs = [[mean_columnwise_auc(labels, p) for p in seeds] for seeds in (change, reference)]
    pooled = "no comment is so long"
    if is_long.any():
        averages = [average([p[is_long] for p in seeds]) for seeds in (change, reference)]
        pooled = str(paired_bootstrap(labels[is_long], *averages, metric="pooled_auc"))
    return {
        "AUC difference": str(paired_bootstrap(labels, change, reference)),
        "per seed": " ".join(f"{a - b:+.4f}" for a, b in zip(*aucs, strict=True)),
        f"pooled AUC difference over {LONG} tokens": pooled,
    }
