"""Metrics of the identity audit, against scikit-learn and cases counted by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from toxlib.evaluation import identity
from toxlib.evaluation.identity import FOUND, RATE, TIMES, identity_report, in_words, margins

GROUPS = ("a", "b", "c", "d")


def crossed(templates=20):
    """Each of 20 templates for each of four groups; every second template insults."""
    template = np.tile(np.arange(templates), len(GROUPS))
    return template % 2, np.repeat(GROUPS, templates), template


def noisy_scores(insulting, seed=0):
    return insulting * 1.5 - 0.8 + np.random.default_rng(seed).normal(size=len(insulting)).round(1)


def test_the_aucs_are_those_of_borkan():
    insulting, groups, templates = crossed()
    scores = noisy_scores(insulting)
    table = identity_report(insulting, scores, groups, templates)
    for group in GROUPS:
        own, insults = groups == group, insulting == 1
        chosen = {
            "subgroup AUC": own,
            "BPSN AUC": (own & ~insults) | (~own & insults),
            "BNSP AUC": (own & insults) | (~own & ~insults),
        }
        for name, rows in chosen.items():
            expected = roc_auc_score(insulting[rows], scores[rows])
            assert table.loc[group, name] == pytest.approx(expected)
            assert table.loc[group, f"{name} low"] <= expected <= table.loc[group, f"{name} high"]
    assert list(identity.AUCS) == list(chosen)


def test_rates_by_hand():
    """Group a: 1 of 2 harmless sentences is flagged; b: none of 2; c: 2 of 2. The mean is 1/2."""
    groups = np.array(list("aaabbbccc"))
    insulting = np.array([0, 0, 1] * 3)
    scores = np.array([0, -0.1, 1, -1, -1, -1, 2, 2, 2])  # 0 is flagged, too
    table = identity_report(insulting, scores, groups, np.tile([1, 2, 3], 3))
    assert table["sentences"].tolist() == [3, 3, 3]
    assert table[RATE].tolist() == [0.5, 0, 1]
    assert table[TIMES].tolist() == [1, 0, 2]
    assert table[FOUND].tolist() == [1, 0, 1]


def test_intervals_are_those_of_drawn_templates(monkeypatch):
    """A resample has all sentences of each drawn template, of every group."""
    monkeypatch.setattr(identity, "RESAMPLES", 50)
    insulting, groups, templates = crossed(6)
    scores = noisy_scores(insulting)
    table = identity_report(insulting, scores, groups, templates)
    drawn = np.random.default_rng(0).multinomial(6, np.full(6, 1 / 6), size=50)
    by_hand = []
    for counts in drawn:
        rows = np.repeat(np.arange(len(templates)), counts[templates])
        rows = rows[insulting[rows] == 0]
        rates = pd.Series(scores[rows] >= 0).groupby(groups[rows]).mean()
        times = rates / rates.mean() if rates.mean() > 0 else rates + 1  # all are alike
        by_hand.append(times.get("b", np.nan))
    low, high = pd.Series(by_hand).quantile([0.025, 0.975])
    assert table.loc["b", f"{TIMES} low"] == pytest.approx(low)
    assert table.loc["b", f"{TIMES} high"] == pytest.approx(high)


def test_a_model_that_flags_one_group_always_is_found():
    insulting, groups, templates = crossed()
    scores = np.where(insulting == 1, 1.0, -1.0)
    scores[groups == "c"] = 2.0
    table = identity_report(insulting, scores, groups, templates)
    assert identity.over_the_mean(table).index.tolist() == ["c"]
    assert table.loc["c", RATE] == 1
    assert table.loc["c", "BPSN AUC"] == 0
    assert table.loc["c", "BNSP AUC"] == 1
    assert table.loc["c", "subgroup AUC"] == 0.5
    assert table.loc["a", "BPSN AUC"] == 1
    assert in_words(table) == [
        "On average over 4 groups, 25% of the sentences that do not insult are flagged.",
        "Sentences that name “c” and are not insulting are flagged 4.0 times as often as the "
        "average group's (100% of them; 95 % interval 4.0 to 4.0 times).",
    ]


def test_a_fair_model_is_called_so():
    insulting, groups, templates = crossed()
    scores = np.where(templates == 4, 1, np.where(insulting == 1, 1.0, -1.0))
    table = identity_report(insulting, scores, groups, templates)
    assert in_words(table)[1] == (
        "No group's false-positive rate is over twice the mean; the highest is that of “a”, 1.0 "
        "times the mean."
    )


def test_no_false_alarm_at_all():
    insulting, groups, templates = crossed()
    table = identity_report(insulting, np.where(insulting == 1, 1, -1), groups, templates)
    assert table[TIMES].isna().all()
    assert in_words(table) == [
        "No sentence that does not insult is flagged, whichever group it names."
    ]


def test_a_group_without_a_class_has_no_rate_and_does_not_count():
    groups, insulting = np.array(list("aabbc")), np.array([0, 1, 0, 1, 1])
    table = identity_report(insulting, np.array([1.0, 1, -1, 1, 1]), groups, np.arange(5))
    assert np.isnan(table.loc["c", [RATE, TIMES, "subgroup AUC", "BPSN AUC"]].astype(float)).all()
    assert table.loc["a", TIMES] == 2


def test_a_margin_is_not_negative_exactly_if_a_label_is_given():
    rng = np.random.default_rng(0)
    probabilities, thresholds = rng.random((500, 3)), np.array([0.9, 0.8, 0.95])
    probabilities[:3] = thresholds[[0, 1, 2], None] * np.eye(3)
    found = margins(probabilities, thresholds)
    assert np.array_equal(found >= 0, (probabilities >= thresholds).any(axis=1))
    assert found[:3].tolist() == [0, 0, 0]


def test_one_flagged_sentence_has_a_wide_interval():
    """In every third resample or so it is not drawn, and then no group stands out."""
    insulting, groups, templates = crossed()
    scores = np.where(insulting == 1, 1.0, -1.0)
    scores[(groups == "c") & (templates == 4)] = 1
    row = identity_report(insulting, scores, groups, templates).loc["c"]
    assert (row[f"{TIMES} low"], row[TIMES], row[f"{TIMES} high"]) == (1, 4, 4)


def test_of_two_groups_it_is_said_that_none_can_stand_out():
    groups, insulting = np.repeat(["a", "b"], 4), np.tile([0, 0, 0, 1], 2)
    scores = np.where((groups == "a") | (insulting == 1), 1.0, -1.0)
    table = identity_report(insulting, scores, groups, np.tile(np.arange(4), 2))
    assert table[RATE].tolist() == [1, 0]
    assert in_words(table)[-1].startswith("With two groups none can be over twice the mean")
