"""Likely label errors: planted ones are found."""

import sys

import numpy as np
import pytest

from toxlib.errors import InputError
from toxlib.evaluation import label_errors

needs_cleanlab = pytest.mark.skipif(
    label_errors.find_spec("cleanlab") is None, reason=label_errors.INSTALL
)


@pytest.fixture
def planted():
    """True labels, (1000, 2), scores of a good model, and labels of which 60 are flipped."""
    rng = np.random.default_rng(0)
    truth = (rng.random((1000, 2)) < [0.4, 0.1]).astype(int)
    scores = np.clip(0.85 * truth + 0.15 * rng.random(truth.shape), 0.01, 0.99)
    flipped = np.zeros(truth.shape, dtype=bool)
    flipped[rng.permutation(1000)[:40], 0] = True
    flipped[rng.permutation(1000)[:20], 1] = True
    return np.where(flipped, 1 - truth, truth), scores, flipped


@needs_cleanlab
def test_planted_errors_are_found_and_counted(planted):
    labels, scores, flipped = planted
    found = label_errors.likely_errors(labels, scores)
    assert (found & flipped).sum() >= 45
    assert (found & ~flipped).sum() <= 5
    table = label_errors.label_error_report(labels, found, ["a", "b"])
    assert table["with the label"].tolist() == labels.sum(axis=0).tolist()
    for column, given in (("probably without it", 1), ("probably with it", 0)):
        assert table[column].tolist() == (found & (labels == given)).sum(axis=0).tolist()


@needs_cleanlab
def test_in_labels_of_one_class_there_are_none(planted):
    labels, scores, _ = planted
    labels[:, 0], labels[:, 1] = 0, 1
    assert not label_errors.likely_errors(labels, scores).any()


def test_without_cleanlab_one_line_says_what_to_install(planted, monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    monkeypatch.setattr(label_errors, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"run `pip install -r requirements-audit.txt`$"):
        label_errors.likely_errors(*planted[:2])
