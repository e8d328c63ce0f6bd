import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from toxlib import thresholds
from toxlib.errors import InputError


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 2)) < [0.3, 0.1]).astype(int)
    return labels, np.clip(labels * 0.2 + rng.random(labels.shape) * 0.5, 0, 1), np.arange(300)


def test_no_other_cutoff_has_a_better_f1(scores):
    labels, probabilities, _ = scores
    for j in range(2):
        chosen = thresholds.f1_optimal_threshold(labels[:, j], probabilities[:, j])
        best = max(f1_score(labels[:, j], probabilities[:, j] >= p) for p in probabilities[:, j])
        assert f1_score(labels[:, j], probabilities[:, j] >= chosen) == pytest.approx(best)


def test_no_positive_row_teaches_nothing():
    assert thresholds.f1_optimal_threshold(np.zeros(5), np.linspace(0, 1, 5)) == 0.5


def test_a_folds_labels_do_not_move_its_own_decisions(scores, monkeypatch):
    labels, probabilities, groups = scores
    folds = np.arange(300) % 5
    monkeypatch.setattr(thresholds, "_folds", lambda *_: folds)
    before = thresholds.cross_fitted_thresholds(labels, probabilities, groups)
    shuffled = labels.copy()
    mine = folds == 2
    shuffled[mine] = np.random.default_rng(1).permutation(labels[mine])
    after = thresholds.cross_fitted_thresholds(shuffled, probabilities, groups)
    assert (before.decisions[mine] == after.decisions[mine]).all()
    assert (before.per_fold[2] == after.per_fold[2]).all()
    assert (before.per_fold != after.per_fold).any()


def test_tuning_on_noise_is_not_rewarded():
    """Labels that the scores say nothing of: F1 reported on the tuned rows would be higher."""
    rng = np.random.default_rng(0)
    labels, probabilities = (rng.random((60, 40)) < 0.1).astype(int), rng.random((60, 40))
    fitted = thresholds.cross_fitted_thresholds(labels, probabilities, np.arange(60))
    tuned = f1_score(labels, probabilities >= fitted.final, average="macro", zero_division=0)
    honest = f1_score(labels, fitted.decisions, average="macro", zero_division=0)
    assert honest < tuned - 0.05


def test_identical_comments_share_a_fold(scores):
    labels, _, groups = scores
    folds = thresholds._folds(labels, groups // 2, 5, seed=0)
    assert (folds[::2] == folds[1::2]).all()
    assert set(folds) == set(range(5))
    with pytest.raises(InputError, match="too few"):
        thresholds._folds(labels, groups * 0, 5, seed=0)


def test_report_and_file(scores, tmp_path):
    labels, probabilities, groups = scores
    fitted = thresholds.cross_fitted_thresholds(labels, probabilities, groups)
    table = thresholds.threshold_report(labels, probabilities, fitted, ["a", "b"])
    at_half = f1_score(labels[:, 0], probabilities[:, 0] >= 0.5, zero_division=0)
    assert table.loc["a", "F1 at 0.5"] == pytest.approx(at_half)
    low, high = map(float, table.loc["a", "F1 interval cross-fitted"].split(" to "))
    assert low <= table.loc["a", "F1 cross-fitted"] <= high
    pooled = thresholds.pooled_report(labels, probabilities, fitted)
    micro = f1_score(labels, fitted.decisions, average="micro")
    assert pooled.loc["cross-fitted", "micro F1"] == pytest.approx(micro)
    thresholds.write_thresholds(tmp_path / "t.json", fitted, ["a", "b"])
    saved = json.loads((tmp_path / "t.json").read_text())
    assert saved["b"]["lowest"] <= saved["b"]["highest"]
    assert saved["a"]["threshold"] == fitted.final[0]
