"""Train and predict a fold of a run, and go on where a killed run has stopped.

`toxlib.runs.engines` decides in which processes the folds of a run are trained.

A fold's model is trained once its record, training.json, is written, and finished once all of its
predictions are written too. What is done is not done again.
"""

import hashlib
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from toxlib import files
from toxlib.data.translations import Versions
from toxlib.errors import InputError
from toxlib.evaluation.parts import average_versions
from toxlib.progress import progress
from toxlib.recipe_values import FIELDS, affects_training
from toxlib.runs.adapting import adapted_recipe
from toxlib.runs.examples import original_rows, training_examples, validation_examples
from toxlib.runs.lock import lock
from toxlib.runs.predictions import OWN, TEST
from toxlib.runs.pseudo_labels import pseudo_labelled
from toxlib.runs.run import Run, set_up_display
from toxlib.training import checkpoints, machine
from toxlib.training.finetune import Finetuned, finetune
from toxlib.training.inference import CHUNK, predict_probabilities, prediction_values
from toxlib.training.linear import LINEAR, LinearModels
from toxlib.training.resume import claim_work_folder

LINEAR_FOLDER = "linear"


def fit_linear_folds(run: Run) -> list[dict]:
    """Fit the linear models on the fold's rows, and predict; return their records.

    They learn from no copy and no pseudo-label.
    """
    lock(run.folder)
    for fold in run.split.folds:
        folder = run.fold_folder(fold) / LINEAR_FOLDER
        if not is_trained(run, fold, LINEAR):
            start = time.perf_counter()
            models = LinearModels().fit(*original_rows(run, fold))
            forget(run, fold, LINEAR)
            models.save(folder)
            _write_records(run, fold, LINEAR, {"cost": {"seconds": time.perf_counter() - start}})
        if not all(run.predictions(name).written(fold) for name in LINEAR):
            _predict_fold(run, fold, LINEAR, LinearModels.load(folder).predict)
    for name in LINEAR:
        run.predictions(name).join_folds()
    return run.predictions(LINEAR[0]).records()


def unfinished(run: Run) -> list[int]:
    """Return the folds that are still to be trained or predicted; print which are finished."""
    finished = [f for f in run.split.folds if is_trained(run, f) and run.predictions().written(f)]
    for fold in finished:
        path = run.predictions().done_path(fold)
        print(f"Fold {fold} was finished before; delete {path} to train it again", flush=True)
    return [fold for fold in run.split.folds if fold not in finished]


def is_trained(run: Run, fold: int, names: Sequence[str] = (OWN,)) -> bool:
    """Return whether the fold's models are trained and saved.

    Raises:
        InputError: if they were trained with other values, data or rows than this run has.
    """
    kept = [run.predictions(name) for name in names]
    model = run.fold_folder(fold) / ("model" if OWN in names else LINEAR_FOLDER)
    if not model.is_dir() or not all(p.done_path(fold).exists() for p in kept):
        return False
    expected = files.as_json(_trained_by(run, fold, names))
    defaults = {key: field.default for key, field in FIELDS.items()}
    for predictions in kept:
        # A record from before a recipe value existed was trained by what is its default now.
        found = defaults | predictions.record(fold)["trained_by"]
        changed = [key for key in expected if found.get(key) != expected[key]]
        if changed:
            path = predictions.done_path(fold)
            fault = f"this fold was trained with other values of {', '.join(changed[:4])}"
            remedy = "choose another run folder, or delete this one and run 03_train again"
            raise InputError(f"{path}: {fault}; {remedy}")
    return True


def work_folder(run: Run, fold: int, processes: int) -> Path:
    """Make the folder for tokens and checkpoints; it is removed when the fold is finished.

    `processes` is how many train the fold together. Checkpoints of another number are deleted:
    they lack states of random numbers.
    """
    source = _trained_by(run, fold) | {"processes": processes}
    return claim_work_folder(_work_path(run, fold), source)


def keep_model(run: Run, fold: int, trained: Finetuned, side_by_side: int = 1) -> None:
    """Save a fold's model and then its record, so that it is not trained again.

    `side_by_side` is how many folds were trained at the same time, for the record of costs.
    """
    forget(run, fold)
    model = trained.model, trained.tokenizer
    checkpoints.save_trained(*model, run.fold_folder(fold) / "model")
    processes = machine.this_process().num_processes
    cost = trained.cost | {"folds_side_by_side": side_by_side, "processes": processes}
    _write_records(run, fold, (OWN,), {"history": trained.history, "cost": cost})
    files.remove(_work_path(run, fold))


def forget(run: Run, fold: int, names: Sequence[str] = (OWN,)) -> None:
    """Delete a fold's records first, and then its predictions and models."""
    for name in names:
        run.predictions(name).delete(fold)
    files.remove(_shards_path(run, fold, names))
    files.remove(run.fold_folder(fold) / ("model" if OWN in names else LINEAR_FOLDER))


def remove_work(run: Run) -> None:
    """Delete the folders of tokens and checkpoints of all folds."""
    for fold in run.split.folds:
        files.remove(_work_path(run, fold))


def total_cost(records: list[dict], linear_records: list[dict]) -> dict[str, float]:
    """Add up the seconds of all folds.

    `model_seconds` is the elapsed time, linear models included. `peak_memory_gb` is the largest
    peak of a fold's processes, times the folds that were trained at the same time.
    """
    costs = pd.DataFrame([record["cost"] for record in records])
    linear = pd.DataFrame([record["cost"] for record in linear_records]).to_numpy().sum()
    elapsed = (costs.training_seconds + costs.prediction_seconds) / costs.folds_side_by_side
    sums = costs[["predicted_seconds", "training_seconds", "prediction_seconds"]].sum()
    return sums.to_dict() | {
        "linear_seconds": linear,
        "model_seconds": elapsed.sum() + linear,
        "peak_memory_gb": (costs.peak_memory_gb * costs.folds_side_by_side).max(),
    }


def copy_linear(source: Path, target: Path) -> None:
    """Copy the linear models of a run folder to one with the same rows and folds, to save time."""
    for name in (LINEAR_FOLDER, *LINEAR):
        for folder in (*source.glob(name), *source.glob(f"fold-*/{name}")):
            with files.new_folder(target / folder.relative_to(source)) as new:
                shutil.copytree(folder, new, dirs_exist_ok=True)


def train_fold(run: Run, fold: int, side_by_side: int, threads: int) -> None:
    """Train one fold, unless that is done, and predict its rows.

    Under torchrun, all processes call this function: they train together, each predicts a share
    of the comments, and the main process writes.
    """
    set_up_display()
    process = machine.this_process()
    with machine.threads(threads):
        if not is_trained(run, fold):
            print(f"Fold {fold}: {run.split.trained_on(fold).sum()} comments", flush=True)
            data = training_examples(run, fold), validation_examples(run, fold)
            with process.main_process_first():
                work = work_folder(run, fold, process.num_processes)
            trained = finetune(adapted_recipe(run), run.label_names, *data, work)
            if process.is_main_process:
                keep_model(run, fold, trained, side_by_side)
            process.wait_for_everyone()
            del trained
            machine.free_memory()
        model, tokenizer = checkpoints.load_trained(run.fold_folder(fold) / "model")
        model = model.to(machine.default_device())
        how = prediction_values(run.training_recipe)

        def predict(texts: Sequence[str]) -> dict[str, np.ndarray]:
            with progress(total=len(texts), description="Predict") as bar:
                return {OWN: predict_probabilities(model, tokenizer, texts, bar=bar, **how)}

        _predict_fold(run, fold, (OWN,), predict)


def _predict_fold(run: Run, fold: int, names: Sequence[str], predict: Callable) -> None:
    """Predict and write the fold's held-out rows, the rows set aside for it, and the test rows.

    `predict` maps n comments to {name of the predictions: probabilities, (n, L)}. The encoder's
    are averaged over translated copies. Results are kept in shards until all are written, so that
    a killed run does not compute them again. Each process predicts some of the shards, and the
    main process writes. The predictions are written after the record's seconds, because they make
    the fold finished.
    """
    process = machine.this_process()
    kinds, shards = run.predictions().kinds(fold), _shards_path(run, fold, names)
    copies = OWN in names  # the linear models read originals only
    paths = {kind: _predict_shards(run, kind, fold, shards, predict, copies) for kind in kinds}
    process.wait_for_everyone()
    if not process.is_main_process:
        return
    for name in names:
        record = run.predictions(name).record(fold)
        seconds = sum(_seconds(path) for of_kind in paths.values() for path in of_kind)
        record["cost"]["prediction_seconds"] = seconds / process.num_processes
        files.write_json(run.predictions(name).done_path(fold), record)
        for kind in kinds:
            scores = np.concatenate([load_file(path)[name] for path in paths[kind]])
            run.predictions(name).write(kind, scores, fold)
    files.remove(shards)


def _predict_shards(
    run: Run, kind: str, fold: int, folder: Path, predict: Callable, copies: bool
) -> list[Path]:
    """Predict this process's share of the shards of a kind; return the paths of all its shards."""
    versions, comments = run.translations.test, np.arange(len(run.test_texts))
    if kind != TEST:
        versions = run.translations.train
        comments = np.flatnonzero(run.predictions().rows(kind, fold))
    process = machine.this_process()
    rows = min(CHUNK, math.ceil(len(comments) / process.num_processes))
    starts = range(0, len(comments), rows)
    paths = [folder / f"{kind}-{start}-{rows}.safetensors" for start in starts]
    for number, (path, start) in enumerate(zip(paths, starts, strict=True)):
        if number % process.num_processes == process.process_index and not _is_whole(path):
            began = time.perf_counter()
            parts = _predict(predict, versions, comments[start : start + rows], copies)
            parts = {name: np.ascontiguousarray(part) for name, part in parts.items()}
            took = {"seconds": str(time.perf_counter() - began)}
            with files.replacing(path) as temporary:
                save_file(parts, temporary, took)
    return paths


def _predict(
    predict: Callable, versions: Versions, rows: np.ndarray, copies: bool
) -> dict[str, np.ndarray]:
    """Predict the comments at `rows`, (n,); with `copies`, average over those that they have."""
    texts, rows_of_texts = versions.of(rows)
    if not copies or len(texts) == len(rows):
        return predict(texts[: len(rows)])
    numbers = np.searchsorted(rows, rows_of_texts)
    return {name: average_versions(p, numbers) for name, p in predict(texts[:]).items()}


def _is_whole(shard: Path) -> bool:
    try:
        return bool(load_file(shard))
    except (OSError, SafetensorError):
        return False


def _seconds(shard: Path) -> float:
    """Return what a shard took, perhaps in a process that was killed later."""
    with safe_open(shard, "numpy") as opened:
        return float((opened.metadata() or {}).get("seconds", 0))


def _write_records(run: Run, fold: int, names: Sequence[str], record: dict) -> None:
    trained_by = {"trained_by": _trained_by(run, fold, names)}
    for name in names:
        files.write_json(run.predictions(name).done_path(fold), trained_by | record)


def _trained_by(run: Run, fold: int, names: Sequence[str] = (OWN,)) -> dict:
    """Return what a fold's model follows from: recipe values, and digests of data and rows.

    The linear models follow from few recipe values: those that decide which texts they read.
    """
    values = {key: v for key, v in asdict(run.recipe).items() if affects_training(key)}
    data = run.data_sha256 if OWN in names else run.tables.sha256
    if OWN not in names:
        values = {key: values[key] for key in ("id_column", "text_column", "clean_spelling")}
    rows = _digest(np.packbits(run.split.trained_on(fold)))
    values |= {"data": data, "labels": run.label_names, "rows": rows}
    if OWN in names and run.recipe.teacher:
        values["pseudo_labels"] = _digest(pseudo_labelled(run, fold).labels)
    return values


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _work_path(run: Run, fold: int) -> Path:
    return run.fold_folder(fold) / "work"


def _shards_path(run: Run, fold: int, names: Sequence[str]) -> Path:
    return run.fold_folder(fold) / f"shards-{names[0]}"
