"""CSV files, read strictly: what is broken is reported, never mended in silence.

Rows are counted as people count them: row 1 is the first after the header, however many lines a
comment spans. pandas' own reader is not used for text: it takes the comment "NA" for a missing
value, and mends broken files without a word.
"""

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from toxlib.errors import InputError

NOT_CSV = {
    b"\x1f\x8b": "a gzip file",
    b"PAR1": "a parquet file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x00\x00\xfe\xff": "UTF-32 text",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"7z\xbc\xaf": "a 7z archive",
    b"version https://git-lfs": "a Git-LFS pointer, not the file itself",
}


def read_chunks(path: Path, chunk_rows: int) -> Iterator[tuple[int, list[str], list[list[str]]]]:
    """(index of the first row, header, rows) of a CSV file; every row as long as the header."""
    with _open_text(path) as stream:
        records = _records(path, stream)
        header = next(records, None)
        if header is None:
            raise InputError(f"{path}: the file is empty; download it again")
        _check_header(path, header)
        start, rows = 0, []
        for row in records:
            if len(row) != len(header):
                raise InputError(
                    f"{path}: row {start + len(rows) + 1}: {len(row)} fields where the header has "
                    f"{len(header)}; check its commas and quotes"
                )
            rows.append(row)
            if len(rows) == chunk_rows:
                yield start, header, rows
                start, rows = start + len(rows), []
        if not start and not rows:
            raise InputError(f"{path}: only a header, no rows; download it again")
        if rows:
            yield start, header, rows


def _records(path: Path, stream: io.TextIOBase) -> Iterator[list[str]]:
    csv.field_size_limit(2**31 - 1)  # the default is 131,072 characters; more overflows on Windows
    reader = csv.reader(stream, strict=True)
    row = 0  # of the record that is read next; 0 is the header
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise InputError(
                f"{path}: {_place(_first_undecodable_row(path))}: byte {byte:#04x} is not UTF-8; "
                "save the file as UTF-8"
            ) from None
        except csv.Error as error:
            raise InputError(
                f"{path}: {_place(row)}: broken quoting ({error}); double the quotes inside a "
                "field, and close it"
            ) from None
        if record:  # a blank line at the end is no row
            yield record
            row += 1


def _place(row: int) -> str:
    return f"row {row}" if row else "header"


def _first_undecodable_row(path: Path) -> int:
    """Decoding runs ahead of the parser by a buffer, so the row is looked for once more."""
    with _open_text(path, errors="surrogateescape") as stream:
        for row, record in enumerate(csv.reader(stream)):
            if any(0xDC80 <= ord(character) <= 0xDCFF for character in "".join(record)):
                return row
    return 0


def _check_header(path: Path, header: list[str]) -> None:
    if any("\0" in name for name in header):
        raise InputError(f"{path}: UTF-16 text or a binary file; save it as a UTF-8 CSV")
    if header[0].lstrip().startswith("<"):
        raise InputError(f"{path}: an HTML page, not a CSV (a log-in page?); download it again")
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise InputError(f"{path}: columns are not separated by commas; save it with commas")
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise InputError(f"{path}: column {show(repeated[0])} appears twice; remove one")
    names = [name.strip() for name in header]
    if "" in names:
        place = names.index("") + 1
        raise InputError(f"{path}: column {place} has no name; name it or remove it")


@contextmanager
def _open_text(path: Path, errors: str = "strict") -> Iterator[io.TextIOBase]:
    if not path.is_file():
        what = "a folder, not a file" if path.exists() else "no such file"
        raise InputError(f"{path}: {what}; give the path of a CSV")
    with path.open("rb") as raw:
        if path.suffix == ".zip":
            with _open_member(path, raw) as member:
                yield _as_text(path, member, errors)
        else:
            yield _as_text(path, raw, errors)


def _unpacked(path: Path, archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    try:
        return archive.open(name)
    except (RuntimeError, NotImplementedError):  # a password; a method Python cannot read
        raise InputError(
            f"{path}: encrypted, or packed in a way not known here; unpack it"
        ) from None


@contextmanager
def _open_member(path: Path, raw: io.BufferedReader) -> Iterator[io.BufferedReader]:
    try:
        with zipfile.ZipFile(raw) as archive:
            names = [
                n for n in archive.namelist() if not n.startswith("__MACOSX") and n[-1] != "/"
            ]
            if len(names) != 1:
                raise InputError(
                    f"{path}: holds {len(names)} files; it must hold one CSV: zip that alone"
                )
            with _unpacked(path, archive, names[0]) as member:
                yield io.BufferedReader(member)
    except (zipfile.BadZipFile, EOFError, zipfile.zlib.error):
        raise InputError(f"{path}: a damaged or truncated zip; download it again") from None


def _as_text(path: Path, raw: io.BufferedReader, errors: str) -> io.TextIOWrapper:
    start = raw.peek(64)[:64]
    for magic, what in NOT_CSV.items():
        if start.startswith(magic):
            raise InputError(f"{path}: {what}; save or download it as a UTF-8 CSV")
    if start.startswith(b"PK\x03\x04"):
        raise InputError(
            f"{path}: a zip or Excel file named .csv; rename it .csv.zip or export it"
        )
    return io.TextIOWrapper(raw, encoding="utf-8-sig", errors=errors, newline="")


def show(value: str) -> str:
    """A value from the data, shortened and escaped for a one-line message: it may be hostile."""
    value = str(value)
    return ascii(value if len(value) <= 40 else value[:39] + "…")


def show_all(values: list[str]) -> str:
    """Some values from the data, as `show` does."""
    return ", ".join(map(show, values[:10])) + (", …" if len(values) > 10 else "")
