"""Translated copies are read like Kaggle's files, and belong to the comments with their ids."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from toxlib.data import kaggle
from toxlib.data.translations import read_translations
from toxlib.errors import InputError

FILES = {
    "train.csv": "id,comment_text,toxic\na,one,0\nb,two,1\nc,three,0\n",
    "test.csv": "id,comment_text\nx,four\ny,five\n",
    "train_de.csv": "id,comment_text\na,eins\nb,zwei\nc,drei\n",
    "train_fr.csv": "comment_text,toxic,id\ntrois,1,c\nun,1,a\n",
    "test_de.csv": "id,comment_text\ny,fünf\n",
}


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, "utf-8")
    return tmp_path


def _read(folder: Path, languages: str = "de,fr"):
    return read_translations(folder, languages, kaggle.read_tables(folder), "comment_text")


def test_copies_follow_their_comments_by_id(folder):
    found = _read(folder)
    texts, rows = found.train.of(np.array([1, 2]))
    assert texts[:] == ["two", "three", "zwei", "drei", "trois"]
    assert rows.tolist() == [1, 2, 1, 2, 2]
    texts, rows = found.test.of(np.array([0, 1]))
    assert texts[:] == ["four", "five", "fünf"]
    assert rows.tolist() == [0, 1, 1]
    assert set(found.sha256) == {"train_de.csv", "train_fr.csv", "test_de.csv"}
    assert found.notes == (
        "test_fr.csv is not there: test comments are scored without these copies.",
        "train_fr.csv: further columns are left out: 'toxic'.",
    )


def test_without_languages_there_are_no_copies(folder):
    found = _read(folder, "")
    texts, rows = found.train.of(np.array([0, 2]))
    assert (texts[:], rows.tolist()) == (["one", "three"], [0, 2])
    assert (found.sha256, found.notes) == ({}, ())


def test_zips_are_read_and_copies_without_text_are_missing(folder):
    (folder / "train_de.csv").unlink()
    with zipfile.ZipFile(folder / "train_de.csv.zip", "w") as archive:
        archive.writestr("train_de.csv", 'id,comment_text\nb,zwei\na,""\nc," \n"\n')
    found = _read(folder, "de")
    texts, rows = found.train.of(np.arange(3))
    assert texts[:] == ["one", "two", "three", "zwei"]
    assert rows.tolist() == [0, 1, 2, 1]
    assert found.notes == ("train_de.csv.zip: 2 copies without text are left out.",)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        (
            "train_de",
            "id,comment_text\na,x\nz\x1b,y\n",
            "row 2, column 'id': 'z\\x1b' is not in train.csv",
        ),
        (
            "test_de",
            "id,comment_text\na,x\n",
            "row 1, column 'id': 'a' is not in test.csv; delete",
        ),
        ("train_de", "id,comment_text\na,x\na,y\n", "row 2, column 'id': id 'a' is in row 1"),
        ("train_de", "id,text\na,x\n", "no column 'comment_text'; found 'id', 'text'"),
        ("train_de", "key,comment_text\na,x\n", "no column 'id'"),
        ("train_de", "id,comment_text\na,x,y\n", "row 1"),
        ("train_de", "", "the file is empty"),
    ],
)
def test_a_bad_file_is_one_line_with_file_row_and_column(folder, name, content, fault):
    (folder / f"{name}.csv").write_text(content, "utf-8")
    with pytest.raises(InputError) as error:
        _read(folder)
    assert str(error.value).startswith(f"{folder / name}.csv: ")
    assert fault in str(error.value)
    assert "\n" not in str(error.value)


def test_a_language_without_a_training_file_is_refused(folder):
    with pytest.raises(InputError, match=r"train_es.csv not found as .csv or .csv.zip; make it"):
        _read(folder, "de,es")
