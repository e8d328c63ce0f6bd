"""Strings of large tables lie on disk and not in memory."""

import errno
import tempfile
import tracemalloc
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from toxlib.data import kaggle, tables
from toxlib.data.on_disk import join_on_disk
from toxlib.errors import InputError

STRINGS = ["NA", "", "nan", "two\nlines", "é\u202e\U0001f600", "a\0b", "None"]


def test_joined_chunks_are_the_same_table():
    table = pd.DataFrame({"text": pd.Series(STRINGS, dtype=object), "label": np.int8(1)})
    table["score"] = np.linspace(0, 1, len(table))
    joined = join_on_disk(table[start:stop] for start, stop in pairwise((0, 3, 4, len(table))))
    assert joined["text"].tolist() == STRINGS
    assert joined["label"].dtype == np.int8
    assert (joined["score"] == table["score"]).all()
    assert joined.index.tolist() == list(range(len(table)))


def test_texts_take_no_memory(tmp_path, monkeypatch):
    """Two files with 25 MB of comments each are read in far less memory than they have bytes."""
    (tmp_path / "train.csv").write_text("id,comment_text,toxic\n")
    (tmp_path / "test.csv").write_text("id,comment_text\n")
    for name, end in (("train", ",1"), ("test", "")):
        with (tmp_path / f"{name}.csv").open("a") as file:
            file.writelines(f"{row},{'w' * 500}{end}\n" for row in range(50_000))
    monkeypatch.setattr(tables, "CHUNK_ROWS", 4096)
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    read = kaggle.read_tables(tmp_path)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read.test["comment_text"].str.len().sum() == 25_000_000
    assert kept + pa.total_allocated_bytes() - before < 6e6
    assert peak < 25e6


def test_a_full_disk_is_told_in_one_line(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(InputError, match=r"no temporary file \(no space left on device\); set TM"):
        join_on_disk([pd.DataFrame({"id": ["a"]})])
