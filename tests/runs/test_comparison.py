import json
import shutil

import numpy as np
import pytest

import toxlib
from toxlib.errors import InputError
from toxlib.files import write_json
from toxlib.runs import comparison
from toxlib.runs.predictions import SET_ASIDE, TEST, VALIDATION


def _finished(data_dir, folder, noise, overrides="folds=3"):
    """Make a run folder as the notebooks leave it, with invented predictions."""
    run = toxlib.open_run("quick", str(data_dir), str(folder), overrides)
    run.claim()
    rng, own = np.random.default_rng(0), run.predictions()
    for fold in run.split.folds:
        for kind in (VALIDATION, SET_ASIDE, TEST):
            truth = np.zeros((len(run.test_texts), 6))
            if kind != TEST:
                truth = run.tables.labels[own.rows(kind, fold)]
            if len(truth):
                scores = np.clip(0.4 * truth + noise * rng.random(truth.shape), 0, 1)
                own.write(kind, scores, fold)
    own.join_folds()
    cost = {"peak_memory_gb": 1.5, "model_seconds": 75}
    write_json(run.path("metrics.json"), {"cost": cost})
    return run.folder


def test_the_better_run_and_its_gain(small_dir, tmp_path):
    poor = _finished(small_dir, tmp_path / "poor", 0.9)
    good = _finished(small_dir, tmp_path / "good", 0.5)
    table = comparison.compare_runs([poor, good])
    with pytest.raises(InputError, match="given twice"):
        comparison.compare_runs([poor, poor])
    assert table.loc["poor", "AUC minus first"] == 0
    assert table.loc["good", "AUC minus first low"] > 0
    assert table.loc["good", "error ÷ first's high"] < 1
    assert table.loc["good", "rows"] == 240
    assert table.loc["good", "peak memory (GB)"] == 1.5
    shown = comparison.format_comparison(table)
    assert "1 min 15 s" in shown
    assert len(comparison.plot_comparison(table).axes) == 2


def test_other_folds_are_compared_on_common_rows(small_dir, tmp_path):
    folds = _finished(small_dir, tmp_path / "folds", 0.9)
    single = _finished(small_dir, tmp_path / "single", 0.9, "folds=1")
    table = comparison.compare_runs([folds, single])
    assert table.loc["folds", "rows"] == table.loc["single", "rows"] < 60


def test_what_cannot_be_compared_is_refused(small_dir, sample_dir, tmp_path):
    first = _finished(small_dir, tmp_path / "first", 0.9)
    other = _finished(sample_dir, tmp_path / "other", 0.9, "folds=1")
    with pytest.raises(InputError, match="made from other data"):
        comparison.compare_runs([first, other])
    (first / "metrics.json").unlink()
    with pytest.raises(InputError, match="no such file; run 03_train again"):
        comparison.compare_runs([first])
    with pytest.raises(InputError, match=r"no run\.json"):
        comparison.compare_runs([tmp_path])


def test_data_that_has_changed_is_noticed(small_dir, tmp_path):
    data = shutil.copytree(small_dir, tmp_path / "data")
    folder = _finished(data, tmp_path / "run", 0.9, "folds=1")
    (data / "test_labels.csv").unlink()
    with pytest.raises(InputError, match="have changed since"):
        comparison.compare_runs([folder])
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"recipe": {"colour": "red"}}))
    with pytest.raises(InputError, match="not written by this version"):
        comparison.compare_runs([folder])
