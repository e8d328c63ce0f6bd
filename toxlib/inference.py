"""Predict probabilities.

Letters: N comments, T padded tokens, L labels.
"""

import contextlib

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from toxlib.batching import default_token_budget, micro_batches
from toxlib.progress import progress

CHUNK = 8192
"""Comments that are tokenised and sorted together: bounds the memory of large files."""


def best_precision(device: torch.device) -> str:
    """bf16 or fp16 where the device computes in it faster than in fp32, else fp32.

    A CPU without bf16 instructions emulates them at about an eighth of fp32's speed, so the
    instructions are asked for, not assumed.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu":
        supported = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bf16" if supported else "fp32"
    return "fp32"


def default_device() -> torch.device:
    """The first CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """The context in which a forward pass runs in `precision` ("auto" follows the device)."""
    precision = best_precision(device) if precision == "auto" else precision
    if precision == "fp32":
        return contextlib.nullcontext()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    return torch.autocast(device.type, dtype)


def predict_probabilities(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    precision: str = "auto",
    token_budget: int = 0,
    bar: tqdm | None = None,
    max_length: int | None = None,
) -> np.ndarray:
    """Sigmoid scores of each comment, in the order of `texts`.

    Comments are cut at `max_length` (None: the tokenizer's `model_max_length`), sorted by length
    and grouped under the token budget (0: the device's default), `CHUNK` comments at a time.
    `bar` is a progress bar to count them on; without one, one is made.

    Returns:
        (N, L) float32 in [0, 1].
    """
    model = model.eval()
    device = next(model.parameters()).device
    budget = token_budget or default_token_budget(model)
    probabilities = np.empty((len(texts), model.config.num_labels), dtype=np.float32)
    if not texts:
        return probabilities
    own = progress(total=len(texts), description="Predict") if bar is None else None
    with torch.inference_mode(), autocast(device, precision), own or contextlib.nullcontext():
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            ids = tokenizer(chunk, truncation=True, max_length=max_length)["input_ids"]
            for rows in micro_batches([len(row) for row in ids], budget):
                batch = tokenizer.pad({"input_ids": [ids[i] for i in rows]}, return_tensors="pt")
                logits = model(**batch.to(device)).logits
                probabilities[start + rows] = logits.float().sigmoid().cpu().numpy()
                (bar or own).update(len(rows))
    return probabilities
