"""The libraries that `toxlib.benchmarks.peers` compares, each at its own default settings.

`python -m toxlib.benchmarks.peer_recipes NAME FOLDER` runs one of them. All of them take the same
encoder, at most 512 tokens per comment, one epoch, and the threads that torch takes by itself.
"""

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

from toxlib import files
from toxlib.data.examples import Examples
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.recipes import get_recipe
from toxlib.training.checkpoints import bundled_checkpoint
from toxlib.training.finetune import finetune
from toxlib.training.inference import predict_probabilities, prediction_values

LENGTH = 512
QUICK = f"max_length={LENGTH} lengthen_to={LENGTH} epochs=1"
STOCK = (
    f"max_length={LENGTH} lengthen_to=0 epochs=1 batch_size=8 learning_rate=5e-5 layer_decay=1 "
    "head_lr_multiplier=1 warmup_steps=0 weight_decay=0 attention_dropout=0.1 precision=fp32"
)
"""The recipe `quick` cut at 512 tokens, and with the defaults of transformers' Trainer."""


@dataclass(frozen=True)
class Rows:
    """Comments and labels, (N, L), to train on, and others to score."""

    train_texts: list[str]
    train_labels: np.ndarray
    texts: list[str]
    labels: np.ndarray

    def save(self, folder: Path) -> None:
        """Write the rows to `folder`."""
        values = {"train_labels": self.train_labels.tolist(), "labels": self.labels.tolist()}
        files.write_json(folder / "rows.json", vars(self) | values)

    @classmethod
    def load(cls, folder: Path) -> "Rows":
        """Read what `save` has written."""
        values = files.read_json(folder / "rows.json", "run the benchmark again")
        arrays = {name: np.array(values[name]) for name in ("train_labels", "labels")}
        return cls(**(values | arrays))


Measured = tuple[float, float, np.ndarray, np.ndarray]
"""The seconds of training and of scoring, the scores of the other comments, and their labels in
the order of the scores, both (N, L)."""


def train_ours(rows: Rows, folder: Path, overrides: str = QUICK) -> Measured:
    """Train by the recipe `quick`, changed by `overrides`. The time includes loading the model."""
    checkpoint = f"checkpoint={bundled_checkpoint()}"
    recipe = get_recipe("quick", [checkpoint, *overrides.split()])
    names = [f"label {n}" for n in range(rows.labels.shape[1])]
    start = time.perf_counter()
    examples = Examples(rows.train_texts, rows.train_labels)
    trained = finetune(recipe, names, examples, None, folder / "ours")
    trained_at = time.perf_counter()
    how = prediction_values(recipe)
    scores = predict_probabilities(trained.model, trained.tokenizer, rows.texts, **how)
    return trained_at - start, time.perf_counter() - trained_at, scores, rows.labels


def train_transformers(
    rows: Rows, folder: Path, padding: str | bool = False, **arguments: object
) -> Measured:
    """Train as transformers' example run_classification.py does.

    Args:
        padding: "max_length" pads each comment to 512 tokens; False pads each batch to its
            longest comment.
        arguments: arguments of Trainer that differ from the defaults.
    """
    tokenizer = AutoTokenizer.from_pretrained(bundled_checkpoint())
    set_seed(42)  # Trainer's default, here also for the new head
    model = AutoModelForSequenceClassification.from_pretrained(
        bundled_checkpoint(),
        num_labels=rows.labels.shape[1],
        problem_type="multi_label_classification",
    )

    def encode(texts: list[str], labels: np.ndarray) -> datasets.Dataset:
        encoded = tokenizer(texts, truncation=True, max_length=LENGTH, padding=padding)
        return datasets.Dataset.from_dict({**encoded, "labels": labels.astype(np.float32)})

    start = time.perf_counter()
    values = {"output_dir": str(folder / "transformers"), "num_train_epochs": 1}
    values |= {"report_to": "none", "save_strategy": "no", "disable_tqdm": True}
    values |= {"use_cpu": not torch.cuda.is_available()} | arguments
    trainer = Trainer(
        model,
        TrainingArguments(**values),
        DataCollatorWithPadding(tokenizer),
        encode(rows.train_texts, rows.train_labels),
    )
    trainer.train()
    trained_at = time.perf_counter()
    found = trainer.predict(encode(rows.texts, rows.labels))
    seconds = trained_at - start, time.perf_counter() - trained_at
    # With batches of similar length, Trainer returns the comments in another order.
    return *seconds, found.predictions, found.label_ids


def train_simpletransformers(rows: Rows, folder: Path) -> Measured:
    """Train a MultiLabelClassificationModel.

    It tokenises in forked processes, which wait forever if they are forked after a training. Its
    way without processes fails with datasets 5.2. So we let it tokenise in threads.
    """
    from simpletransformers.classification import (
        MultiLabelClassificationModel,
        classification_utils,
    )

    classification_utils.Pool = ThreadPool
    values = {
        "output_dir": str(folder / "simpletransformers"),
        "max_seq_length": LENGTH,
        "no_save": True,
        "silent": True,
        "manual_seed": 42,
    }
    model = MultiLabelClassificationModel(
        "bert",
        str(bundled_checkpoint()),
        num_labels=rows.labels.shape[1],
        args=values,
        use_cuda=torch.cuda.is_available(),
    )
    table = pd.DataFrame({"text": rows.train_texts, "labels": rows.train_labels.tolist()})
    start = time.perf_counter()
    model.train_model(table)
    trained_at = time.perf_counter()
    _, scores = model.predict(rows.texts)
    seconds = trained_at - start, time.perf_counter() - trained_at
    return *seconds, np.asarray(scores), rows.labels


def train_setfit(rows: Rows, folder: Path) -> Measured:
    """Train the encoder on pairs of comments, and logistic regressions on its embeddings."""
    import setfit

    name = str(bundled_checkpoint())
    model = setfit.SetFitModel.from_pretrained(name, multi_target_strategy="one-vs-rest")
    model.model_body.max_seq_length = LENGTH
    values = {"text": rows.train_texts, "label": rows.train_labels.tolist()}
    arguments = {"output_dir": str(folder / "setfit"), "report_to": "none", "num_iterations": 1}
    start = time.perf_counter()
    trainer = setfit.Trainer(
        model,
        args=setfit.TrainingArguments(**arguments, save_strategy="no", show_progress_bar=False),
        train_dataset=datasets.Dataset.from_dict(values),
    )
    trainer.train()
    trained_at = time.perf_counter()
    scores = model.predict_proba(rows.texts, as_numpy=True)
    return trained_at - start, time.perf_counter() - trained_at, scores, rows.labels


@dataclass(frozen=True)
class Peer:
    """A library's way to train and to score."""

    run: Callable[[Rows, Path], Measured]
    settings: str
    package: str = "transformers"


def _padded(rows: Rows, folder: Path) -> Measured:
    return train_transformers(rows, folder, padding="max_length")


def _grouped(rows: Rows, folder: Path) -> Measured:
    return train_transformers(rows, folder, train_sampling_strategy="group_by_length")


def _ours_as_stock(rows: Rows, folder: Path) -> Measured:
    return train_ours(rows, folder, STOCK)


PEERS = {
    "ours": Peer(train_ours, "recipe quick: batch 16, rate 5e-4, layer decay 0.8, head rate × 30"),
    "ours, as transformers": Peer(_ours_as_stock, "batch 8, rate 5e-5, as in the next rows"),
    "transformers, grouped": Peer(_grouped, "batch 8, rate 5e-5; batches of similar length"),
    "transformers, dynamic": Peer(train_transformers, "batch 8, rate 5e-5; padded batch by batch"),
    "setfit": Peer(
        train_setfit,
        "batch 16, rate 2e-5; 2 pairs per comment (the default, all pairs, would take days)",
        "setfit",
    ),
    "simpletransformers": Peer(
        train_simpletransformers, "batch 8, rate 4e-5; padded to 512", "simpletransformers"
    ),
    "transformers, padded": Peer(_padded, "batch 8, rate 5e-5; padded to 512"),
}
"""The ways to compare, the shortest first."""


def run_peer(name: str, folder: Path) -> dict:
    """Train and score by the way `name` in this process, with the rows that are in `folder`."""
    folder = folder.resolve()
    rows, peer = Rows.load(folder), PEERS[name]
    os.chdir(folder)  # some libraries write to the current folder
    training, scoring, scores, labels = peer.run(rows, folder)
    return {
        "train_comments_per_second": len(rows.train_texts) / training,
        "score_comments_per_second": len(rows.texts) / scoring,
        "auc": mean_columnwise_auc(labels, scores),
        "settings": peer.settings,
        "version": f"{peer.package} {importlib.metadata.version(peer.package)}",
    }


if __name__ == "__main__":
    print(json.dumps(run_peer(sys.argv[1], Path(sys.argv[2]))))
