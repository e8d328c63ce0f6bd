"""Check tables of ids with comments, labels or scores, and bring them into one order."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib.data.csv_files import check_cells, read_chunks
from toxlib.data.on_disk import join_on_disk
from toxlib.errors import InputError, show, show_all

LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
"""How a label may be written, without blanks and in lower case."""
CHUNK_ROWS = 32768
"""Rows that are read and checked together, which bounds the memory for large files."""
FORMULA = re.compile(r"\s*(?![+-]?[\d.]+\s*$)[=+\-@＝＋－＠]")
"""The beginning of a cell that a spreadsheet takes for a formula, unless it is a number."""


def read_labelled(
    path: Path,
    first: tuple[str, ...],
    parse: Callable[[pd.DataFrame], pd.DataFrame],
    label_columns: str = "",
    notes: list[str] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Read a table with the columns `first`, ids and perhaps texts, and with labels.

    Return it, in the file's order, and the names of its labels. `parse` turns their cells, which
    are strings, into numbers. All other strings stay on disk; see `join_on_disk`.
    """
    table = join_on_disk(_parsed_chunks(path, first, parse, label_columns, notes))
    check_ids(path, table[first[0]], notes)
    return table, [name for name in table if name not in first]


def _parsed_chunks(
    path: Path,
    first: tuple[str, ...],
    parse: Callable,
    label_columns: str,
    notes: list[str] | None,
) -> Iterator[pd.DataFrame]:
    for chunk in read_chunks(path, CHUNK_ROWS, notes):
        require_columns(path, chunk, *first)
        names = _label_names(path, [name for name in chunk if name not in first], label_columns)
        kept = {*first, *names}
        table = chunk[[name for name in chunk if name in kept]].copy()
        table[names] = parse(table[names])
        yield table


def _label_names(path: Path, further: list[str], label_columns: str) -> list[str]:
    """Return those of the further columns that hold labels: the named ones, else all."""
    wanted = {name.strip() for name in label_columns.split(",")} - {""}
    for name in sorted(wanted):
        if name not in further:
            found = f"no label column {show(name)}; found {show_all(further)}"
            raise InputError(f"{path}: {found}; set label_columns to the names of label columns")
    if not further:
        raise InputError(f"{path}: no label columns; add a column per label")
    return [name for name in further if name in wanted] if wanted else further


def require_columns(path: Path, table: pd.DataFrame, *columns: str) -> None:
    """Raise an InputError unless the table has all of these columns, each named once."""
    remedy = "set id_column and text_column, or rename the columns"
    for column in columns:
        if column not in table:
            found = show_all(list(table))
            raise InputError(f"{path}: no column {show(column)}; found {found}; {remedy}")
        if columns.count(column) > 1:
            raise InputError(f"{path}: {show(column)} cannot hold both ids and text; {remedy}")


def check_ids(path: Path, ids: pd.Series, notes: list[str] | None = None) -> None:
    """Refuse empty and repeated ids of a file.

    Ids that a spreadsheet takes for formulas are kept as they are, because a submission must have
    them, and are mentioned in `notes`.
    """
    for row, value in enumerate(ids, start=1):
        fault = "" if value.isalnum() else fault_of_id(path, value, notes)
        if fault:
            raise InputError(f"{path}: row {row}, column {show(ids.name)}: {fault}")
    check_unique(path, ids)


def check_unique(path: Path, ids: pd.Series) -> None:
    """Refuse repeated ids of a file. A hash of 8 bytes per row is held meanwhile."""
    parts = (ids[start : start + CHUNK_ROWS] for start in range(0, len(ids), CHUNK_ROWS))
    hashes = np.concatenate([hash_ids(part) for part in parts])
    suspects, row_of_id = equal_hashes(hashes.copy()), {}
    for row in np.flatnonzero(np.isin(hashes, suspects)) if len(suspects) else ():
        if fault := repeated(ids.iloc[row], row + 1, row_of_id):
            raise InputError(f"{path}: row {row + 1}, column {show(ids.name)}: {fault}")


def hash_ids(ids: pd.Series) -> np.ndarray:
    """Return a number of 64 bits per id, (N,), by which equal ids are found."""
    return pd.util.hash_array(ids.to_numpy(dtype=object), categorize=False)


def equal_hashes(hashes: np.ndarray) -> np.ndarray:
    """Sort the hashes, (N,), in place, and return those that occur more than once."""
    hashes.sort()
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


def repeated(value: str, row: int, row_of_id: dict[str, int]) -> str:
    """Return what is wrong if the id is in `row_of_id` already, else ""; add it there."""
    first = row_of_id.setdefault(value, row)
    return (
        "" if first == row else f"id {show(value)} is in row {first} already; remove one of them"
    )


def fault_of_id(path: Path, value: str, notes: list[str] | None) -> str:
    """Return why an id cannot be used, or ""; mention in `notes` that some begin like formulas."""
    if not value.strip():
        return "an empty id; give the row an id"
    if "\r" in value:  # csv.writer would not quote it, and the file would have another row
        return f"id {show(value)} has a carriage return; remove it"
    if notes is not None and FORMULA.match(value):
        fault = "some ids begin like formulas (with =, +, - or @)"
        add_note(notes, f"{path.name}: {fault}; in a spreadsheet, import the ids as text.")
    return ""


def align(
    path: Path,
    table: pd.DataFrame,
    columns: list[str],
    other_path: Path | str,
    ids: pd.Series,
    any_order: bool = False,
) -> pd.DataFrame:
    """Return a table in the order of `ids` and `columns`.

    Other columns and ids that one side lacks are refused, and without `any_order` another order of
    the columns as well.
    """
    faults = [f"missing {show(name)}" for name in columns if name not in table]
    faults += [f"extra {show(name)}" for name in table.columns.difference(columns, sort=False)]
    if faults or not (any_order or list(table) == columns):
        fault = f"columns differ from other files' ({', '.join(faults[:10]) or 'another order'})"
        raise InputError(f"{path}: {fault}; write exactly {show_all(columns)}")
    if same_strings(table[ids.name], ids):
        return table[columns]
    sides = [(path, table[ids.name].astype(object)), (other_path, ids.astype(object))]
    for (here, some), (there, others) in (sides, sides[::-1]):
        fault = f"is not in {there}; both must have the same ids (take them from one download)"
        check_cells(here, some.to_frame(), some.isin(others).to_frame(), fault)
    # pandas warns that an insertion is slow in a table of many columns, unless it is a copy.
    return table.set_index(ids.name).reindex(ids).copy().reset_index()[columns]


def same_strings(some: pd.Series, others: pd.Series) -> bool:
    """Return whether two columns hold the same strings in the same order."""
    return len(some) == len(others) and bool((some.array == others.array).all())


def parse_labels(
    path: Path, table: pd.DataFrame, values: dict[str, int], remedy: str
) -> pd.DataFrame:
    """Return all cells as integers; an InputError reports the first that is none of `values`."""
    labels = table.apply(lambda column: column.map(values))
    if labels.isna().any(axis=None):
        labels = table.apply(lambda column: column.str.strip().str.lower().map(values))
    check_cells(path, table, labels.notna(), f"is not a label; {remedy}")
    return labels.astype(np.int8)


def parse_probabilities(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return all cells as numbers; an InputError reports the first that is no probability."""
    scores = table.apply(pd.to_numeric, errors="coerce").astype(float)
    fault = "is not a probability; write a number from 0 to 1"
    check_cells(path, table, (scores >= 0) & (scores <= 1), fault)
    return scores


def add_note(notes: list[str], sentence: str) -> None:
    """Add a sentence to `notes`, unless an earlier chunk of the file has added it."""
    if sentence not in notes:
        notes.append(sentence)
