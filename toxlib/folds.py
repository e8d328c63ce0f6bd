"""Train a recipe's model and the linear ones, fold by fold; a finished fold is not done again."""

import functools
import json
import time

import joblib
import torch

from toxlib import checkpoints, predictions, tokens, training
from toxlib.inference import predict_probabilities
from toxlib.linear import LINEAR, LinearModels
from toxlib.recipes import Recipe
from toxlib.run import Run, set_up_display, write_json

DONE = "training.json"
"""Written last: a fold that has it is finished."""


def train_folds(run: Run) -> list[dict]:
    """Fine-tune the recipe's model on each fold and keep model and predictions.

    Returns:
        Per fold `history`, Trainer's log, and `cost`, as in `toxlib.training.cost`.
    """
    jobs = _jobs(run.recipe)
    threads = max(1, torch.get_num_threads() // jobs)
    train = joblib.delayed(_with_threads)
    records = joblib.Parallel(jobs)(train(jobs, threads, run, fold) for fold in run.split.folds)
    predictions.gather(run)
    return records


def fit_linear_folds(run: Run) -> list[dict]:
    """Fit the linear models on the same rows as the recipe's; returns a `cost` per fold."""
    records = [_once(run, fold, LINEAR[0], _fit_linear) for fold in run.split.folds]
    for member in LINEAR:
        predictions.gather(run, member)
    return records


def what_scores_mean(run: Run) -> str:
    """What a reader of the run's validation scores must know."""
    if run.recipe.folds == 1:
        return "Optimistic: the epoch was chosen on the validation rows."
    return "Out-of-fold: no model has been trained on rows it is judged on."


def total_cost(records: list[dict], linear_records: list[dict]) -> dict[str, float]:
    """Seconds of all folds, added up; `model_seconds` is what they take side by side.

    Memory is that of as many folds as are trained side by side.
    """
    costs = [record["cost"] for record in records]
    jobs = costs[0]["folds_side_by_side"]
    times = ("predicted_seconds", "training_seconds", "prediction_seconds")
    total = {name: sum(cost[name] for cost in costs) for name in times}
    linear = sum(record["cost"]["seconds"] for record in linear_records)
    rounds = -(-len(costs) // jobs)
    side_by_side = (total["training_seconds"] + total["prediction_seconds"]) / len(costs) * rounds
    memory = sorted((cost["peak_memory_gb"] for cost in costs), reverse=True)
    return total | {
        "linear_seconds": linear,
        "model_seconds": side_by_side + linear,
        "peak_memory_gb": sum(memory[:jobs]),
    }


def _jobs(recipe: Recipe) -> int:
    """Folds to train side by side: one where a GPU would have to be shared."""
    if torch.cuda.is_available():
        return 1
    return min(recipe.jobs, recipe.folds, torch.get_num_threads())


def _with_threads(jobs: int, threads: int, run: Run, fold: int) -> dict:
    """A worker process begins with torch's and transformers' own settings."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    set_up_display()
    try:
        return _once(run, fold, "", functools.partial(_train, jobs))
    finally:
        torch.set_num_threads(before)


def _once(run: Run, fold: int, member: str, work) -> dict:
    done = run.fold_folder(fold) / member / DONE
    name = f"Fold {fold + 1} of {run.recipe.folds}"
    if done.exists():
        print(f"{name}: finished before, kept; delete {done} to do it again", flush=True)
    else:
        print(f"{name}: {run.split.fitting(fold).sum()} comments", flush=True)
        write_json(done, work(run, fold))
    return json.loads(done.read_text("utf-8"))


def _train(jobs: int, run: Run, fold: int) -> dict:
    folder, recipe, rows = run.fold_folder(fold), run.recipe, run.split.fitting(fold)
    classifier, tokenizer = checkpoints.load_classifier(recipe, run.label_names)
    train_set = tokens.tokenize(
        run.texts(rows), tokenizer, folder / "tokens/train.arrow", run.labels[rows]
    )
    validation_set = None
    if recipe.folds == 1:
        held_out = run.split.held_out(fold)
        cache = folder / "tokens/validation.arrow"
        validation_set = tokens.tokenize(
            run.texts(held_out), tokenizer, cache, run.labels[held_out]
        )
    result = training.train(
        classifier, tokenizer, train_set, validation_set, recipe, folder / "checkpoints"
    )
    checkpoints.save_trained(classifier, tokenizer, folder / "model")
    start = time.perf_counter()
    how = (recipe.precision, recipe.micro_batch_tokens)
    predictions.write_fold(
        run, fold, lambda texts: {"": predict_probabilities(classifier, tokenizer, texts, *how)}
    )
    cost = {"prediction_seconds": time.perf_counter() - start, "folds_side_by_side": jobs}
    return {"history": result.history, "cost": training.cost(result) | cost}


def _fit_linear(run: Run, fold: int) -> dict:
    start, rows = time.perf_counter(), run.split.fitting(fold)
    models = LinearModels().fit(run.texts(rows), run.labels[rows])
    predictions.write_fold(run, fold, models.predict)
    return {"cost": {"seconds": time.perf_counter() - start}}
