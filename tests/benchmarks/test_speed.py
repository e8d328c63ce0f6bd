"""The speed comparison on tiny models: all recipes do the same work, and times are added right."""

import time
from functools import partial

import pytest
import torch
from transformers import LongformerConfig, RobertaConfig

from toxlib.benchmarks import speed, speed_by_length, speed_recipes
from toxlib.training import machine

TINY = {"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 32}
LENGTHS = [
    {"name": "ours", "tokens": 4096, "seconds": 1.0, "bytes": 1e9},
    {"name": "ours", "tokens": 16384, "seconds": 4.2, "bytes": 4.1e9},
    {"name": "transformers", "tokens": 4096, "seconds": 3.0, "bytes": 2e9},
    {"name": "transformers", "tokens": 16384, "left_out": "would not fit in memory"},
]


@pytest.fixture
def tiny(monkeypatch):
    for name, config in (("LongformerConfig", LongformerConfig), ("RobertaConfig", RobertaConfig)):
        monkeypatch.setattr(speed_recipes, name, partial(config, **TINY))
    monkeypatch.setattr(machine, "PRODUCTS", ((64, 32, 16),))
    monkeypatch.setattr(speed, "measure_lengths", lambda lengths: LENGTHS)


@pytest.fixture
def texts():
    return [f"comment {n} " * (1 + n % 40) for n in range(160)]


def test_the_comparison_end_to_end(tiny, texts, tmp_path):
    result = speed.measure_speed(texts, tmp_path, quick=True)
    recipes = {row["name"]: row for row in result["recipes"]}
    assert len(recipes) == 8 + ("ours, bf16" in recipes)
    assert all(row["train_seconds"] > 0 for row in recipes.values())
    assert len({row["tokens"] for row in recipes.values()}) == 1  # no comment is over 512 tokens
    ratio = result["ratios"]["speed, ours / tutorial's recipe"]
    seconds = {name: row["train_seconds"] for name, row in recipes.items()}
    assert ratio == seconds["tutorial's recipe"] / seconds["ours"]
    assert result["ratios"]["time, 16,384 / 4,096 tokens"] == 4.2
    shown = speed.format_speed(result)
    assert "tutorial's recipe" in shown
    assert "time at 3,048" not in shown  # it was not measured
    assert "would not fit in memory" in shown
    assert len(speed.plot_speed(result["recipes"]).axes) == 1
    assert len(speed.plot_lengths(result["lengths"]).axes) == 2


def test_every_recipe_takes_the_same_step_on_the_128_comments(tiny, texts, tmp_path):
    """Batches times their counts are all comments; the codes of both Longformers score alike."""
    shared = speed_recipes.SharedModels(texts, 1, tmp_path)
    recipes = [*speed_recipes.longformer_recipes(shared), *speed_recipes.roberta_recipes(shared)]
    plain = [r for r in recipes if isinstance(r, speed_recipes.PlainRecipe)]
    assert len(plain) == 4
    for recipe in plain:
        counted = [len(batch["labels"]) * times for batch, times in recipe.batches]
        assert sum(counted) == speed_recipes.COMMENTS
    upstream, _, ours, *_ = recipes
    upstream.set_up()
    batch = upstream.batches[0][0]
    expected = speed_recipes.score(shared.longformer, [batch])
    assert shared.longformer.longformer.use_upstream
    ours.set_up()
    assert not shared.longformer.longformer.use_upstream
    assert torch.allclose(speed_recipes.score(shared.longformer, [batch]), expected, atol=1e-5)


def test_seconds_are_multiplied_by_the_batches_that_they_stand_for(
    tiny, texts, tmp_path, monkeypatch
):
    shared = speed_recipes.SharedModels(texts, 1, tmp_path)
    recipe = speed_recipes.longformer_recipes(shared)[0]
    monkeypatch.setattr(speed_recipes, "seconds_of", lambda function, *arguments: 1.0)
    assert recipe.score_seconds() == 64
    assert recipe.train_seconds() == 64 + 1  # one optimiser step
    monkeypatch.undo()
    assert 0.05 <= speed_recipes.seconds_of(time.sleep, 0.05) < 1


def test_one_length_in_a_fresh_process():
    rows = [speed_by_length._in_fresh_process(name, 256) for name in ("ours", "transformers")]
    assert [row["name"] for row in rows] == ["ours", "transformers"]
    assert all(row["seconds"] > 0 and row["bytes"] > 1e6 for row in rows)


def test_transformers_stops_where_it_would_cost_too_much(monkeypatch):
    past = [{"name": "transformers", "tokens": 4096, "seconds": 1.0, "bytes": 4e9}]
    monkeypatch.setattr(speed_by_length, "_available_bytes", lambda: 10e9)
    assert "memory" in speed_by_length._left_out("transformers", 16384, past)["left_out"]
    assert speed_by_length._left_out("transformers", 4097, past) is None
    slow = [past[0] | {"seconds": 50.0, "bytes": 1.0}]
    assert "seconds" in speed_by_length._left_out("transformers", 8192, slow)["left_out"]
    assert speed_by_length._left_out("ours", 16384, past) is None
