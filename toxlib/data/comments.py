"""Read the ids and texts of a file of any size: CSV, also in a zip or gzip file, or Parquet.

A file is read twice: first to check all of it, which keeps 8 bytes per row, then to use it.
"""

from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib.data import csv_files, parquet_files
from toxlib.data.csv_files import Report, ignore, stop
from toxlib.data.on_disk import join_on_disk
from toxlib.data.tables import (
    add_note,
    check_unique,
    equal_hashes,
    fault_of_id,
    hash_ids,
    repeated,
    require_columns,
)
from toxlib.errors import InputError, show, show_all

CHUNK_ROWS = 8192
SHOWN = 1000  # faults of a file that are kept in words; all are counted


@dataclass
class Checked:
    """What was found in a file: how many rows are good, and which ones are left out."""

    rows: int = 0
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # the first ones, in words
    fault_count: int = 0
    repeated_rows: list[int] = field(default_factory=list)  # from 1; left out when it is read

    def add(self, error: InputError) -> None:
        """Keep a fault: a `Report`."""
        self.fault_count += 1
        if len(self.faults) < SHOWN:
            self.faults.append(str(error))


def iter_comments(
    path: Path,
    id_column: str,
    text_column: str,
    notes: list[str] | None = None,
    number_rows: bool = False,
    chunk_rows: int = 0,
    report: Report = stop,
    without: Collection[int] = (),
) -> Iterator[pd.DataFrame]:
    """Yield ids and texts as strings, in chunks of `CHUNK_ROWS` or fewer; the index is row less 1.

    Repeated ids are found by `check_comments`.

    Args:
        notes: a sentence is added about each thing that is assumed about the file.
        number_rows: the ids of a file without an id column are the numbers of its rows.
        report: what is done about a fault. If it returns, the row is left out, or the rest of the
            file if it cannot be read.
        without: numbers of rows to leave out.
    """
    notes, left_out = [] if notes is None else notes, frozenset(without)
    how = id_column, text_column, notes, chunk_rows or CHUNK_ROWS, report
    try:
        for chunk in _read(path, *how):
            if number_rows and id_column not in chunk:
                chunk[id_column] = (chunk.index + 1).astype(str)
                missing = f"no column {show(id_column)}, so the rows are numbered from 1"
                add_note(notes, f"{path.name}: {missing}.")
            require_columns(path, chunk, id_column, text_column)
            _note_further(path, list(chunk), (id_column, text_column), notes)
            good = _good_ids(path, chunk[id_column], notes, report)
            if left_out:
                good &= ~(chunk.index + 1).isin(left_out)
            yield chunk.loc[good, [id_column, text_column]]
    except InputError as error:
        report(error)


def read_comments(path: Path, id_column: str, text_column: str, notes: list[str]) -> pd.DataFrame:
    """Return the ids, which must differ, and texts of a file; they stay on disk."""
    table = join_on_disk(iter_comments(path, id_column, text_column, notes))
    check_unique(path, table[id_column])
    return table


def check_comments(
    path: Path, id_column: str, text_column: str, skip: bool = False, unique_ids: bool = True
) -> Checked:
    """Read a whole file and say what is in it.

    For repeated ids, 8 bytes per row are kept. Without `unique_ids` they are not looked for.

    Args:
        skip: keep the faults in words, instead of raising the first.

    Raises:
        InputError: at the first fault, if `skip` is false.
    """
    found, hashes = Checked(), array("Q")
    report = found.add if skip else stop
    columns = path, id_column, text_column
    for chunk in iter_comments(*columns, found.notes, True, report=report):
        found.rows += len(chunk)
        if unique_ids:
            hashes.frombytes(hash_ids(chunk[id_column]).tobytes())
    suspects = equal_hashes(np.frombuffer(hashes, dtype=np.uint64))
    if len(suspects):
        _find_repeated(columns, suspects, found, report)
    return found


def _read(
    path: Path, id_column: str, text_column: str, notes: list[str], rows: int, report: Report
) -> Iterator[pd.DataFrame]:
    wanted = id_column, text_column
    if parquet_files.is_parquet(path):
        names = parquet_files.column_names(path)
        if text_column not in names:
            require_columns(path, pd.DataFrame(columns=names), text_column)
        _note_further(path, names, wanted, notes)
        yield from parquet_files.read_chunks(path, *wanted, rows, report)
        return
    yield from csv_files.read_chunks(path, rows, notes, report)


def _note_further(path: Path, names: list[str], wanted: tuple[str, str], notes: list[str]) -> None:
    if extra := [name for name in names if name not in wanted]:
        add_note(notes, f"{path.name}: further columns are left out: {show_all(extra)}.")


def _good_ids(path: Path, ids: pd.Series, notes: list[str], report: Report) -> np.ndarray:
    """Report the ids that cannot be used; return which ones can, (N,)."""
    faults = ["" if value.isalnum() else fault_of_id(path, value, notes) for value in ids]
    for row, fault in zip(ids.index + 1, faults, strict=True):
        if fault:
            report(InputError(f"{path}: row {row}, column {show(ids.name)}: {fault}"))
    return np.array([not fault for fault in faults], dtype=bool)


def _find_repeated(
    columns: tuple[Path, str, str], suspects: np.ndarray, found: Checked, report: Report
) -> None:
    """Report the rows whose id another row has already; different ids may have equal hashes."""
    path, id_column, _ = columns
    row_of_id: dict[str, int] = {}
    for chunk in iter_comments(*columns, None, True, report=ignore):
        ids = chunk[id_column]
        for index, value in ids[np.isin(hash_ids(ids), suspects)].items():
            if fault := repeated(value, index + 1, row_of_id):
                report(InputError(f"{path}: row {index + 1}, column {show(id_column)}: {fault}"))
                found.repeated_rows.append(index + 1)
    found.rows -= len(found.repeated_rows)
