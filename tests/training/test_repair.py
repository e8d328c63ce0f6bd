"""What repairing labels is worth: found where labels are wrong, and measured without a leak."""

import numpy as np
import pytest

from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.training import repair

pytest.importorskip("cleanlab", reason="pip install -r requirements-audit.txt")
WORDS = ["about", "page", "note", "edit", "source", "topic", "list", "year", "town", "river"]


def comments(count=600, wrong=0.0, seed=0):
    """Texts of which the word "idiot" decides the only label; a share of the labels is wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.4
    texts = [
        " ".join([*rng.choice(WORDS, 8), *(["idiot"] if t else []), f"n{i}"])
        for i, t in enumerate(truth)
    ]
    flipped = rng.random(count) < wrong
    return texts, (truth ^ flipped).astype(int)[:, None], truth.astype(int)[:, None]


def test_planted_errors_are_worth_correcting():
    texts, labels, truth = comments(wrong=0.25)
    judged, predicted = repair.repaired_predictions(texts, labels)
    assert np.array_equal(judged, labels)
    losses = {way: np.abs(p - truth).mean() for way, p in predicted.items()}
    assert losses[repair.CORRECTED] < losses[repair.AS_THEY_ARE] - 0.1
    assert losses[repair.LEFT_OUT] < losses[repair.AS_THEY_ARE] - 0.1
    assert mean_columnwise_auc(labels, predicted[repair.CORRECTED]) > 0.7


def test_predictions_of_a_fold_do_not_depend_on_its_labels(monkeypatch):
    """With the labels of a fold permuted, all models that are judged on it stay as they were."""
    texts, labels, _ = comments(240, wrong=0.1)
    fold = np.arange(240) % repair.FOLDS
    monkeypatch.setattr(repair, "stratified_folds", lambda *arguments: fold)
    _, before = repair.repaired_predictions(texts, labels)
    changed = labels.copy()
    changed[fold == 1] = np.random.default_rng(0).permutation(labels[fold == 1])
    assert (changed != labels).any()
    _, after = repair.repaired_predictions(texts, changed)
    for way in before:
        assert np.array_equal(before[way][fold == 1], after[way][fold == 1]), way
        assert not np.array_equal(before[way][fold == 0], after[way][fold == 0]), way


def test_of_many_comments_evenly_spaced_ones_are_used(monkeypatch):
    monkeypatch.setattr(repair, "MOST_ROWS", 100)
    texts, labels, _ = comments(190)
    judged, predicted = repair.repaired_predictions(texts, labels)
    assert np.array_equal(judged, labels[::2])
    assert {p.shape for p in predicted.values()} == {(95, 1)}
