import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from toxlib.evaluation import calibration
from toxlib.evaluation.calibration import Calibrator
from toxlib.evaluation.parts import Part


@pytest.fixture
def overconfident():
    """Labels drawn from true probabilities, and scores with twice their logits plus 0.5."""
    rng = np.random.default_rng(0)
    true = rng.beta(1, 3, (6000, 2))
    return (rng.random(true.shape) < true).astype(int), expit(2 * logit(true) + 0.5)


def test_calibration_reverses_the_exaggeration(overconfident):
    labels, said = overconfident
    calibrator = Calibrator.fit(labels[:3000], said[:3000])
    assert np.allclose(calibrator.slope, 0.5, atol=0.05)
    assert np.allclose(calibrator.intercept, -0.25, atol=0.1)
    for j in range(2):
        before, after = (
            calibration.expected_calibration_error(labels[3000:, j], p[3000:, j])
            for p in (said, calibrator(said))
        )
        assert after < before / 3


def test_the_ranking_does_not_change(overconfident):
    labels, said = overconfident
    calibrated = Calibrator.fit(labels, said)(said)
    assert (np.argsort(calibrated[:, 0]) == np.argsort(said[:, 0])).all()


def test_a_label_with_one_class_or_a_reversed_ranking_keeps_its_probabilities(overconfident):
    labels, said = overconfident
    calibrator = Calibrator.fit(np.stack([labels[:, 0] * 0, 1 - labels[:, 1]], axis=1), said)
    assert (calibrator.slope.tolist(), calibrator.intercept.tolist()) == ([1, 1], [0, 0])
    assert np.allclose(calibrator(said), said)


def test_a_few_rows_that_a_threshold_separates_do_not_give_certainty():
    labels, said = (
        np.array([[0], [0], [0], [1], [1]]),
        np.array([[0.1], [0.2], [0.3], [0.6], [0.7]]),
    )
    assert Calibrator.fit(labels, said)(np.array([[0.9]]))[0, 0] < 0.99


def test_calibration_error_of_a_perfect_and_of_a_constant_score():
    labels = np.array([0, 0, 1, 1] * 10)
    assert calibration.expected_calibration_error(labels, labels.astype(float)) == 0
    assert calibration.expected_calibration_error(labels[:5], np.full(5, 0.9)) > 0


def test_the_report_uses_rows_that_the_calibrator_was_not_fitted_on(overconfident):
    labels, said = overconfident
    parts = [
        Part(np.arange(0, 3000), said[:3000], labels[3000:], said[3000:]),
        Part(np.arange(3000, 6000), said[3000:], labels[:3000], said[:3000]),
    ]
    table = calibration.calibration_report(labels, parts, ["a", "b"])
    assert (table["ECE after"] < table["ECE before"] / 3).all()
    assert (table["Brier after"] < table["Brier before"]).all()
    assert table.loc["a", "Brier before"] == pytest.approx(((said - labels)[:, 0] ** 2).mean())


def test_the_meaning_of_a_score_is_counted_on_rows_with_such_scores():
    labels, said = np.array([1, 1, 1, 0, 0]), np.array([0.8, 0.79, 0.84, 0.82, 0.1])
    sentence = calibration.meaning_of(0.8, labels, said, "toxic")
    assert "Of 4 held-out comments scored 0.75 to 0.85 for 'toxic', 3 carry the label: 75%" in (
        sentence
    )
    assert "so we cannot say" in calibration.meaning_of(0.5, labels, said, "toxic")


def test_json_holds_labels_by_name():
    calibrator = Calibrator(np.array([0.5, 1.0]), np.array([0.1, 0.0]))
    content = json.loads(json.dumps(calibrator.to_json(["a", "b"])))
    assert content == {"a": {"slope": 0.5, "intercept": 0.1}, "b": {"slope": 1, "intercept": 0}}
    read = Calibrator.from_json(content, ["b", "a"])
    assert (read.slope.tolist(), read.intercept.tolist()) == ([1.0, 0.5], [0.0, 0.1])
    report = pd.DataFrame({"Brier after": [0.1, 0.2]}, index=["a", "b"])
    more = calibrator.to_json(["a", "b"], report)
    assert more["b"] == {"slope": 1, "intercept": 0, "Brier after": 0.2}
    assert (Calibrator.from_json(more, ["b"]).slope == 1).all()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"b": {"slope": 1, "intercept": 0}}, KeyError),
        ({"a": {"slope": 1}}, KeyError),
        ({"a": {"slope": None, "intercept": 0}}, TypeError),
        ({"a": {"slope": "steep", "intercept": 0}}, ValueError),
    ],
)
def test_json_of_another_form_is_refused(content, error):
    with pytest.raises(error):
        Calibrator.from_json(content, ["a"])
