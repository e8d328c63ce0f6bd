"""The whole way on a tiny recipe, the run folder it leaves, and what the command line refuses."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import SHARED

import toxlib
from toxlib import paths, pipeline, run
from toxlib.__main__ import main

HOSTILE = "<script>alert('x')</script> $\\alpha$ \x1b[31m <img src=x onerror=y>"


def _overrides(checkpoints) -> list[str]:
    tiny = "max_length=48 epochs=1 batch_size=32 learning_rate=1e-3 mask_comments=false"
    return [f"checkpoint={checkpoints['bert']}", *tiny.split()]


@pytest.fixture(scope="module")
def hostile_dir(small_dir, tmp_path_factory) -> Path:
    """The small data with a hostile text in every comment, and a label named hostilely."""
    folder = tmp_path_factory.mktemp("hostile")
    for path in small_dir.glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if "comment_text" in table:
            table["comment_text"] = HOSTILE + table["comment_text"]
        table = table.rename(columns={"threat": "<b>$threat$"})
        table.to_csv(folder / path.name, index=False)
    return folder


@pytest.fixture(scope="module")
def finished(checkpoints, hostile_dir, tmp_path_factory) -> Path:
    """A run folder, made by the command line."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    arguments = ["run", "--recipe", "quick", "--data-dir", str(hostile_dir)]
    arguments += ["--run-dir", str(folder), "--set", *_overrides(checkpoints)]
    assert main(arguments) == 0
    return folder


def test_the_run_folder_is_complete(finished):
    names = {path.name for path in finished.iterdir()}
    assert names >= {
        *(f"{name}.ipynb" for name in pipeline.NOTEBOOKS),
        "report.html", "figures", "split.csv", "model", "validation_predictions.csv",
        "metrics.json", "thresholds.json", "calibration.json", "run.json", "submission.csv",
        "lr", "nb-lr",
    }  # fmt: skip
    assert not [name for name in names if name.endswith(".tmp")]
    assert len(list((finished / "figures").glob("*.png"))) >= 10
    record = json.loads((finished / "run.json").read_text())
    assert set(record["seconds"]) == set(pipeline.NOTEBOOKS)
    assert record["test_grade"]["rows_scored"] + record["test_grade"]["rows_unscored"] == 60


def test_injected_values_took_effect(finished):
    record = json.loads((finished / "run.json").read_text())
    assert record["recipe"]["max_length"] == 48
    assert (
        json.loads((finished / "model/tokenizer_config.json").read_text())["model_max_length"]
        == 48
    )
    executed = nbformat.read(finished / "03_train.ipynb", as_version=4)
    injected = [c for c in executed.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert "max_length=48" in injected[0].source


def test_the_submission_is_the_samples_and_the_models(finished, hostile_dir):
    sample = pd.read_csv(hostile_dir / "sample_submission.csv", dtype={"id": str})
    table = pd.read_csv(finished / "submission.csv", dtype={"id": str})
    assert list(table.columns) == list(sample.columns)
    assert list(table["id"]) == list(sample["id"])
    again = finished.parent / "again.csv"
    arguments = ["predict", str(finished), str(hostile_dir / "test.csv"), "-o", str(again)]
    assert main(arguments) == 0
    predicted = pd.read_csv(again, dtype={"id": str}).set_index("id").loc[table["id"]]
    assert np.allclose(predicted, table.set_index("id"), atol=1e-5)


def test_validation_predictions_are_the_held_out_rows(finished, hostile_dir):
    split = pd.read_csv(finished / "split.csv", dtype={"id": str})
    predictions = pd.read_csv(finished / "validation_predictions.csv", dtype={"id": str})
    assert list(predictions["id"]) == list(split["id"][split["fold"] == 0])
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["validation"]["rows"] == len(predictions)
    assert "Optimistic" in metrics["validation_note"]


def test_the_report_is_one_page_and_hostile_text_stays_text(finished):
    page = (finished / "report.html").read_text("utf-8")
    assert "&lt;script&gt;alert" in page
    assert "<script>alert('x')" not in page
    assert "<img src=x" not in page
    assert "<b>$threat$" not in page
    for source in ('src="http', "src='http", '<link rel="stylesheet" href="http'):
        assert source not in page
    assert page.count("<h1") >= 5


def test_from_executes_the_later_notebooks_only(finished, hostile_dir, checkpoints, capsys):
    before = (finished / "03_train.ipynb").stat().st_mtime_ns
    arguments = ["run", "--data-dir", str(hostile_dir), "--run-dir", str(finished)]
    assert main([*arguments, "--from", "05", "--set", *_overrides(checkpoints)]) == 0
    assert (finished / "03_train.ipynb").stat().st_mtime_ns == before
    assert main([*arguments, "--from", "07", "--set", *_overrides(checkpoints)]) == 2
    assert "choose one of 01" in capsys.readouterr().err


def test_a_folder_of_another_run_is_refused(finished, hostile_dir, small_dir, checkpoints, capsys):
    arguments = ["run", "--run-dir", str(finished), "--set", *_overrides(checkpoints)]
    assert main([*arguments, "seed=7", "--data-dir", str(hostile_dir)]) == 2
    assert "another recipe (seed)" in capsys.readouterr().err
    assert main([*arguments, "--data-dir", str(small_dir)]) == 2
    assert "other data" in capsys.readouterr().err


def test_a_finished_run_takes_thresholds_of_a_wanted_precision(
    finished, hostile_dir, checkpoints, tmp_path
):
    folder = shutil.copytree(finished, tmp_path / "run")
    overrides = [*_overrides(checkpoints), "wanted_precision=0.9"]
    arguments = ["run", "--data-dir", str(hostile_dir), "--run-dir", str(folder)]
    assert main([*arguments, "--from", "04", "--set", *overrides]) == 0
    before, after = (
        [
            entry["threshold"]
            for entry in json.loads((path / "thresholds.json").read_text()).values()
        ]
        for path in (finished, folder)
    )
    assert before != after
    assert json.loads((folder / "run.json").read_text())["recipe"]["wanted_precision"] == 0.9


def test_a_file_where_a_folder_belongs_and_the_reverse(finished, hostile_dir, tmp_path, capsys):
    (tmp_path / "file").touch()
    for arguments, message in (
        (["run", "--run-dir", str(tmp_path / "file")], "file: a file; give a folder"),
        (
            ["predict", str(finished), str(hostile_dir / "test.csv"), "-o", str(tmp_path)],
            "a folder; give the CSV to write",
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
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path)
    assert main(["run", "--data-dir", str(small_dir), "--run-dir", str(tmp_path / "r")]) == 1
    error = capsys.readouterr().err
    assert "01_eda" in error
    assert "ZeroDivisionError: division by zero" in error
    assert (tmp_path / "r" / "01_eda.ipynb").exists()


@pytest.fixture(scope="module")
def blended(checkpoints, hostile_dir, tmp_path_factory) -> Path:
    """A run folder of the recipe `best`, shrunk by values alone."""
    folder = tmp_path_factory.mktemp("blends") / "tiny-best"
    arguments = ["run", "--recipe", "best", "--data-dir", str(hostile_dir)]
    arguments += ["--run-dir", str(folder), "--set", *_overrides(checkpoints)]
    assert main([*arguments, "lengthen=48", "folds=2"]) == 0
    return folder


def test_a_blend_leaves_a_run_folder_of_its_own(blended, hostile_dir, capsys):
    names = {path.name for path in blended.iterdir()}
    assert names >= {
        "06_blend.ipynb", "report.html", "figures", "split.csv", "validation_predictions.csv",
        "metrics.json", "thresholds.json", "calibration.json", "run.json", "submission.csv",
        "minilm",
    }  # fmt: skip
    sample = pd.read_csv(hostile_dir / "sample_submission.csv", dtype={"id": str})
    table = pd.read_csv(blended / "submission.csv", dtype={"id": str})
    assert list(table.columns) == list(sample.columns)
    assert list(table["id"]) == list(sample["id"])
    page = (blended / "report.html").read_text("utf-8")
    assert "<b>$threat$" not in page
    report = json.loads((blended / "metrics.json").read_text())
    assert report["validation"]["rows"] == 240
    for weights in report["weights"].values():
        assert sum(weights.values()) == pytest.approx(1)
    capsys.readouterr()
    output = blended.parent / "comparison"
    assert main(["compare", str(blended / "minilm"), str(blended), "-o", str(output)]) == 0
    assert "mean column-wise AUC" in capsys.readouterr().out
    assert (output / "comparison.png").exists()


def test_folds_predict_together_and_a_blend_by_its_members(blended, hostile_dir, capsys):
    member, again = blended / "minilm", blended.parent / "again.csv"
    arguments = [str(hostile_dir / "test.csv"), "-o", str(again)]
    assert main(["predict", str(member), *arguments]) == 0
    submitted = pd.read_csv(member / "submission.csv", dtype={"id": str}).set_index("id")
    predicted = pd.read_csv(again, dtype={"id": str}).set_index("id").loc[submitted.index]
    assert np.allclose(predicted, submitted, atol=1e-5)
    assert main(["predict", str(member), *arguments, "--calibrated"]) == 0
    calibrated = pd.read_csv(again, dtype={"id": str}).set_index("id").loc[submitted.index]
    assert not np.allclose(calibrated, submitted, atol=1e-3)
    assert main(["predict", str(blended), *arguments]) == 2
    assert "give one of its members" in capsys.readouterr().err


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


def test_another_blend_in_the_same_folder_is_refused(blended, finished, capsys):
    other = shutil.copytree(blended / "minilm", blended.parent / "copy")
    assert main(["blend", str(other), "--run-dir", str(blended)]) == 2
    assert "other members" in capsys.readouterr().err
    assert main(["blend", str(blended)]) == 2
    assert "a blend itself" in capsys.readouterr().err
    assert main(["blend", str(finished)]) == 2
    assert "run it with folds=5" in capsys.readouterr().err


@pytest.mark.parametrize("tool", ["papermill", "jupyter execute"])
def test_a_notebook_alone_says_what_to_run_first(tool, small_dir, tmp_path):
    """From another working directory; `jupyter execute` takes the parameters as they stand."""
    path = paths.REPOSITORY / "notebooks" / "04_thresholds.ipynb"
    if tool == "papermill":
        command = ["papermill", path, "out.ipynb", "-p", "run_dir", tmp_path / "r"]
        command += ["-p", "data_dir", small_dir]
    else:
        copy = tmp_path / "copy.ipynb"
        copy.write_text(
            path.read_text("utf-8")
            .replace('data_dir: str = \\"\\"', f'data_dir: str = \\"{small_dir}\\"')
            .replace('run_dir: str = \\"\\"', f'run_dir: str = \\"{tmp_path / "r"}\\"')
        )
        command = ["jupyter", "execute", copy]
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "run 03_train;" in done.stderr


def test_kaggle_kernel(monkeypatch, small_dir, tmp_path):
    """Stand-in folders: data attached, outputs below the working folder."""
    working, attached = tmp_path / "working", tmp_path / "input" / "jigsaw"
    working.mkdir()
    shutil.copytree(small_dir, attached)
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path / "elsewhere")
    monkeypatch.setattr(paths, "KAGGLE_WORKING", working)
    monkeypatch.setattr(paths, "KAGGLE_INPUT", tmp_path / "input")
    opened = toxlib.open_run("quick")
    assert opened.data_dir == attached.resolve()
    assert opened.folder == working
    assert not opened.is_sample


def test_the_sample_is_named_as_what_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path)
    monkeypatch.setattr(paths, "KAGGLE_INPUT", tmp_path / "none")
    opened = run.open_run("quick")
    assert opened.is_sample
    assert "say nothing about the Jigsaw" in opened.data_note
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
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real rows are not here")
def test_a_thousand_real_rows_end_to_end(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for path in SHARED.glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table[:1000].to_csv(folder / path.name, index=False)
    arguments = ["run", "--data-dir", str(folder), "--run-dir", str(tmp_path / "run")]
    assert main([*arguments, "--set", "epochs=1", "max_length=128"]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["validation"]["auc_per_label"]["toxic"] > 0.7
