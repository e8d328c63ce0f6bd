"""The precision is chosen by measured rates, kept per machine, and kept by a resumed run."""

import json
from types import SimpleNamespace

import pytest
import torch

from toxlib.errors import InputError
from toxlib.recipes import get_recipe
from toxlib.training import precision
from toxlib.training.finetune import training_arguments

RATES = {"fp32": 100.0, "bf16": 200.0}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return the path of kept rates in an empty folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "toxlib" / "precision.json"


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ({"fp32": 107, "bf16": 88}, "fp32"),  # an Intel Xeon with AVX512-BF16
        ({"fp32": 147, "bf16": 418}, "bf16"),  # an AMD EPYC with AVX512-BF16
        ({"fp32": 100, "bf16": 109}, "fp32"),  # within the margin
        ({"fp32": 100, "bf16": 111}, "bf16"),
        ({"fp32": 60, "fp16": 110}, "fp16"),
        ({"fp32": 150, "bf16": 20}, "fp32"),  # a processor that emulates bf16
    ],
)
def test_the_faster_precision_is_chosen(rates, chosen, cache, monkeypatch):
    monkeypatch.setattr(precision, "measure_rates", lambda width: rates)
    monkeypatch.setattr(precision, "_candidates", lambda: list(rates))
    assert precision.resolve("auto", 384) == chosen
    assert precision.describe("auto", 384) == {"precision": chosen, "gflops": rates}


def test_a_precision_that_is_asked_for_is_not_measured(cache, monkeypatch):
    monkeypatch.setattr(precision, "measure_rates", None)
    assert precision.describe("fp32", 0) == {"precision": "fp32"}
    assert not cache.exists()


def test_rates_are_measured_once_per_machine_and_width(cache, monkeypatch):
    measured = []
    monkeypatch.setattr(precision, "measure_rates", lambda w: measured.append(w) or RATES)
    for width in (384, 768, 384):
        assert precision.rates(width) == RATES
    assert measured == [384, 768]
    monkeypatch.setattr(precision, "device_name", lambda: "another processor")
    precision.rates(384)
    assert measured == [384, 768, 384]
    assert len(json.loads(cache.read_text())) == 3


@pytest.mark.parametrize("content", ["", "[]", "{", '{"KEY": 3}', '{"KEY": {"fp32": "x"}}'])
def test_damaged_rates_are_measured_again(cache, content, monkeypatch):
    monkeypatch.setattr(precision, "measure_rates", lambda width: RATES)
    precision.rates(384)
    (key,) = json.loads(cache.read_text())
    cache.write_text(content.replace("KEY", key))
    assert precision.rates(384) == RATES
    assert json.loads(cache.read_text()) == {key: RATES}


@pytest.mark.parametrize("where", ["file", "", "folder"])
def test_rates_that_cannot_be_kept_are_measured_each_time(where, tmp_path, monkeypatch):
    """The cache folder is a file, or its folder `toxlib` is one, or precision.json a folder."""
    (tmp_path / "file").write_text("")
    (tmp_path / "toxlib").write_text("")
    (tmp_path / "folder" / "toxlib" / "precision.json").mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / where))
    monkeypatch.setattr(precision, "measure_rates", lambda width: RATES)
    assert precision.rates(384) == precision.rates(384) == RATES


def test_a_measurement_needs_no_gradients_from_its_caller(monkeypatch):
    monkeypatch.setattr(precision, "SECONDS", 0.001)
    with torch.inference_mode():
        assert precision.measure_rates(32)


def test_an_emulated_precision_is_not_measured_for_long(monkeypatch):
    passes = {torch.float32: 0, torch.bfloat16: 0}

    class Slow(precision._Pass):
        def __call__(self):
            passes[self.weight.dtype] += 1
            super().__call__()
            clock.now += 1 if self.weight.dtype == torch.bfloat16 else 0.01

    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(precision, "_Pass", Slow)
    monkeypatch.setattr(precision, "_candidates", lambda: ["fp32", "bf16"])
    monkeypatch.setattr(precision.time, "thread_time", lambda: clock.now)
    monkeypatch.setattr(precision.time, "perf_counter", lambda: clock.now)
    rates = precision.measure_rates(32)
    assert passes == {torch.float32: 2, torch.bfloat16: 2}
    assert precision.choose(rates) == "fp32"


def test_a_measurement_gives_the_rates_of_a_linear_layer(monkeypatch):
    monkeypatch.setattr(precision, "SECONDS", 0.001)
    measured = precision.measure_rates(64)
    assert list(measured) == precision._candidates()
    assert all(0.1 < rate < 1e6 for rate in measured.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can train in fp16")
def test_fp16_is_refused_on_a_cpu(tmp_path):
    recipe = get_recipe("quick", "precision=fp16")
    with pytest.raises(InputError, match="trains in fp16, which only a GPU can do; go on"):
        training_arguments(recipe, tmp_path, False, "fp16")
