"""Comments as tokens: tokenised once, in batches, into a memory-mapped data set.

Letters: N comments, L labels.
"""

from pathlib import Path

import datasets
import numpy as np
from transformers import PreTrainedTokenizerBase

from toxlib.progress import progress


def tokenize(
    texts: list[str],
    tokenizer: PreTrainedTokenizerBase,
    cache_file: Path,
    labels: np.ndarray | None = None,
    description: str = "Tokenise",
) -> datasets.Dataset:
    """Tokenise comments, cut at `tokenizer.model_max_length`, into an Arrow file on disk.

    Args:
        texts: N comments.
        cache_file: the Arrow file, written anew; the data set is mapped from it, so that memory
            does not grow with N.
        labels: (N, L) of 0 and 1, or None.

    Returns:
        A data set of N rows with `input_ids`, `length` (tokens) and, if given, `labels` (floats,
        as binary cross-entropy needs them).
    """
    columns = {"text": texts}
    if labels is not None:
        columns["labels"] = labels.astype(np.float32).tolist()
    datasets.disable_progress_bars()  # ours also suits the logs of headless runs
    cache_file.parent.mkdir(parents=True, exist_ok=True)
    with progress(total=len(texts), description=description) as bar:

        def encode(batch: dict[str, list]) -> dict[str, list]:
            ids = tokenizer(batch["text"], truncation=True)["input_ids"]
            bar.update(len(ids))
            return {"input_ids": ids, "length": [len(row) for row in ids]}

        return datasets.Dataset.from_dict(columns).map(
            encode,
            batched=True,
            remove_columns=["text"],
            cache_file_name=str(cache_file),
            load_from_cache_file=False,
            new_fingerprint=cache_file.stem,  # else the closure, bar and all, would be hashed
        )


def token_lengths(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, batch_size: int = 1000
) -> np.ndarray:
    """Tokens per comment, special tokens counted, nothing cut: (N,)."""
    lengths = []
    with progress(total=len(texts), description="Count tokens") as bar:
        for start in range(0, len(texts), batch_size):
            batch = tokenizer(texts[start : start + batch_size], truncation=False, verbose=False)
            lengths.extend(len(ids) for ids in batch["input_ids"])
            bar.update(len(batch["input_ids"]))
    return np.array(lengths)
