import numpy as np
import pytest
from scipy.special import expit

from toxlib.evaluation import parts


def test_join_puts_held_out_rows_in_the_files_order(scores, make_parts):
    labels, good, _ = scores
    laid_out = make_parts(labels, good)
    assert (parts.join(laid_out) == good).all()
    assert (parts.join(laid_out[::-1]) == good).all()


def test_average_is_that_of_logits():
    first, second = np.array([[0.5, 0.9]]), np.array([[0.5, 0.1]])
    assert parts.average([first, second]) == pytest.approx(np.array([[0.5, 0.5]]))
    certain = np.array([[1 - 1e-6]])
    assert parts.average([certain, np.array([[0.5]])])[0, 0] == pytest.approx(expit(6.9078), 1e-5)


def test_logits_of_rounded_probabilities_are_finite():
    logits = parts.to_logits(np.array([0, 0.5, 1], dtype=np.float32))
    assert np.isfinite(logits).all()
    assert logits[1] == 0
    assert logits[0] == pytest.approx(-logits[2])
