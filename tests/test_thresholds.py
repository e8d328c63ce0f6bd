import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(0, 1, width=32, exclude_min=True, exclude_max=True)),
        min_size=1,
    )
)
def test_the_best_f1_is_reached_wherever_scores_crowd(rows):
    labels, probabilities = (np.array(column) for column in zip(*rows, strict=True))
    probabilities = probabilities.astype(np.float32)
    chosen = np.array(thresholds.f1_optimal_threshold(labels, probabilities))
    assert 0 < chosen < 1
    best = max(_f1(labels, probabilities >= p) for p in probabilities)
    if labels.any():
        assert _f1(labels, probabilities >= chosen) == pytest.approx(best)


@pytest.mark.parametrize(
    "scores",
    [
        np.array([1e-9, 2e-9, 4e-8]),
        np.float32(1) - np.array([5, 4, 0], np.float32) * np.float32(6e-8),
        np.nextafter(np.float32([0.3, 0.3, 0.3]), np.float32([0, 0, 1])),
    ],
    ids=["near 0", "near 1", "neighbouring float32"],
)
def test_scores_that_crowd_are_told_apart(scores):
    chosen = np.array(thresholds.f1_optimal_threshold(np.array([0, 0, 1]), scores))
    assert (scores >= chosen).tolist() == [False, False, True]


def _f1(labels, decisions):
    hits = (labels & decisions).sum()
    return 2 * hits / max(labels.sum() + decisions.sum(), 1)


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


def test_without_groups_every_row_stands_alone(scores):
    labels, probabilities, groups = scores
    alone = thresholds.cross_fitted_thresholds(labels, probabilities)
    same = thresholds.cross_fitted_thresholds(labels, probabilities, groups)
    assert (alone.decisions == same.decisions).all()


def test_a_label_without_a_positive_row_keeps_one_half(scores):
    labels, probabilities, _ = scores
    fitted = thresholds.cross_fitted_thresholds(labels * [1, 0], probabilities)
    assert (fitted.per_fold[:, 1] == 0.5).all()
    assert fitted.final[1] == 0.5


@pytest.mark.parametrize("text", ["", "[]", '{"a": 0.5}', '{"a": {}}', '{"a": {"threshold": 2}}'])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "t.json"
    with pytest.raises(InputError, match="no such file; run 04_thresholds"):
        thresholds.read_thresholds(path)
    path.write_text(text)
    with pytest.raises(InputError, match="threshold"):
        thresholds.read_thresholds(path)


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
    one = thresholds.cross_fitted_thresholds(labels[:, :1], probabilities[:, :1])
    single = thresholds.pooled_report(labels[:, :1], probabilities[:, :1], one)
    assert single.loc["cross-fitted", "micro F1"] == f1_score(labels[:, 0], one.decisions[:, 0])
    thresholds.write_thresholds(tmp_path / "t.json", fitted, ["a", "b"])
    saved = json.loads((tmp_path / "t.json").read_text())
    assert saved["b"]["lowest"] <= saved["b"]["highest"]
    assert saved["a"]["threshold"] == fitted.final[0]
    read = thresholds.read_thresholds(tmp_path / "t.json")
    assert read == dict(zip("ab", fitted.final, strict=True))
    assert table.loc["a", "median"] == np.median(fitted.per_fold[:, 0])
