import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from toxlib import files
from toxlib.evaluation import intervals, metrics


def test_a_model_beside_another(scores):
    labels, good, poor = scores
    report = intervals.evaluate_against(labels, good, {"lr": poor}, ["a", "b", "c"], "a note")
    sides = (report["validation"], report["others"]["lr"])
    first, second = (side["mean_columnwise_auc"] for side in sides)
    found = report["intervals_95"]
    assert found["mean column-wise AUC"] == vars(intervals.bootstrap(labels, good))
    gain = vars(intervals.paired_bootstrap(labels, good, poor))
    assert found["mean column-wise AUC minus lr"] == gain
    assert gain["estimate"] == pytest.approx(first - second)
    loss = vars(intervals.paired_bootstrap(labels, good, poor, "log_loss"))
    assert found["log loss minus lr"] == loss
    ratio = found["error divided by lr's"]
    assert ratio["estimate"] == pytest.approx((1 - first) / (1 - second))
    assert ratio["low"] < ratio["estimate"] < ratio["high"] < 1
    assert report["validation_note"] == "a note"
    json.dumps(report)


def test_each_label_has_an_interval_that_survives_json(scores):
    labels, good, poor = scores
    labels = np.column_stack([labels[:, :2], labels[:, 2] * 0])  # no positive for the last one
    names = ["a", "b", "c"]
    with pytest.warns(UserWarning, match="undefined"):
        report = intervals.evaluate_against(labels, good, {"lr": poor}, names, "")
    tables = intervals.auc_tables(files.as_json(report), "model")
    assert list(tables) == ["model", "lr"]
    for scored, table in zip((good, poor), tables.values(), strict=True):
        assert list(table.index) == names
        alone = vars(intervals.bootstrap(labels[:, [1]], scored[:, [1]]))
        assert table.loc["b"].tolist() == pytest.approx(list(alone.values()))
        assert table.loc["c"].isna().all()


def test_a_perfect_rival_has_no_error_to_divide_by(scores):
    labels, good, _ = scores
    report = intervals.evaluate_against(labels, good, {"truth": labels}, ["a", "b", "c"], "")
    assert np.isnan(list(report["intervals_95"]["error divided by truth's"].values())).all()


def test_no_defined_label_gives_nan(scores):
    labels, good, _ = scores
    interval = intervals.bootstrap(labels * 0, good)
    assert np.isnan([interval.estimate, interval.low, interval.high]).all()


def test_an_unknown_metric_is_refused(scores):
    labels, good, _ = scores
    with pytest.raises(ValueError, match="metric=f1: give auc, pooled_auc or log_loss"):
        intervals.paired_bootstrap(labels, good, good, "f1")


def test_seeds_are_averaged_on_the_same_resamples(scores):
    labels, good, poor = scores
    one = intervals.paired_bootstrap(labels, good, poor)
    twice = intervals.paired_bootstrap(labels, [good, good], [poor, poor])
    assert str(twice) == str(one)
    assert intervals.paired_bootstrap(labels, np.stack([good, good]), [poor]) == twice
    mixed = intervals.paired_bootstrap(labels, [good, poor], [poor, poor])
    assert mixed.estimate == pytest.approx(one.estimate / 2)


def test_log_loss_of_certain_errors_is_that_of_its_differences(scores):
    labels, good, _ = scores
    certain = (good >= 0.5).astype(np.float32)  # only 0 and 1, so that clipping decides
    difference = metrics.mean_log_loss(labels, certain) - metrics.mean_log_loss(labels, good)
    paired = intervals.paired_bootstrap(labels, certain, good, "log_loss")
    assert paired.estimate == pytest.approx(difference)


@pytest.mark.parametrize("rows_in_a_block", [1, 7, 1000])
@pytest.mark.parametrize("metric", ["auc", "pooled_auc", "log_loss"])
def test_bootstrap_equals_scoring_the_drawn_rows(scores, monkeypatch, rows_in_a_block, metric):
    score = {
        "auc": roc_auc_score,
        "pooled_auc": lambda labels, p: roc_auc_score(labels.ravel(), p.ravel()),
        "log_loss": metrics.mean_log_loss,
    }[metric]
    labels, good, poor = scores
    monkeypatch.setattr(intervals, "BLOCK_WEIGHTS", rows_in_a_block * len(labels))
    monkeypatch.setattr(intervals, "RESAMPLES", 30)
    found = intervals._scores(labels, [good, poor], metric)
    drawn = np.random.default_rng(0).integers(0, len(labels), (30, len(labels)))
    expected = [
        [score(labels[rows], p[rows]) for rows in (np.arange(len(labels)), *drawn)]
        for p in (good, poor)
    ]
    assert np.allclose(found, expected)


def test_a_resample_without_a_class_leaves_that_label_out_on_both_sides(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 40)
    rng = np.random.default_rng(0)
    labels = np.zeros((20, 2), dtype=int)
    labels[:8, 0] = labels[0, 1] = 1  # one positive: lost in about a third of the resamples
    a, b = rng.random((20, 2)), rng.random((20, 2))
    found = intervals._scores(labels, [a, b], "auc")[:, 1:]
    drawn = np.random.default_rng(0).integers(0, 20, (40, 20))
    lost = 0
    for rows, *means in zip(drawn, *found, strict=True):
        kept = [j for j in range(2) if 0 < labels[rows, j].sum() < 20]
        lost += len(kept) == 1
        for p, mean in zip((a, b), means, strict=True):
            assert mean == pytest.approx(roc_auc_score(labels[rows][:, kept], p[rows][:, kept]))
    assert lost > 5


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=4))
def test_weighted_auc_against_sklearn(rows):
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    ranked = intervals.Ranked(labels.astype(int)[:, None], scores[:, None])
    auc = ranked.auc(weights[:, None].astype(float))[0]
    if min(weights[labels].sum(), weights[~labels].sum()) == 0:
        assert np.isnan(auc)
    else:
        assert auc == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))


def test_intervals_cover_and_pairing_narrows(scores):
    labels, good, poor = scores
    interval = intervals.bootstrap(labels, good)
    assert interval.low < interval.estimate < interval.high
    nearly = good + 1e-3 * poor
    difference = intervals.paired_bootstrap(labels, good, nearly)
    assert difference.high - difference.low < (interval.high - interval.low) / 3
    assert intervals.paired_bootstrap(labels, good, poor).low > 0
    same = intervals.paired_bootstrap(labels, good, good, "log_loss")
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    assert str(intervals.Interval(0.5, 0.25, 1.0)) == "0.5000 [0.2500, 1.0000]"


def test_pooled_auc_ranks_all_decisions_at_once():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (40, 3))
    a, b = labels + rng.normal(size=labels.shape), rng.normal(size=labels.shape)
    gain = intervals.paired_bootstrap(labels, a, b, "pooled_auc")
    expected = [roc_auc_score(labels.ravel(), p.ravel()) for p in (a, b)]
    assert gain.estimate == pytest.approx(expected[0] - expected[1])
    assert 0 < gain.low < gain.estimate < gain.high
    assert intervals.paired_bootstrap(labels, a, a, "pooled_auc").high == 0
