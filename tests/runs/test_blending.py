import shutil
from pathlib import Path

import numpy as np
import pytest

import toxlib
from toxlib.errors import InputError
from toxlib.recipes import BLENDS
from toxlib.runs import blending, engines, folds
from toxlib.runs.folds import copy_linear


def test_runs_that_are_no_runs_are_refused(tmp_path):
    with pytest.raises(InputError, match="give at least one"):
        blending.open_blend([])
    with pytest.raises(InputError, match=r"no run\.json"):
        blending.open_blend([str(tmp_path)])


def test_gold_on_tiny_encoders_of_the_same_kinds(checkpoints, small_dir, tmp_path):
    """Shrink each member's recipe by values alone, train the four, and blend them."""
    kinds = dict(
        zip(BLENDS["gold"], ("roberta", "deberta-v3", "mpnet", "modernbert"), strict=True)
    )
    folders, fitted = [], []
    for member, kind in kinds.items():
        shrunk = f"checkpoint={checkpoints[kind]} max_length=32 epochs=1"
        folder = tmp_path / member
        if folders:
            copy_linear(Path(folders[0]), folder)
        run = toxlib.open_run(member, str(small_dir), str(folder), f"{shrunk} folds=2")
        run.claim()
        engines.train_folds(run)
        fitted.append(folds.fit_linear_folds(run))
        folders.append(str(folder))
    # They are equal to the second: fitted once, then copied.
    assert all(costs == fitted[0] for costs in fitted)
    run, members = blending.open_blend(folders, str(tmp_path / "gold"))
    assert list(members) == [*kinds, "lr", "nb-lr"]
    blended = blending.blend_parts(run.validation_labels, members)
    blending.write_blend(run, members, blended)
    assert run.predictions().test().shape == (60, 6)
    report = blending.blend_report(run, members, blended)
    assert set(report["others"]) == set(members)
    table = blending.weights_table(blended, members, run.label_names)
    assert table.shape == (6, 6)
    correlations = blending.correlations(members)
    assert np.allclose(np.diag(correlations), 1)
    scored = toxlib.load(run.folder).predict(run.test_texts)
    assert np.allclose(scored, run.predictions().test(), atol=1e-6)
    reopened = toxlib.reopen(run.folder)
    assert reopened.member_folders == [Path(folder) for folder in folders]
    assert np.array_equal(reopened.predictions().parts()[0].rows, blended.parts[0].rows)


def test_runs_of_other_labels_are_refused(small_dir, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("train.csv", "test.csv"):
        shutil.copy(small_dir / name, tmp_path / "data")
    for name in ("toxic,threat", "toxic,insult"):
        overrides = f"folds=2 label_columns={name}"
        toxlib.open_run("quick", tmp_path / "data", tmp_path / name, overrides).claim()
    with pytest.raises(InputError, match=r"its labels are not those of .* same label_columns"):
        blending.open_blend([tmp_path / "toxic,threat", tmp_path / "toxic,insult"])


def test_runs_of_other_folds_or_of_one_are_refused(small_dir, tmp_path):
    runs = {}
    for name, overrides in (("a", "folds=2"), ("b", "folds=3"), ("c", "folds=1")):
        run = toxlib.open_run("quick", str(small_dir), str(tmp_path / name), overrides)
        run.claim()
        assert run.split.is_validation.any()
        runs[name] = str(run.folder)
    with pytest.raises(InputError, match="its folds are not those of"):
        blending.open_blend([runs["a"], runs["b"]])
    with pytest.raises(InputError, match="run it with folds=5"):
        blending.open_blend([runs["c"]])
    with pytest.raises(InputError, match="given twice"):
        blending.open_blend([runs["a"], runs["a"]])
    with pytest.raises(InputError, match="choose fitted or equal"):
        blending.open_blend([runs["a"]], weights="equall")
    with pytest.raises(InputError, match="needs a folder of its own"):
        blending.open_blend([runs["a"]], runs["a"])
    with pytest.raises(InputError, match="no such file; run 03_train"):
        blending.open_blend([runs["a"]], str(tmp_path / "blend"))
