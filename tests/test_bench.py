"""The bench on tiny models: what it compares is the same work, and it counts what it says."""

from functools import partial

import pytest
import torch
from transformers import LongformerConfig, RobertaConfig

from toxlib import bench, bench_lengths, bench_ways, plots

TINY = {"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 32}
LENGTHS = [
    {"way": "ours", "tokens": 4096, "seconds": 1.0, "bytes": 1e9},
    {"way": "ours", "tokens": 16384, "seconds": 4.2, "bytes": 4.1e9},
    {"way": "transformers", "tokens": 4096, "seconds": 3.0, "bytes": 2e9},
    {"way": "transformers", "tokens": 16384, "left_out": "would not fit in memory"},
]


@pytest.fixture
def tiny(monkeypatch):
    for name, config in (("LongformerConfig", LongformerConfig), ("RobertaConfig", RobertaConfig)):
        monkeypatch.setattr(bench_ways, name, partial(config, **TINY))
    monkeypatch.setattr(bench, "PRODUCTS", ((64, 32, 16),))
    monkeypatch.setattr(bench, "measure_lengths", lambda lengths: LENGTHS)


@pytest.fixture
def texts():
    return [f"comment {n} " * (1 + n % 40) for n in range(160)]


def test_bench_end_to_end(tiny, texts, tmp_path):
    result = bench.run_bench(texts, tmp_path, quick=True)
    ways = {row["way"]: row for row in result["ways"]}
    assert len(ways) == 8 + ("ours, bf16" in ways)
    assert all(row["train_seconds"] > 0 for row in ways.values())
    assert len({row["tokens"] for row in ways.values()}) == 1  # no comment is over 512 tokens
    ratio = result["ratios"]["speed, ours / tutorial's recipe"]
    assert ratio == ways["tutorial's recipe"]["train_seconds"] / ways["ours"]["train_seconds"]
    assert result["ratios"]["time, 16,384 / 4,096 tokens"] == 4.2
    told = bench.format_bench(result)
    assert "tutorial's recipe" in told
    assert "time at 3,048" not in told  # not measured here
    assert "would not fit in memory" in told
    assert len(plots.speed(result["ways"]).axes) == 1
    assert len(plots.cost_by_length(result["lengths"]).axes) == 2


def test_every_way_trains_on_the_128_comments(tiny, texts, tmp_path):
    """Passes times their counts are all comments; tutorial, sorted and ours agree on scores."""
    shared = bench_ways.Bench(texts, 1, tmp_path)
    for way in bench_ways.longformer_ways(shared)[:2]:
        counted = [len(do.args[1]["labels"]) * times for do, times in way.training]
        assert sum(counted) == bench_ways.COMMENTS
    upstream, _, ours, *_ = bench_ways.longformer_ways(shared)
    upstream.set_up()
    batch = upstream.scoring[0][0].args[1][0]
    expected = bench_ways.score(shared.longformer, [batch])
    ours.set_up()
    assert torch.allclose(bench_ways.score(shared.longformer, [batch]), expected, atol=1e-5)


def test_seconds_are_counted_as_often_as_they_occur():
    calls = []
    once = bench_ways.seconds_of([(partial(calls.append, 1), 1)])
    assert len(calls) == 1
    assert once < 1


def test_one_length_in_a_fresh_process():
    rows = [bench_lengths._in_fresh_process(way, 256) for way in ("ours", "transformers")]
    assert all(row["seconds"] > 0 and row["bytes"] > 1e6 for row in rows)


def test_upstream_stops_where_it_would_not_fit(monkeypatch):
    past = [{"way": "transformers", "tokens": 4096, "seconds": 1.0, "bytes": 4e9}]
    monkeypatch.setattr(bench_lengths, "_available_bytes", lambda: 10e9)
    assert "memory" in bench_lengths._left_out("transformers", 16384, past)["left_out"]
    assert bench_lengths._left_out("transformers", 4097, past) is None
    slow = [past[0] | {"seconds": 50.0, "bytes": 1.0}]
    assert "seconds" in bench_lengths._left_out("transformers", 8192, slow)["left_out"]
    assert bench_lengths._left_out("ours", 16384, past) is None
