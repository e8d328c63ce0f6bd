"""The whole way on a tiny recipe, the run folder it leaves, and what the command line refuses."""

import dataclasses
import json
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest

import toxlib
from toxlib import files, pipeline
from toxlib.__main__ import main
from toxlib.data import kaggle
from toxlib.errors import InputError
from toxlib.recipes import BLENDS, RECIPES
from toxlib.reports import audit


def test_the_run_folder_is_complete(executed):
    names = {path.name for path in executed.iterdir()}
    assert names >= {
        *(f"{name}.ipynb" for name in pipeline.NOTEBOOKS),
        "report.html", "figures", "split.csv", "model", "validation_predictions.csv",
        "metrics.json", "thresholds.json", "calibration.json", "run.json", "submission.csv",
        "lr", "nb-lr", "linear",
    }  # fmt: skip
    assert not [name for name in names if name.endswith(".tmp") or name == "work"]
    assert len(list((executed / "figures").glob("*.png"))) >= 10
    record = json.loads((executed / "run.json").read_text())
    assert set(record["seconds"]) == set(pipeline.NOTEBOOKS)
    assert record["test_grade"]["rows_scored"] + record["test_grade"]["rows_unscored"] == 60


def test_injected_values_took_effect(executed):
    record = json.loads((executed / "run.json").read_text())
    assert record["recipe"]["max_length"] == 48
    assert (
        json.loads((executed / "model/tokenizer_config.json").read_text())["model_max_length"]
        == 48
    )
    notebook = nbformat.read(executed / "03_train.ipynb", as_version=4)
    injected = [c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert "max_length=48" in injected[0].source


def test_the_submission_is_the_samples_and_the_models(executed, hostile_dir):
    sample = pd.read_csv(hostile_dir / "sample_submission.csv", dtype={"id": str})
    table = pd.read_csv(executed / "submission.csv", dtype={"id": str})
    assert list(table.columns) == list(sample.columns)
    assert list(table["id"]) == list(sample["id"])
    again = executed.parent / "again.csv"
    arguments = ["predict", str(executed), str(hostile_dir / "test.csv"), "-o", str(again)]
    assert main(arguments) == 0
    predicted = pd.read_csv(again, dtype={"id": str}).set_index("id").loc[table["id"]]
    assert np.allclose(predicted, table.set_index("id"), atol=1e-5)


def test_validation_predictions_are_the_held_out_rows(executed, hostile_dir):
    split = pd.read_csv(executed / "split.csv", dtype={"id": str})
    predictions = pd.read_csv(executed / "validation_predictions.csv", dtype={"id": str})
    assert list(predictions["id"]) == list(split["id"][split["part"] >= 0])
    metrics = json.loads((executed / "metrics.json").read_text())
    assert metrics["validation"]["rows"] == len(predictions)
    assert "optimistic" in metrics["validation_note"]


def test_the_report_is_one_page_and_hostile_text_stays_text(executed):
    page = (executed / "report.html").read_text("utf-8")
    assert "&lt;script&gt;alert" in page
    assert "<script>alert('x')" not in page
    assert "<img src=x" not in page
    assert "<b>$threat$" not in page
    for source in ('src="http', "src='http", '<link rel="stylesheet" href="http'):
        assert source not in page
    assert page.count("<h1") >= 5


def test_from_executes_the_later_notebooks_only(audited, tmp_path, capsys):
    """The run folder alone is enough from 04 on: no recipe, no data, no overrides."""
    folder = shutil.copytree(audited, tmp_path / "run")
    before = (folder / "03_train.ipynb").stat().st_mtime_ns
    thresholds = (folder / "thresholds.json").read_bytes()
    submission = (folder / "submission.csv").read_bytes()
    (folder / "submission.csv").unlink()
    arguments = ["run", "--run-dir", str(folder), "--from"]
    assert main([*arguments, "05"]) == 0
    assert (folder / "submission.csv").read_bytes() == submission
    assert (folder / "03_train.ipynb").stat().st_mtime_ns == before
    assert "07 · Where it is wrong" in (folder / "report.html").read_text("utf-8")
    assert main([*arguments, "07"]) == 2
    assert "choose one of 01" in capsys.readouterr().err
    assert main([*arguments, "04", "--data-dir", str(tmp_path)]) == 2
    assert "this run was made from" in capsys.readouterr().err

    # Thresholds for another precision put the audit out of date.
    (folder / "submission.csv").unlink()
    assert main([*arguments, "04", "--set", "wanted_precision=0.9"]) == 0
    assert (folder / "thresholds.json").read_bytes() != thresholds
    assert (folder / "submission.csv").read_bytes() == submission
    assert json.loads((folder / "run.json").read_text())["recipe"]["wanted_precision"] == 0.9
    assert "Where it is wrong" not in (folder / "report.html").read_text("utf-8")
    with pytest.raises(InputError, match=r"other thresholds than the run's; run `python -m toxl"):
        audit.read_identity(folder)


def test_a_folder_of_another_run_is_refused(
    executed, hostile_dir, small_dir, tiny_overrides, capsys
):
    arguments = ["run", "--run-dir", str(executed), "--set", *tiny_overrides]
    assert main([*arguments, "seed=7", "--data-dir", str(hostile_dir)]) == 2
    assert "belongs to another run (seed=42 there, 7 here)" in capsys.readouterr().err
    assert main([*arguments, "--data-dir", str(small_dir)]) == 2
    assert "other data" in capsys.readouterr().err
    arguments = ["run", "--run-dir", str(executed), "--from", "04", "--set", "epochs=3"]
    assert main(arguments) == 2
    assert "(epochs=1 there, 3 here); these values affect training" in capsys.readouterr().err


def test_a_file_where_a_folder_belongs_and_the_reverse(executed, hostile_dir, tmp_path, capsys):
    (tmp_path / "file").touch()
    for arguments, message in (
        (["run", "--run-dir", str(tmp_path / "file")], "file: a file; give a folder"),
        (
            ["predict", str(executed), str(hostile_dir / "test.csv"), "-o", str(tmp_path)],
            "a folder with other files; give a new folder, or the path of a file",
        ),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


def test_bad_input_is_found_before_anything_is_written(small_dir, tmp_path, capsys):
    shutil.copytree(small_dir, tmp_path / "data")
    (tmp_path / "data" / "test.csv").write_text("id,comment_text\na,b,c\n")
    arguments = ["run", "--data-dir", str(tmp_path / "data"), "--run-dir", str(tmp_path / "run")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "test.csv: row 1: 3 fields" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_too_few_rows_to_split_leave_nothing(small_dir, tmp_path, capsys):
    shutil.copytree(small_dir, tmp_path / "data")
    table = pd.read_csv(small_dir / "train.csv", dtype=str, keep_default_na=False)
    table[:5].to_csv(tmp_path / "data" / "train.csv", index=False)
    arguments = ["run", "--data-dir", str(tmp_path / "data"), "--run-dir", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "too few to split" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_failing_cell_stops_the_run(monkeypatch, tmp_path, small_dir, capsys):
    broken = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
    )
    broken.cells = [
        nbformat.v4.new_code_cell('recipe = ""', metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("1 / 0"),
    ]
    for cell in broken.cells:
        cell.metadata.setdefault("tags", [])
    (tmp_path / "notebooks").mkdir()
    nbformat.write(broken, tmp_path / "notebooks" / "01_eda.ipynb")
    monkeypatch.setattr(files, "REPOSITORY", tmp_path)
    assert main(["run", "--data-dir", str(small_dir), "--run-dir", str(tmp_path / "r")]) == 1
    error = capsys.readouterr().err
    assert "01_eda" in error
    assert "ZeroDivisionError: division by zero" in error
    assert (tmp_path / "r" / "01_eda.ipynb").exists()


def test_a_blend_leaves_a_run_folder_of_its_own(executed_blend, hostile_dir, capsys):
    names = {path.name for path in executed_blend.iterdir()}
    assert names >= {
        "06_blend.ipynb", "04_thresholds.ipynb", "05_submission.ipynb", "report.html",
        "figures", "split.csv", "validation_predictions.csv", "weights.json",
        "metrics.json", "thresholds.json", "calibration.json", "run.json", "submission.csv",
        "minilm",
    }  # fmt: skip
    sample = pd.read_csv(hostile_dir / "sample_submission.csv", dtype={"id": str})
    table = pd.read_csv(executed_blend / "submission.csv", dtype={"id": str})
    assert list(table.columns) == list(sample.columns)
    assert list(table["id"]) == list(sample["id"])
    page = (executed_blend / "report.html").read_text("utf-8")
    assert "<b>$threat$" not in page
    report = json.loads((executed_blend / "metrics.json").read_text())
    assert report["validation"]["rows"] == 240
    for weights in json.loads((executed_blend / "weights.json").read_text()).values():
        assert sum(weights.values()) == pytest.approx(1)
    record = json.loads((executed_blend / "run.json").read_text())
    assert list(record["seconds"]) == ["06_blend", "04_thresholds", "05_submission"]
    assert record["members"]["lr"] == {"run": "minilm", "predictions": "lr"}
    capsys.readouterr()
    output = executed_blend.parent / "comparison"
    assert (
        main(["compare", str(executed_blend / "minilm"), str(executed_blend), "-o", str(output)])
        == 0
    )
    assert "mean column-wise AUC" in capsys.readouterr().out
    page = (output / "comparison.html").read_text("utf-8")
    assert page.count('alt="Training curves of ') == 1  # a blend has none


@pytest.mark.parametrize(
    ("recipe", "overrides", "expected"),
    [
        ("best", "folds=1", "set folds=5"),
        ("gold", "checkpoint=/none", "run the members one by one"),
        ("best", "checkpoint=/none", "could not be loaded"),
    ],
)
def test_what_a_blend_would_fail_of_is_said_before_it_trains(
    recipe, overrides, expected, small_dir, tmp_path, capsys
):
    arguments = ["run", "--recipe", recipe, "--data-dir", str(small_dir)]
    assert main([*arguments, "--run-dir", str(tmp_path / "r"), "--set", overrides]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_blend_may_have_members_that_differ_in_their_training_seed_alone(
    monkeypatch, tiny_overrides, small_dir, tmp_path
):
    """Their split is the same, so that their predictions can be blended."""
    seeds = {name: dataclasses.replace(RECIPES["minilm"], name=name) for name in ("a", "b")}
    seeds["b"] = dataclasses.replace(seeds["b"], training_seed=7)
    monkeypatch.setitem(BLENDS, "seeds", ("a", "b"))
    for name, recipe in seeds.items():
        monkeypatch.setitem(RECIPES, name, recipe)
    with pytest.raises(InputError, match="blends 2 models, and with these values some are the sa"):
        pipeline.check_members("seeds", "training_seed=3")
    pipeline.check_members("seeds", [*tiny_overrides, "lengthen_to=48"])
    with pytest.raises(InputError, match="run the members one by one"):
        pipeline.check_members("gold", "checkpoint=/none")


def test_another_blend_in_the_same_folder_is_refused(executed_blend, executed, capsys):
    other = shutil.copytree(executed_blend / "minilm", executed_blend.parent / "copy")
    assert main(["blend", str(other), "--run-dir", str(executed_blend)]) == 2
    assert "other members" in capsys.readouterr().err
    assert main(["blend", str(executed_blend)]) == 2
    assert "a blend itself" in capsys.readouterr().err
    assert main(["blend", str(executed)]) == 2
    assert "run it with folds=5" in capsys.readouterr().err


@pytest.mark.parametrize(
    "tool", ["papermill", pytest.param("jupyter execute", marks=pytest.mark.slow)]
)
def test_a_notebook_alone_says_what_to_run_first(tool, tmp_path):
    """From another working directory; `jupyter execute` takes the parameters as they stand."""
    path = files.REPOSITORY / "notebooks" / "04_thresholds.ipynb"
    if tool == "papermill":
        command = ["papermill", path, "out.ipynb", "-p", "run_dir", tmp_path / "r"]
    else:
        copy = tmp_path / "copy.ipynb"
        text = path.read_text("utf-8")
        empty, given = 'run_dir: str = \\"\\"', f'run_dir: str = \\"{tmp_path / "r"}\\"'
        assert empty in text
        copy.write_text(text.replace(empty, given))
        command = ["jupyter", "execute", copy]
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "run 03_train first" in done.stderr


def test_on_kaggle_each_run_has_a_folder(monkeypatch, small_dir, tmp_path, executed):
    """Stand-in folders: data attached, runs below the working folder, submission.csv in it."""
    working, attached = tmp_path / "working", tmp_path / "input" / "jigsaw"
    working.mkdir()
    shutil.copytree(small_dir, attached)
    monkeypatch.setattr(files, "REPOSITORY", tmp_path / "elsewhere")
    monkeypatch.setattr(files, "KAGGLE_WORKING", working)
    monkeypatch.setattr(files, "KAGGLE_INPUT", tmp_path / "input")
    opened = toxlib.open_run("quick")
    assert opened.data_dir == attached.resolve()
    assert opened.folder == working / "quick"
    assert toxlib.open_run("minilm").folder == working / "minilm"
    assert not opened.is_sample
    shutil.copytree(executed, working / "quick")
    published = toxlib.reopen().publish_submission()
    assert published == working / "submission.csv"
    assert published.read_bytes() == (executed / "submission.csv").read_bytes()


def test_the_sample_is_named_as_what_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "REPOSITORY", tmp_path)
    monkeypatch.setattr(files, "KAGGLE_INPUT", tmp_path / "none")
    opened = toxlib.open_run("quick")
    assert opened.is_sample
    assert opened.data_note == kaggle.SAMPLE_NOTE
    assert opened.data_dir == tmp_path / "outputs" / "sample"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--recipe", "quik"], "did you mean quick"),
        (["run", "--set", "epoch=1"], "did you mean epochs"),
        (["run", "--data-dir", "/nowhere"], "/nowhere: no such folder"),
        (["predict", "/nowhere", "x.csv", "-o", "y.csv"], "no run.json"),
        (["score", "/none.csv", "--labels", "/none.csv"], "/none.csv: no such file"),
        (["data", "--data-dir", "/nowhere"], "no such folder"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, expected, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_score_and_data_on_the_command_line(small_dir, capsys):
    sample, labels = small_dir / "sample_submission.csv", small_dir / "test_labels.csv"
    assert main(["score", str(sample), str(sample), "--labels", str(labels), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["mean_columnwise_auc"] == 0.5
    assert result["difference"]["log_loss"] == 0
    assert main(["data", "--data-dir", str(small_dir)]) == 0
    assert "240 training and 60 test comments" in capsys.readouterr().out


@pytest.mark.slow
def test_a_thousand_real_rows_end_to_end(real_rows, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for path in real_rows.glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table[:1000].to_csv(folder / path.name, index=False)
    arguments = ["run", "--data-dir", str(folder), "--run-dir", str(tmp_path / "run")]
    assert main([*arguments, "--set", "epochs=1", "max_length=128"]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["validation"]["auc_per_label"]["toxic"] > 0.7
