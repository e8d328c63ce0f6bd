"""Fine-tune a classifier by a recipe with transformers' Trainer."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import torch
from transformers import (
    DataCollatorWithPadding,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainingArguments,
    set_seed,
)
from transformers.integrations import get_available_reporting_integrations

from toxlib.data import tokens
from toxlib.data.batching import default_token_budget
from toxlib.errors import InputError
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.progress import format_seconds
from toxlib.recipes import Recipe
from toxlib.training import checkpoints
from toxlib.training.machine import best_precision, default_device, peak_memory_bytes
from toxlib.training.trainer import MicroBatchTrainer, ProgressBar


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuned classifier and what its training took."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    history: list[dict]
    """Trainer's log: losses, learning rates, and scores if epochs were scored."""
    cost: dict[str, float]
    """`predicted_seconds`, `training_seconds` and `peak_memory_gb`."""


def finetune(
    recipe: Recipe,
    label_names: list[str],
    training: tuple[list[str], np.ndarray],
    validation: tuple[list[str], np.ndarray] | None,
    work_dir: Path,
) -> Finetuned:
    """Load the recipe's checkpoint and fine-tune it. The same steps stand in notebook 03.

    Args:
        training: N comments and their labels, (N, L).
        validation: comments and labels that are scored after each epoch; the epoch with the best
            mean column-wise AUC is kept. None keeps the last epoch.
        work_dir: a folder for tokens and for a checkpoint per epoch; the latter is removed.
    """
    model, tokenizer = checkpoints.load_classifier(recipe, label_names)
    train_set = tokens.tokenize(training[0], tokenizer, work_dir / "train.arrow", training[1])
    validation_set = None
    if validation is not None:
        cache = work_dir / "validation.arrow"
        validation_set = tokens.tokenize(validation[0], tokenizer, cache, validation[1])
    trainer = make_trainer(model, tokenizer, train_set, validation_set, recipe, work_dir)
    return run_training(trainer)


def make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train_set: datasets.Dataset,
    validation_set: datasets.Dataset | None,
    recipe: Recipe,
    work_dir: Path,
) -> MicroBatchTrainer:
    """Return the Trainer that carries out the recipe.

    Args:
        train_set, validation_set: rows with `input_ids`, `labels` and `length`, from
            `toxlib.data.tokens`; as in `finetune`.
    """
    trainer = MicroBatchTrainer(
        model=model,
        args=training_arguments(recipe, work_dir, choose_epoch=validation_set is not None),
        train_dataset=train_set,
        eval_dataset=validation_set,
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_validation_metrics,
        callbacks=[ProgressBar()],
        layer_decay=recipe.layer_decay,
        head_lr_multiplier=recipe.head_lr_multiplier,
        token_budget=recipe.micro_batch_tokens or default_token_budget(model),
    )
    trainer.remove_callback(PrinterCallback)  # it prints a line per log entry; we draw curves
    return trainer


def training_arguments(recipe: Recipe, work_dir: Path, choose_epoch: bool) -> TrainingArguments:
    """Translate the recipe into Trainer's arguments.

    Args:
        choose_epoch: score each epoch and keep the best one, rather than the last.

    Raises:
        InputError: if the recipe's experiment tracker is not installed.
    """
    trackers = ["none", *get_available_reporting_integrations()]
    if recipe.report_to not in trackers:
        raise InputError(
            f"report_to={recipe.report_to}: not installed or unknown; pip install it, or choose "
            f"one of {', '.join(trackers)}"
        )
    strategy = "epoch" if choose_epoch else "no"
    device = default_device()
    precision = best_precision(device) if recipe.precision == "auto" else recipe.precision
    # Under torchrun there is one process per device, else one process for all devices.
    devices = int(os.environ.get("WORLD_SIZE", max(1, torch.cuda.device_count())))
    return TrainingArguments(
        output_dir=str(work_dir / "checkpoints"),
        use_cpu=device.type == "cpu",  # Trainer refuses bf16 on a CPU without it
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=max(1, recipe.batch_size // devices),
        per_device_eval_batch_size=256,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        optim="adamw_torch_fused",
        eval_strategy=strategy,
        save_strategy=strategy,
        save_only_model=True,
        save_total_limit=1,
        load_best_model_at_end=choose_epoch,
        metric_for_best_model="mean_columnwise_auc",
        greater_is_better=True,
        logging_steps=0.02,
        disable_tqdm=True,
        report_to=recipe.report_to,
        run_name=recipe.run_name or None,
        label_names=["labels"],
        seed=recipe.seed,
        dataloader_pin_memory=device.type == "cuda",
    )


def run_training(trainer: MicroBatchTrainer) -> Finetuned:
    """Predict and print how long the training will take, train, and remove its checkpoints."""
    set_seed(trainer.args.seed)
    predicted = predict_seconds(trainer)
    print(f"Predicted training time: {format_seconds(predicted)}", flush=True)
    start = time.perf_counter()
    trainer.train()
    cost = {
        "predicted_seconds": predicted,
        "training_seconds": time.perf_counter() - start,
        "peak_memory_gb": peak_memory_bytes() / 1e9,
    }
    shutil.rmtree(trainer.args.output_dir, ignore_errors=True)
    return Finetuned(trainer.model, trainer.processing_class, trainer.state.log_history, cost)


def predict_seconds(trainer: MicroBatchTrainer, rows: int = 32) -> float:
    """Predict the seconds that training will take from steps that are measured but not taken.

    `rows` training comments at evenly spaced ranks of length go forward and backward three times.
    The shortest time counts, because another program may slow one of them down. It is scaled by
    tokens, because the few longest comments hold many of them. A token in an evaluation counts as
    a third of a trained one; the optimiser is left out. Weights and random state do not change.
    """
    lengths = np.asarray(trainer.train_dataset["length"])
    rows = min(rows, len(lengths))
    ranks = ((np.arange(rows) + 0.5) / rows * len(lengths)).astype(int)
    features = [trainer.train_dataset[int(i)] for i in np.argsort(lengths, kind="stable")[ranks]]
    batch = trainer.data_collator([_model_inputs(feature) for feature in features])
    model = trainer.model.to(trainer.args.device)
    with torch.random.fork_rng():
        trainer.training_step(model, trainer.data_collator([_model_inputs(features[0])]))
        seconds = min(_step_seconds(trainer, model, batch) for _ in range(3))
    model.zero_grad(set_to_none=True)
    evaluated = trainer.eval_dataset["length"] if trainer.eval_dataset else [0]
    total = lengths.sum() + np.sum(evaluated) / 3
    measured = sum(feature["length"] for feature in features)
    return float(seconds / measured * total * trainer.args.num_train_epochs)


def _step_seconds(trainer: MicroBatchTrainer, model: PreTrainedModel, batch: dict) -> float:
    start = time.perf_counter()
    trainer.training_step(model, batch).item()  # .item() waits for the device
    return time.perf_counter() - start


def _model_inputs(feature: dict) -> dict:
    return {key: feature[key] for key in ("input_ids", "labels")}


def _validation_metrics(prediction: EvalPrediction) -> dict[str, float]:
    auc = mean_columnwise_auc(prediction.label_ids, prediction.predictions)
    return {"mean_columnwise_auc": auc}
