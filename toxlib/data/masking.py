"""Hide whole words of comments, which a masked language model learns to predict.

Letters for axes: B comments of T tokens, padding included.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset
from datasets.arrow_writer import ArrowWriter
from transformers import PreTrainedTokenizerBase as Tokenizer

from toxlib import files
from toxlib.data.tokens import BATCH
from toxlib.errors import InputError
from toxlib.progress import progress

SHARE = 0.15
"""The share of a comment's words that are hidden (Devlin 2019, section 3.1); at least one is."""
REPLACED, KEPT = 0.1, 0.1
"""Of the hidden tokens, this share becomes a random token and this share stays as it is, so that
the model cannot tell which tokens it will be asked for. The others become the mask token."""
NO_WORD = -1
"""The word number of padding and special tokens, that for unknown words included."""
NOT_HIDDEN = -100
"""The target of tokens that are not hidden; PyTorch's losses pass over it."""


def check_masking(tokenizer: Tokenizer, name: str) -> None:
    """Check that words can be found and hidden.

    Raises:
        InputError: if the tokenizer is a slow one or has no mask token; `name` is its checkpoint.
    """
    if not tokenizer.is_fast:
        fault = "adapt_epochs needs a fast tokenizer, and this one is slow"
        raise InputError(f"{name}: {fault}; add a tokenizer.json, or set adapt_epochs=0")
    if tokenizer.mask_token_id is None:
        fault = "adapt_epochs needs a mask token, and the tokenizer has none"
        raise InputError(f"{name}: {fault}; set adapt_epochs=0, or choose another checkpoint")


def tokenize_words(texts: Sequence[str], tokenizer: Tokenizer, path: Path) -> Dataset:
    """Tokenise N comments into the Arrow file `path`, and number the words of each.

    The rows have `input_ids`, `words` (the word that each token is a part of, or `NO_WORD`) and
    `length` (in tokens). Comments are cut at the tokenizer's `model_max_length`; those without a
    word are left out. The tokenizer says what a word is, for WordPiece and byte-level pieces
    alike; a punctuation mark is a word of its own.
    """
    special = set(tokenizer.all_special_ids)
    with (
        progress(total=len(texts), description="Tokenise") as bar,
        files.replacing(path) as temporary,
        ArrowWriter(path=str(temporary)) as writer,
    ):
        for start in range(0, len(texts), BATCH):
            encoded = tokenizer(list(texts[start : start + BATCH]), truncation=True)
            words = [
                [NO_WORD if i in special else word for i, word in zip(ids, numbers, strict=True)]
                for row, ids in enumerate(encoded["input_ids"])
                for numbers in [encoded.word_ids(row)]
            ]
            kept = [row for row, numbers in enumerate(words) if set(numbers) - {NO_WORD}]
            columns = {"input_ids": [encoded["input_ids"][row] for row in kept]}
            columns |= {"words": [words[row] for row in kept]}
            writer.write_batch(columns | {"length": [len(words[row]) for row in kept]})
            bar.update(len(words))
        writer.finalize()
    return Dataset.from_file(str(path))


def hide_words(
    input_ids: np.ndarray, words: np.ndarray, tokenizer: Tokenizer, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Hide some words of each comment, all pieces of a word together.

    Args:
        input_ids, words: (B, T), as `tokenize_words` returns them, padded.
        rng: decides which words are hidden, and what becomes of each of their tokens.

    Returns:
        The ids that the model reads, and the targets, both (B, T). A target is the id that the
        model should predict, or `NOT_HIDDEN`.
    """
    hidden = np.zeros(words.shape, dtype=bool)
    for row, numbers in enumerate(words):
        known = np.setdiff1d(numbers, [NO_WORD])
        count = max(1, round(SHARE * len(known)))
        hidden[row] = np.isin(numbers, rng.choice(known, count, replace=False))
    ordinary = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)
    replaced = rng.choice(ordinary, words.shape)
    chance = rng.random(words.shape)
    read = np.where(chance < REPLACED, replaced, tokenizer.mask_token_id)
    read = np.where(chance >= 1 - KEPT, input_ids, read)
    return np.where(hidden, read, input_ids), np.where(hidden, input_ids, NOT_HIDDEN)
