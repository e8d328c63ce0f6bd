"""Fine-tune a classifier by a recipe with transformers' Trainer."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import torch
from accelerate.utils import broadcast_object_list, gather_object
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
from toxlib.data.examples import Examples
from toxlib.errors import InputError
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.progress import format_seconds
from toxlib.recipe_values import Recipe
from toxlib.training import checkpoints, resume
from toxlib.training.machine import default_device, peak_memory_bytes, this_process
from toxlib.training.precision import resolve
from toxlib.training.progress_bar import ProgressBar
from toxlib.training.trainer import MicroBatchTrainer


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuned classifier and what its training took."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    history: list[dict]  # Trainer's log: losses, learning rates, and scores if epochs were scored
    cost: dict[str, float]  # predicted_seconds, training_seconds and peak_memory_gb


def finetune(
    recipe: Recipe,
    label_names: list[str],
    training: Examples,
    validation: Examples | None,
    work_dir: Path,
) -> Finetuned:
    """Load the recipe's checkpoint and fine-tune it. The same steps stand in notebook 03.

    Under torchrun, all processes call this function, and all return the same model.

    Args:
        training: if they have ids, these name the comments whose loss is not finite.
        validation: comments to score after each epoch; the epoch with the best mean column-wise
            AUC is kept. None keeps the last epoch.
        work_dir: a folder for tokens and checkpoints. If it has a whole checkpoint of the same
            training, the training goes on from there.
    """
    model, tokenizer = checkpoints.load_classifier(recipe, label_names)
    if this_process().is_main_process:
        how = recipe.long_texts
        tokens.tokenize(training, tokenizer, work_dir / "train.arrow", how)
        if validation:
            tokens.tokenize(validation, tokenizer, work_dir / "validation.arrow", how)
    this_process().wait_for_everyone()
    train_set = datasets.Dataset.from_file(str(work_dir / "train.arrow"))
    validation_set = validation and datasets.Dataset.from_file(str(work_dir / "validation.arrow"))
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
    """Return the Trainer that carries out the recipe on data sets from `toxlib.data.tokens`."""
    precision = resolve(recipe.precision, model.config.hidden_size)
    chooses_epoch = validation_set is not None
    trainer = MicroBatchTrainer(
        recipe=recipe,
        model=model,
        args=training_arguments(recipe, work_dir, chooses_epoch, precision),
        train_dataset=train_set,
        eval_dataset=validation_set,
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_validation_metrics,
        callbacks=[ProgressBar()],
    )
    trainer.remove_callback(PrinterCallback)  # it prints a line per log entry; we draw curves
    return trainer


def training_arguments(
    recipe: Recipe, work_dir: Path, choose_epoch: bool, precision: str
) -> TrainingArguments:
    """Translate the recipe into Trainer's arguments.

    If `choose_epoch`, each epoch is scored and the best one is kept, else the last one. The
    `precision` is fp32, bf16 or fp16.
    """
    trackers = ["none", *get_available_reporting_integrations()]
    if recipe.report_to not in trackers:
        raise InputError(
            f"report_to={recipe.report_to}: unknown or not installed; install it, or choose "
            f"one of {', '.join(trackers)}"
        )
    strategy = "epoch" if choose_epoch else "no"
    device = default_device()
    if precision == "fp16" and device.type == "cpu":
        remedy = "go on on a GPU, or choose another run folder with precision=auto or fp32"
        raise InputError(f"this run trains in fp16, which only a GPU can do; {remedy}")
    arguments = TrainingArguments(
        output_dir=str(work_dir / "checkpoints"),
        use_cpu=device.type == "cpu",  # Trainer refuses bf16 on a CPU without it
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,  # each process takes a share of it
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
        load_best_model_at_end=choose_epoch,
        metric_for_best_model="mean_columnwise_auc",
        logging_steps=0.02,
        logging_nan_inf_filter=False,  # it would hide a loss that is not finite
        disable_tqdm=True,
        report_to=recipe.report_to,
        run_name=recipe.run_name or None,
        label_names=["labels"],  # the signature of the head `cls4` has no such argument
        seed=recipe.seed_in_training,
        dataloader_pin_memory=device.type == "cuda",
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # Trainer would split batches over all GPUs of this process
    return arguments


def run_training(trainer: MicroBatchTrainer) -> Finetuned:
    """Predict and print how long the training will take, and train.

    If the training was killed before, it goes on from its last whole checkpoint. The checkpoints
    stay where they are until the caller has saved the model. Under torchrun, no process returns
    before all have read the best epoch's checkpoint.

    Raises:
        InputError: if the loss is not finite, or the best epoch's checkpoint is gone.
    """
    set_seed(trainer.args.seed)
    (predicted,) = broadcast_object_list([predict_seconds(trainer)])
    print(f"Predicted training time: {format_seconds(predicted)}", flush=True)
    checkpoint, content = resume.last_whole_checkpoint(Path(trainer.args.output_dir))
    if checkpoint:
        print(f"Going on from step {checkpoint.name.partition('-')[2]}", flush=True)
        # Memory may have run out before, or the user has set a smaller micro_batch_tokens since.
        trainer.token_budget = min(trainer.token_budget, content["token_budget"])
    steps = _checkpoint_steps(trainer, predicted)
    saver = resume.StepCheckpoints(trainer, steps, content["seconds"])
    trainer.add_callback(saver)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    resume.check_best_epoch(trainer)
    trainer.accelerator.wait_for_everyone()
    cost = {
        "predicted_seconds": predicted,
        "training_seconds": saver.seconds,
        "peak_memory_gb": sum(gather_object([peak_memory_bytes()])) / 1e9,
    }
    return Finetuned(trainer.model, trainer.processing_class, trainer.state.log_history, cost)


def predict_seconds(trainer: MicroBatchTrainer) -> float:
    """Predict the seconds of the training from measured passes; they change no weights.

    Up to 32 comments at evenly spaced ranks of length go forward and backward three times. The
    shortest time counts, because another program may slow one of them down. It is scaled by
    tokens, because the few longest comments hold many of them. A token in an evaluation counts as
    a third of a trained one; the optimiser is left out.
    """
    data, args = trainer.train_dataset, trainer.args
    lengths = np.asarray(data["length"])
    count = min(32, len(lengths))
    ranks = ((np.arange(count) + 0.5) / count * len(lengths)).astype(int)
    chosen = np.argsort(lengths, kind="stable")[ranks]
    not_read = [name for name in ("id", "length") if name in data.column_names]
    rows = list(data.remove_columns(not_read).select(chosen))
    model, seconds = trainer.model.to(args.device), []
    with torch.random.fork_rng():
        for part in (rows[:1], rows, rows, rows):  # the first pass is slower and does not count
            batch = trainer.data_collator(part)
            start = time.perf_counter()
            trainer.training_step(model, batch).item()  # .item() waits for the device
            seconds.append(time.perf_counter() - start)
    model.zero_grad(set_to_none=True)
    sampler = trainer.negatives_sampler
    trained = sampler.expected_sum(lengths) if sampler else lengths.sum()
    evaluates = args.eval_strategy != "no"
    evaluated = sum(trainer.eval_dataset["length"]) if evaluates else 0
    rate = min(seconds[1:]) / lengths[chosen].sum()
    epochs = all_steps(trainer) / len(trainer.get_train_dataloader())
    return float(rate * (trained + evaluated / 3) * epochs)


def all_steps(trainer: MicroBatchTrainer) -> int:
    """Return the optimiser steps of the whole training: `max_steps` if it is set."""
    args = trainer.args
    in_epochs = math.ceil(len(trainer.get_train_dataloader()) * args.num_train_epochs)
    return args.max_steps if args.max_steps > 0 else in_epochs


def _checkpoint_steps(trainer: MicroBatchTrainer, predicted_seconds: float) -> int:
    """Return the steps between two checkpoints: the recipe's, or those of some ten minutes."""
    share = 60 * resume.MINUTES / max(predicted_seconds, 1e-9)
    return trainer.recipe.checkpoint_steps or max(1, round(share * all_steps(trainer)))


def _validation_metrics(prediction: EvalPrediction) -> dict[str, float]:
    logits, labels = prediction
    return {"mean_columnwise_auc": mean_columnwise_auc(labels, logits)}
