import numpy as np
import pytest

from toxlib.evaluation.decisions import Use, consequences, cross_fitted_cost, least_cost_threshold
from toxlib.evaluation.parts import Part

LABELS = np.array([1] * 10 + [0] * 90)
SCORES = np.concatenate([np.linspace(0.45, 0.95, 10), np.linspace(0, 0.6, 90)])


def test_measures_follow_from_two_rates_and_the_base_rate():
    table = consequences(LABELS, SCORES, 0.5, Use(0.02, miss=10, false_alarm=1))["value"]
    recall, alarms = (SCORES[:10] >= 0.5).mean(), (SCORES[10:] >= 0.5).mean()
    assert table["recall"] == pytest.approx(recall)
    assert table["false-positive rate"] == pytest.approx(alarms)
    flagged = 0.02 * recall + 0.98 * alarms
    assert table["flagged per 1000"] == pytest.approx(1000 * flagged)
    assert table["precision"] == pytest.approx(0.02 * recall / flagged)
    assert table["misses per 1000"] == pytest.approx(20 * (1 - recall))
    assert table["cost per 1000"] == pytest.approx(200 * (1 - recall) + 980 * alarms)


def test_at_the_base_rate_of_the_data_precision_is_the_plain_one():
    table = consequences(LABELS, SCORES, 0.5, Use(LABELS.mean()))
    said = SCORES >= 0.5
    assert table.loc["precision", "value"] == pytest.approx(LABELS[said].mean())
    assert table.loc["flagged per 1000", "value"] == pytest.approx(1000 * said.mean())
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


def test_intervals_shrink_with_more_comments():
    few = consequences(LABELS, SCORES, 0.5, Use(0.1))
    many = consequences(np.tile(LABELS, 20), np.tile(SCORES, 20), 0.5, Use(0.1))
    assert (many["high"] - many["low"] < 0.5 * (few["high"] - few["low"])).all()
    # Jeffreys' interval of 9 out of 10 is 0.61 to 0.99 (Brown, Cai & DasGupta 2001).
    assert few.loc["recall", ["low", "high"]].tolist() == pytest.approx([0.62, 0.99], abs=0.02)


def test_without_a_positive_comment_recall_is_unknown():
    table = consequences(LABELS * 0, SCORES, 0.5, Use(0.1))
    assert np.isnan(table.loc["recall"]).all()
    assert table.loc["false-positive rate", "value"] == (SCORES >= 0.5).mean()


@pytest.mark.parametrize("use", [Use(0.1), Use(0.1, miss=20), Use(0.5, false_alarm=9)])
def test_no_other_threshold_costs_less(use):
    chosen = least_cost_threshold(LABELS, SCORES, use)

    def cost(threshold):
        said = threshold <= SCORES
        return use.costs(said[LABELS == 1].mean(), said[LABELS == 0].mean())

    assert cost(chosen) <= min(map(cost, np.linspace(0, 1, 500))) + 1e-9


def test_dear_misses_lower_the_threshold_and_dear_false_alarms_forbid_a_yes():
    cheap = least_cost_threshold(LABELS, SCORES, Use(0.1))
    assert least_cost_threshold(LABELS, SCORES, Use(0.1, miss=50)) < cheap
    noise = np.random.default_rng(0).random(100)
    assert least_cost_threshold(LABELS, noise, Use(0.1, false_alarm=1000)) > noise.max()
    assert least_cost_threshold(LABELS * 0, SCORES, Use(0.1)) == 0.5


def test_a_part_is_decided_by_thresholds_of_other_comments():
    # The second part is scored 0.3 higher than the first: the threshold of the other part errs.
    shifted = np.concatenate([SCORES * 0.5, SCORES * 0.5 + 0.5])[:, None]
    labels = np.concatenate([LABELS, LABELS])[:, None]
    halves = np.arange(100), np.arange(100, 200)
    parts = [Part(a, shifted[a], labels[b], shifted[b]) for a, b in (halves, halves[::-1])]
    fitted = cross_fitted_cost(labels, parts, 0, Use(0.1))
    own = [least_cost_threshold(labels[rows, 0], shifted[rows, 0], Use(0.1)) for rows in halves]
    assert [fitted["lowest"], fitted["highest"]] == sorted(own)
    said = np.concatenate([shifted[:100, 0] >= own[1], shifted[100:, 0] >= own[0]])
    rates = [said[labels[:, 0] == kind].mean() for kind in (1, 0)]
    assert fitted["cost"] == pytest.approx(Use(0.1).costs(*rates))


def test_an_interval_holds_a_share_of_none_or_all():
    table = consequences(LABELS, LABELS.astype(float), 0.5, Use(0.001))
    assert table["value"][["precision", "recall", "false-positive rate"]].tolist() == [1, 1, 0]
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
