"""The ways to train on 128 comments and to score them that `toxlib.benchmarks.speed` compares.

The models have the base size and random weights. Batches of the same shape take the same time. So
we time only some of them and multiply each time by the number of batches that it stands for.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import datasets
import torch
from transformers import BatchEncoding, PreTrainedModel

from toxlib.benchmarks.speed_models import COMMENTS, TUTORIAL_LENGTH, WINDOW, SharedModels
from toxlib.data.batching import default_token_budget, micro_batches
from toxlib.recipes import get_recipe
from toxlib.training.finetune import make_trainer
from toxlib.training.machine import autocast
from toxlib.training.precision import rates

WIDTH = 768  # of models of base size
TUTORIAL_BATCH = 2  # comments per batch
ROBERTA_LENGTH, ROBERTA_BATCH = 512, 4
SORTED_TOKENS = 2048  # padded tokens per sorted batch of transformers' Longformer
ROBERTA_SORTED_TOKENS = (512, 1024, 2048, 4096)  # those of RoBERTa; the fastest number is used
LONGFORMER = f"Longformer, comments of up to {TUTORIAL_LENGTH:,} tokens"
ROBERTA = f"RoBERTa, comments of up to {ROBERTA_LENGTH} tokens"
TUTORIAL, PADDED = "tutorial's recipe", f"transformers, padded to {ROBERTA_LENGTH}"
SORTED, RANDOM = "transformers, sorted batches", "transformers, random batches"
OURS, OURS_DROPOUT = "ours", "ours, attention dropout 0.1"


@dataclass
class SpeedRecipe:
    """One way to train on the comments and to score them.

    `train_seconds()` measures an optimiser step on all comments, `score_seconds()` their scoring.
    """

    panel: str
    """The comparison that it belongs to: `LONGFORMER` or `ROBERTA`."""
    name: str
    shared: SharedModels
    model: PreTrainedModel
    features: list[dict]
    upstream: bool = False
    """Whether Longformer runs in transformers' code rather than in ours."""
    attention_dropout: float = 0.0
    """The dropout of Longformer's attention weights. RoBERTa has none, in any of its ways."""
    precision: str = "fp32"
    repetitions: int = 1
    """How often it is measured; the medians count."""

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
        passes = sum(
            n * seconds_of(backward, self.model, batch, self.precision)
            for batch, n in self.batches
        )
        return passes + seconds_of(self.shared.update, self.model)

    def score_seconds(self) -> float:
        self.set_up()
        return sum(
            n * seconds_of(score, self.model, [batch], self.precision) for batch, n in self.batches
        )


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


def precisions() -> list[str]:
    """Return fp32 and, unless it is much slower here, bf16: emulated, it would take hours."""
    measured = rates(WIDTH)
    return [p for p in ("fp32", "bf16") if measured.get(p, 0) > measured["fp32"] / 2]


def longformer_recipes(shared: SharedModels) -> list[SpeedRecipe]:
    """Return the tutorial's recipe, transformers' Longformer on sorted comments, and ours."""
    features = shared.features(TUTORIAL_LENGTH)
    common = (shared, shared.longformer, features)
    pairs = [features[i : i + TUTORIAL_BATCH] for i in (0, TUTORIAL_BATCH)]
    times = COMMENTS // TUTORIAL_BATCH // len(pairs)
    padded = [(shared.pad(pair, TUTORIAL_LENGTH), times) for pair in pairs]
    groups = _window_batches(shared, features)
    ours = [OurRecipe(LONGFORMER, OURS, *common, precision=p, repetitions=3) for p in precisions()]
    return [
        PlainRecipe(LONGFORMER, TUTORIAL, *common, upstream=True, batches=padded),
        PlainRecipe(LONGFORMER, SORTED, *common, upstream=True, batches=groups),
        OurRecipe(LONGFORMER, OURS_DROPOUT, *common, attention_dropout=0.1),
        *ours,
    ]


def roberta_recipes(shared: SharedModels) -> list[SpeedRecipe]:
    """Return transformers' RoBERTa with three usual ways to pad, and ours without padding."""
    features = shared.features(ROBERTA_LENGTH)
    stock, ours = ((shared, m, features) for m in (shared.stock_roberta, shared.roberta))
    batches = [features[i : i + ROBERTA_BATCH] for i in range(0, COMMENTS, ROBERTA_BATCH)]
    padded = [(shared.pad(batch, ROBERTA_LENGTH), len(batches) // 2) for batch in batches[:2]]
    random = [(shared.pad(batch), 4) for batch in batches[::4]]
    by_length = [(batch, 1) for batch in fastest_sorted_batches(shared, features)]
    recipes = [
        PlainRecipe(ROBERTA, PADDED, *stock, repetitions=3, batches=padded),
        PlainRecipe(ROBERTA, RANDOM, *stock, batches=random),
    ]
    for precision in precisions():
        how = {"precision": precision, "repetitions": 3}
        recipes.append(PlainRecipe(ROBERTA, SORTED, *stock, **how, batches=by_length))
    for precision in precisions():
        how = {"precision": precision, "repetitions": 3}
        recipes.append(OurRecipe(ROBERTA, OURS, *ours, **how))
    return recipes


def fastest_sorted_batches(shared: SharedModels, features: list[dict]) -> list[BatchEncoding]:
    """Return padded batches of similar length, of the size that suits transformers' RoBERTa best.

    Every fourth comment is trained on in batches of each size in `ROBERTA_SORTED_TOKENS`.
    """
    model, seconds = shared.stock_roberta, {}
    backward(model, shared.pad(features[:1]))  # the first pass of a process is slower
    for tokens_per_batch in ROBERTA_SORTED_TOKENS:
        batches = _sorted_batches(shared, features[::4], tokens_per_batch)
        seconds[tokens_per_batch] = sum(seconds_of(backward, model, batch) for batch in batches)
    model.zero_grad()
    best = min(seconds, key=seconds.get)
    shared.figures["padded tokens per sorted batch of RoBERTa"] = best
    return _sorted_batches(shared, features, best)


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


def backward(model: PreTrainedModel, batch: BatchEncoding, precision: str = "fp32") -> None:
    """Run a forward and a backward pass; the batch's share of the comments weighs its loss."""
    model.train()
    with autocast(model.device, precision):
        loss = model(**batch).loss * (len(batch["labels"]) / COMMENTS)
    loss.backward()


def _sorted_batches(
    shared: SharedModels, features: list[dict], tokens_per_batch: int
) -> list[BatchEncoding]:
    """Return batches of similar length, each padded to its longest comment."""
    groups = micro_batches([len(f["input_ids"]) for f in features], tokens_per_batch)
    return [shared.pad([features[i] for i in rows]) for rows in groups]


def _window_batches(shared: SharedModels, features: list[dict]) -> list[tuple[BatchEncoding, int]]:
    """Return a padded batch of each shape, and how often the shape occurs.

    transformers' Longformer pads comments to whole windows. So batches with equal numbers of
    comments and of windows take the same time.
    """
    padded = [-(-len(f["input_ids"]) // WINDOW) * WINDOW for f in features]
    groups = micro_batches(padded, SORTED_TOKENS)
    counts = Counter((len(rows), padded[rows[0]]) for rows in groups)
    examples = {(len(rows), padded[rows[0]]): rows for rows in groups}
    return [(shared.pad([features[i] for i in examples[s]]), counts[s]) for s in examples]
