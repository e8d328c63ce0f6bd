"""The speed comparison on tiny models: all recipes do the same work, and times are added right."""

import time
from functools import partial

import pytest
import torch
from transformers import LongformerConfig, RobertaConfig

from toxlib.benchmarks import speed, speed_by_length, speed_models, speed_recipes
from toxlib.training import machine, precision

TINY = {"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 32}
LENGTHS = [
    {"name": "ours", "tokens": 4096, "seconds": 1.0, "bytes": 1e9},
    {"name": "ours", "tokens": 16384, "seconds": 4.2, "bytes": 4.1e9},
    {"name": "transformers", "tokens": 4096, "seconds": 3.0, "bytes": 2e9},
    {"name": "transformers", "tokens": 16384, "left_out": "would not fit in memory"},
]


RATES = {"fp32": 100.0, "bf16": 60.0}  # bf16 is not emulated, but auto takes fp32


@pytest.fixture
def tiny(monkeypatch):
    for name, config in (("LongformerConfig", LongformerConfig), ("RobertaConfig", RobertaConfig)):
        monkeypatch.setattr(speed_models, name, partial(config, **TINY))
    monkeypatch.setattr(machine, "PRODUCTS", ((64, 32, 16),))
    monkeypatch.setattr(precision, "rates", lambda width: RATES)
    monkeypatch.setattr(speed_recipes, "rates", lambda width: RATES)
    monkeypatch.setattr(speed, "measure_lengths", lambda lengths: LENGTHS)


@pytest.fixture
def texts():
    return [f"comment {n} " * (1 + n % 40) for n in range(160)]


def test_the_comparison_end_to_end(tiny, texts, tmp_path):
    result = speed.measure_speed(texts, tmp_path, quick=True) | {"comments": "128 real comments"}
    rows = {(row["panel"], row["name"], row["precision"]): row for row in result["recipes"]}
    assert len(rows) == 5 + 6
    assert all(row["train_seconds"] > 0 for row in rows.values())
    assert all(len(row["train_seconds_all"]) == 1 for row in rows.values())
    assert len({row["tokens"] for row in rows.values()}) == 1  # no comment is over 512 tokens
    ratio = result["ratios"]["Longformer, ours in bf16 / tutorial's recipe in fp32"]
    longformer = speed_recipes.LONGFORMER
    tutorial, ours = (
        rows[longformer, "tutorial's recipe", "fp32"],
        rows[longformer, "ours", "bf16"],
    )
    assert ratio == pytest.approx(tutorial["train_seconds"] / ours["train_seconds"])
    assert "RoBERTa, ours in bf16 / transformers, sorted batches in bf16" in result["ratios"]
    assert result["ratios"]["time, 16,384 / 4,096 tokens"] == 4.2
    assert "largest difference of a bf16 probability" in result["figures"]
    shown = speed.format_speed(result)
    assert "ours, fp32 (auto takes this)" in shown
    assert "time at 3,048" not in shown  # it was not measured
    assert "would not fit in memory" in shown
    assert len(speed.plot_speed(result).axes) == 2
    assert len(speed.plot_lengths(result["lengths"]).axes) == 2


def test_bf16_is_left_out_where_it_is_emulated(monkeypatch):
    monkeypatch.setattr(speed_recipes, "rates", lambda width: {"fp32": 100.0, "bf16": 12.0})
    assert speed_recipes.precisions() == ["fp32"]


def test_auto_is_compared_with_the_fastest_precision():
    rows = [
        {"panel": "RoBERTa, 512", "name": "ours", "precision": "fp32"}
        | {"train_comments_per_second": 3.0, "score_comments_per_second": 12.0},
        {"panel": "RoBERTa, 512", "name": "ours", "precision": "bf16"}
        | {"train_comments_per_second": 4.0, "score_comments_per_second": 10.0},
    ]
    ratios = speed.auto_ratios(rows, "fp32")
    assert list(ratios.values()) == [3 / 4, 1]
    assert next(iter(ratios)) == "RoBERTa, training, fp32 (auto) / the fastest of fp32, bf16"


def test_every_recipe_takes_the_same_step_on_the_128_comments(tiny, texts, tmp_path):
    """Batches times their counts are all comments; ours and transformers' models score alike."""
    shared = speed_models.SharedModels(texts, 1, tmp_path)
    longformer = speed_recipes.longformer_recipes(shared)
    roberta = speed_recipes.roberta_recipes(shared)
    plain = [r for r in longformer + roberta if isinstance(r, speed_recipes.PlainRecipe)]
    assert len(plain) == 6
    for recipe in plain:
        counted = [len(batch["labels"]) * times for batch, times in recipe.batches]
        assert sum(counted) == speed_models.COMMENTS
    for stock, ours in ((longformer[0], longformer[-2]), (roberta[0], roberta[-2])):
        assert ours.precision == stock.precision == "fp32"
        assert not getattr(ours.model, "computes_padding", True)
        batch = stock.batches[0][0]
        stock.set_up()
        expected = speed_recipes.score(stock.model, [batch])
        assert shared.longformer.longformer.use_upstream == (stock is longformer[0])
        ours.set_up()
        assert not shared.longformer.longformer.use_upstream
        assert torch.allclose(speed_recipes.score(ours.model, [batch]), expected, atol=1e-5)
    assert getattr(shared.stock_roberta, "computes_padding", True)


def test_seconds_are_multiplied_by_the_batches_that_they_stand_for(
    tiny, texts, tmp_path, monkeypatch
):
    shared = speed_models.SharedModels(texts, 1, tmp_path)
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
