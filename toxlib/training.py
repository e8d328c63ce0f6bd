"""Fine-tune a classifier with transformers' Trainer.

Letters: N comments, L labels.
"""

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

from toxlib.batching import default_token_budget
from toxlib.inference import best_precision, default_device
from toxlib.metrics import mean_columnwise_auc
from toxlib.recipes import Recipe
from toxlib.trainer import MicroBatchTrainer, ProgressBar


@dataclass(frozen=True)
class TrainingResult:
    """What training leaves besides the model, which it has changed in place."""

    history: list[dict]
    """Trainer's log: losses, learning rates, scores per epoch."""
    predicted_seconds: float
    seconds: float
    peak_memory_bytes: int


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train_set: datasets.Dataset,
    validation_set: datasets.Dataset | None,
    recipe: Recipe,
    work_dir: Path,
) -> TrainingResult:
    """Fine-tune `model` in place.

    Args:
        train_set: rows with `input_ids` and `labels`, from `toxlib.tokens`.
        validation_set: such rows too, scored after each epoch; the epoch with the best mean
            column-wise AUC is kept. None: the last epoch is kept, and no held-out row has had
            a part in it.
        work_dir: a checkpoint per epoch is written here, and the folder removed at the end.
    """
    set_seed(recipe.seed)
    trainer = make_trainer(model, tokenizer, train_set, validation_set, recipe, work_dir)
    predicted = predict_seconds(trainer)
    print(f"Predicted training time: {format_seconds(predicted)}", flush=True)
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    shutil.rmtree(work_dir, ignore_errors=True)
    return TrainingResult(
        history=trainer.state.log_history,
        predicted_seconds=predicted,
        seconds=seconds,
        peak_memory_bytes=peak_memory_bytes(),
    )


def make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train_set: datasets.Dataset,
    validation_set: datasets.Dataset | None,
    recipe: Recipe,
    work_dir: Path,
) -> MicroBatchTrainer:
    """The Trainer that carries out the recipe."""
    args = training_arguments(recipe, work_dir, choose_epoch=validation_set is not None)
    trainer = MicroBatchTrainer(
        model=model,
        args=args,
        train_dataset=train_set,
        eval_dataset=validation_set,
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_validation_metrics,
        callbacks=[ProgressBar()],
        layer_decay=recipe.layer_decay,
        head_rate=recipe.head_rate,
        token_budget=recipe.micro_batch_tokens or default_token_budget(model),
    )
    trainer.remove_callback(PrinterCallback)  # a line per log entry; the notebook draws curves
    return trainer


def training_arguments(recipe: Recipe, work_dir: Path, choose_epoch: bool) -> TrainingArguments:
    """The recipe in Trainer's terms."""
    strategy = "epoch" if choose_epoch else "no"
    device = default_device()
    precision = best_precision(device) if recipe.precision == "auto" else recipe.precision
    # One process per device under torchrun; else one process for all of them.
    devices = int(os.environ.get("WORLD_SIZE", max(1, torch.cuda.device_count())))
    return TrainingArguments(
        output_dir=str(work_dir),
        use_cpu=device.type == "cpu",  # else Trainer refuses bf16 on a CPU
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


def predict_seconds(trainer: MicroBatchTrainer, rows: int = 32) -> float:
    """Seconds that training will take, from untaken steps.

    `rows` training comments at evenly spaced ranks of length are sent forward and backward three
    times, and the least time counts: another program may be busy in that moment. It is scaled by
    tokens, for the few longest comments hold many. The weights and the random state stay as they
    are. An evaluated token is counted as a third of a trained one. The optimiser is left out.
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
    tokens = lengths.sum() + np.sum(evaluated) / 3
    measured = sum(feature["length"] for feature in features)
    return float(seconds / measured * tokens * trainer.args.num_train_epochs)


def _step_seconds(trainer: MicroBatchTrainer, model: PreTrainedModel, batch: dict) -> float:
    start = time.perf_counter()
    trainer.training_step(model, batch).item()  # .item() waits for the device
    return time.perf_counter() - start


def format_seconds(seconds: float) -> str:
    """`75` → `1 min 15 s`; `7500` → `2 h 5 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"


def cost(result: TrainingResult) -> dict[str, float]:
    """Time and memory that training took, ready for JSON."""
    return {
        "predicted_seconds": result.predicted_seconds,
        "training_seconds": result.seconds,
        "peak_memory_gb": result.peak_memory_bytes / 1e9,
    }


def peak_memory_bytes() -> int:
    """Most memory held so far: the GPU's if there is one, else this process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    # Not getrusage's ru_maxrss: a new process inherits it from the one that started it.
    return status_bytes("VmHWM")


def status_bytes(name: str) -> int:
    """An entry of this process's memory status, such as VmRSS; 0 where the system keeps none."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    found = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(next(found, 0))


def _model_inputs(feature: dict) -> dict:
    return {key: feature[key] for key in ("input_ids", "labels")}


def _validation_metrics(prediction: EvalPrediction) -> dict[str, float]:
    return {
        "mean_columnwise_auc": mean_columnwise_auc(prediction.label_ids, prediction.predictions)
    }
