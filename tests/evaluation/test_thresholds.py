import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.metrics import f1_score

from toxlib.evaluation import thresholds


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 2)) < [0.3, 0.1]).astype(int)
    return labels, np.clip(labels * 0.2 + rng.random(labels.shape) * 0.5, 0, 1)


def test_no_other_threshold_has_a_better_f1(scores):
    labels, probabilities = scores
    for j in range(2):
        chosen = thresholds.best_threshold(labels[:, j], probabilities[:, j])
        best = max(f1_score(labels[:, j], probabilities[:, j] >= p) for p in probabilities[:, j])
        assert f1_score(labels[:, j], probabilities[:, j] >= chosen) == pytest.approx(best)


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(0, 1, width=32, exclude_min=True, exclude_max=True)),
        min_size=1,
    )
)
def test_the_best_f1_is_reached_for_any_float32_scores(rows):
    labels, probabilities = (np.array(column) for column in zip(*rows, strict=True))
    probabilities = probabilities.astype(np.float32)
    chosen = np.array(thresholds.best_threshold(labels, probabilities))
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
def test_scores_close_to_each_other_are_told_apart(scores):
    chosen = np.array(thresholds.best_threshold(np.array([0, 0, 1]), scores))
    assert (scores >= chosen).tolist() == [False, False, True]


def _f1(labels, decisions):
    hits = (labels & decisions).sum()
    return 2 * hits / max(labels.sum() + decisions.sum(), 1)


def test_without_a_positive_row_the_threshold_is_one_half():
    assert thresholds.best_threshold(np.zeros(5), np.linspace(0, 1, 5)) == 0.5


def test_tuning_on_noise_is_not_rewarded(make_parts):
    """The scores are random. F1 on the rows that thresholds were chosen on would be higher."""
    rng = np.random.default_rng(0)
    labels, probabilities = (rng.random((60, 40)) < 0.1).astype(int), rng.random((60, 40))
    fitted = thresholds.cross_fitted_thresholds(labels, make_parts(labels, probabilities))
    columns = zip(labels.T, probabilities.T, strict=True)
    chosen = [thresholds.best_threshold(y, p) for y, p in columns]
    tuned = f1_score(labels, probabilities >= chosen, average="macro", zero_division=0)
    cross_fitted = f1_score(labels, fitted.decisions, average="macro", zero_division=0)
    assert cross_fitted < tuned - 0.05


def test_averaging_over_resamples_helps_a_rare_label():
    """Thresholds chosen on few rows are compared with the best one for all rows, in logits."""
    rng = np.random.default_rng(0)
    labels = (rng.random(40_000) < 0.02).astype(int)
    scores = 1 / (1 + np.exp(-(rng.normal(size=len(labels)) + 2 * labels - 2)))
    best = logit(thresholds.best_threshold(labels, scores))
    away = {thresholds.best_threshold: [], thresholds.f1_threshold: []}
    for rows in np.split(rng.permutation(len(labels)), 40):  # 1,000 rows, some 20 positives
        for choose, distances in away.items():
            distances.append(abs(logit(choose(labels[rows], scores[rows])) - best))
    plain, smoothed = (np.mean(distances) for distances in away.values())
    assert smoothed < 0.85 * plain


@pytest.mark.parametrize("wanted", [0.3, 0.6, 0.8])
def test_no_lower_threshold_reaches_the_wanted_precision(scores, wanted):
    labels, probabilities = (column[:, 0] for column in scores)
    decided = probabilities >= thresholds.best_threshold(labels, probabilities, wanted)
    assert labels[decided].mean() >= wanted
    lower = np.sort(probabilities[~decided])[::-1]
    for cutoff in lower:
        assert labels[probabilities >= cutoff].mean() < wanted


def test_a_precision_out_of_reach_gives_the_best_precision():
    labels, probabilities = np.array([0, 1, 0, 0]), np.array([0.9, 0.8, 0.5, 0.2])
    assert 0.5 < thresholds.best_threshold(labels, probabilities, 0.9) < 0.8
    assert thresholds.best_threshold(labels * 0, probabilities, 0.9) == 0.5


def test_a_label_without_a_positive_row_keeps_one_half(scores, make_parts):
    labels, probabilities = scores
    positives = labels * [1, 0]
    fitted = thresholds.cross_fitted_thresholds(positives, make_parts(positives, probabilities))
    assert (fitted.per_part[:, 1] == 0.5).all()
    assert fitted.final[1] == 0.5


def test_report_of_each_label(scores, make_parts):
    labels, probabilities = scores
    fitted = thresholds.cross_fitted_thresholds(labels, make_parts(labels, probabilities))
    table = thresholds.threshold_report(labels, probabilities, fitted, ["a", "b"])
    at_half = f1_score(labels[:, 0], probabilities[:, 0] >= 0.5, zero_division=0)
    assert table.loc["a", "F1 at 0.5"] == pytest.approx(at_half)
    tuned = f1_score(labels[:, 0], fitted.decisions[:, 0])
    assert table.loc["a", "F1 gain"] == pytest.approx(tuned - at_half)
    for name in ("F1 at 0.5", "F1 cross-fitted", "F1 gain"):
        interval = {"F1 gain": "F1 gain interval"}.get(name, name.replace("F1", "F1 interval"))
        low, high = map(float, table.loc["a", interval].split(" to "))
        assert low <= round(table.loc["a", name], 3) <= high
    decided = fitted.decisions[:, 1]
    assert table.loc["b", "precision cross-fitted"] == pytest.approx(labels[decided, 1].mean())
    assert table.loc["b", "recall cross-fitted"] == pytest.approx(
        decided[labels[:, 1] == 1].mean()
    )
    assert [column for column in table if "at 0.5" in column] == [
        "F1 at 0.5", "F1 interval at 0.5", "precision at 0.5", "recall at 0.5",
    ]  # fmt: skip
    assert table.loc["a", "positives"] == labels[:, 0].sum()
    assert table.loc["a", "threshold"] == fitted.final[0]
    assert table.loc["a", "lowest"] == fitted.per_part[:, 0].min()


@pytest.mark.parametrize("count", [1, 2])
def test_report_of_all_labels(scores, make_parts, count):
    labels, probabilities = (column[:, :count] for column in scores)
    fitted = thresholds.cross_fitted_thresholds(labels, make_parts(labels, probabilities))
    table = thresholds.pooled_report(labels, probabilities, fitted)
    micro = f1_score(labels.ravel(), fitted.decisions.ravel())
    assert table.loc["cross-fitted", "micro F1"] == pytest.approx(micro)
    columns = zip(labels.T, probabilities.T, strict=True)
    macro = np.mean([f1_score(y, p >= 0.5, zero_division=0) for y, p in columns])
    assert table.loc["at 0.5", "macro F1"] == pytest.approx(macro)


def test_json_holds_labels_by_name(scores, make_parts):
    labels, probabilities = scores
    fitted = thresholds.cross_fitted_thresholds(labels, make_parts(labels, probabilities))
    content = json.loads(json.dumps(thresholds.thresholds_to_json(fitted, ["a", "b"])))
    assert list(content) == ["a", "b"]
    assert content["b"]["lowest"] == fitted.per_part[:, 1].min()
    assert content["b"]["highest"] == fitted.per_part[:, 1].max()
    read = thresholds.thresholds_from_json(content, ["b", "a"])
    assert (read == fitted.final[::-1]).all()


def test_json_of_the_report_holds_what_the_thresholds_do_on_other_rows(scores, make_parts):
    labels, probabilities = scores
    fitted = thresholds.cross_fitted_thresholds(labels, make_parts(labels, probabilities))
    report = thresholds.threshold_report(labels, probabilities, fitted, ["a", "b"])
    content = json.loads(json.dumps(thresholds.report_to_json(report)))
    assert (thresholds.thresholds_from_json(content, ["a", "b"]) == fitted.final).all()
    f1 = f1_score(labels[:, 1], fitted.decisions[:, 1])
    assert content["b"]["F1 cross-fitted"] == pytest.approx(f1)
    assert content["b"]["positives"] == labels[:, 1].sum()
    assert "F1 at 0.5" not in content["b"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"b": {"threshold": 0.5}}, KeyError),
        ({"a": {}}, KeyError),
        ({"a": {"threshold": None}}, TypeError),
        ({"a": {"threshold": "half"}}, ValueError),
    ],
)
def test_json_of_another_form_is_refused(content, error):
    with pytest.raises(error):
        thresholds.thresholds_from_json(content, ["a"])
