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


def test_versions_are_averaged_by_comment():
    scores = np.array([[0.5, 0.9], [0.2, 0.3], [0.5, 0.1], [0.5, 0.9]])
    averaged = parts.average_versions(scores, np.array([0, 1, 0, 0]))
    assert averaged[0] == pytest.approx(parts.average(scores[[0, 2, 3]]))
    assert averaged[1] == pytest.approx(scores[1])
    certain = parts.average_versions(np.array([[1.0], [0.0]]), np.array([0, 0]))
    assert certain[0, 0] == pytest.approx(0.5)


def test_logits_of_rounded_probabilities_are_finite():
    logits = parts.to_logits(np.array([0, 0.5, 1], dtype=np.float32))
    assert np.isfinite(logits).all()
    assert logits[1] == 0
    assert logits[0] == pytest.approx(-logits[2])
