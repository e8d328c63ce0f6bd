"""Read only a share of the comments without any label in each epoch, without bias."""

from collections.abc import Iterator

import datasets
import numpy as np
import torch
from torch.utils.data import Sampler


class NegativesSampler(Sampler[int]):
    """Draw the rows of an epoch, in random order: all with a label, and a share of the others.

    The draw follows from the seed and the epoch alone. So a training that goes on after a kill,
    and every process under torchrun, reads the same rows. Each epoch has the same number of rows.

    Args:
        has_label: (N,), whether each row has any label.
        share: of the rows without any label, in (0, 1]. At least one of them is read.
        seed: the recipe's.
    """

    def __init__(self, has_label: np.ndarray, share: float, seed: int):
        self.positives, self.negatives = np.flatnonzero(has_label), np.flatnonzero(~has_label)
        count = len(self.negatives)
        self.drawn = max(round(share * count), min(1, count))
        self.chance = self.drawn / count if count else 1.0
        """How likely a row without any label is to be read in an epoch."""
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose which epoch is drawn next. Trainer calls this at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.positives) + self.drawn

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        negatives = rng.choice(self.negatives, self.drawn, replace=False)
        yield from rng.permutation(np.concatenate([self.positives, negatives])).tolist()

    def weights(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the weights of comments in the loss, (B, 1), from their labels, (B, L).

        A soft label counts as one from 0.5 on.

        A row that is read with chance c has the weight mean(c) / c, where the mean is over all N
        rows. An epoch's weights have the mean 1, so the weighted sum of a batch, divided by its
        number of comments, has as expected value the mean loss of all N rows. Its gradient is
        therefore without bias, and the logged loss compares with that of another share. To divide
        by the sum of the batch's weights would be biased: that sum is small in batches that happen
        to hold many comments with labels, and would make each of these count more.
        """
        mean_chance = len(self) / (len(self.positives) + len(self.negatives))
        has_label = (labels >= 0.5).any(dim=1, keepdim=True)
        return torch.where(has_label, mean_chance, mean_chance / self.chance).to(labels.dtype)

    def expected_sum(self, values: np.ndarray) -> float:
        """Return the sum of the values of an epoch's rows that is expected; values are (N,)."""
        return values[self.positives].sum() + self.chance * values[self.negatives].sum()


def rows_with_a_label(data: datasets.Dataset) -> np.ndarray:
    """Return whether each row of a data set from `toxlib.data.tokens` has any label, (N,)."""
    batches = data.select_columns("labels").with_format("numpy").iter(batch_size=1000)
    return np.concatenate([(batch["labels"] >= 0.5).any(axis=1) for batch in batches])
