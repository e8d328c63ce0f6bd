"""Labels and predictions with known properties, and a way to lay them out in parts."""

import numpy as np
import pytest

from toxlib.evaluation.parts import Part


@pytest.fixture
def scores():
    """Labels, (400, 3), and the scores of a good model, with ties, and of a poor one."""
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 3)) < [0.4, 0.2, 0.1]).astype(int)
    good = np.clip(labels * 0.3 + rng.random(labels.shape) * 0.7, 0, 1).round(2)
    poor = np.clip(labels * 0.1 + rng.random(labels.shape) * 0.9, 0, 1)
    return labels, good, poor


@pytest.fixture
def make_parts():
    """A function that holds out every fifth row, and uses all other rows to fit on."""

    def make(labels: np.ndarray, probabilities: np.ndarray) -> list[Part]:
        number = np.arange(len(labels)) % 5
        return [
            Part(
                np.flatnonzero(number == k),
                probabilities[number == k],
                labels[number != k],
                probabilities[number != k],
            )
            for k in range(5)
        ]

    return make
