"""`augment` writes translated copies: whole or not at all, and going on where it was stopped."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import toxlib
from toxlib.__main__ import main
from toxlib.training import augment as augmenting
from toxlib.training import translation


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture
def folder(hostile_dir, tmp_path) -> Path:
    """Write a few hostile comments as train.csv and test.csv, one of them long and one empty."""
    for name, rows in (("train", 12), ("test", 4)):
        table = pd.read_csv(hostile_dir / f"{name}.csv", dtype=str, keep_default_na=False)[:rows]
        table["comment_text"] = table["comment_text"].str[:120]
        table.loc[1, "comment_text"] = "The comet is a comet. " * 9
        table.loc[2, "comment_text"] = ""
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


@pytest.fixture
def translate(folder, marian, monkeypatch):
    """Return a function that runs the command; `texts` are those that the model was given."""
    monkeypatch.setattr(augmenting, "BLOCK", 3)
    call, texts = translation.Translator.__call__, []

    def watched(self, block):
        texts.extend(block)
        return call(self, block)

    monkeypatch.setattr(translation.Translator, "__call__", watched)

    def run(*names: str, output: Path = folder, options: str = "", model: Path = marian) -> int:
        paths = [str(folder / name) for name in names]
        way = options.split() or ["--back", str(model)]
        arguments = ["--to", "de", "--translator", str(model), *way, "-o", str(output)]
        return main(["augment", *paths, *arguments])

    run.texts = texts
    return run


def test_ids_and_order_are_kept_there_and_back(folder, translate, capsys):
    assert translate("train.csv", "test.csv", output=folder / "out") == 0
    assert capsys.readouterr().out.split() == [
        str(folder / "out" / name) for name in ("train_de.csv", "test_de.csv")
    ]
    for name in ("train", "test"):
        before, after = _rows(folder / f"{name}.csv"), _rows(folder / "out" / f"{name}_de.csv")
        assert after[0] == ["id", "comment_text"]
        assert [row[0] for row in after] == [row[0] for row in before]
        assert after[3][1] == ""
        assert all(row[1] for row in after[1:3] + after[4:])
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "test_de.csv",
        "train_de.csv",
    ]
    assert len(translate.texts) == 2 * (12 + 4)


def test_a_run_takes_the_files_as_they_are(folder, small_dir, translate, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for path in small_dir.glob("*.csv"):
        (data / path.name).write_bytes(path.read_bytes())
    table = pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False)
    table[:5].to_csv(tmp_path / "train.csv", index=False)
    assert translate("train.csv", output=data, options="--one-way") == 0
    run = toxlib.open_run("quick", str(data), str(tmp_path / "run"), "translations=de")
    assert len(run.translations.train.comments) == 240 + 5
    assert len(translate.texts) == 5


def test_a_stopped_command_goes_on_where_it_was(folder, translate, monkeypatch, capsys):
    assert translate("train.csv", "test.csv", output=folder / "whole") == 0
    whole = [_rows(folder / "whole" / f"{name}_de.csv") for name in ("train", "test")]
    blocks, write = [], augmenting.files.write_json

    def stop(path, value):
        write(path, value)
        blocks.append(path)
        if len(blocks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(augmenting.files, "write_json", stop)
    out = folder / "out"
    assert translate("train.csv", "test.csv", output=out) == 130
    assert not list(out.glob("*.csv"))
    blocks[0].write_text('{"texts": ["a dam')  # as a failing disk leaves it
    (blocks[0].parent / f".{blocks[1].name}.1.tmp").touch()  # as a killed process leaves it
    translate.texts.clear()
    assert translate("train.csv", "test.csv", output=out) == 0
    assert len(translate.texts) == 2 * (12 - 2 * 3 + 4)
    assert [_rows(out / f"{name}_de.csv") for name in ("train", "test")] == whole
    assert sorted(path.name for path in out.iterdir()) == ["test_de.csv", "train_de.csv"]
    capsys.readouterr()
    translate.texts.clear()
    assert translate("train.csv", "test.csv", output=out) == 0
    assert "train_de.csv is there already; delete it" in capsys.readouterr().err
    (out / "train_de.csv").rename(out / "train_de.csv.zip")
    assert translate("train.csv", output=out) == 0
    assert capsys.readouterr().out.strip() == str(out / "train_de.csv.zip")
    assert translate.texts == []


def test_another_model_or_text_takes_no_finished_block(folder, translate, tmp_path, marian):
    table = {"id": ["a", "b"], "comment_text": ["one comet", "two comets"]}
    pd.DataFrame(table).to_csv(folder / "train.csv", index=False)
    loaded = translation.load_translator(str(marian), "", "de")
    first = augmenting._block(tmp_path / "blocks", ["one comet", "two comets"], [loaded])
    others = [
        (["one comet", "two  comets"], [loaded]),
        (["one comet", "two comets"], [loaded] * 2),
    ]
    paths = {augmenting._block(tmp_path / "blocks", *other) for other in others} | {first}
    assert len(paths) == 3


@pytest.mark.slow
def test_a_killed_process_leaves_no_half_written_file(folder, marian):
    ids, out = [str(number) for number in range(600)], folder / "out"
    table = {"id": ids, "comment_text": [f"thank you {number}" for number in ids]}
    pd.DataFrame(table).to_csv(folder / "train.csv", index=False)
    command = [sys.executable, "-m", "toxlib", "augment", str(folder / "train.csv"), "--to", "de"]
    command += ["--translator", str(marian), "--one-way", "-o", str(out)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(out.glob("_translated/*.json")):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not list(out.glob("*.csv"))
    assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
    assert [row[0] for row in _rows(out / "train_de.csv")] == ["id", *ids]
    assert [path.name for path in out.iterdir()] == ["train_de.csv"]


def test_a_mistake_is_one_line_and_nothing_is_written(folder, translate, marian, capsys):
    (folder / "twice.csv").write_text("id,comment_text\na,x\na,y\n")
    (folder / "other.csv").write_text("key,comment_text\na,x\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "train.csv").write_text("id,comment_text\na,x\n")
    out = folder / "out"
    for names, options, fault in (
        (["twice.csv"], {}, "row 2, column 'id': id 'a' is in row 1 already"),
        (["train.csv", "other.csv"], {}, "other.csv: no column 'id'"),
        (["nothing.csv"], {}, "nothing.csv: no such file"),
        (["train.csv", "sub/train.csv"], {}, "another file has this name too"),
        (["train.csv"], {"model": folder / "no"}, "could not be loaded: no such folder"),
        (["train.csv"], {"output": folder / "train.csv"}, "train.csv: a file; give a folder"),
        (["train.csv"], {"options": "--one-way --to ../x"}, "--to '../x': not the code of a"),
    ):
        assert translate(*names, **{"output": out} | options) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ")
        assert fault in error
        assert not out.exists()


def test_there_and_back_or_one_way_must_be_said(folder, marian):
    arguments = ["--to", "de", "--translator", str(marian), "-o", str(folder)]
    with pytest.raises(SystemExit) as stopped:
        main(["augment", str(folder / "train.csv"), *arguments])
    assert stopped.value.code == 2
