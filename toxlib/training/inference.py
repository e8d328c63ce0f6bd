"""Predict probabilities for comments, sorted by length so that little padding is computed."""

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from toxlib.data import tokens
from toxlib.data.batching import default_token_budget, micro_batches
from toxlib.errors import InputError
from toxlib.progress import progress
from toxlib.recipe_values import Recipe
from toxlib.training.machine import autocast
from toxlib.training.precision import resolve
from toxlib.training.windows import comment_logits

CHUNK = 8192
"""Comments that are tokenised and sorted together, which bounds the memory for large files."""


def prediction_values(recipe: Recipe) -> dict[str, str | int]:
    """Return the recipe's values for `predict_probabilities`, by the names of its arguments."""
    return {
        "precision": recipe.precision,
        "token_budget": recipe.micro_batch_tokens,
        "long_texts": recipe.long_texts,
    }


def predict_probabilities(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    precision: str = "auto",
    token_budget: int = 0,
    bar: tqdm | None = None,
    max_length: int | None = None,
    long_texts: str = "truncate",
) -> np.ndarray:
    """Return the sigmoid score of each comment and label, (N, L) float32, in the order of `texts`.

    Raises:
        InputError: if a score is not a finite number.

    Args:
        precision: "auto" takes the fastest on this machine.
        token_budget: the most padded tokens per forward pass; 0 follows the device.
        bar: a progress bar to advance; without one, a new one is shown.
        max_length: the most tokens that the model reads at once; None follows the tokenizer's
            `model_max_length`.
        long_texts: longer comments are cut ("truncate") or read in all of their "windows".
    """
    model = model.eval()
    budget = token_budget or default_token_budget(model)
    length = max_length or tokenizer.model_max_length
    probabilities = np.empty((len(texts), model.config.num_labels), dtype=np.float32)
    precision = resolve(precision, model.config.hidden_size)
    shown = nullcontext(bar)
    if bar is None:
        shown = progress(total=len(texts), description="Predict")
    with torch.inference_mode(), autocast(model.device, precision), shown as bar:
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            ids = tokens.encode(chunk, tokenizer, long_texts, length)
            for rows in micro_batches([len(row) for row in ids], budget):
                batch = tokenizer.pad({"input_ids": [ids[i] for i in rows]}, return_tensors="pt")
                logits = comment_logits(model, batch.to(model.device), length, budget)
                probabilities[start + rows] = logits.float().sigmoid().cpu().numpy()
                bar.update(len(rows))
    if not np.isfinite(probabilities).all():
        fault = "a score of the model is not a number"
        raise InputError(f"{fault}; train it again with a lower learning_rate or precision=fp32")
    return probabilities
