"""Parts: held-out predictions together with the rows that thresholds and weights are fitted on."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit

SMALLEST = 1e-9  # probabilities are kept this far from 0 and 1, so that their logits are finite


@dataclass(frozen=True)
class Part:
    """Predictions for a block of held-out rows, plus the rows used to fit what is applied to them.

    Thresholds, calibrators and blend weights are fitted on the `fit_*` arrays and applied to
    `probabilities`. No model was trained, and nothing fitted, on the labels of the held-out rows;
    with one validation set, the best epoch was chosen by them.
    """

    rows: np.ndarray  # (n,): positions of the held-out rows among all validation rows
    probabilities: np.ndarray  # (n, L): predictions for the held-out rows
    fit_labels: np.ndarray  # (m, L): labels, 0 or 1, of the rows to fit on
    fit_probabilities: np.ndarray  # (m, L): predictions for the rows to fit on


def join(parts: list[Part]) -> np.ndarray:
    """Return the probabilities of the held-out rows of all parts, (N, L), in the file's order."""
    joined = np.empty((sum(len(part.rows) for part in parts), parts[0].probabilities.shape[1]))
    for part in parts:
        joined[part.rows] = part.probabilities
    return joined


def average(predictions: Iterable[np.ndarray]) -> np.ndarray:
    """Return the sigmoid of the mean logit of several predictions of the same shape.

    We average logits, not probabilities. Most scores lie near 0 or 1, and there a mean of
    probabilities is decided by the least certain model alone. One prediction is taken at a time.
    """
    total, count = 0.0, 0
    for prediction in predictions:
        total += to_logits(prediction)
        count += 1
    return expit(total / count)


def average_versions(probabilities: np.ndarray, comments: np.ndarray) -> np.ndarray:
    """Return the sigmoid of each comment's mean logit over its versions, (n, L).

    `probabilities`, (m, L), are those of all versions, and `comments`, (m,), are the numbers of
    their comments: each number from 0 to n - 1 at least once.
    """
    logits = pd.DataFrame(to_logits(probabilities))
    return expit(logits.groupby(comments).mean().to_numpy())


def to_logits(probabilities: np.ndarray) -> np.ndarray:
    """Return logits that are finite even where a probability has been rounded to 0 or 1."""
    clipped = np.clip(probabilities, SMALLEST, 1 - SMALLEST, dtype=np.float64)
    return logit(clipped, out=clipped)
