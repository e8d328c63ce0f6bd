"""Tokenise comments once, in batches, into a memory-mapped data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset, disable_progress_bars
from transformers import PreTrainedTokenizerBase as Tokenizer

from toxlib.progress import progress


def tokenize(
    texts: list[str],
    tokenizer: Tokenizer,
    path: Path,
    labels: np.ndarray,
    ids: Sequence[str] | None = None,
) -> Dataset:
    """Tokenise N comments, cut at `tokenizer.model_max_length`, into the Arrow file `path`.

    The rows have `input_ids`, `length` (in tokens) and `labels`, (N, L), as floats, which binary
    cross-entropy needs, and `id` if ids are given. They are mapped from the file, so that memory
    does not grow with N.
    """
    columns = {"text": texts, "labels": labels.astype(np.float32).tolist()}
    if ids is not None:
        columns["id"] = list(ids)
    disable_progress_bars()  # our bar is also readable in the log of a headless run
    path.parent.mkdir(parents=True, exist_ok=True)
    with progress(total=len(texts), description="Tokenise") as bar:

        def encode(batch: dict[str, list]) -> dict[str, list]:
            encoded = tokenizer(batch["text"], truncation=True)["input_ids"]
            bar.update(len(encoded))
            return {"input_ids": encoded, "length": [len(row) for row in encoded]}

        return Dataset.from_dict(columns).map(
            encode,
            batched=True,
            remove_columns=["text"],
            cache_file_name=str(path),
            load_from_cache_file=False,
            new_fingerprint=path.stem,  # the default would pickle `encode` and its bar
        )


def token_lengths(texts: list[str], tokenizer: Tokenizer) -> np.ndarray:
    """Return the tokens per comment, with special tokens and nothing cut: (N,)."""
    lengths = []
    with progress(total=len(texts), description="Count tokens") as bar:
        for start in range(0, len(texts), 1000):
            ids = tokenizer(texts[start : start + 1000], truncation=False, verbose=False)
            lengths.extend(map(len, ids["input_ids"]))
            bar.update(len(ids["input_ids"]))
    return np.array(lengths)
