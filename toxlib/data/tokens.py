"""Tokenise comments once, in batches, into a memory-mapped data set."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset
from datasets.arrow_writer import ArrowWriter
from transformers import PreTrainedTokenizerBase as Tokenizer

from toxlib import files
from toxlib.data.examples import Examples
from toxlib.errors import InputError
from toxlib.progress import progress

BATCH = 1000
"""Comments that are tokenised together."""
MOST_TOKENS = 8192
"""The most tokens in a comment's windows in training: half of `batching.GPU_BUDGET`."""


def tokenize(
    examples: Examples, tokenizer: Tokenizer, path: Path, long_texts: str = "truncate"
) -> Dataset:
    """Tokenise N examples by `encode` into the Arrow file `path`.

    With long_texts="windows", a comment has at most `MOST_TOKENS` tokens in its windows, so that
    it fits in memory in training; of a longer comment, evenly spaced windows are kept.

    The rows have `input_ids`, `length` (in tokens), `labels`, (N, L), as floats, which binary
    cross-entropy needs, and `id` and `weight` if the examples have them. They are mapped from the
    file, and the texts are taken batch by batch, so that memory does not grow with N.
    """
    texts = examples.texts
    with (
        progress(total=len(texts), description="Tokenise") as bar,
        files.replacing(path) as temporary,
        ArrowWriter(path=str(temporary)) as writer,
    ):
        for start in range(0, len(texts), BATCH):
            batch = slice(start, start + BATCH)
            encoded = encode(texts[batch], tokenizer, long_texts, most_tokens=MOST_TOKENS)
            columns = {"labels": examples.labels[batch].astype(np.float32), "input_ids": encoded}
            if examples.ids is not None:
                columns["id"] = list(examples.ids[batch])
            if examples.weights is not None:
                columns["weight"] = examples.weights[batch].astype(np.float32)
            writer.write_batch(columns | {"length": [len(row) for row in encoded]})
            bar.update(len(encoded))
        writer.finalize()
    return Dataset.from_file(str(path))


def encode(
    texts: list[str],
    tokenizer: Tokenizer,
    long_texts: str = "truncate",
    max_length: int | None = None,
    most_tokens: int | None = None,
) -> list[list[int]]:
    """Return the token ids of each comment, special tokens included.

    A comment of more than `max_length` tokens is cut there if `long_texts` is "truncate". If it is
    "windows", its row holds overlapping windows, one after the other, each with its own special
    tokens. All windows but the last have `max_length` tokens, and each begins with the last
    `overlap(max_length)` tokens of the window before it. Time is linear in the text's length.

    Args:
        max_length: None follows the tokenizer's `model_max_length`.
        most_tokens: keep at most as many of a comment's windows as have this many tokens together,
            but at least 2, evenly spaced from the first to the last. None keeps all.
    """
    if not texts:  # tokenizers refuse an empty list
        return []
    length = max_length or tokenizer.model_max_length
    how = {"truncation": True, "max_length": length}
    if long_texts == "truncate":
        return tokenizer(texts, **how)["input_ids"]
    encoded = tokenizer(texts, **how, return_overflowing_tokens=True, stride=overlap(length))
    windows: list[list[list[int]]] = [[] for _ in texts]
    for row, ids in zip(encoded["overflow_to_sample_mapping"], encoded["input_ids"], strict=True):
        windows[row].append(ids)
    most = max(2, most_tokens // length) if most_tokens else None
    return [list(itertools.chain(*_evenly_spaced(of_text, most))) for of_text in windows]


def overlap(max_length: int) -> int:
    """Return how many tokens a window shares with the next one: a quarter of its length."""
    return max_length // 4


def check_windows(tokenizer: Tokenizer, name: str) -> None:
    """Check that `encode` can cut windows of `tokenizer.model_max_length` tokens.

    Raises:
        InputError: if the tokenizer is a slow one, or a window has no room for text that the
            window before it does not have.
    """
    fault, length = f"{name}: long_texts=windows", tokenizer.model_max_length
    if not tokenizer.is_fast:
        remedy = "add a tokenizer.json to the checkpoint, or set long_texts=truncate"
        raise InputError(f"{fault} needs a fast tokenizer, and this one is slow; {remedy}")
    special = tokenizer.num_special_tokens_to_add()
    if special + overlap(length) >= length:
        enough = next(n for n in itertools.count(length) if special + overlap(n) < n)
        shared = f"{special} special tokens and {overlap(length)} of the window before it"
        remedy = f"set max_length={enough} or more"
        raise InputError(f"{fault}: a window of {length} tokens is full with {shared}; {remedy}")


def _evenly_spaced(windows: list[list[int]], most: int | None) -> list[list[int]]:
    """Return all windows, or `most` of them from the first to the last."""
    if most is None or len(windows) <= most:
        return windows
    return [windows[i] for i in np.linspace(0, len(windows) - 1, most).round().astype(int)]


def token_lengths(texts: Sequence[str], tokenizer: Tokenizer) -> np.ndarray:
    """Return the tokens per comment, with special tokens and nothing cut: (N,)."""
    lengths = np.empty(len(texts), dtype=int)
    with progress(total=len(texts), description="Count tokens") as bar:
        for start in range(0, len(texts), BATCH):
            batch = slice(start, start + BATCH)
            ids = tokenizer(texts[batch], truncation=False, verbose=False)["input_ids"]
            lengths[batch] = [len(row) for row in ids]
            bar.update(len(ids))
    return lengths
