import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from toxlib import intervals, metrics


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
    with pytest.warns(UserWarning, match="one-class columns '1'"):
        aucs = metrics.auc_per_label(labels, good)
    assert np.isnan(aucs).tolist() == [False, True, False]
    with pytest.warns(UserWarning, match="undefined"):
        assert metrics.mean_columnwise_auc(labels, good) == pytest.approx(np.nanmean(aucs))


def test_the_warning_names_the_column_and_escapes_it(scores):
    labels, good, _ = scores
    with pytest.warns(UserWarning, match=r"columns 'b\\x1b'$"):
        metrics.auc_per_label(labels * [1, 0, 1], good, np.array(["a", "b\x1b", "c"]))


def test_no_defined_column_gives_nan(scores):
    labels, good, _ = scores
    with pytest.warns(UserWarning, match="undefined"):
        assert np.isnan(metrics.mean_columnwise_auc(labels * 0, good))
    interval = intervals.bootstrap_auc(labels * 0, good, resamples=3)
    assert np.isnan([interval.estimate, interval.low, interval.high]).all()


def test_evaluate_against_sklearn(scores):
    labels, good, _ = scores
    result = metrics.evaluate(labels, good, ["a", "b", "c"])
    assert result["mean_columnwise_auc"] == pytest.approx(roc_auc_score(labels, good))
    columns = [log_loss(labels[:, j], good[:, j]) for j in range(3)]
    assert result["log_loss"] == pytest.approx(np.mean(columns))
    hits = (labels == (good >= 0.5)).all(axis=1).mean()
    tutorial = result["tutorial"]
    assert tutorial["subset_accuracy_on_thresholded_values"] == pytest.approx(hits)
    micro = roc_auc_score(labels.ravel(), (good >= 0.5).ravel())
    assert tutorial["roc_auc_micro_on_thresholded_values"] == pytest.approx(micro)
    macro = f1_score(labels, good >= 0.5, average="macro")
    assert result["f1_macro_at_0.5"] == pytest.approx(macro)
    json.dumps(result)


def test_a_model_beside_another(scores):
    labels, good, poor = scores
    report = intervals.compare(labels, good, {"lr": poor}, ["a", "b", "c"], "a note")
    sides = (report["validation"], report["others"]["lr"])
    first, second = (side["mean_columnwise_auc"] for side in sides)
    told = report["intervals_95"]
    gain = told["mean column-wise AUC minus lr"]
    assert gain["estimate"] == pytest.approx(first - second)
    ratio = told["error divided by lr's"]
    assert ratio["estimate"] == pytest.approx((1 - first) / (1 - second))
    assert ratio["low"] < ratio["estimate"] < ratio["high"] < 1
    assert report["validation_note"] == "a note"
    json.dumps(report)


def test_a_perfect_rival_has_no_error_to_divide_by(scores):
    labels, good, _ = scores
    report = intervals.compare(labels, good, {"truth": labels}, ["a", "b", "c"], "")
    assert np.isnan(report["intervals_95"]["error divided by truth's"]["estimate"])


def test_seeds_are_averaged_on_the_same_resamples(scores):
    labels, good, poor = scores
    one = intervals.paired_bootstrap_auc(labels, good, poor)
    twice = intervals.paired_bootstrap_auc_of_seeds(labels, [good, good], [poor, poor])
    assert str(twice) == str(one)
    mixed = intervals.paired_bootstrap_auc_of_seeds(labels, [good, poor], [poor, poor])
    assert mixed.estimate == pytest.approx(one.estimate / 2)


def test_one_label_has_the_f1_of_its_positives(scores):
    labels, good, _ = scores
    result = metrics.evaluate(labels[:, :1], good[:, :1], ["a"])
    assert result["f1_macro_at_0.5"] == pytest.approx(f1_score(labels[:, 0], good[:, 0] >= 0.5))


def test_log_loss_of_certain_errors_is_that_of_its_differences(scores):
    labels, good, _ = scores
    certain = (good >= 0.5).astype(np.float32)  # 0 and 1: the clipping decides
    difference = metrics.mean_log_loss(labels, certain) - metrics.mean_log_loss(labels, good)
    paired = intervals.paired_bootstrap_log_loss(labels, certain, good, resamples=5)
    assert paired.estimate == pytest.approx(difference)
    expected = log_loss(labels.ravel(), certain.ravel().astype(float))
    assert metrics.mean_log_loss(labels, certain) == pytest.approx(expected)


@pytest.mark.parametrize("rows_in_a_block", [1, 7, 1000])
def test_bootstrap_equals_scoring_the_drawn_rows(scores, monkeypatch, rows_in_a_block):
    labels, good, poor = scores
    monkeypatch.setattr(intervals, "BLOCK_WEIGHTS", rows_in_a_block * len(labels))
    draws = intervals._resampled_means(labels, [good, poor], 30, seed=3)
    drawn = np.random.default_rng(3).integers(0, len(labels), (30, len(labels)))
    expected = [[roc_auc_score(labels[rows], p[rows]) for p in (good, poor)] for rows in drawn]
    assert np.allclose(np.array(draws).T, expected)


def test_a_resample_without_a_class_leaves_that_column_out_on_both_sides():
    rng = np.random.default_rng(0)
    labels = np.zeros((20, 2), dtype=int)
    labels[:8, 0] = labels[0, 1] = 1  # one positive: lost in about a third of the resamples
    a, b = rng.random((20, 2)), rng.random((20, 2))
    draws = intervals._resampled_means(labels, [a, b], 40, seed=1)
    drawn = np.random.default_rng(1).integers(0, 20, (40, 20))
    lost = 0
    for rows, *means in zip(drawn, *draws, strict=True):
        kept = [j for j in range(2) if 0 < labels[rows, j].sum() < 20]
        lost += len(kept) == 1
        for p, mean in zip((a, b), means, strict=True):
            assert mean == pytest.approx(roc_auc_score(labels[rows][:, kept], p[rows][:, kept]))
    assert lost > 5


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=4))
def test_weighted_auc_against_sklearn(rows):
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    auc = intervals._Ranked(labels.astype(int), scores).auc(weights[:, None].astype(float))[0]
    if min(weights[labels].sum(), weights[~labels].sum()) == 0:
        assert np.isnan(auc)
    else:
        assert auc == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))


def test_intervals_cover_and_pairing_narrows(scores):
    labels, good, poor = scores
    interval = intervals.bootstrap_auc(labels, good)
    assert interval.low < interval.estimate < interval.high
    nearly = good + 1e-3 * poor
    difference = intervals.paired_bootstrap_auc(labels, good, nearly)
    assert difference.high - difference.low < (interval.high - interval.low) / 3
    assert intervals.paired_bootstrap_auc(labels, good, poor).low > 0
    same = intervals.paired_bootstrap_log_loss(labels, good, good)
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    assert str(intervals.Interval(0.5, 0.25, 1.0)) == "0.5000 [0.2500, 1.0000]"


def test_pooled_auc_ranks_all_decisions_at_once():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (40, 3))
    a, b = labels + rng.normal(size=labels.shape), rng.normal(size=labels.shape)
    gain = intervals.paired_bootstrap_pooled_auc(labels, a, b)
    expected = [roc_auc_score(labels.ravel(), p.ravel()) for p in (a, b)]
    assert gain.estimate == pytest.approx(expected[0] - expected[1])
    assert 0 < gain.low < gain.estimate < gain.high
    assert intervals.paired_bootstrap_pooled_auc(labels, a, a).high == 0
