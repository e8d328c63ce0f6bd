import numpy as np
import pytest
from transformers import BertConfig

from toxlib import costs


def test_what_each_length_cuts_by_hand():
    lengths = np.array([100, 200, 300, 5000])
    table = costs.truncation_table(lengths, chosen=250)
    assert list(table.index) == sorted({*costs.LENGTHS, 250})
    assert table.loc[250, "comments cut"] == 2
    assert table.loc[250, "tokens cut (%)"] == pytest.approx(100 * (50 + 4750) / 5600)
    assert table.loc[250, "useful if padded to max_length (%)"] == pytest.approx(80)
    assert (table["useful here (%)"] >= table["useful in random batches (%)"]).all()


def test_recommendation_keeps_to_the_position_table():
    table = costs.truncation_table(np.array([100] * 98 + [900] * 2), chosen=512)
    assert costs.recommend(table, None) == 1024
    assert costs.recommend(table, 512) == 512


def test_cost_grows_with_length_and_speed():
    config = BertConfig()
    lengths = np.array([1000, 100])
    short, long = costs.epoch_hours(lengths, [128, 1024], config, 1e9)
    assert short < long
    assert costs.epoch_hours(lengths, [128], config, 2e9)[0] == pytest.approx(short / 2)
    weights = 12 * (4 * 768**2 + 2 * 768 * 3072)
    exact = 3 * (1100 * 2 * weights + 4 * 12 * 768 * (1000**2 + 100**2)) / 1e9 / 3600
    assert long == pytest.approx(exact)
    assert costs.matmul_rate(0.01) > 1e8
