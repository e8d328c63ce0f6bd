"""Read CSV files strictly: a damaged file is reported and never repaired silently.

Row 1 is the first row after the header, however many lines a comment spans. We do not use
pandas to read text: it takes the comment "NA" for a missing value and repairs damaged files.
"""

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from toxlib.errors import InputError, show

GZIP = b"\x1f\x8b"
NOT_CSV = {
    GZIP: "a gzip file in a zip",
    b"PAR1": "a parquet file",
    b"PK\x03\x04": "a zip or Excel file (a zip must be named .csv.zip)",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"version https://git-lfs": "a Git-LFS pointer, not the file itself",
}
"""The first bytes of other kinds of files."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What may separate columns; not commas only if the header has no comma, or Excel says so."""
SURROGATE = re.compile("[\ud800-\udfff]")
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""The line before the header by which Excel names the separator."""
MAX_COLUMNS = 10_000
MAX_ROW = 2**24  # characters; the memory that a damaged or hostile file takes depends on it
MAX_CELLS, MAX_CHARACTERS = 2**22, 2**26  # in a chunk
MAX_UNPACKED, MAX_RATIO = 10**9, 1000  # a larger file in a zip that shrank by more is a zip bomb
Report = Callable[[InputError], None]
"""What is done about a fault in a file: raise it, or keep it and go on without that row."""


def stop(error: InputError) -> None:
    """Raise the fault: the `Report` that lets nothing pass."""
    raise error


def ignore(error: InputError) -> None:
    """Leave the row out: the `Report` for a file whose faults have been told before."""


def read_chunks(
    path: Path,
    chunk_rows: int = 65536,
    notes: list[str] | None = None,
    report: Report = stop,
) -> Iterator[pd.DataFrame]:
    """Read a CSV file, or one in a zip or gzip file, as strings; the index is the row less 1.

    Columns are separated by commas, or by what the header or a line `sep=;` before it says. If
    the first column has no name, as in a file that pandas wrote with its index, it is left out.
    A sentence about each such assumption is added to `notes`. A broken row is reported; if
    `report` returns, the row is left out.

    Raises:
        InputError: if the file cannot be read as a CSV, or not to its end.
    """
    notes = [] if notes is None else notes
    with _open_bytes(path) as file:
        for magic, what in NOT_CSV.items():
            if file.peek(64).startswith(magic):
                raise InputError(f"{path}: {what}; save or download it as a UTF-8 CSV")
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        records = _records(path, text, notes, report)
        _, header = next(records, (0, None))
        if header is None:
            raise InputError(f"{path}: the file is empty; download it again")
        first, is_empty = _first_column(path, header, notes), True
        at_once = max(1, min(chunk_rows, MAX_CELLS // len(header)))
        for numbered in _in_chunks(records, at_once):
            index = [row - 1 for row, _ in numbered]
            rows = [record for _, record in numbered]
            yield pd.DataFrame(rows, index, header, dtype=object).iloc[:, first:]
            is_empty = False
        if is_empty:
            raise InputError(f"{path}: only a header, no rows; download it again")


def check_cells(path: Path | str, table: pd.DataFrame, good: pd.DataFrame, fault: str) -> None:
    """Raise an InputError that reports the `fault` of the first cell that is not `good`."""
    for row, column in np.argwhere(~good.to_numpy()):
        name, value = show(table.columns[column]), show(table.iloc[row, column])
        raise InputError(f"{path}: row {table.index[row] + 1}, column {name}: {value} {fault}")


@contextmanager
def _open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, or the only file in a zip. Damage to a zip may show only while it is read."""
    try:
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "a pipe or a device"
            raise InputError(f"{path}: {what}, not a file; give the path of a CSV")
        with _unzip(path) if path.suffix == ".zip" else path.open("rb") as file:
            if path.suffix != ".zip" and file.peek(2).startswith(GZIP):
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked
            else:
                yield file
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{path}: a damaged or truncated gzip file; download it again") from None
    except OSError as error:
        fault = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: {fault}; give the path of a CSV that you can read") from None


@contextmanager
def _unzip(path: Path) -> Iterator[IO[bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if _is_content(m.filename)]
            if len(members) != 1:
                raise InputError(f"{path}: holds {len(members)} files; zip one CSV alone")
            # zipfile unpacks at most the declared size, but a whole block of other methods.
            size, method = members[0].file_size, members[0].compress_type
            if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError
            if size > max(MAX_UNPACKED, MAX_RATIO * members[0].compress_size):
                fault = f"would unpack to {size / 1e9:.1f} GB, as a zip bomb does"
                raise InputError(f"{path}: {fault}; unpack it yourself if you trust it")
            with archive.open(members[0]) as file:
                yield file
    except RuntimeError:
        raise InputError(f"{path}: encrypted, or packed in an unusual way; unpack it") from None
    except (zipfile.BadZipFile, EOFError, zlib.error):
        raise InputError(f"{path}: a damaged or truncated zip; download it again") from None


def _is_content(name: str) -> bool:
    """Return whether a member of a zip is neither a folder nor one of macOS's notes."""
    return not name.startswith("__MACOSX") and not name.endswith("/")


class _Lines:
    """The lines of a stream, for csv.reader. Reset `left` and `broken` after each row.

    `broken` is the first byte of the row that is not UTF-8, which a surrogate stands for.

    Raises:
        OverflowError: if a row has more than `MAX_ROW` characters.
    """

    def __init__(self, stream: IO[str]):
        self.stream, self.left, self.broken = stream, MAX_ROW, None

    def __iter__(self) -> Iterator[str]:
        readline = self.stream.readline
        while line := readline(self.left + 1):
            self.left -= len(line)
            if self.left < 0:
                raise OverflowError
            if not line.isascii() and self.broken is None and (found := SURROGATE.search(line)):
                self.broken = ord(found[0]) - 0xDC00  # "surrogateescape" adds 0xDC00
            yield line

    def reset(self) -> None:
        """Begin a row."""
        self.left, self.broken = MAX_ROW, None


def _records(
    path: Path, stream: IO[str], notes: list[str], report: Report
) -> Iterator[tuple[int, list[str]]]:
    """Yield the header, as row 0, and the rows, all of the same length, without blank lines."""
    csv.field_size_limit(MAX_ROW)
    row, width, blank, fault, lines = 0, 0, 0, "", _Lines(stream)
    try:
        for record in _reader(path, iter(lines), notes):
            width = width or len(record)
            # Blank lines count as the next row's, so that they cannot go on for ever.
            if not record:
                blank += 1
                continue
            if lines.broken is None and len(record) == width:
                yield row, record
            else:
                report(_fault_of_row(path, row, record, width, lines.broken))
            lines.reset()
            row += 1
    except OverflowError:
        fault = f"more than {MAX_ROW:,} characters; shorten it, or close its quotes"
    except csv.Error as error:
        found = str(error).replace("\t", "\\t")  # it may quote the separator
        fault = f"broken quoting ({found}); double the quotes inside a field, and close it"
    if fault:
        raise InputError(f"{path}: {_place(row)}: {fault}")
    if blank:
        notes.append(f"{path.name}: {blank} blank lines are left out.")


def _fault_of_row(
    path: Path, row: int, record: list[str], width: int, broken: int | None
) -> InputError:
    """Describe a row with a byte that is not UTF-8, or with too few or too many fields."""
    if broken is not None:
        fault = f"byte {broken:#04x} is not UTF-8; save the file as UTF-8"
    else:
        found = f"{len(record)} fields where the header has {width}"
        fault = f"{found}; check its separators and quotes"
    error = InputError(f"{path}: {_place(row)}: {fault}")
    if row == 0:
        raise error
    return error


def _place(row: int) -> str:
    return f"row {row}" if row else "header"


def _in_chunks(records: Iterator[tuple[int, list[str]]], at_once: int) -> Iterator[list]:
    """Yield lists of records; before an error of the file, the records that precede it."""
    chunk, characters = [], 0
    try:
        for record in records:
            chunk.append(record)
            characters += sum(map(len, record[1]))
            if len(chunk) == at_once or characters > MAX_CHARACTERS:
                yield chunk
                chunk, characters = [], 0
    except Exception:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def _reader(path: Path, lines: Iterator[str], notes: list[str]) -> Iterator[list[str]]:
    """Return a csv.reader that begins at the header and knows what separates the columns."""
    filled = (line for line in lines if line.strip("\r\n"))
    first = next(filled, "")
    if named := SEPARATOR_LINE.fullmatch(first):
        first, separator = next(filled, ""), named[1]
        if separator not in SEPARATORS:
            fault = f"its first line says that {show(separator)} separates the columns"
            raise InputError(f"{path}: {fault}; save it with commas")
    else:
        unquoted = re.sub(r'"[^"]*"', "", first)
        found = [separator for separator in SEPARATORS if separator in unquoted]
        separator = found[0] if len(found) == 1 else ","
    if separator != ",":
        notes.append(f"{path.name}: the columns are separated by {SEPARATORS[separator]}.")
    return csv.reader(chain([first], lines), delimiter=separator, strict=True)


def _first_column(path: Path, header: list[str], notes: list[str]) -> int:
    """Check the header; return 1 if the first column is to be left out, else 0."""
    if any("\0" in name for name in header):
        raise InputError(f"{path}: UTF-16 text or a binary file; save it as a UTF-8 CSV")
    if header[0].lstrip().startswith("<"):
        raise InputError(f"{path}: an HTML page, not a CSV (a log-in page?); download it again")
    if len(header) > MAX_COLUMNS:
        fault = f"{len(header):,} columns, more than {MAX_COLUMNS:,}"
        raise InputError(f"{path}: {fault}; remove those that are neither id, text nor label")
    first = int(len(header) > 1 and not header[0].strip())
    seen = set()
    for column, name in enumerate(header[first:], start=first + 1):
        if not name.strip():
            raise InputError(f"{path}: column {column} has no name; name it or remove it")
        if "\r" in name:  # csv.writer would not quote it
            raise InputError(f"{path}: column {show(name)} has a carriage return; remove it")
        if name in seen:
            raise InputError(f"{path}: column {show(name)} appears twice; remove one")
        seen.add(name)
    if first:
        notes.append(f"{path.name}: the first column has no name, so it is left out.")
    return first
