"""The comments, models and optimisers that all ways in `toxlib.benchmarks.speed_recipes` share."""

import copy
import time
from pathlib import Path

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
from toxlib.data.examples import Examples
from toxlib.longformer.encoders import unpad_encoder
from toxlib.longformer.model import LongformerForMultiLabelSequenceClassification
from toxlib.training.checkpoints import bundled_checkpoint
from toxlib.training.machine import default_device

COMMENTS, LABELS, WINDOW = 128, 6, 512
TUTORIAL_LENGTH = 3048  # tokens per comment


class SharedModels:
    """The comments, models and optimisers that all recipes share.

    Args:
        texts: prepared comments; `choose_comments` takes 128 of them.
        layers: layers of each encoder; the base size has 12.
        folder: a folder for tokens and for Trainer.

    `figures` are what was measured on the way, by name.
    """

    def __init__(self, texts: list[str], layers: int, folder: Path):
        set_seed(0)
        self.folder, self.device = folder, default_device()
        self.tokenizer = AutoTokenizer.from_pretrained(bundled_checkpoint())
        self.rows, self.figures = choose_comments(texts, self.tokenizer, folder)
        self.longformer, self.stock_roberta = make_models(layers)
        self.roberta = unpad_encoder(copy.deepcopy(self.stock_roberta))
        self.optimizers = {
            model: torch.optim.AdamW(model.to(self.device).parameters(), lr=1e-9, fused=True)
            for model in (self.longformer, self.stock_roberta, self.roberta)
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
    rows = tokens.tokenize(Examples(texts, labels), tokenizer, folder / "bench.arrow")
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
