"""Read Kaggle's files; each bad file gives one line with file, row, column and what to do."""

import csv
import gzip
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from toxlib.data import comments, kaggle
from toxlib.errors import InputError

TRAIN = 'id,comment_text,toxic,obscene\na,NA,0,1\nb,,1,0\nc,"two\nlines, ""quoted""",0,0\n'
FILES = {
    "train.csv": TRAIN,
    "test.csv": "id,comment_text\nx,null\ny,hello\n",
    "sample_submission.csv": "id,toxic,obscene\ny,0.5,0.5\nx,0.5,0.5\n",
    "test_labels.csv": "id,toxic,obscene\ny,-1,-1\nx,0,1\n",
}


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, "utf-8")
    return tmp_path


def test_text_is_text_and_labels_follow_test_order(folder):
    tables = kaggle.read_tables(folder)
    assert list(tables.train["comment_text"]) == ["NA", "", 'two\nlines, "quoted"']
    assert tables.label_names == ["toxic", "obscene"]
    assert tables.train[tables.label_names].to_numpy().tolist() == [[0, 1], [1, 0], [0, 0]]
    assert list(tables.test["comment_text"]) == ["null", "hello"]
    assert list(tables.test_labels["id"]) == ["x", "y"]
    assert tables.test_labels["toxic"].tolist() == [0, -1]
    assert set(tables.sha256) == set(FILES)
    assert (list(tables.train_ids), list(tables.test_ids)) == (["a", "b", "c"], ["x", "y"])
    assert tables.labels.tolist() == [[0, 1], [1, 0], [0, 0]]


def test_zips_and_byte_order_marks_are_read(folder):
    content = (folder / "train.csv").read_bytes()
    (folder / "train.csv").unlink()
    with zipfile.ZipFile(folder / "train.csv.zip", "w") as archive:
        archive.writestr("train.csv", b"\xef\xbb\xbf" + content)
        archive.writestr("__MACOSX/._train.csv", b"junk")
    assert len(kaggle.read_tables(folder).train) == 3


def test_test_labels_may_be_absent_and_columns_renamed(folder):
    (folder / "test_labels.csv").unlink()
    for path in folder.glob("*.csv"):
        path.write_text(path.read_text("utf-8").replace("id,comment_text", "key,body"), "utf-8")
    sample = folder / "sample_submission.csv"
    sample.write_text(sample.read_text("utf-8").replace("id,", "key,", 1), "utf-8")
    tables = kaggle.read_tables(folder, "key", "body")
    assert tables.test_labels is None
    assert list(tables.test.columns) == ["key", "body"]
    assert tables.id_column == "key"
    assert list(tables.test_ids) == ["x", "y"]


def _separated(text: str, separator: str) -> str:
    """Separate the columns by something else than commas; only one quoted comma stays."""
    return text.replace(",", separator).replace("lines" + separator, "lines,")


def _indexed(text: str, name: str = "") -> str:
    """Add a column of numbers before the others, as pandas writes its index."""
    table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    return table.to_csv(index_label=name)


def _relabelled(text: str, zero: str, one: str) -> str:
    return re.sub(r",([01])\b", lambda match: f",{(zero, one)[int(match[1])]}", text)


BROUGHT = {  # file, a change of its text, and a part of the note that says what was assumed
    "semicolons": ("train.csv", lambda t: _separated(t, ";"), "separated by semicolons."),
    "tabs": ("test.csv", lambda t: _separated(t, "\t"), "separated by tabs."),
    "quoted header": (
        "test.csv",
        lambda t: '"id";"comment_text"\nx;null\ny;hello\n',
        "semicolons",
    ),
    "Excel's first line": ("train.csv", lambda t: "sep=;\r\n" + _separated(t, ";"), "semicolons"),
    "quoted first line": ("train.csv", lambda t: '"SEP=,"\n' + t, ""),
    "an index": ("train.csv", _indexed, "train.csv: the first column has no name, so it is left"),
    "floats": ("train.csv", lambda t: _relabelled(t, "0.0", "1.0"), ""),
    "words": ("train.csv", lambda t: _relabelled(t, "FALSE", "True"), ""),
    "padded": ("train.csv", lambda t: _relabelled(t, " 0", "1 "), ""),
    "blank lines": ("train.csv", lambda t: "\n" + t + "\n\n", "2 blank lines are left out"),
    "no sample": ("sample_submission.csv", None, "sample_submission.csv is not there: made from"),
    "other order": ("test_labels.csv", lambda t: "id,obscene,toxic\ny,-1,-1\nx,1,0\n", ""),
    "float -1": ("test_labels.csv", lambda t: t.replace("-1", "-1.0"), ""),
    "further columns": ("test.csv", lambda t: _indexed(t, "n"), "columns are left out: 'n'."),
}


@pytest.mark.parametrize(("name", "change", "note"), BROUGHT.values(), ids=BROUGHT.keys())
def test_what_people_bring_is_read_and_what_was_assumed_is_said(folder, name, change, note):
    plain, path = kaggle.read_tables(folder), folder / name
    text = path.read_text("utf-8")
    path.unlink()
    if change:
        path.write_bytes(change(text).encode())
    tables = kaggle.read_tables(folder)
    assert plain.notes == ()
    assert len(tables.notes) == bool(note)
    assert note in " ".join(tables.notes)
    assert tables.train.equals(plain.train)
    assert tables.test.equals(plain.test)
    assert tables.test_labels.equals(plain.test_labels)
    assert list(tables.sample_submission) == ["id", "toxic", "obscene"]


def test_test_labels_that_score_nothing_and_constant_labels_are_noted(folder):
    (folder / "test_labels.csv").write_text("id,toxic,obscene\nx,-1,-1\ny,-1,-1\n")
    (folder / "train.csv").write_text("id,comment_text,toxic,obscene\na,b,0,1\nc,d,0,0\n")
    tables = kaggle.read_tables(folder)
    assert tables.test_labels is None
    assert tables.notes == (
        "train.csv: a label is the same in every row, so nothing is learnt about it: 'toxic'.",
        "test_labels.csv: every row is -1, so nothing is graded.",
    )


def test_ids_that_are_formulas_are_kept_and_noted(tmp_path):
    path, notes = tmp_path / "ids.csv", []
    ids = ["=1+cmd|' /C calc'!A0", "@SUM(1)", "-2", "+3.5", "a=b", "\t=A1"]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "comment_text"), *((value, "x") for value in ids)])
    [chunk] = comments.iter_comments(path, "id", "comment_text", notes)
    assert list(chunk["id"]) == ids
    assert notes == [
        "ids.csv: some ids begin like formulas (with =, +, - or @); in a spreadsheet, import the "
        "ids as text."
    ]
    path.write_text("id,comment_text\n-2,x\n+3.5,x\na=b,x\n")
    list(comments.iter_comments(path, "id", "comment_text", notes))
    assert len(notes) == 1


def test_rows_are_numbered_if_there_are_no_ids(tmp_path, monkeypatch):
    monkeypatch.setattr(comments, "CHUNK_ROWS", 2)
    path, notes = tmp_path / "texts.csv", []
    path.write_text("language,comment_text\nen,a\nen,b\nen,c\n")
    chunks = list(comments.iter_comments(path, "id", "comment_text", notes, number_rows=True))
    assert [value for chunk in chunks for value in chunk["id"]] == ["1", "2", "3"]
    assert notes == [
        "texts.csv: no column 'id', so the rows are numbered from 1.",
        "texts.csv: further columns are left out: 'language'.",
    ]
    with pytest.raises(InputError, match="no column 'id'"):
        list(comments.iter_comments(path, "id", "comment_text"))


def test_label_columns_can_be_named(folder):
    path = folder / "train.csv"
    path.write_text(re.sub(r",([01]),", r",en,\1,", TRAIN).replace("text,", "text,language,"))
    with pytest.raises(InputError, match=r"'language': 'en' is not .*every further column .*name"):
        kaggle.read_tables(folder)
    tables = kaggle.read_tables(folder, label_columns=" obscene,toxic,")
    assert tables.label_names == ["toxic", "obscene"]
    assert list(tables.train) == ["id", "comment_text", "toxic", "obscene"]
    assert tables.labels.tolist() == [[0, 1], [1, 0], [0, 0]]
    with pytest.raises(InputError, match=r"no label column 'id'; found 'language', 'toxic', 'ob"):
        kaggle.read_tables(folder, label_columns="id")
    with pytest.raises(InputError, match=r"sample_submission\.csv: .*extra 'obscene'"):
        kaggle.read_tables(folder, label_columns="toxic")
    (folder / "sample_submission.csv").unlink()
    tables = kaggle.read_tables(folder, label_columns="toxic")
    assert list(tables.sample_submission) == ["id", "toxic"]
    assert list(tables.test_labels) == ["id", "toxic"]


def _zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.csv", content)
    return buffer.getvalue()


T = TRAIN.encode()
BAD = {
    "missing column": ("test.csv", b"id,text\nx,a\ny,b\n", ["'comment_text'", "found"]),
    "extra column": ("test_labels.csv", b"id,toxic,obscene,z\nx,0,0,0\n", ["extra 'z'"]),
    "lacking column": ("sample_submission.csv", b"id,toxic\nx,1\ny,1\n", ["missing 'obscene'"]),
    "other order": ("sample_submission.csv", b"id,obscene,toxic\nx,1,1\n", ["another order"]),
    "duplicated column": ("train.csv", b"id,comment_text,toxic,toxic\na,b,0,0\n", ["twice"]),
    "nameless column": ("train.csv", b"id,comment_text,,toxic\na,b,0,0\n", ["column 3"]),
    "no id column": ("train.csv", b"key,comment_text,z\na,b,0\n", ["'id'", "'key'", "rename"]),
    "no labels": ("train.csv", b"id,comment_text\na,b\n", ["no label columns", "add a column"]),
    "duplicated id": ("train.csv", T + b"a,again,0,0\n", ["row 4", "'id'", "row 1", "remove"]),
    "empty id": ("train.csv", T + b" ,text,0,0\n", ["row 4", "'id'", "empty id"]),
    "empty file": ("train.csv", b"", ["empty", "download"]),
    "header only": ("train.csv", b"id,comment_text,toxic,obscene\n", ["only a header"]),
    "label 2": ("train.csv", T + b"d,x,0,2\n", ["row 4", "'obscene'", "'2'", "write 0 or 1"]),
    "label -1 in train": ("train.csv", T + b"d,x,-1,-1\n", ["row 4", "'toxic'", "'-1'"]),
    "half -1": ("test_labels.csv", b"id,toxic,obscene\nx,0,0\ny,-1,0\n", ["row 2", "whole row"]),
    "not UTF-8": ("train.csv", T + b"d,caf\xe9,0,0\n", ["0xe9", "UTF-8", "row 4"]),
    "UTF-16": ("train.csv", TRAIN.encode("utf-16"), ["UTF-16"]),
    "UTF-16 without BOM": ("train.csv", TRAIN.encode("utf-16-le"), ["UTF-16", "UTF-8"]),
    "not UTF-8 in the header": ("train.csv", b"id,caf\xe9\na,b\n", ["header: byte 0xe9"]),
    "blank column": ("train.csv", b"id,comment_text, ,toxic\na,b,0,0\n", ["column 3"]),
    "Excel": ("train.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ["an Excel file", "UTF-8 CSV"]),
    "open quote": ("train.csv", T + b'd,"open,0,0\n', ["row 4", "quoting"]),
    "stray quote": ("train.csv", T + b'd,"a"b,0,0\n', ["row 4", "quoting"]),
    "stray quote and tabs": ("train.csv", b'id\tcomment_text\nd\t"a"b\n', ["quoting ('\\t' exp"]),
    "short row": ("train.csv", T + b"d,x,0\n", ["row 4", "3 fields", "4"]),
    "long row": ("train.csv", T + b"d,x,0,0,0\n", ["row 4", "5 fields", "4"]),
    "HTML": ("train.csv", b"<!DOCTYPE html>\n<html></html>\n", ["HTML", "download"]),
    "Git-LFS": ("train.csv", b"version https://git-lfs.github.com/spec/v1\noid\n", ["Git-LFS"]),
    "gzip": ("train.csv", gzip.compress(T)[:-9], ["damaged or truncated gzip"]),
    "zip named csv": ("train.csv", _zipped(T), [".csv.zip"]),
    "two separators": ("train.csv", T.replace(b",", b";", 2).replace(b",", b"\t"), ["'id;"]),
    "a separator we do not read": ("train.csv", b"sep=x\n" + T, ["says that 'x' separates"]),
    "second nameless column": ("train.csv", b",id,comment_text,\n0,a,b,0\n", ["column 4 has no"]),
    "nameless ids": ("train.csv", b",comment_text,toxic\na,b,0\n", ["no column 'id'"]),
    "further column": (
        "train.csv",
        T.replace(b",0,1", b",0,en"),
        ["every further column is taken"],
    ),
    "no label at all": ("train.csv", b"id,comment_text,toxic,obscene\na,b,0,0\n", ["no row has"]),
    "label in words": ("train.csv", T + b"d,x,0,yes\n", ["'yes' is not a label", "label_columns"]),
    "carriage return in an id": ("train.csv", T + b'"d\re",x,0,0\n', ["row 4", "'d\\re'"]),
    "carriage return in a name": ("train.csv", b'id,comment_text,"a\rb"\n', ["'a\\rb'", "remove"]),
    "a row without end": ("train.csv", T + b'd,"' + b"x\n" * 2**23, ["row 4", "16,777,216"]),
    "a line without end": ("train.csv", T + b"," * 2**25, ["row 4", "16,777,216 characters"]),
    "a million columns": ("train.csv", b"c%d," * 10**6 % (*range(10**6),), ["than 10,000"]),
    "other ids": ("test.csv", b"id,comment_text\nx,a\nz,b\n", ["sample", "row 1", "'y'"]),
    "other label ids": ("test_labels.csv", b"id,toxic,obscene\nx,0,0\nq,0,0\n", ["'q'", "row 2"]),
    "hostile value": ("train.csv", T + b"d,x,0,\x1b[31m\xe2\x80\xae\n", ["\\x1b[31m", "\\u202e"]),
}


@pytest.mark.parametrize(("name", "content", "expected"), BAD.values(), ids=BAD.keys())
def test_bad_file(folder, name, content, expected):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        kaggle.read_tables(folder)
    message = str(error.value)
    assert str(folder / name) in message
    assert all(part in message for part in expected), message
    assert message.isprintable()


def test_missing_files_and_folders_are_named(folder, tmp_path):
    (folder / "test.csv").unlink()
    with pytest.raises(InputError, match=r"test\.csv not found.*found: .*train\.csv"):
        kaggle.find_data_dir(folder)
    with pytest.raises(InputError, match="a file, not a folder"):
        kaggle.find_data_dir(folder / "train.csv")
    with pytest.raises(InputError, match="no such folder"):
        kaggle.find_data_dir(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no such file"):
        kaggle.read_scores(folder / "none.csv")
    with pytest.raises(InputError, match="a folder, not a file"):
        kaggle.read_scores(folder)


def test_kaggles_input_folder_is_found(folder, tmp_path_factory, monkeypatch):
    root = tmp_path_factory.mktemp("input")
    monkeypatch.setattr(kaggle.files, "REPOSITORY", root / "repository")
    monkeypatch.setattr(kaggle.files, "KAGGLE_INPUT", root)
    assert kaggle.find_data_dir(None) is None
    attached = root / "competitions" / "jigsaw"
    attached.mkdir(parents=True)
    for path in folder.glob("*.csv"):
        (attached / path.name).write_bytes(path.read_bytes())
    assert kaggle.find_data_dir(None) == attached


def test_the_sample_is_written_only_if_there_are_no_files(folder, tmp_path_factory, monkeypatch):
    root = tmp_path_factory.mktemp("empty")
    monkeypatch.setattr(kaggle.files, "REPOSITORY", root)
    monkeypatch.setattr(kaggle.files, "KAGGLE_INPUT", root / "input")
    monkeypatch.setattr(kaggle.files, "KAGGLE_WORKING", root / "working")
    assert kaggle.find_or_make_data(str(folder)) == (folder, False)
    assert not (root / "outputs").exists()
    assert kaggle.find_or_make_data() == (root / "outputs" / "sample", True)
    assert kaggle.find_or_make_data(str(root / "outputs" / "sample"))[1]  # named: still a sample
    assert len(kaggle.read_tables(root / "outputs" / "sample").train) == 2000
    (root / "data").mkdir()
    (root / "data" / "train.csv").write_text(TRAIN)
    with pytest.raises(InputError, match=r"data: test\.csv not found"):
        kaggle.find_or_make_data()


@pytest.mark.parametrize(("dtype", "digits"), [(np.float32, 9), (np.float64, 17)])
def test_written_scores_come_back_exactly(tmp_path, dtype, digits):
    low = np.nextafter(dtype(0.3), dtype(0))
    scores = np.array([[0.3, 1e-9], [low, 1.0]], dtype)
    path = tmp_path / "scores.csv"
    kaggle.write_scores(path, pd.Series(["a", "b"], name="key"), scores, ["x", "y"], digits)
    table = kaggle.read_scores(path, "key")
    assert list(table.columns) == ["key", "x", "y"]
    assert (table[["x", "y"]].to_numpy().astype(dtype) == scores).all()


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan", "", "high", "inf", "0,5"])
def test_a_score_is_a_probability(tmp_path, value):
    path = tmp_path / "s.csv"
    path.write_text(f"id;toxic\na;0.5\nb;{value}\n")
    with pytest.raises(InputError, match=r"row 2, column 'toxic'.* from 0 to 1"):
        kaggle.read_scores(path)


@pytest.mark.parametrize("read", [kaggle.read_labels, kaggle.read_scores])
def test_ids_alone_are_neither_labels_nor_scores(tmp_path, read):
    path = tmp_path / "ids.csv"
    path.write_text("id\na\n")
    with pytest.raises(InputError, match="no label columns; add"):
        read(path)


def test_one_column_cannot_be_id_and_text(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("id,comment_text\na,b\n")
    with pytest.raises(InputError, match="cannot hold both ids and text; set"):
        list(comments.iter_comments(path, "id", "id"))


def test_an_id_that_returns_in_a_later_chunk_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(comments, "CHUNK_ROWS", 2)
    path = tmp_path / "twice.csv"
    path.write_text("id,comment_text\na,1\nb,2\na,3\n")
    with pytest.raises(InputError, match=r"row 3.*row 1"):
        comments.check_comments(path, "id", "comment_text")
