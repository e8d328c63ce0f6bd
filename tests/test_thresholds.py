import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.metrics import f1_score

from toxlib import thresholds
from toxlib.predictions import deal


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 2)) < [0.3, 0.1]).astype(int)
    return labels, np.clip(labels * 0.2 + rng.random(labels.shape) * 0.5, 0, 1)


def _parts(labels, probabilities):
    """Every fifth row, to be decided by thresholds chosen on the others."""
    return deal(labels, probabilities, np.arange(len(labels)) % 5)


def test_no_other_cutoff_has_a_better_f1(scores):
    labels, probabilities = scores
    for j in range(2):
        chosen = thresholds.best_f1_threshold(labels[:, j], probabilities[:, j])
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
    chosen = np.array(thresholds.best_f1_threshold(labels, probabilities))
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
    chosen = np.array(thresholds.best_f1_threshold(np.array([0, 0, 1]), scores))
    assert (scores >= chosen).tolist() == [False, False, True]


def _f1(labels, decisions):
    hits = (labels & decisions).sum()
    return 2 * hits / max(labels.sum() + decisions.sum(), 1)


def test_no_positive_row_teaches_nothing():
    assert thresholds.best_f1_threshold(np.zeros(5), np.linspace(0, 1, 5)) == 0.5


def test_tuning_on_noise_is_not_rewarded():
    """Labels that the scores say nothing of: F1 reported on the tuned rows would be higher."""
    rng = np.random.default_rng(0)
    labels, probabilities = (rng.random((60, 40)) < 0.1).astype(int), rng.random((60, 40))
    fitted = thresholds.cross_fitted_thresholds(labels, _parts(labels, probabilities))
    columns = zip(labels.T, probabilities.T, strict=True)
    chosen = [thresholds.best_f1_threshold(y, p) for y, p in columns]
    tuned = f1_score(labels, probabilities >= chosen, average="macro", zero_division=0)
    honest = f1_score(labels, fitted.decisions, average="macro", zero_division=0)
    assert honest < tuned - 0.05


def test_smoothing_is_nearer_to_the_truth_for_a_rare_label():
    """Scores of known distribution: how far chosen thresholds lie from the best for all rows."""
    rng = np.random.default_rng(0)
    labels = (rng.random(40_000) < 0.02).astype(int)
    scores = 1 / (1 + np.exp(-(rng.normal(size=len(labels)) + 2 * labels - 2)))
    best = logit(thresholds.best_f1_threshold(labels, scores))
    away = {thresholds.best_f1_threshold: [], thresholds.f1_threshold: []}
    for rows in np.split(rng.permutation(len(labels)), 40):  # 1,000 rows, some 20 positives
        for choose, distances in away.items():
            distances.append(abs(logit(choose(labels[rows], scores[rows])) - best))
    plain, smoothed = (np.mean(distances) for distances in away.values())
    assert smoothed < 0.85 * plain


@pytest.mark.parametrize("wanted", [0.3, 0.6, 0.8])
def test_a_wanted_precision_is_had_as_cheaply_as_can_be(scores, wanted):
    labels, probabilities = (column[:, 0] for column in scores)
    decided = probabilities >= thresholds.precision_threshold(labels, probabilities, wanted)
    assert labels[decided].mean() >= wanted
    lower = np.sort(probabilities[~decided])[::-1]
    for cutoff in lower:
        assert labels[probabilities >= cutoff].mean() < wanted


def test_a_precision_out_of_reach_gets_the_best_there_is():
    labels, probabilities = np.array([0, 1, 0, 0]), np.array([0.9, 0.8, 0.5, 0.2])
    assert 0.5 < thresholds.precision_threshold(labels, probabilities, 0.9) < 0.8
    assert thresholds.precision_threshold(labels * 0, probabilities, 0.9) == 0.5


def test_a_label_without_a_positive_row_keeps_one_half(scores):
    labels, probabilities = scores
    positives = labels * [1, 0]
    fitted = thresholds.cross_fitted_thresholds(positives, _parts(positives, probabilities))
    assert (fitted.per_part[:, 1] == 0.5).all()
    assert fitted.final[1] == 0.5


def test_report_and_file(scores, tmp_path):
    labels, probabilities = scores
    fitted = thresholds.cross_fitted_thresholds(labels, _parts(labels, probabilities))
    table = thresholds.threshold_report(labels, probabilities, fitted, ["a", "b"])
    at_half = f1_score(labels[:, 0], probabilities[:, 0] >= 0.5, zero_division=0)
    assert table.loc["a", "F1 at 0.5"] == pytest.approx(at_half)
    low, high = map(float, table.loc["a", "F1 interval cross-fitted"].split(" to "))
    assert low <= table.loc["a", "F1 cross-fitted"] <= high
    pooled = thresholds.pooled_report(labels, probabilities, fitted)
    micro = f1_score(labels, fitted.decisions, average="micro")
    assert pooled.loc["cross-fitted", "micro F1"] == pytest.approx(micro)
    parts = _parts(labels[:, :1], probabilities[:, :1])
    one = thresholds.cross_fitted_thresholds(labels[:, :1], parts)
    single = thresholds.pooled_report(labels[:, :1], probabilities[:, :1], one)
    assert single.loc["cross-fitted", "micro F1"] == f1_score(labels[:, 0], one.decisions[:, 0])
    thresholds.write_thresholds(tmp_path / "t.json", fitted, ["a", "b"])
    saved = json.loads((tmp_path / "t.json").read_text())
    assert saved["b"]["lowest"] <= saved["b"]["highest"]
    assert saved["a"]["threshold"] == fitted.final[0]
    assert table.loc["a", "median"] == np.median(fitted.per_part[:, 0])
