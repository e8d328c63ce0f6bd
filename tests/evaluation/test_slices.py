"""Scores by kind of comment."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from toxlib.evaluation.slices import SCORE, length_bins, score_by_slice


def test_bins_hold_about_equally_many_and_are_named_by_their_ends():
    lengths = np.arange(1, 601)
    bins = length_bins(lengths)
    assert list(bins.categories)[:2] == ["up to 100 characters", "101 to 200"]
    assert bins.value_counts().tolist() == [100] * 6
    assert bins[99] == "up to 100 characters"
    assert bins[100] == "101 to 200"


def test_many_equal_lengths_give_fewer_bins():
    bins = length_bins(np.array([5] * 50 + [9] * 20 + [900] * 20), unit="words")
    assert list(bins.categories) == ["up to 5 words", "6 to 9", "10 to 900"]
    assert bins.value_counts().tolist() == [50, 20, 20]


def test_each_slice_is_scored_alone(scores):
    labels, good, _ = scores
    named = pd.Categorical(
        np.where(np.arange(400) < 150, "first", "rest"), ["first", "rest", "no"]
    )
    table = score_by_slice(labels, good, named)
    assert list(table.index) == ["first", "rest"]
    assert table["comments"].tolist() == [150, 250]
    assert table.loc["rest", SCORE] == pytest.approx(roc_auc_score(labels[150:], good[150:]))
    share = labels[:150].any(axis=1).mean()
    assert table.loc["first", "with any label (%)"] == pytest.approx(100 * share)
    assert (table[f"{SCORE} low"] < table[SCORE]).all()
    assert (table[SCORE] < table[f"{SCORE} high"]).all()
