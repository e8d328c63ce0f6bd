"""The examples that a model is trained on: comments, labels, and how much each one counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, compress

import numpy as np

from toxlib.data import spelling
from toxlib.data.text import prepare


@dataclass(frozen=True)
class Examples:
    """N comments to train on.

    >>> one = Examples(["a", "b"], np.array([[0], [1]]))
    >>> both = join_examples([one, Examples(["c"], np.array([[0.7]]), weights=np.array([0.5]))])
    >>> list(both.texts), both.weights.tolist()
    (['a', 'b', 'c'], [1.0, 1.0, 0.5])
    """

    texts: Sequence[str]
    labels: np.ndarray
    """(N, L): 0 or 1 or, for pseudo-labels, a probability."""
    ids: Sequence[str] | None = None
    """(N,): they name comments in messages."""
    weights: np.ndarray | None = None
    """(N,): what each comment's loss is multiplied by; None stands for 1."""


def join_examples(parts: Iterable[Examples]) -> Examples:
    """Return the examples of all parts, one part after the other; a single one as it is."""
    parts = list(parts)
    if len(parts) == 1:
        return parts[0]
    has_ids = all(part.ids is not None for part in parts)
    return Examples(
        texts=list(chain.from_iterable(part.texts for part in parts)),
        labels=np.concatenate([part.labels for part in parts]),
        ids=list(chain.from_iterable(part.ids for part in parts)) if has_ids else None,
        weights=np.concatenate([_weights(part) for part in parts]),
    )


def vary_examples(
    examples: Examples, rows: np.ndarray, share: float, seed: int, clean_spelling: bool = False
) -> Examples:
    """Return copies of a share of the examples, in which the spelling of some words is varied.

    Which comments are copied, and how they vary, follows from the seed and the numbers of their
    rows, (N,). So a row has the same copy in every fold, and when a stopped run goes on.
    """
    drawn = np.isin(rows, spelling.draw_rows(rows, share, seed))
    varied = spelling.vary_rows(compress(examples.texts, drawn), rows[drawn], seed)
    ids = None if examples.ids is None else list(compress(examples.ids, drawn))
    return Examples(prepare(varied, clean_spelling), examples.labels[drawn], ids)


def _weights(part: Examples) -> np.ndarray:
    return np.ones(len(part.texts)) if part.weights is None else part.weights
