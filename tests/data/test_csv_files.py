"""The reader of CSVs under fire: each input is read correctly or ends in one clear line."""

import csv
import os
import zipfile
from pathlib import Path

import pytest
from fuzz_csv_files import PIECES, SEEDS, TABLES, examine, zipped
from hypothesis import given
from hypothesis import strategies as st

from toxlib.data import comments, csv_files, kaggle
from toxlib.data.csv_files import read_chunks
from toxlib.errors import InputError

T = TABLES["train.csv"]


def _refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        list(read_chunks(path))
    assert str(error.value).isprintable()
    return str(error.value).removeprefix(f"{path}: ")


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=20))
def test_any_text_comes_back_as_written(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("any") / "comments.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([("id", "comment_text"), *((f"i{n}", t) for n, t in enumerate(texts))])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(comments, "CHUNK_ROWS", 3)
        chunks = list(comments.iter_comments(path, "id", "comment_text"))
    assert [text for chunk in chunks for text in chunk["comment_text"]] == texts
    assert all(len(chunk) <= 3 for chunk in chunks)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a CSV or a zip with up to four pieces cut out or put in."""
    content = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        cut = draw(st.sampled_from([0, 0, 1, 2, 20]))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=4))
        content = content[:start] + piece + content[start + cut :]
    return content


@given(damaged() | st.binary(max_size=60), st.sampled_from([".csv", ".csv.zip"]))
def test_a_damaged_file_is_read_correctly_or_refused_in_one_line(tmp_path_factory, content, end):
    path = tmp_path_factory.mktemp("damaged") / f"file{end}"
    path.write_bytes(zipped(content) if end == ".csv.zip" and content[:2] != b"PK" else content)
    examine(path)


def test_long_comments_are_no_fault(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("id,comment_text\na," + "x" * 300_000 + "\n")
    [chunk] = read_chunks(path)
    assert len(chunk["comment_text"][0]) == 300_000


def test_blank_lines_do_not_go_on_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "MAX_ROW", 1000)
    path = tmp_path / "blank.csv"
    path.write_bytes(T + b"\n" * 900)
    assert sum(map(len, read_chunks(path))) == 3
    path.write_bytes(T + b"\n" * 1100)
    assert "row 4: more than 1,000 characters" in _refused(path)


def test_many_columns_are_read_in_small_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "MAX_CELLS", 100)
    path = tmp_path / "wide.csv"
    path.write_text(",".join(f"c{n}" for n in range(40)) + ("\n" + ",".join("0" * 40)) * 7 + "\n")
    chunks = list(read_chunks(path))
    assert [len(chunk) for chunk in chunks] == [2, 2, 2, 1]
    assert [row for chunk in chunks for row in chunk.index] == list(range(7))


@pytest.mark.parametrize("content", [zipped(T * 9)[:-60], b"PK\x03\x04 no zip", b""])
def test_damaged_zip(tmp_path, content):
    path = tmp_path / "train.csv.zip"
    path.write_bytes(content)
    assert _refused(path) == "a damaged or truncated zip; download it again"


def test_flipped_bytes_inside_a_zip_are_noticed(tmp_path):
    path, content = tmp_path / "train.csv.zip", bytearray(zipped(T))
    content[60] ^= 0xFF
    path.write_bytes(content)
    assert "damaged" in _refused(path)


FIELDS = {"flags": (8, 1, "encrypted"), "method": (10, 99, "packed in an unusual way")}
FIELDS |= {"lzma": (10, 14, "unusual"), "size": (24, 9, "damaged"), "bomb": (27, 0x7F, "zip bomb")}


@pytest.mark.parametrize(("place", "value", "fault"), FIELDS.values(), ids=FIELDS)
def test_a_zip_whose_directory_says_something_else(tmp_path, place, value, fault):
    path, content = tmp_path / "train.csv.zip", bytearray(zipped(T))
    content[content.find(b"PK\x01\x02") + place] = value
    if place < 12:  # the header before the file has the flags and the method as well
        content[place - 2] = value
    path.write_bytes(content)
    assert fault in _refused(path)


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "train.csv.zip"
    path.write_bytes(zipped(T + bytes(40 * 2**20)))
    assert "row 4: more than 16,777,216 characters" in _refused(path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(csv_files, "MAX_UNPACKED", 10**7)
        assert "would unpack to 0.0 GB, as a zip bomb does; unpack it yourself" in _refused(path)


@pytest.mark.parametrize("names", [[], ["a.csv", "b.csv"], ["folder/"], ["__MACOSX/x"], ["", "x"]])
def test_a_zip_without_one_file(tmp_path, names):
    path = tmp_path / "train.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"")
    assert "files; zip one CSV alone" in _refused(path)


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "text").write_text("x")
    remedy = "; give the path of a CSV that you can read"
    for name, fault in (
        ("pipe", "a pipe or a device, not a file; give the path of a CSV"),
        ("/dev/null", "a pipe or a device, not a file; give the path of a CSV"),
        ("", "a folder, not a file; give the path of a CSV"),
        ("loop", "too many levels of symbolic links" + remedy),
        ("broken", "no such file or directory" + remedy),
        ("nowhere.zip", "no such file or directory" + remedy),
        ("text/x.csv", "not a directory" + remedy),
        ("x" * 300, "file name too long" + remedy),
    ):
        assert _refused(tmp_path / name) == fault


def test_files_and_folders_that_may_not_be_read(tmp_path, monkeypatch):
    def forbid(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "train.csv").write_bytes(T)
    monkeypatch.setattr(Path, "open", forbid)  # chmod would not keep root from reading
    assert "permission denied" in _refused(tmp_path / "train.csv")
    monkeypatch.setattr(Path, "is_file", forbid)
    with pytest.raises(InputError, match="permission denied; give the folder"):
        kaggle.read_tables(tmp_path)
