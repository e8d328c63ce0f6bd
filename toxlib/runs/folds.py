"""Train a run's models fold by fold. A fold that is finished is not trained again."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch

from toxlib import files
from toxlib.recipes import Recipe
from toxlib.runs.predictions import OWN, SET_ASIDE, TEST, VALIDATION
from toxlib.runs.run import Run, set_up_display
from toxlib.training import checkpoints, machine
from toxlib.training.finetune import Finetuned, finetune
from toxlib.training.inference import predict_probabilities
from toxlib.training.linear import LINEAR, LinearModels

LINEAR_FOLDER = "linear"


def train_folds(run: Run) -> list[dict]:
    """Fine-tune the encoder on each unfinished fold. Returns a `history` and `cost` per fold."""
    jobs, threads = folds_side_by_side(run.recipe), threads_per_fold(run.recipe)
    train = joblib.delayed(_train_fold)
    joblib.Parallel(jobs)(train(run, fold, jobs, threads) for fold in unfinished(run))
    run.predictions().join_folds()
    return run.predictions().records()


def fit_linear_folds(run: Run) -> list[dict]:
    """Fit the linear models on the same rows as the encoder. Returns a `cost` per fold."""
    kept = [run.predictions(name) for name in LINEAR]
    for fold in run.split.folds:
        if all(predictions.done_path(fold).exists() for predictions in kept):
            continue
        start = time.perf_counter()
        models = LinearModels().fit(*train_rows(run, fold))
        models.save(run.fold_folder(fold) / LINEAR_FOLDER)
        _predict_fold(run, fold, models.predict)
        cost = {"seconds": time.perf_counter() - start}
        for predictions in kept:
            files.write_json(predictions.done_path(fold), {"cost": cost})
    for predictions in kept:
        predictions.join_folds()
    return kept[0].records()


def unfinished(run: Run) -> list[int]:
    """Return the folds that are still to be trained, and print which ones are finished."""
    paths = {fold: run.predictions().done_path(fold) for fold in run.split.folds}
    for fold, path in paths.items():
        if path.exists():
            print(f"Fold {fold} was finished before; delete {path} to train it again", flush=True)
    return [fold for fold, path in paths.items() if not path.exists()]


def folds_side_by_side(recipe: Recipe) -> int:
    """Return how many folds are trained at the same time; 1 on a GPU, which they would share."""
    most = 1 if torch.cuda.is_available() else torch.get_num_threads()
    return min(recipe.jobs, recipe.folds, most)


def threads_per_fold(recipe: Recipe) -> int:
    """Return the CPU threads of each fold. Their number changes the last digits of results."""
    return max(1, torch.get_num_threads() // folds_side_by_side(recipe))


def train_rows(run: Run, fold: int) -> tuple[list[str], np.ndarray]:
    """Return the comments and labels, (n, L), that the fold's model is trained on."""
    rows = run.split.trained_on(fold)
    return run.texts(rows), run.tables.labels[rows]


def validation_rows(run: Run, fold: int) -> tuple[list[str], np.ndarray] | None:
    """Return the comments and labels to choose the best epoch by; None if it is not chosen."""
    rows = run.split.held_out(fold)
    return (run.texts(rows), run.tables.labels[rows]) if run.split.chooses_epoch else None


def work_folder(run: Run, fold: int) -> Path:
    """Return the folder for tokens and checkpoints, which is removed when the fold is finished."""
    return run.fold_folder(fold) / "work"


def keep_fold(run: Run, fold: int, trained: Finetuned, side_by_side: int = 1) -> None:
    """Save a fold's model, write its predictions, and mark the fold as finished.

    `side_by_side` is how many folds were trained at the same time, for the record of costs.
    """
    model = trained.model, trained.tokenizer
    how = run.recipe.precision, run.recipe.micro_batch_tokens
    checkpoints.save_trained(*model, run.fold_folder(fold) / "model")
    start = time.perf_counter()
    _predict_fold(run, fold, lambda texts: {OWN: predict_probabilities(*model, texts, *how)})
    seconds = {"prediction_seconds": time.perf_counter() - start}
    cost = trained.cost | seconds | {"folds_side_by_side": side_by_side}
    shutil.rmtree(work_folder(run, fold), ignore_errors=True)
    done = run.predictions().done_path(fold)
    files.write_json(done, {"history": trained.history, "cost": cost})


def total_cost(records: list[dict], linear_records: list[dict]) -> dict[str, float]:
    """Add up the seconds of all folds.

    `model_seconds` is the elapsed time, linear models included. `peak_memory_gb` is the largest
    peak of a fold, times the folds that were trained at the same time.
    """
    costs = pd.DataFrame([record["cost"] for record in records])
    linear = sum(record["cost"]["seconds"] for record in linear_records)
    elapsed = (costs.training_seconds + costs.prediction_seconds) / costs.folds_side_by_side
    sums = costs[["predicted_seconds", "training_seconds", "prediction_seconds"]].sum()
    return sums.to_dict() | {
        "linear_seconds": linear,
        "model_seconds": elapsed.sum() + linear,
        "peak_memory_gb": (costs.peak_memory_gb * costs.folds_side_by_side).max(),
    }


def copy_linear(source: Path, target: Path) -> None:
    """Copy the linear models of a run folder to one with the same rows and folds, to save time."""
    for name in (*LINEAR, LINEAR_FOLDER):
        for folder in source.glob(f"fold-*/{name}"):
            shutil.copytree(folder, target / folder.relative_to(source), dirs_exist_ok=True)


def _train_fold(run: Run, fold: int, side_by_side: int, threads: int) -> None:
    """Train one fold; it may run in a new process, so it sets up display and threads."""
    set_up_display()
    with machine.threads(threads):
        print(f"Fold {fold}: {run.split.trained_on(fold).sum()} comments", flush=True)
        data = train_rows(run, fold), validation_rows(run, fold)
        trained = finetune(run.recipe, run.label_names, *data, work_folder(run, fold))
        keep_fold(run, fold, trained, side_by_side)


def _predict_fold(run: Run, fold: int, predict: Callable) -> None:
    """Predict and write the fold's held-out rows, the rows set aside for it, and the test rows.

    `predict` maps n comments to {name of the predictions: probabilities, (n, L)}.
    """
    for kind in (VALIDATION, SET_ASIDE, TEST):
        texts = run.test_texts if kind == TEST else run.texts(run.predictions().rows(kind, fold))
        for name, probabilities in predict(texts).items() if texts else ():
            run.predictions(name).write(kind, probabilities, fold)
