"""`predict` on many files: formats, folders of shards, faults, standard input, and Ray."""

import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from toxlib.__main__ import main
from toxlib.runs import cluster
from toxlib.scoring import score_files


@pytest.fixture
def texts(small_dir, tmp_path) -> Path:
    """Write the small test file as CSV, gzip and Parquet; return the folder."""
    table = pd.read_csv(small_dir / "test.csv", dtype=str, keep_default_na=False)
    table.to_csv(tmp_path / "a.csv", index=False)
    table[:25].to_csv(tmp_path / "b.csv.gz", index=False)
    table[20:].to_parquet(tmp_path / "c.parquet")
    return tmp_path


@pytest.fixture
def predict(finished, texts, monkeypatch, capfd):
    """Return a function that calls `predict` in the folder of texts; it returns stderr."""
    monkeypatch.setattr(score_files, "SHARD_ROWS", 10)
    monkeypatch.chdir(texts)

    def call(*arguments: str, exit: int = 0) -> str:
        capfd.readouterr()
        assert main(["predict", str(finished), *arguments]) == exit
        return capfd.readouterr().err

    return call


def _scores(path: str) -> pd.DataFrame:
    read = pd.read_csv if path.endswith(".csv") else pd.read_parquet
    return read(path).astype({"id": str}).set_index("id")


def _changed(folder: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).glob("part-*")}


def test_csv_and_parquet_come_out_alike(predict):
    predict("a.csv", "-o", "a.out.csv", "--decide")
    predict("a.csv", "-o", "a.out.parquet", "--decide")
    alone, table = _scores("a.out.csv"), _scores("a.out.parquet")
    assert list(alone.columns) == list(table.columns)
    assert list(alone.index) == list(table.index)
    assert np.abs(alone - table).max().max() < 1e-7
    assert {str(kind) for kind in table.dtypes} == {"float32", "int8"}


def test_standard_input_and_output(predict, texts, monkeypatch, capfd):
    predict("b.csv.gz", "-o", "file.csv")
    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(buffer=io.BytesIO((texts / "b.csv.gz").read_bytes()))
    )
    capfd.readouterr()
    assert main(["predict", str(_run_of(predict)), "-", "-o", "-"]) == 0
    assert capfd.readouterr().out == Path("file.csv").read_text()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"id,comment_text\na\n")))
    assert main(["predict", str(_run_of(predict)), "-", "-o", "-"]) == 2
    assert "error: standard input: row 1: 1 fields" in capfd.readouterr().err


def _run_of(predict) -> Path:
    return predict.__closure__[[*predict.__code__.co_freevars].index("finished")].cell_contents


def test_several_files_become_shards_and_are_not_scored_again(predict):
    files = ["a.csv", "b.csv.gz", "c.parquet"]
    assert "125 scored" in predict(*files, "-o", "out")
    before, found = _changed("out"), pd.read_parquet("out")
    assert len(before) == 6 + 3 + 4
    predict("a.csv", "-o", "alone.csv")
    alone = _scores("alone.csv")
    for name, rows in zip(files, (slice(None), slice(0, 25), slice(20, None)), strict=True):
        part = found[found["input_file"] == str(Path(name).absolute())].set_index("id")
        part.index = part.index.astype(str)
        assert sorted(part.index) == sorted(alone.index[rows])
        assert np.abs(part[alone.columns] - alone.loc[part.index]).max().max() < 1e-6
    Path("out", "part-00000-000000000011.parquet").unlink()
    Path("out", "part-00002-000000000001.parquet").write_bytes(b"half")
    assert "105 rows were there, 20 scored" in predict(*files, "-o", "out")
    after = _changed("out")
    assert sum(before[name] != after[name] for name in before) == 2


def test_a_folder_belongs_to_one_run_and_set_of_files(predict, finished, tmp_path):
    predict("a.csv", "b.csv.gz", "-o", "out")
    before = _changed("out")
    for arguments, fault in (
        (["a.csv", "c.parquet", "-o", "out"], "holds scores of other files"),
        (["a.csv", "b.csv.gz", "-o", "out", "--decide"], "holds scores with other options"),
        (["a.csv", "a.csv", "-o", "out"], "a.csv: given twice"),
        (["a.csv", "-", "-o", "new"], "standard input is scored into one file only"),
        (["a.csv", "b.csv.gz", "-o", "."], "a folder with other files"),
        (["a.csv", "b.csv.gz", "-o", "a.csv"], "a file; give a folder"),
        (["a.csv", "b.csv.gz", "-o", "-"], "several files are written; give a folder"),
        (["a.csv", "none.csv", "-o", "new"], "none.csv: no such file or directory"),
    ):
        assert fault in predict(*arguments, exit=2)
    assert not Path("new").exists()
    changed = shutil.copytree(finished, tmp_path / "run")
    record = json.loads((changed / "run.json").read_text())
    record["recipe"]["precision"] = "bf16"
    (changed / "run.json").write_text(json.dumps(record))
    assert main(["predict", str(changed), "a.csv", "b.csv.gz", "-o", "out"]) == 2
    assert _changed("out") == before


def test_broken_rows_and_files_stop_or_are_left_out(predict):
    Path("d.csv").write_text('id,comment_text\na,x\nb\na,z\nc,"y\n')
    Path("e.csv").write_bytes(b"PAR1")
    files = ["a.csv", "d.csv", "e.csv"]
    assert "d.csv: row 2: 1 fields" in predict(*files, "-o", "out", exit=2)
    assert "d.csv: row 2: 1 fields" in predict("d.csv", "-o", "out.csv", exit=2)
    assert not Path("out").exists()
    assert not Path("out.csv").exists()
    told = predict(*files, "-o", "out", "--on-error", "skip")
    kept = Path("out", "_job", "faults.txt").read_text().splitlines()
    for part in ("d.csv: row 2: 1 fields", "d.csv: row 4: broken quoting", "id 'a' is in row 1"):
        assert part in told
        assert any(part in line for line in kept)
    assert "e.csv: a damaged or truncated Parquet file" in told
    assert len(pd.read_parquet("out")) == 60 + 1
    told = predict("e.csv", "-o", "e.parquet", "--on-error", "skip", exit=2)
    assert "e.csv: no row is left to score" in told
    predict("d.csv", "-o", "d.out.csv", "--on-error", "skip", "--unchecked-ids")
    assert list(_scores("d.out.csv").index) == ["a", "a"]


def test_engine_ray_without_ray_is_one_line(predict, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    told = predict("a.csv", "-o", "out", "--engine", "ray", exit=2)
    assert told.endswith(
        "engine=ray needs the package ray, which is not installed; run `pip install -r "
        "requirements-cluster.txt`, or use engine=local\n"
    )
    assert not Path("out").exists()


@pytest.mark.slow
def test_ray_scores_as_this_process_does(predict, monkeypatch):
    """The kills of actors, nodes and the command are in ray_kills.py, which is run by hand."""
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    predict("a.csv", "-o", "alone.csv")
    alone = _scores("alone.csv")
    with cluster.ray_started():
        told = predict("a.csv", "-o", "out", "--engine", "ray", "--actors", "99", exit=2)
        assert "give at most one per GPU or core" in told
        predict("a.csv", "-o", "out", "--engine", "ray")
        before, found = _changed("out"), _scores("out")
        Path("out", "part-00000-000000000011.parquet").unlink()
        told = predict("a.csv", "-o", "out", "--engine", "ray")
    assert "50 rows were there, 10 scored by 1 worker" in told
    assert sorted(found.index) == sorted(alone.index)
    assert np.abs(found - alone.loc[found.index]).max().max() < 1e-5
    after = _changed("out")
    assert [name for name in before if before[name] != after[name]] == [
        "part-00000-000000000011.parquet"
    ]
