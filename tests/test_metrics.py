import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from toxlib import metrics


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 3)) < [0.4, 0.2, 0.1]).astype(int)
    good = np.clip(labels * 0.3 + rng.random(labels.shape) * 0.7, 0, 1).round(2)  # with ties
    poor = np.clip(labels * 0.1 + rng.random(labels.shape) * 0.9, 0, 1)
    return labels, good, poor


def test_auc_against_brute_force(scores):
    labels, good, _ = scores
    for j, auc in enumerate(metrics.auc_per_label(labels, good)):
        positive, negative = good[labels[:, j] == 1, j], good[labels[:, j] == 0, j]
        wins = (positive[:, None] > negative).mean() + (positive[:, None] == negative).mean() / 2
        assert auc == pytest.approx(wins)


def test_a_column_with_one_class_is_nan_and_left_out(scores):
    labels, good, _ = scores
    labels = labels.copy()
    labels[:, 1] = 0
    with pytest.warns(UserWarning, match="one-class columns 1"):
        aucs = metrics.auc_per_label(labels, good)
    assert np.isnan(aucs).tolist() == [False, True, False]
    with pytest.warns(UserWarning, match="undefined"):
        assert metrics.mean_columnwise_auc(labels, good) == pytest.approx(np.nanmean(aucs))


def test_evaluate_against_sklearn(scores):
    labels, good, _ = scores
    result = metrics.evaluate(labels, good, ["a", "b", "c"])
    assert result["mean_columnwise_auc"] == pytest.approx(roc_auc_score(labels, good))
    columns = [log_loss(labels[:, j], good[:, j]) for j in range(3)]
    assert result["log_loss"] == pytest.approx(np.mean(columns))
    hits = (labels == (good >= 0.5)).all(axis=1).mean()
    assert result["subset_accuracy_at_0.5"] == pytest.approx(hits)
    micro = roc_auc_score(labels.ravel(), (good >= 0.5).ravel())
    assert result["tutorial"]["roc_auc_micro_on_thresholded_values"] == pytest.approx(micro)
    json.dumps(result)


def test_bootstrap_equals_scoring_the_drawn_rows(scores):
    labels, good, poor = scores
    draws = metrics._resampled_means(labels, [good, poor], 30, seed=3)
    rng, expected = np.random.default_rng(3), []
    for count in (metrics.BLOCK, 30 - metrics.BLOCK):
        for rows in rng.integers(0, len(labels), (count, len(labels))):
            expected.append([roc_auc_score(labels[rows], p[rows]) for p in (good, poor)])
    assert np.allclose(np.array(draws).T, expected)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=4))
def test_weighted_auc_against_sklearn(rows):
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    auc = metrics._Ranked(labels.astype(int), scores).auc(weights[None].astype(float))[0]
    if min(weights[labels].sum(), weights[~labels].sum()) == 0:
        assert np.isnan(auc)
    else:
        assert auc == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))


def test_intervals_cover_and_pairing_narrows(scores):
    labels, good, poor = scores
    interval = metrics.bootstrap_auc(labels, good)
    assert interval.low < interval.estimate < interval.high
    nearly = good + 1e-3 * poor
    difference = metrics.paired_bootstrap_auc(labels, good, nearly)
    assert difference.high - difference.low < (interval.high - interval.low) / 3
    assert metrics.paired_bootstrap_auc(labels, good, poor).low > 0
    same = metrics.paired_bootstrap_log_loss(labels, good, good)
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    assert str(metrics.Interval(0.5, 0.25, 1.0)) == "0.5000 [0.2500, 1.0000]"
