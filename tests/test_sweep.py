"""A grid of recipe values: how it is read, what is checked first, and what is run."""

import json
import shutil
from pathlib import Path

import pytest
from made_runs import finish_run

from toxlib import pipeline, sweep
from toxlib.__main__ import main
from toxlib.errors import InputError, NotebookError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1e-4,5e-4", ["1e-4", "5e-4"]),
        ("2", ["2"]),
        ("[de,fr]", ["de,fr"]),
        ("[de,fr],[de],[]", ["de,fr", "de", ""]),
        ("a,[b,c],d", ["a", "b,c", "d"]),
        ("[[x]]", ["[x]"]),
    ],
)
def test_a_comma_separates_values_outside_brackets(text, values):
    assert sweep.read_grid([f"checkpoint={text}"]) == {"checkpoint": values}


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (["translations=de,fr"], r"write translations=\[de,fr\] for one value"),
        (["label_columns=a,b"], r"label_columns=\[a\],\[b,c\] for two"),
        (["checkpoint=[a,b"], r"put one with a comma or a bracket in it into brackets, as in"),
        (["checkpoint=[a]b"], "put one with a comma"),
        (["epochs=1", "epochs=2"], "named twice; write all its values as key=a,b"),
        (["epochs"], "write key=value"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_remedy(settings, fault):
    with pytest.raises(InputError, match=fault):
        sweep.read_grid(settings)


def test_names_tell_the_values_that_vary():
    grid = {"learning_rate": ["1e-4", "0.0005"], "head": ["cls", "cls4"], "epochs": ["1"]}
    assert sweep.combinations("quick", grid) == {
        f"learning_rate={rate}_head={head}": {
            "learning_rate": text,
            "head": head,
            "epochs": "1",
        }
        for rate, text in (("0.0001", "1e-4"), ("0.0005", "0.0005"))
        for head in ("cls", "cls4")
    }
    assert list(sweep.combinations("best", {"epochs": ["1", "2"]})) == ["epochs=1", "epochs=2"]
    assert list(sweep.combinations("quick", {"epochs": ["1"]})) == ["quick"]


def test_names_of_paths_are_safe_and_differ():
    names = list(sweep.combinations("quick", {"checkpoint": ["a/b", "a b", "../" * 50, "a-b"]}))
    assert len(set(names)) == 4
    assert names[3] == "checkpoint=a-b"
    assert all("/" not in name and " " not in name and len(name) < 100 for name in names)


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("learning_rate=1e-4,2", "learning_rate=2: input should be less than or equal to 1"),
        ("colour=red,blue", "unknown recipe value 'colour'"),
        ("learning_rate=1e-4,0.0001", "learning_rate=0.0001: given twice"),
        ("jobs=1,2", "jobs does not affect training"),
        ("checkpoint=/none,/other", "could not be loaded"),
    ],
)
def test_a_mistake_in_any_combination_is_told_before_one_trains(
    setting, fault, small_dir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(pipeline, "run_pipeline", lambda *_: pytest.fail("a run was started"))
    arguments = ["sweep", "quick", "--data-dir", str(small_dir), "-o", str(tmp_path / "s")]
    assert main([*arguments, "--set", "epochs=1", setting]) == 2
    message = capsys.readouterr().err
    assert fault in message
    assert message.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_a_folder_of_other_values_is_refused_before_one_trains(finished, monkeypatch):
    """The folder `tiny` is that of another recipe's values."""
    monkeypatch.setattr(sweep, "combinations", lambda *_: {"tiny": {"epochs": "3"}})
    monkeypatch.setattr(pipeline, "run_pipeline", lambda *_: pytest.fail("a run was started"))
    data_dir = json.loads((finished / "run.json").read_text())["data_dir"]
    with pytest.raises(InputError, match="belongs to another run"):
        sweep.sweep("quick", ["epochs=3"], data_dir, finished.parent)


def test_a_failure_stops_no_other_run_and_is_told_at_the_end(tmp_path, monkeypatch):
    started, compared = [], []

    def run(recipe, data_dir, folder, overrides, start):
        started.append((folder, start))
        if overrides["epochs"] == "1":
            raise NotebookError("03_train, cell 3: ValueError: x")

    monkeypatch.setattr(sweep, "check", lambda *_: None)
    monkeypatch.setattr(pipeline, "run_pipeline", run)
    monkeypatch.setattr(sweep, "compare_all", lambda folder: ([], []))
    monkeypatch.setattr(sweep, "print_comparison", lambda folder, *_: compared.append(folder))
    with pytest.raises(NotebookError, match=r"1 of 2 runs have failed.*\n  epochs=1: 03_train"):
        sweep.sweep("quick", ["epochs=1,2"], output=tmp_path)
    assert started == [(str(tmp_path / f"epochs={n}"), "03") for n in (1, 2)]
    assert compared == [tmp_path]


def test_a_sweep_from_end_to_end(tiny_overrides, small_dir, tmp_path, monkeypatch, capsys):
    """Runs are made in this process; what a notebook does is tested elsewhere."""

    def make(recipe, data_dir, folder, overrides, start):
        assert start == "03"
        changed = [f"{key}={value}" for key, value in overrides.items()]
        finish_run(Path(folder), Path(data_dir), changed, recipe)
        Path(folder, "report.html").touch()

    monkeypatch.setattr(pipeline, "run_pipeline", make)
    output = tmp_path / "sweep"
    values = [*tiny_overrides, "max_length=24,48"]
    values.remove("max_length=48")
    arguments = ["sweep", "quick", "--data-dir", str(small_dir), "-o", str(output), "--set"]
    assert main([*arguments, *values]) == 0
    names = ["max_length=24", "max_length=48"]
    assert {path.name for path in output.iterdir()} == {
        *(*names, "comparison.csv", "comparison.html")
    }
    page = (output / "comparison.html").read_text("utf-8")
    assert "2 runs are compared on the same validation rows" in page
    assert all(f'href="max_length%3D{n}/report.html"' in page for n in (24, 48))
    # The linear models do not depend on the length, so the second run has those of the first.
    first, second = (output / name / "lr" / "training.json" for name in names)
    assert json.loads(first.read_text()) == json.loads(second.read_text())
    capsys.readouterr()
    monkeypatch.setattr(pipeline, "run_pipeline", lambda *_: pytest.fail("a run was started"))
    assert main([*arguments, *values]) == 0
    assert capsys.readouterr().out.count("was finished before") == 2
    # Other data are refused, though all runs are finished.
    other = shutil.copytree(small_dir, tmp_path / "other")
    (other / "test_labels.csv").unlink()
    arguments[3] = str(other)
    assert main([*arguments, *values]) == 2
    assert "belongs to another run (other data in" in capsys.readouterr().err
