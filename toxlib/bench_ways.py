"""The ways of training on 128 comments, and of scoring them, that `bench` compares.

Random weights of the base size; the comments stand at evenly spaced ranks of length. Batches of
one shape cost the same, so that one or two are timed and counted as often as they occur.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    BatchEncoding,
    LongformerConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaForSequenceClassification,
    set_seed,
)

from toxlib import tokens
from toxlib.batching import default_token_budget, micro_batches
from toxlib.checkpoints import bundled_checkpoint
from toxlib.inference import autocast, best_precision, default_device
from toxlib.model import LongformerForMultiLabelSequenceClassification
from toxlib.recipes import get_recipe
from toxlib.training import make_trainer

COMMENTS, LABELS, WINDOW = 128, 6, 512
TUTORIAL_LENGTH, TUTORIAL_BATCH = 3048, 2
SHORT_LENGTH, PLAIN_BATCH, PLAIN_TOKENS = 512, 4, 2048

Passes = list[tuple[Callable[[], object], int]]
"""What is timed, and how often it occurs in one step."""


@dataclass
class Way:
    """One way to train on the comments and to score them."""

    name: str
    set_up: Callable[[], object]
    training: Passes
    finish: Callable[[], object]
    scoring: Passes
    tokens: int
    """Non-padding tokens of all comments, cut as they are cut here."""
    repetitions: int = 1
    precision: str = "fp32"

    def train_seconds(self) -> float:
        """Seconds of one optimiser step on all comments."""
        self.set_up()
        return seconds_of([*self.training, (self.finish, 1)])

    def score_seconds(self) -> float:
        """Seconds of scoring all comments."""
        self.set_up()
        return seconds_of(self.scoring)


class Bench:
    """The models and comments that the ways share.

    Args:
        texts: prepared comments, of which 128 at evenly spaced ranks of length are taken.
        layers: 12 for the base size.
        folder: where token files go.
    """

    def __init__(self, texts: list[str], layers: int, folder: Path):
        set_seed(0)
        self.device = default_device()
        self.tokenizer = AutoTokenizer.from_pretrained(bundled_checkpoint())
        self.rows, self.loading = _choose(texts, self.tokenizer, folder)
        self.folder = folder
        common = {"num_hidden_layers": layers, "num_labels": LABELS, "vocab_size": 50265}
        common |= {"pad_token_id": 0, "attention_probs_dropout_prob": 0.0}
        longformer = LongformerConfig(
            **common, max_position_embeddings=4098, type_vocab_size=1, attention_window=WINDOW
        )
        roberta = RobertaConfig(**common, max_position_embeddings=514, type_vocab_size=1)
        roberta.problem_type = "multi_label_classification"
        self.longformer = LongformerForMultiLabelSequenceClassification(longformer)
        self.roberta = RobertaForSequenceClassification(roberta)
        self.optimizers = {
            model: torch.optim.AdamW(model.to(self.device).parameters(), lr=1e-9, fused=True)
            for model in (self.longformer, self.roberta)
        }

    def features(self, limit: int) -> list[dict]:
        """Token ids, cut at `limit`, and labels, of the comments in random order."""
        return [{**row, "input_ids": row["input_ids"][:limit]} for row in self.rows]

    def pad(self, features: list[dict], length: int | None = None) -> BatchEncoding:
        """A batch, padded to `length` or, without it, to its longest comment."""
        how = "longest" if length is None else "max_length"
        batch = self.tokenizer.pad(features, padding=how, max_length=length, return_tensors="pt")
        return batch.to(self.device)

    def way(
        self,
        name: str,
        model: PreTrainedModel,
        batches: list[tuple[BatchEncoding, int]],
        limit: int,
        upstream: bool = False,
    ) -> Way:
        """Plain training: a forward and backward pass per padded batch."""
        return Way(
            name=name,
            set_up=partial(self._set_up, model, upstream),
            training=[(partial(_forward_backward, model, b), times) for b, times in batches],
            finish=partial(self._finish, model),
            scoring=[(partial(score, model, [b]), times) for b, times in batches],
            tokens=self._tokens(limit),
        )

    def our_way(
        self,
        name: str,
        model: PreTrainedModel,
        limit: int,
        precision: str = "fp32",
        attention_dropout: float = 0.0,
        repetitions: int = 2,
    ) -> Way:
        """The recipe's step through `MicroBatchTrainer`, scoring as prediction does."""
        features = self.features(limit)
        budget = default_token_budget(model)
        groups = micro_batches([len(f["input_ids"]) for f in features], budget)
        batches = [self.pad([features[i] for i in rows]) for rows in groups]
        return Way(
            name=name,
            set_up=partial(self._set_up, model, False, attention_dropout, precision),
            training=[(partial(self._trainer_step, model, self.pad(features)), 1)],
            finish=partial(self._finish, model),
            scoring=[(partial(score, model, batches, precision), 1)],
            tokens=self._tokens(limit),
            repetitions=repetitions,
            precision=precision,
        )

    def _set_up(
        self,
        model: PreTrainedModel,
        upstream: bool,
        attention_dropout: float = 0.0,
        precision: str = "",
    ) -> None:
        if model is self.longformer:
            model.longformer.use_upstream = upstream
            for layer in model.longformer.encoder.layer:
                layer.attention.self.dropout = attention_dropout
        if precision:
            # Anew each time: accelerate keeps one precision for the whole process.
            recipe = get_recipe("longformer-3048", f"precision={precision}")
            rows = datasets.Dataset.from_list(self.rows[:2])
            work = self.folder / "work"
            self.trainer = make_trainer(model, self.tokenizer, rows, rows, recipe, work)

    def _trainer_step(self, model: PreTrainedModel, batch: BatchEncoding) -> None:
        self.trainer.training_step(model, dict(batch))

    def _finish(self, model: PreTrainedModel) -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.optimizers[model].step()
        model.zero_grad()

    def _tokens(self, limit: int) -> int:
        return sum(len(row["input_ids"]) for row in self.features(limit))


def longformer_ways(bench: Bench) -> list[Way]:
    """The tutorial's recipe, transformers' Longformer at its best, and ours."""
    model, features = bench.longformer, bench.features(TUTORIAL_LENGTH)
    pairs = [features[i : i + TUTORIAL_BATCH] for i in (0, TUTORIAL_BATCH)]
    each = COMMENTS // TUTORIAL_BATCH // len(pairs)
    tutorial = [(bench.pad(pair, TUTORIAL_LENGTH), each) for pair in pairs]
    # Upstream pads to the window: batches of as many rows of as many windows cost the same.
    windows = [-(-len(f["input_ids"]) // WINDOW) * WINDOW for f in features]
    groups = micro_batches(windows, PLAIN_TOKENS)
    shapes = {(len(rows), windows[rows[0]]): rows for rows in groups}
    counts = Counter((len(rows), windows[rows[0]]) for rows in groups)
    dynamic = [(bench.pad([features[i] for i in rows]), counts[s]) for s, rows in shapes.items()]
    ways = [
        bench.way("tutorial's recipe", model, tutorial, TUTORIAL_LENGTH, upstream=True),
        bench.way("transformers, sorted", model, dynamic, TUTORIAL_LENGTH, upstream=True),
        bench.our_way("ours", model, TUTORIAL_LENGTH),
        bench.our_way("ours, dropout 0.1", model, TUTORIAL_LENGTH, "fp32", 0.1, 1),
    ]
    if best_precision(bench.device) == "bf16":  # emulated, it would take half an hour
        ways.append(bench.our_way("ours, bf16", model, TUTORIAL_LENGTH, "bf16", repetitions=3))
    return ways


def roberta_ways(bench: Bench) -> list[Way]:
    """RoBERTa padded as it usually is, through our batching, and ours cut at the same length."""
    model, features = bench.roberta, bench.features(SHORT_LENGTH)
    batches = [features[i : i + PLAIN_BATCH] for i in range(0, COMMENTS, PLAIN_BATCH)]
    padded = [(bench.pad(b, SHORT_LENGTH), len(batches) // 2) for b in batches[:2]]
    random = [(bench.pad(b), 4) for b in batches[::4]]
    return [
        bench.way("RoBERTa, padded to 512", model, padded, SHORT_LENGTH),
        bench.way("RoBERTa, random batches", model, random, SHORT_LENGTH),
        bench.our_way("RoBERTa, our batching", model, SHORT_LENGTH, repetitions=1),
        bench.our_way("ours, cut at 512", bench.longformer, SHORT_LENGTH, repetitions=1),
    ]


def seconds_of(passes: Passes) -> float:
    """Seconds of one step: each pass timed, and counted as often as it occurs."""
    total = 0.0
    for do, times in passes:
        start = time.perf_counter()
        do()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        total += times * (time.perf_counter() - start)
    return total


def score(
    model: PreTrainedModel, batches: list[BatchEncoding], precision: str = "fp32"
) -> torch.Tensor:
    """Logits of some batches, one after the other, without gradients."""
    model.eval()
    with torch.inference_mode(), autocast(model.device, precision):
        logits = [
            model(input_ids=b["input_ids"], attention_mask=b["attention_mask"]).logits.float()
            for b in batches
        ]
    return torch.cat(logits)


def _choose(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, folder: Path
) -> tuple[list[dict], dict[str, float]]:
    """128 comments at evenly spaced ranks of length, shuffled, and how fast they were read."""
    tokenizer.model_max_length = TUTORIAL_LENGTH
    labels = np.random.default_rng(0).integers(0, 2, (len(texts), LABELS))
    start = time.perf_counter()
    rows = tokens.tokenize(texts, tokenizer, folder / "bench.arrow", labels)
    tokenised = time.perf_counter() - start
    ranks = np.linspace(0, len(rows) - 1, COMMENTS).round().astype(int)
    chosen = np.argsort(rows["length"], kind="stable")[ranks]
    np.random.default_rng(0).shuffle(chosen)
    start = time.perf_counter()
    features = [{k: rows[int(i)][k] for k in ("input_ids", "labels")} for i in chosen]
    loaded = time.perf_counter() - start
    return features, {
        "comments tokenised per second": len(texts) / tokenised,
        "comments loaded per second": COMMENTS / loaded,
    }


def _forward_backward(model: PreTrainedModel, batch: BatchEncoding) -> None:
    model.train()
    (model(**batch).loss * (len(batch["labels"]) / COMMENTS)).backward()
