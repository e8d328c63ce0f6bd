"""Read CSV files strictly: a damaged file is reported and never repaired silently.

Row 1 is the first row after the header, however many lines a comment spans. We do not use
pandas to read text: it takes the comment "NA" for a missing value and repairs damaged files.
"""

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from toxlib.errors import InputError, show

NOT_CSV = {
    b"\x1f\x8b": "a gzip file",
    b"PAR1": "a parquet file",
    b"PK\x03\x04": "a zip or Excel file (a zip must be named .csv.zip)",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"version https://git-lfs": "a Git-LFS pointer, not the file itself",
}
"""The first bytes of other kinds of files."""


def read_chunks(path: Path, chunk_rows: int = 65536) -> Iterator[pd.DataFrame]:
    """Read a CSV file, or a zip of one, as strings; the index continues from chunk to chunk."""
    if not path.is_file():
        what = "a folder, not a file" if path.exists() else "no such file"
        raise InputError(f"{path}: {what}; give the path of a CSV")
    with _open_bytes(path) as file:
        for magic, what in NOT_CSV.items():
            if file.peek(64).startswith(magic):
                raise InputError(f"{path}: {what}; save or download it as a UTF-8 CSV")
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        records = _records(path, text)
        header = next(records, None)
        if header is None:
            raise InputError(f"{path}: the file is empty; download it again")
        _check_header(path, header)
        start = 0
        while rows := list(islice(records, chunk_rows)):
            index = range(start, start + len(rows))
            yield pd.DataFrame(rows, columns=header, dtype=object, index=index)
            start += len(rows)
        if start == 0:
            raise InputError(f"{path}: only a header, no rows; download it again")


def check_cells(path: Path | str, table: pd.DataFrame, good: pd.DataFrame, fault: str) -> None:
    """Raise an InputError that reports the `fault` of the first cell that is not `good`."""
    for row, column in np.argwhere(~good.to_numpy()):
        name, value = show(table.columns[column]), show(table.iloc[row, column])
        raise InputError(f"{path}: row {table.index[row] + 1}, column {name}: {value} {fault}")


@contextmanager
def _open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, or the only file in a zip. Damage to a zip may show only while it is read."""
    if path.suffix != ".zip":
        with path.open("rb") as file:
            yield file
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n[:8] != "__MACOSX" and n[-1] != "/"]
            if len(names) != 1:
                raise InputError(f"{path}: holds {len(names)} files; zip one CSV alone")
            with archive.open(names[0]) as file:
                yield file
    except RuntimeError:
        raise InputError(f"{path}: encrypted, or packed in an unusual way; unpack it") from None
    except (zipfile.BadZipFile, EOFError, zlib.error):
        raise InputError(f"{path}: a damaged or truncated zip; download it again") from None


def _records(path: Path, stream: IO[str]) -> Iterator[list[str]]:
    """Yield the header and the rows, all of the same length, without blank lines."""
    csv.field_size_limit(2**31 - 1)  # the default is 131,072 characters; more overflows on Windows
    row, width, fault = 0, 0, ""
    try:
        for record in filter(None, csv.reader(stream, strict=True)):
            "".join(record).encode()  # fails at a surrogate, which stands for a byte not in UTF-8
            count, width = len(record), width or len(record)
            if count != width:
                fault = f"{count} fields where the header has {width}; check its commas and quotes"
                break
            yield record
            row += 1
    except UnicodeEncodeError as error:
        byte = ord(error.object[error.start]) - 0xDC00  # "surrogateescape" adds 0xDC00
        fault = f"byte {byte:#04x} is not UTF-8; save the file as UTF-8"
    except csv.Error as error:
        fault = f"broken quoting ({error}); double the quotes inside a field, and close it"
    if fault:
        place = f"row {row}" if row else "header"
        raise InputError(f"{path}: {place}: {fault}")


def _check_header(path: Path, header: list[str]) -> None:
    if any("\0" in name for name in header):
        raise InputError(f"{path}: UTF-16 text or a binary file; save it as a UTF-8 CSV")
    if header[0].lstrip().startswith("<"):
        raise InputError(f"{path}: an HTML page, not a CSV (a log-in page?); download it again")
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise InputError(f"{path}: columns are not separated by commas; save it with commas")
    for column, name in enumerate(header, start=1):
        if not name.strip():
            raise InputError(f"{path}: column {column} has no name; name it or remove it")
        if header.count(name) > 1:
            raise InputError(f"{path}: column {show(name)} appears twice; remove one")
