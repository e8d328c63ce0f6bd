"""The rows that experiments train on and are judged on: one split, for all of them.

Kaggle's training file is cut into blocks of equal size. Some blocks are judged. The others are the
pool: an experiment trains on the first ones, and the comments of as many others, with their labels
hidden, stand for an unlabelled test set (Kaggle's has about as many rows as its training file).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toxlib.data import kaggle, splits, text
from toxlib.data.duplicates import near_duplicate_groups

BLOCKS, JUDGED_BLOCKS = 16, 5
SPLIT_SEED = 42


@dataclass(frozen=True)
class Rows:
    """The blocks of the training file. Texts are prepared; labels are (N, L) of 0 and 1.

    Each block is stratified over the labels. Identical and nearly identical comments are in the
    same block, so that none is judged while a similar one was trained on.
    """

    label_names: list[str]
    texts: np.ndarray
    """(N,), strings."""
    labels: np.ndarray
    block: np.ndarray
    """(N,): 0 to 4 are judged, 5 to 15 are the pool."""
    sha256: str
    """The digest of the training file."""

    @property
    def judged(self) -> tuple[list[str], np.ndarray]:
        """The comments that all experiments are judged on, and their labels."""
        return self._take(self.block < JUDGED_BLOCKS)

    def training(self, blocks: int) -> tuple[list[str], np.ndarray]:
        """Return the comments of the pool's first blocks, and their labels."""
        return self._take((self.block >= JUDGED_BLOCKS) & (self.block < JUDGED_BLOCKS + blocks))

    def unlabelled(self, blocks: int) -> list[str]:
        """Return as many of the pool's next comments, which stand for an unlabelled test set."""
        first = JUDGED_BLOCKS + blocks
        return self._take((self.block >= first) & (self.block < first + blocks))[0]

    def _take(self, rows: np.ndarray) -> tuple[list[str], np.ndarray]:
        return self.texts[rows].tolist(), self.labels[rows]


def read_rows(folder: Path) -> Rows:
    """Cut Kaggle's training file into blocks."""
    tables = kaggle.read_tables(folder)
    texts = np.array(text.prepare(tables.train["comment_text"]), dtype=object)
    groups = near_duplicate_groups(texts)
    digest = next(digest for name, digest in tables.sha256.items() if name.startswith("train."))
    block = splits.stratified_folds(tables.labels, groups, BLOCKS, SPLIT_SEED)
    return Rows(tables.label_names, texts, tables.labels, block, digest)
