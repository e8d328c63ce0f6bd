"""Tokenise comments once, in batches, into a memory-mapped data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset
from datasets.arrow_writer import ArrowWriter
from transformers import PreTrainedTokenizerBase as Tokenizer

from toxlib import files
from toxlib.progress import progress

BATCH = 1000
"""Comments that are tokenised together."""


def tokenize(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    path: Path,
    labels: np.ndarray,
    ids: Sequence[str] | None = None,
) -> Dataset:
    """Tokenise N comments, cut at `tokenizer.model_max_length`, into the Arrow file `path`.

    The rows have `input_ids`, `length` (in tokens) and `labels`, (N, L), as floats, which binary
    cross-entropy needs, and `id` if ids are given. They are mapped from the file, and the texts
    are taken batch by batch, so that memory does not grow with N.
    """
    with (
        progress(total=len(texts), description="Tokenise") as bar,
        files.replacing(path) as temporary,
        ArrowWriter(path=str(temporary)) as writer,
    ):
        for start in range(0, len(texts), BATCH):
            batch = slice(start, start + BATCH)
            encoded = tokenizer(texts[batch], truncation=True)["input_ids"]
            columns = {"labels": labels[batch].astype(np.float32), "input_ids": encoded}
            if ids is not None:
                columns["id"] = list(ids[batch])
            writer.write_batch(columns | {"length": [len(row) for row in encoded]})
            bar.update(len(encoded))
        writer.finalize()
    return Dataset.from_file(str(path))


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
