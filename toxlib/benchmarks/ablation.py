"""Measure what a recipe value is worth: one change at a time, each seed against the same seed.

Models train on a few thousand comments, because choices matter most when labels are few, and are
judged on others; see `toxlib.benchmarks.rows`. Each training leaves a file, so that none is run
twice; the table shows those that are there.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from toxlib import files
from toxlib.benchmarks.rows import SPLIT_SEED, Rows, read_rows
from toxlib.data import kaggle
from toxlib.data.examples import Examples, join_examples, vary_examples
from toxlib.data.spelling import vary_rows
from toxlib.data.text import prepare
from toxlib.errors import InputError, show
from toxlib.evaluation.intervals import paired_bootstrap
from toxlib.evaluation.metrics import mean_columnwise_auc, mean_log_loss
from toxlib.evaluation.parts import average
from toxlib.recipe_values import FIELDS, Recipe
from toxlib.recipes import get_recipe
from toxlib.runs.lock import end_with, lock
from toxlib.runs.run import set_up_display
from toxlib.training import machine
from toxlib.training.adaptation import adapted_recipe
from toxlib.training.finetune import finetune
from toxlib.training.inference import predict_probabilities
from toxlib.training.linear import LinearModels
from toxlib.training.resume import claim_work_folder

VARIED = 3
"""Every third judged row is also scored with varied spelling."""
REFERENCE = "minilm"


@dataclass(frozen=True)
class Setting:
    """What an experiment takes less of than a run does, to save time."""

    blocks: int = 3
    """Blocks to train on; three are about 3,900 comments of the 20,888 real rows."""
    max_length: int = 256
    """The most tokens of a comment that are read."""


DEFAULT = Setting()
CHANGES = {
    "head rate 100": (REFERENCE, "head_lr_multiplier=100"),
    "no layer decay": (REFERENCE, "layer_decay=1"),
    "cosine": (REFERENCE, "schedule=cosine"),
    "CLS head": (REFERENCE, "head=cls"),
    "3 epochs": (REFERENCE, "epochs=3"),
    "pseudo-labels": (REFERENCE, f"teacher={REFERENCE}"),
    "adapted": (REFERENCE, "adapt_epochs=1"),
    "varied copies": (REFERENCE, "varied_copies=0.3"),
    "spelling as written": (REFERENCE, "clean_spelling=false"),
}
"""Name of a change → the reference that it is compared with, and overrides of the reference."""


def run_ablation(
    data_dir: str, output: Path | None, measure: Callable[..., pd.DataFrame], **how: object
) -> None:
    """Run `ablate` or `learning_curve` on Kaggle's or the sample's comments.

    The table is printed and kept in `output` under the name of the function.
    """
    set_up_display()
    output = output or files.outputs() / "ablation"
    folder, is_sample = kaggle.find_or_make_data(data_dir)
    if is_sample:
        print(kaggle.SAMPLE_NOTE)
    table = measure(folder, output, **how)
    with files.replacing(output / f"{measure.__name__}.csv") as temporary:
        table.to_csv(temporary)
    print(table.to_string(float_format="{:.4f}".format), output, sep="\n")


def ablate(
    folder: Path,
    output: Path,
    only: Sequence[str] = (),
    seeds: int = 3,
    jobs: int = 1,
    setting: Setting = DEFAULT,
) -> pd.DataFrame:
    """Train the reference and the changes with every seed, and compare each with its reference.

    Trainings that have left their predictions in `output` are skipped.

    Args:
        folder: holds Kaggle's files.
        only: the changes to train; empty for all of them. References are trained as well.
        jobs: trainings side by side, each with its share of the CPU's threads. Two trainings
            with one thread each take less time than one after the other with two threads.
        setting: how much is trained on. Each setting needs an `output` of its own.

    Returns:
        The table of `report`.

    Raises:
        InputError: if `output` is a file, or holds trainings on other data or by other recipes, or
            a change is unknown.
    """
    files.check_folder(output)
    names = _with_references(only)
    lock(output)
    rows = read_rows(folder)
    wanted = [
        (recipe_for(name, seed, setting), setting.blocks, path_of(output, name, seed))
        for seed in range(seeds)
        for name in names
    ]
    train_all(rows, wanted, jobs)
    return report(rows, output)


def recipe_for(name: str, seed: int, setting: Setting = DEFAULT) -> Recipe:
    """Return the recipe of the reference or of a change."""
    length = f"max_length={setting.max_length} lengthen_to={setting.max_length}"
    overrides = f"{length} folds=1 jobs=1 seed={seed}"
    while name != REFERENCE:
        name, changed = CHANGES[name]
        overrides = f"{changed} {overrides}"
    return get_recipe(REFERENCE, overrides)


def path_of(output: Path, name: str, seed: int) -> Path:
    """Return the file that a training leaves."""
    return output / f"{name}-{seed}.npz"


def train_all(rows: Rows, wanted: list[tuple[Recipe, int, Path]], jobs: int) -> None:
    """Call `train_once` for each recipe, number of blocks and path, `jobs` at the same time.

    Those that have a teacher come last, because a teacher has to be trained before; it may have no
    teacher itself. The processes end if this one does.
    """
    train = joblib.delayed(train_once)
    for taught in (False, True):
        chosen = [values for values in wanted if bool(values[0].teacher) == taught]
        joblib.Parallel(jobs, initializer=end_with, initargs=(os.getpid(),))(
            train(rows, *values, jobs) for values in chosen
        )


def train_once(rows: Rows, recipe: Recipe, blocks: int, path: Path, jobs: int) -> None:
    """Train on the pool's first blocks and save the predictions, unless `path` has them.

    The file has `judged`, the probabilities of the judged rows, (N, L); `varied`, those of every
    third of them with varied spelling; `unlabelled`, those of the unlabelled rows, as a teacher
    gives them; and the CPU-seconds of the training, adaptation apart. The recipe value `teacher`
    names the change whose file is the teacher's.
    """
    set_up_display()
    source = _source(rows, recipe, blocks)
    if path.exists():
        if str(read_training(path)["source"]) != source:
            raise InputError(
                f"{path}: made from other data or another recipe; choose another folder by -o"
            )
        return
    work = claim_work_folder(path.with_suffix(".work"), {"source": source})
    examples, texts = prepare_rows(rows, recipe, blocks)
    with machine.threads(max(1, (os.cpu_count() or 1) // jobs)):
        parts = [examples, *_added(examples, texts["unlabelled"], recipe, path.parent)]
        adapted = _adapted(recipe, [*examples.texts, *texts["unlabelled"]], path.parent)
        start = time.process_time()
        trained = finetune(adapted, rows.label_names, join_examples(parts), None, work)
        saved = {"seconds": time.process_time() - start}
        model = trained.model, trained.tokenizer
        saved |= {kind: predict_probabilities(*model, texts[kind]) for kind in texts}
        linear = LinearModels().fit(examples.texts, examples.labels).predict(texts["unlabelled"])
    saved["unlabelled"] = average([saved["unlabelled"], average(linear.values())])
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **saved, source=source)
    files.remove(work)


def _source(rows: Rows, recipe: Recipe, blocks: int) -> str:
    """Return what a training follows from; recipe values that have their default are left out."""
    values = {k: v for k, v in asdict(recipe).items() if v != FIELDS[k].default}
    return json.dumps([values, blocks, rows.sha256], sort_keys=True)


def prepare_rows(rows: Rows, recipe: Recipe, blocks: int) -> tuple[Examples, dict[str, list[str]]]:
    """Return the examples to train on, and the texts to predict by the names in the file."""
    judged, (training, labels) = rows.judged[0], rows.training(blocks)
    varied = vary_rows(judged[::VARIED], range(0, len(judged), VARIED), SPLIT_SEED)
    texts = {"judged": judged, "varied": varied, "unlabelled": rows.unlabelled(blocks)}
    if recipe.clean_spelling:
        training = prepare(training, clean_spelling=True)
        texts = {kind: prepare(of_kind, clean_spelling=True) for kind, of_kind in texts.items()}
    return Examples(training, labels), texts


def _adapted(recipe: Recipe, texts: list[str], output: Path) -> Recipe:
    """Return the recipe with its encoder adapted, if it says so: once, for all seeds."""
    adapted = adapted_recipe(replace(recipe, seed=0), texts, output / "adapted")
    return replace(recipe, checkpoint=adapted.checkpoint, revision=adapted.revision)


def _added(
    examples: Examples, unlabelled: list[str], recipe: Recipe, output: Path
) -> list[Examples]:
    """Return the examples that the recipe adds: varied copies, and unlabelled rows."""
    added = []
    if recipe.varied_copies:
        how = np.arange(len(examples.texts)), recipe.varied_copies, recipe.seed
        added.append(vary_examples(examples, *how, recipe.clean_spelling))
    if recipe.teacher:
        scores = read_training(path_of(output, recipe.teacher, recipe.seed))["unlabelled"]
        weights = np.full(len(unlabelled), recipe.pseudo_weight)
        added.append(Examples(unlabelled, scores, weights=weights))
    return added


def report(rows: Rows, output: Path) -> pd.DataFrame:
    """Return a line per change: mean scores of the seeds, and differences from its reference.

    Only seeds count that the reference was trained with, too. The intervals are over judged
    comments. They do not cover how much seeds differ, so the differences of single seeds are in a
    column of their own.
    """
    labels, found = rows.judged[1], {name: _found(output, name) for name in _with_references(())}
    lines = {name: _scores(labels, seeds) for name, seeds in found.items() if seeds}
    for name, (reference, _) in CHANGES.items():
        if both := sorted(set(found[name]) & set(found[reference])):
            lines[name]["reference"] = reference
            for kind, truth in (("judged", labels), ("varied", labels[::VARIED])):
                pair = ([found[n][seed][kind] for seed in both] for n in (name, reference))
                lines[name] |= _difference(kind, truth, *pair)
    return pd.DataFrame(lines).T.rename_axis("change")


def _with_references(only: Sequence[str]) -> list[str]:
    """Return the changes to train, each after its reference."""
    if unknown := [name for name in only if name not in CHANGES]:
        known = ", ".join(CHANGES)
        raise InputError(f"unknown change {show(unknown[0])}: choose one of {known}")
    names = {}
    for name in only or CHANGES:
        chain = [name]
        while chain[0] != REFERENCE:
            chain.insert(0, CHANGES[chain[0]][0])
        names |= dict.fromkeys(chain)
    return list(names)


def read_training(path: Path) -> dict[str, np.ndarray]:
    """Return what `train_once` has saved."""
    with np.load(path) as saved:
        return dict(saved)


def _found(output: Path, name: str) -> dict[int, dict[str, np.ndarray]]:
    """Return what the finished trainings of a change have left, by seed."""
    paths = output.glob(f"{name}-*.npz")
    return {int(path.stem.rpartition("-")[2]): read_training(path) for path in sorted(paths)}


def _scores(labels: np.ndarray, seeds: dict[int, dict[str, np.ndarray]]) -> dict[str, float]:
    predictions = [saved["judged"] for saved in seeds.values()]
    return {
        "seeds": len(seeds),
        "AUC": np.mean([mean_columnwise_auc(labels, p) for p in predictions]),
        "AUC varied": np.mean(
            [mean_columnwise_auc(labels[::VARIED], s["varied"]) for s in seeds.values()]
        ),
        "log loss": np.mean([mean_log_loss(labels, p) for p in predictions]),
        "CPU-minutes": np.mean([saved["seconds"] for saved in seeds.values()]) / 60,
    }


def _difference(
    kind: str, labels: np.ndarray, change: list[np.ndarray], reference: list[np.ndarray]
) -> dict[str, str]:
    """Compare a change with its reference; both have predictions, (N, L), for each seed."""
    aucs = [[mean_columnwise_auc(labels, p) for p in seeds] for seeds in (change, reference)]
    return {
        f"{kind}: difference": str(paired_bootstrap(labels, change, reference)),
        f"{kind}: per seed": " ".join(f"{a - b:+.4f}" for a, b in zip(*aucs, strict=True)),
    }
