"""The ways to train on 128 comments and to score them that `toxlib.benchmarks.speed` compares.

The models have the base size and random weights. Batches of the same shape take the same time. So
we time only some of them and multiply each time by the number of batches that it stands for.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
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

from toxlib.data import tokens
from toxlib.data.batching import default_token_budget, micro_batches
from toxlib.longformer.model import LongformerForMultiLabelSequenceClassification
from toxlib.recipes import get_recipe
from toxlib.training.checkpoints import bundled_checkpoint
from toxlib.training.finetune import make_trainer
from toxlib.training.machine import autocast, default_device
from toxlib.training.precision import resolve

COMMENTS, LABELS, WINDOW = 128, 6, 512
TUTORIAL_LENGTH, TUTORIAL_BATCH = 3048, 2  # tokens per comment, comments per batch
ROBERTA_LENGTH, ROBERTA_BATCH = 512, 4
SORTED_TOKENS = 2048  # padded tokens per batch of "transformers, sorted"


class SharedModels:
    """The comments, models and optimisers that all recipes share.

    Args:
        texts: prepared comments; `choose_comments` takes 128 of them.
        layers: layers of each encoder; the base size has 12.
        folder: a folder for tokens and for Trainer.
    """

    def __init__(self, texts: list[str], layers: int, folder: Path):
        set_seed(0)
        self.folder, self.device = folder, default_device()
        self.tokenizer = AutoTokenizer.from_pretrained(bundled_checkpoint())
        self.rows, self.loading = choose_comments(texts, self.tokenizer, folder)
        self.longformer, self.roberta = make_models(layers)
        self.optimizers = {
            model: torch.optim.AdamW(model.to(self.device).parameters(), lr=1e-9, fused=True)
            for model in (self.longformer, self.roberta)
        }

    def features(self, limit: int) -> list[dict]:
        """Return token ids, cut at `limit`, and labels of the comments, in random order."""
        return [row | {"input_ids": row["input_ids"][:limit]} for row in self.rows]

    def pad(self, features: list[dict], length: int | None = None) -> BatchEncoding:
        """Make a batch, padded to `length` tokens or, without it, to the longest comment."""
        padding = "longest" if length is None else "max_length"
        batch = self.tokenizer.pad(features, padding, length, return_tensors="pt")
        return batch.to(self.device)

    def update(self, model: PreTrainedModel) -> None:
        """Clip the gradients and update the weights by AdamW."""
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.optimizers[model].step()
        model.zero_grad()


@dataclass
class SpeedRecipe:
    """One way to train on the comments and to score them.

    `train_seconds()` measures an optimiser step on all comments, `score_seconds()` their scoring.
    """

    name: str
    shared: SharedModels
    model: PreTrainedModel
    features: list[dict]
    upstream: bool = False
    """Whether Longformer runs in transformers' code rather than in ours."""
    attention_dropout: float = 0.0
    """The dropout of Longformer's attention weights; RoBERTa has none."""
    precision: str = "fp32"
    repetitions: int = 1

    @property
    def tokens(self) -> int:
        """The tokens of all comments, without padding."""
        return sum(len(feature["input_ids"]) for feature in self.features)

    def set_up(self) -> None:
        """Prepare the models for a measurement, because all recipes use them in turn."""
        longformer = self.shared.longformer.longformer
        longformer.use_upstream = self.upstream
        for layer in longformer.encoder.layer:
            layer.attention.self.dropout = self.attention_dropout


@dataclass(kw_only=True)
class PlainRecipe(SpeedRecipe):
    """A forward and backward pass per padded batch."""

    batches: list[tuple[BatchEncoding, int]]
    """The batches to time, and how many batches each of them stands for."""

    def train_seconds(self) -> float:
        self.set_up()
        passes = sum(n * seconds_of(_backward, self.model, batch) for batch, n in self.batches)
        return passes + seconds_of(self.shared.update, self.model)

    def score_seconds(self) -> float:
        self.set_up()
        return sum(n * seconds_of(score, self.model, [batch]) for batch, n in self.batches)


class OurRecipe(SpeedRecipe):
    """A step of `MicroBatchTrainer`; scoring in batches of similar length, as in prediction."""

    def train_seconds(self) -> float:
        self.set_up()
        recipe = get_recipe("longformer-3048", f"precision={self.precision}")
        rows = datasets.Dataset.from_list(self.features[:2])
        tokenizer, folder = self.shared.tokenizer, self.shared.folder
        # A new Trainer each time resets the precision, which accelerate keeps per process.
        trainer = make_trainer(self.model, tokenizer, rows, None, recipe, folder)
        batch = dict(self.shared.pad(self.features))
        step = seconds_of(trainer.training_step, self.model, batch)
        return step + seconds_of(self.shared.update, self.model)

    def score_seconds(self) -> float:
        self.set_up()
        lengths = [len(feature["input_ids"]) for feature in self.features]
        groups = micro_batches(lengths, default_token_budget(self.model))
        batches = [self.shared.pad([self.features[i] for i in rows]) for rows in groups]
        return seconds_of(score, self.model, batches, self.precision)


def longformer_recipes(shared: SharedModels) -> list[SpeedRecipe]:
    """Return the tutorial's recipe, transformers' Longformer on sorted comments, and ours."""
    features = shared.features(TUTORIAL_LENGTH)
    common = (shared, shared.longformer, features)
    pairs = [features[i : i + TUTORIAL_BATCH] for i in (0, TUTORIAL_BATCH)]
    times = COMMENTS // TUTORIAL_BATCH // len(pairs)
    padded = [(shared.pad(pair, TUTORIAL_LENGTH), times) for pair in pairs]
    by_length = _sorted_batches(shared, features)
    recipes = [
        PlainRecipe("tutorial's recipe", *common, upstream=True, batches=padded),
        PlainRecipe("transformers, sorted", *common, upstream=True, batches=by_length),
        OurRecipe("ours", *common, repetitions=2),
        OurRecipe("ours, dropout 0.1", *common, attention_dropout=0.1),
    ]
    if resolve("auto", 768) == "bf16":  # emulated bf16 would take half an hour
        recipes.append(OurRecipe("ours, bf16", *common, precision="bf16", repetitions=3))
    return recipes


def roberta_recipes(shared: SharedModels) -> list[SpeedRecipe]:
    """Return RoBERTa with two usual paddings and with our batches, and Longformer cut like it."""
    features = shared.features(ROBERTA_LENGTH)
    common = (shared, shared.roberta, features)
    batches = [features[i : i + ROBERTA_BATCH] for i in range(0, COMMENTS, ROBERTA_BATCH)]
    padded = [(shared.pad(batch, ROBERTA_LENGTH), len(batches) // 2) for batch in batches[:2]]
    random = [(shared.pad(batch), 4) for batch in batches[::4]]
    return [
        PlainRecipe("RoBERTa, padded to 512", *common, batches=padded),
        PlainRecipe("RoBERTa, random batches", *common, batches=random),
        OurRecipe("RoBERTa, our batching", *common),
        OurRecipe("ours, cut at 512", shared, shared.longformer, features),
    ]


def seconds_of(function: Callable, *arguments: object) -> float:
    """Measure the seconds of a call, until the GPU, if there is one, has finished its work."""
    start = time.perf_counter()
    function(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def score(
    model: PreTrainedModel, batches: list[BatchEncoding], precision: str = "fp32"
) -> torch.Tensor:
    """Return the logits of several batches, (N, L), one batch after the other."""
    model.eval()
    with torch.inference_mode(), autocast(model.device, precision):
        logits = [
            model(input_ids=b["input_ids"], attention_mask=b["attention_mask"]).logits.float()
            for b in batches
        ]
    return torch.cat(logits)


def choose_comments(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, folder: Path
) -> tuple[list[dict], dict[str, float]]:
    """Tokenise all comments, choose 128 at evenly spaced ranks of length, and shuffle them.

    Returns:
        `input_ids` and random `labels` of the 128 comments, and how many comments per second
        were tokenised and loaded.
    """
    tokenizer.model_max_length = TUTORIAL_LENGTH
    labels = np.random.default_rng(0).integers(0, 2, (len(texts), LABELS))
    start = time.perf_counter()
    rows = tokens.tokenize(texts, tokenizer, folder / "bench.arrow", labels)
    tokenised = time.perf_counter() - start
    ranks = np.linspace(0, len(rows) - 1, COMMENTS).round().astype(int)
    chosen = np.argsort(rows["length"], kind="stable")[ranks]
    np.random.default_rng(0).shuffle(chosen)
    start = time.perf_counter()
    features = [{key: rows[int(i)][key] for key in ("input_ids", "labels")} for i in chosen]
    loaded = time.perf_counter() - start
    return features, {
        "comments tokenised per second": len(texts) / tokenised,
        "comments loaded per second": COMMENTS / loaded,
    }


def make_models(layers: int) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Make a Longformer and a RoBERTa of base width with random weights."""
    common = {"num_hidden_layers": layers, "num_labels": LABELS, "vocab_size": 50265}
    common |= {"pad_token_id": 0, "attention_probs_dropout_prob": 0.0, "type_vocab_size": 1}
    longformer = LongformerConfig(**common, max_position_embeddings=4098, attention_window=WINDOW)
    roberta = RobertaConfig(**common, max_position_embeddings=514)
    roberta.problem_type = "multi_label_classification"
    return (
        LongformerForMultiLabelSequenceClassification(longformer),
        RobertaForSequenceClassification(roberta),
    )


def _sorted_batches(shared: SharedModels, features: list[dict]) -> list[tuple[BatchEncoding, int]]:
    """Return a padded batch of each shape, and how often the shape occurs.

    transformers' Longformer pads comments to whole windows. So batches with equal numbers of
    comments and of windows take the same time.
    """
    padded = [-(-len(f["input_ids"]) // WINDOW) * WINDOW for f in features]
    groups = micro_batches(padded, SORTED_TOKENS)
    counts = Counter((len(rows), padded[rows[0]]) for rows in groups)
    examples = {(len(rows), padded[rows[0]]): rows for rows in groups}
    return [(shared.pad([features[i] for i in examples[s]]), counts[s]) for s in examples]


def _backward(model: PreTrainedModel, batch: BatchEncoding) -> None:
    """Run a forward and a backward pass; the batch's share of the comments weighs its loss."""
    model.train()
    (model(**batch).loss * (len(batch["labels"]) / COMMENTS)).backward()
