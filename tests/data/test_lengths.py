import numpy as np
import pytest
from transformers import BertConfig, LongformerConfig, ModernBertConfig

from toxlib.data.lengths import LENGTHS, epoch_hours, recommend, truncation_table


def test_what_each_length_cuts_by_hand():
    lengths = np.array([100, 200, 300, 5000])
    table = truncation_table(lengths, chosen=250, batch_size=4, token_budget=500)
    assert list(table.index) == sorted({*LENGTHS, 250})
    row = table.loc[250]  # the comments keep 100, 200, 250 and 250 tokens
    assert row["comments cut"] == 2
    assert row["tokens cut (%)"] == pytest.approx(100 * (50 + 4750) / 5600)
    assert row["useful if padded to max_length (%)"] == pytest.approx(80)
    assert row["useful in random batches (%)"] == pytest.approx(80)  # one batch, 4 × 250
    # Two micro-batches: 2 × 250, and 2 × 200 with 100 tokens of padding.
    assert row["useful in micro-batches (%)"] == pytest.approx(100 * 800 / 900)


def test_padding_is_counted_inside_each_batch():
    lengths = np.array([10, 100] * 50)
    useful = ["useful in random batches (%)", "useful in micro-batches (%)"]
    alone = truncation_table(lengths, chosen=128, batch_size=1, token_budget=10_000)
    assert (alone[useful] == 100).all(axis=None)
    pairs = truncation_table(lengths, chosen=128, batch_size=2, token_budget=10_000)
    whole = truncation_table(lengths, chosen=128, batch_size=100, token_budget=10_000)
    assert pairs.loc[128, useful[1]] == pairs.loc[128, useful[0]] < 100
    assert whole.loc[128, useful[1]] == whole.loc[128, useful[0]] == pytest.approx(55)
    # A budget of 5,000 tokens separates the long comments of the batch from the short ones.
    sorted_by_length = truncation_table(lengths, chosen=128, batch_size=100, token_budget=5000)
    assert sorted_by_length.loc[128, useful[1]] == 100


def test_recommendation_keeps_to_the_position_table():
    lengths = np.array([100] * 98 + [900] * 2)
    table = truncation_table(lengths, chosen=512, batch_size=32, token_budget=1024)
    assert recommend(table, None) == 1024
    assert recommend(table, 512) == 512


def test_cost_grows_with_length_and_speed():
    config = BertConfig()
    lengths = np.array([1000, 100])
    short, long = epoch_hours(lengths, [128, 1024], config, 1e9)
    assert short < long
    assert epoch_hours(lengths, [128], config, 2e9)[0] == pytest.approx(short / 2)
    weights = 12 * (4 * 768**2 + 2 * 768 * 3072)
    exact = 3 * (1100 * 2 * weights + 4 * 12 * 768 * (1000**2 + 100**2)) / 1e9 / 3600
    assert long == pytest.approx(exact)
    local = epoch_hours(lengths, [1024], LongformerConfig(attention_window=128), 1e9)[0]
    exact = 3 * (1100 * 2 * weights + 4 * 12 * 768 * (1000 * 129 + 100**2)) / 1e9 / 3600
    assert local == pytest.approx(exact)


def test_the_cost_of_modernbert_counts_its_gate_and_its_local_layers():
    """A token of a local layer attends to 64 tokens on each side, one of a global layer to all."""
    config = ModernBertConfig(num_hidden_layers=3, local_attention=128)
    assert config.layer_types == ["full_attention", "sliding_attention", "sliding_attention"]
    weights = 3 * (4 * 768**2 + 3 * 768 * 1152)
    attention = 4 * 768 * (1000 * (1000 + 129 + 129) + 100 * 3 * 100)
    exact = 3 * (1100 * 2 * weights + attention) / 1e9 / 3600
    assert epoch_hours(np.array([1000, 100]), [1024], config, 1e9)[0] == pytest.approx(exact)
