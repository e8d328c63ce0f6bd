import numpy as np
import pandas as pd
import pytest

from toxlib.benchmarks import ablation, learning_curve
from toxlib.recipes import RECIPES, get_recipe


def test_a_power_law_is_continued():
    sizes = np.array([1000, 2000, 4000])
    errors = pd.Series(0.5 * sizes**-0.3, index=sizes)
    assert learning_curve.extrapolate(errors, 64_000) == pytest.approx(0.5 * 64_000**-0.3)


def test_all_models_are_scored_at_each_size(small_dir, checkpoints, tmp_path, monkeypatch):
    values = f"checkpoint={checkpoints['bert']} epochs=1"
    monkeypatch.setitem(RECIPES, "minilm", get_recipe("minilm", values))
    monkeypatch.setattr(learning_curve, "SIZES", (2, 11))
    table = learning_curve.learning_curve(small_dir, tmp_path, max_length=48)
    assert list(table) == ["lr", "nb-lr", "minilm", "blend"]
    rows = ablation.read_rows(small_dir)
    sizes = [len(rows.training(blocks)[0]) for blocks in (2, 11)]
    assert list(table.index) == [*sizes, learning_curve.KAGGLE]
    assert table["lr"].nunique() > 1
    assert table.to_numpy().max() <= 1
    assert (table.to_numpy()[:2] > 0.2).all()
