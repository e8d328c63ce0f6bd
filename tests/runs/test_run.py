"""Who owns a run folder: 01 and 02 claim nothing, 03 claims it, 04 and 05 need it alone."""

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest

import toxlib
from toxlib import files
from toxlib.data import splits
from toxlib.errors import InputError
from toxlib.recipes import change, get_recipe
from toxlib.runs.folds import is_trained, unfinished
from toxlib.training import precision


def _open(small_dir, folder, overrides=""):
    return toxlib.open_run("quick", str(small_dir), str(folder), overrides)


def test_opening_writes_nothing(small_dir, tmp_path):
    run = _open(small_dir, tmp_path / "run", "learning_rate=1e-5")
    assert run.recipe.learning_rate == 1e-5
    assert not (tmp_path / "run").exists()


def test_a_claim_binds_the_folder_to_what_affects_training(small_dir, tmp_path):
    run = _open(small_dir, tmp_path / "run")
    run.claim()
    before = (tmp_path / "run" / "split.csv").read_bytes()
    with pytest.raises(InputError, match=r"learning_rate=0.0005 there, 1e-05 here") as error:
        _open(small_dir, tmp_path / "run", "learning_rate=1e-5 epochs=7").claim()
    assert "epochs=2 there, 7 here" in str(error.value)
    _open(small_dir, tmp_path / "run", "jobs=2 wanted_precision=0.5").claim()
    assert toxlib.reopen(tmp_path / "run").recipe.wanted_precision == 0.5
    assert (tmp_path / "run" / "split.csv").read_bytes() == before


def test_the_training_seed_does_not_change_the_split(small_dir, tmp_path):
    """So runs that differ in it alone can be blended."""
    splits_of = {}
    for values in ("", "training_seed=7", "seed=7"):
        _open(small_dir, tmp_path / f"-{values}", f"folds=3 {values}").claim()
        splits_of[values] = (tmp_path / f"-{values}" / "split.csv").read_bytes()
    assert splits_of["training_seed=7"] == splits_of[""] != splits_of["seed=7"]
    other = _open(small_dir, tmp_path / "-training_seed=7", "folds=3")
    with pytest.raises(InputError, match="training_seed=7 there, -1 here"):
        other.claim()


def test_a_run_keeps_its_precision_on_a_machine_where_another_is_faster(
    small_dir, tmp_path, monkeypatch
):
    rates = {"fp32": 100.0, "bf16": 200.0}
    monkeypatch.setattr(precision, "rates", lambda width: rates)
    run = _open(small_dir, tmp_path / "run")
    run.claim()
    assert (run.machine["precision"], run.machine["gflops"]) == ("bf16", rates)
    monkeypatch.setattr(precision, "rates", lambda width: {"fp32": 200.0, "bf16": 100.0})
    again = _open(small_dir, tmp_path / "run")
    again.claim()
    assert again.recipe.precision == "auto"
    assert again.training_recipe.precision == "bf16"
    assert toxlib.reopen(tmp_path / "run").training_recipe.precision == "bf16"


@pytest.mark.parametrize("machine", [None, {}, {"threads": 2}])
def test_an_older_run_has_its_recipes_precision(small_dir, tmp_path, machine):
    run = _open(small_dir, tmp_path / "run", "precision=fp32")
    run.claim()
    run.record(machine=machine)
    assert run.training_recipe.precision == "fp32"
    run.record(machine={"precision": "turbo"})
    with pytest.raises(InputError, match="precision=turbo: input should be"):
        run.training_recipe  # noqa: B018


def test_a_claim_that_was_cut_off_is_made_again(small_dir, tmp_path):
    """A split without a run.json belongs to nobody."""
    run = _open(small_dir, tmp_path / "run", "folds=3")
    run.claim()
    (tmp_path / "run" / "run.json").unlink()
    other = _open(small_dir, tmp_path / "run", "folds=2")
    other.claim()
    assert isinstance(other.split, splits.KFold)
    assert list(other.split.folds) == [0, 1]


def test_a_fold_trained_before_a_value_existed_was_trained_by_its_default(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    for name, found in (("run.json", "recipe"), ("training.json", "trained_by")):
        content = json.loads((copy / name).read_text())
        assert content[found].pop("long_texts") == "truncate"
        (copy / name).write_text(json.dumps(content))
    run = toxlib.reopen(copy)
    assert is_trained(run, 0)
    with pytest.raises(InputError, match="other values of long_texts"):
        is_trained(dataclasses.replace(run, recipe=change(run.recipe, "long_texts=windows")), 0)


def test_reopening_takes_values_that_do_not_affect_training(small_dir, tmp_path):
    _open(small_dir, tmp_path / "run", "epochs=7").claim()
    run = toxlib.reopen(tmp_path / "run", "wanted_precision=0.8 mask_comments=false")
    assert (run.recipe.epochs, run.recipe.wanted_precision) == (7, 0.8)
    assert toxlib.reopen(tmp_path / "run").recipe == run.recipe
    with pytest.raises(
        InputError, match=r"another run \(seed=42 there, 7 here\); these values affect training"
    ):
        toxlib.reopen(tmp_path / "run", "seed=7")


def test_a_missing_run_names_those_that_are_there(small_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "REPOSITORY", tmp_path)
    with pytest.raises(InputError, match=r"quick: no run here .*there is none in outputs/"):
        toxlib.reopen()
    _open(small_dir, tmp_path / "outputs" / "mine").claim()
    with pytest.raises(InputError, match=r"give the folder of a run \(.*outputs/mine\)"):
        toxlib.reopen("nowhere")
    (tmp_path / "outputs" / "mine" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json: damaged, it is not a JSON object; delete"):
        toxlib.reopen(tmp_path / "outputs" / "mine")


def test_hold_out_and_folds_answer_the_same_questions(small_dir, tmp_path):
    for folds, chooses in (("1", True), ("3", False)):
        run = _open(small_dir, tmp_path / folds, f"folds={folds}")
        run.claim()
        assert run.split.chooses_epoch == chooses
        assert len(run.split.folds) == int(folds)
        assert unfinished(run) == [*run.split.folds]
        assert not any(run.predictions().written(fold) for fold in run.split.folds)
        assert len(run.split.parts()) == max(3, 5 if chooses else 3)
        assert run.fold_folder(0) == (run.folder if chooses else run.folder / "fold-0")


def test_texts_are_prepared_when_they_are_read(small_dir, tmp_path):
    run = _open(small_dir, tmp_path / "run")
    comments = run.tables.train["comment_text"]
    rows = comments.str.contains("\n").to_numpy()
    texts = run.texts(rows)
    assert list(texts) == texts[:] == [" ".join(c.split()) for c in comments[rows]]
    assert (texts[-1], len(texts)) == (list(texts)[-1], rows.sum())
    assert 0 < rows.sum() < len(run.train_texts)


def test_masked_unless_the_recipe_shows_comments(small_dir, tmp_path):
    run = _open(small_dir, tmp_path / "run")
    assert run.shown(["stupid oaf", "a" * 200]) == ["s••••• o••", "a" + "•" * 158 + "…"]
    shown = dataclasses.replace(run, recipe=get_recipe("quick", "mask_comments=false"))
    assert shown.shown(["stupid oaf", "\x1b[31m\u202e"]) == ["stupid oaf", r"\x1b[31m\u202e"]


@pytest.mark.slow
def test_opened_in_01_trained_with_other_values_then_reopened(small_dir, tmp_path, tiny_overrides):
    """As a person works, with papermill: 01 with the recipe's values, 03 with others, 04, 05."""
    folder = tmp_path / "run"
    common = ["-p", "data_dir", small_dir, "-p", "run_dir", folder]
    overrides = ["-p", "overrides", " ".join(tiny_overrides)]
    steps = [
        ("01_eda", common),
        ("03_train", [*common, *overrides]),
        ("04_thresholds", ["-p", "run_dir", folder]),
        ("05_submission", ["-p", "run_dir", folder]),
    ]
    for name, parameters in steps:
        notebook = files.REPOSITORY / "notebooks" / f"{name}.ipynb"
        command = ["papermill", notebook, tmp_path / f"{name}.ipynb", *parameters]
        done = subprocess.run(
            [sys.executable, "-m", *map(str, command)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((folder / "run.json").read_text())
    assert record["recipe"]["epochs"] == 1
    assert record["test_grade"]["rows_scored"] > 0
    assert (folder / "submission.csv").exists()


@pytest.mark.slow
def test_run_all_in_jupyter_with_the_run_folder_alone(finished, tmp_path):
    """`jupyter execute` runs in the notebook's folder, as Run All in JupyterLab does."""
    folder = shutil.copytree(finished, tmp_path / "run")
    for name in ("04_thresholds", "05_submission"):
        text = (files.REPOSITORY / "notebooks" / f"{name}.ipynb").read_text("utf-8")
        empty, given = 'run_dir: str = \\"\\"', f'run_dir: str = \\"{folder}\\"'
        assert empty in text
        copy = tmp_path / f"{name}.ipynb"
        copy.write_text(text.replace(empty, given), "utf-8")
        command = [sys.executable, "-m", "jupyter", "execute", str(copy)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
