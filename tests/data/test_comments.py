"""Files of ids and texts: kinds of files, repeated ids, and faults by file and row."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from toxlib.data import comments, csv_files, parquet_files
from toxlib.data.comments import check_comments, iter_comments
from toxlib.errors import InputError

COLUMNS = "id", "comment_text"
IDS, TEXTS = ["a", "b", "c"], ["one", "two,\nlines", "café"]
CSV = b'id,comment_text\na,one\nb,"two,\nlines"\nc,caf\xc3\xa9\n'


def write_parquet(path: Path, ids: object = IDS, texts: object = TEXTS, **how) -> Path:
    """Write a Parquet file, which may lack ids."""
    columns = {} if ids is None else {"id": ids}
    parquet.write_table(pa.table({**columns, "comment_text": texts}), path, **how)
    return path


def _read(path: Path, **how) -> list[tuple]:
    table = pd.concat(iter_comments(path, *COLUMNS, number_rows=True, **how))
    return list(table.itertuples(name=None))


@pytest.mark.parametrize("kind", ["csv", "gzip", "two gzips", "parquet", "dictionary", "large"])
def test_every_kind_of_file_is_read_alike(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(comments, "CHUNK_ROWS", 2)
    path = tmp_path / "file"
    texts = {
        "dictionary": pa.array(TEXTS).dictionary_encode(),
        "large": pa.array(TEXTS, pa.large_string()),
    }.get(kind, TEXTS)
    if "gzip" in kind:
        cut = 20 if kind == "two gzips" else 0
        path.write_bytes(gzip.compress(CSV[:cut]) * (cut > 0) + gzip.compress(CSV[cut:]))
    elif kind == "csv":
        path.write_bytes(CSV)
    else:
        write_parquet(path, texts=texts)
    expected = [(i, *row) for i, row in enumerate(zip(IDS, TEXTS, strict=True))]
    assert _read(path) == expected
    assert check_comments(path, *COLUMNS) == comments.Checked(rows=3)


def test_ids_of_parquet_may_be_integers_or_missing(tmp_path):
    whole = write_parquet(tmp_path / "a", pa.array([5, 6, 7]))
    assert [row[1] for row in _read(whole)] == ["5", "6", "7"]
    assert [row[1] for row in _read(write_parquet(tmp_path / "b", None))] == ["1", "2", "3"]


NOT_UTF8 = pa.StringArray.from_buffers(
    3, pa.array([0, 1, 2, 3], pa.int32()).buffers()[1], pa.py_buffer(b"x\xffy")
)
BROKEN = {
    "fields": (b"id,comment_text\na,b\nc\nd,e\n", "row 2: 1 fields where the header has 2", 2),
    "utf-8": (b"id,comment_text\na,\xff\nc,d\n", "row 1: byte 0xff is not UTF-8", 1),
    "utf-8 in quotes": (
        b'id,comment_text\na,"x\n\xff\ny"\nc,d\n',
        "row 1: byte 0xff is not UTF-8",
        1,
    ),
    "empty id": (b"id,comment_text\n ,x\nc,d\n", "row 1, column 'id': an empty id", 1),
    "repeated id": (
        b"id,comment_text\na,b\nc,d\na,e\n",
        "row 3, column 'id': id 'a' is in row 1 already",
        2,
    ),
    "quotes": (b'id,comment_text\na,b\nc,"d\n', "row 2: broken quoting", 1),
    "damaged gzip": (gzip.compress(CSV)[:-9], "damaged or truncated gzip", 3),
    "no gzip": (b"\x1f\x8bnone", "damaged or truncated gzip", 0),
    "no column": (b"id,text\na,b\n", "no column 'comment_text'; found 'id', 'text'", 0),
    "null text": ((IDS, ["a", None, "b"]), "row 2, column 'comment_text': empty (null)", 2),
    "null id": ((["a", None, "b"], TEXTS), "row 2, column 'id': empty (null)", 2),
    "parquet utf-8": ((IDS, NOT_UTF8), "row 2, column 'comment_text': not UTF-8", 2),
    "integers 2": ((pa.array([1, 2, 1]), TEXTS), "row 3, column 'id': id '1' is in row 1", 2),
    "no strings": ((IDS, [1, 2, 3]), "column 'comment_text' holds 'int64'; write texts", 0),
    "no ids": (([0.5, 1.5, 2.5], TEXTS), "column 'id' holds 'double'; write ids", 0),
    "no rows": ((pa.array([], pa.string()),) * 2, "no rows", 0),
    "no parquet": (b"PAR1none", "a damaged or truncated Parquet file", 0),
    "lists": ((IDS, [["a"], ["b"], ["c"]]), "holds 'list<", 0),
}


@pytest.mark.parametrize(("content", "fault", "left"), BROKEN.values(), ids=BROKEN)
def test_a_fault_is_raised_or_kept_with_the_other_rows(tmp_path, content, fault, left):
    """What is read the second time is what was counted the first time."""
    path = tmp_path / "file"
    path.write_bytes(content) if isinstance(content, bytes) else write_parquet(path, *content)
    with pytest.raises(InputError) as error:
        check_comments(path, *COLUMNS)
    assert str(error.value).startswith(f"{path}: ")
    assert fault in str(error.value)
    assert str(error.value).isprintable()
    found = check_comments(path, *COLUMNS, skip=True)
    assert found.faults == [str(error.value)]
    assert found.rows == left
    how = {"report": lambda error: None, "without": found.repeated_rows}
    assert sum(map(len, iter_comments(path, *COLUMNS, number_rows=True, **how))) == left


def test_a_truncated_parquet_file(tmp_path):
    path = write_parquet(tmp_path / "file", [f"i{n}" for n in range(999)], ["text"] * 999)
    content = path.read_bytes()
    for cut in (5, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(InputError, match="damaged or truncated Parquet"):
            check_comments(path, *COLUMNS)


def test_a_parquet_column_that_appears_twice(tmp_path):
    table = pa.Table.from_arrays([pa.array(TEXTS)] * 3, ["id", "comment_text", "comment_text"])
    parquet.write_table(table, tmp_path / "file")
    with pytest.raises(InputError, match="column 'comment_text' appears twice; remove one"):
        check_comments(tmp_path / "file", *COLUMNS)


def test_repeated_ids_are_not_looked_for_on_request(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("id,comment_text\na,x\na,y\n")
    assert check_comments(path, *COLUMNS, unique_ids=False).rows == 2


def test_different_ids_with_equal_hashes_are_no_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(comments, "hash_ids", lambda ids: np.zeros(len(ids), np.uint64))
    path = tmp_path / "file.csv"
    path.write_text("id,comment_text\na,x\nb,y\n")
    assert check_comments(path, *COLUMNS) == comments.Checked(rows=2)
    path.write_text("id,comment_text\na,x\nb,y\nb,z\na,z\nc,z\n")
    found = check_comments(path, *COLUMNS, skip=True)
    assert (found.rows, found.repeated_rows) == (3, [3, 4])


def test_a_chunk_has_a_bounded_number_of_characters(tmp_path, monkeypatch):
    for module in (csv_files, parquet_files):
        monkeypatch.setattr(module, "MAX_CHARACTERS", 1000)
    texts = [400 * "x"] * 9 + [3000 * "y"] * 2
    whole = write_parquet(tmp_path / "a", [f"i{n}" for n in range(11)], texts)
    table = tmp_path / "b"
    table.write_text("id,comment_text\n" + "".join(f"i{n},{t}\n" for n, t in enumerate(texts)))
    for path in (whole, table):
        chunks = list(iter_comments(path, *COLUMNS))
        assert [text for chunk in chunks for text in chunk["comment_text"]] == texts
        assert max(len(chunk) for chunk in chunks) <= 3


def test_a_parquet_bomb_is_refused(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "file", texts=["x" * 10**6] * 2 + ["y"], use_dictionary=False)
    assert check_comments(path, *COLUMNS).rows == 3
    monkeypatch.setattr(parquet_files, "MAX_UNPACKED", 10**5)
    monkeypatch.setattr(parquet_files, "MAX_RATIO", 10)
    with pytest.raises(InputError, match=r"would unpack to 0.0 GB, as a bomb does"):
        check_comments(path, *COLUMNS)


def test_a_long_text_that_a_dictionary_repeats_takes_its_memory_once(tmp_path):
    texts = pa.DictionaryArray.from_arrays(np.zeros(200, np.int32), ["x" * 2**20])
    path = write_parquet(tmp_path / "file", pa.array(range(200)), texts)
    chunk = next(iter_comments(path, *COLUMNS))
    assert len(chunk) <= 64  # MAX_CHARACTERS
    assert len(set(map(id, chunk["comment_text"]))) == 1
