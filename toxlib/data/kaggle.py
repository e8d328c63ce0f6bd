"""Find, read and check Kaggle's files; the first fault raises an InputError that says where."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import files
from toxlib.data.csv_files import check_cells, read_chunks
from toxlib.data.sample import write_sample
from toxlib.errors import InputError, show, show_all

TABLES = ("train", "test", "sample_submission", "test_labels")
REQUIRED = TABLES[:3]
UNSCORED = -1  # the value of all labels of a test row that Kaggle does not score
CHUNK_ROWS = 8192
SAMPLE_NOTE = "Synthetic sample with raised label rates: its scores say nothing about Jigsaw."


@dataclass(frozen=True)
class Tables:
    """Kaggle's files, read and checked."""

    train: pd.DataFrame  # id, text, and a column of 0 and 1 per label
    test: pd.DataFrame  # id and text
    sample_submission: pd.DataFrame  # the ids, order and columns that a submission must have
    test_labels: pd.DataFrame | None  # id and labels in the order of `test`; None without a file
    label_names: list[str]
    id_column: str
    sha256: dict[str, str]  # the digest of each file, by file name
    train_ids: pd.Series
    test_ids: pd.Series
    labels: np.ndarray  # of the training rows, (N, L) of 0 and 1


def find_or_make_data(data_dir: str = "") -> tuple[Path, bool]:
    """Return the folder of Kaggle's files and False, or that of the sample and True."""
    folder, sample = find_data_dir(data_dir), files.outputs() / "sample"
    if folder is None:
        return write_sample(sample), True
    return folder.resolve(), folder.resolve() == sample.resolve()


def find_data_dir(data_dir: str | Path | None) -> Path | None:
    """Return the folder of Kaggle's files, or None if none is given and none is found.

    Without `data_dir`, look in the repository's `data/`, then in the data sets of a Kaggle
    notebook. It is an error if `data/` holds only some files: using the sample would mislead.
    """
    default = files.REPOSITORY / "data"
    if data_dir or find_files(default):
        return _check_complete(Path(data_dir or default).expanduser())
    attached = [*sorted(files.KAGGLE_INPUT.glob("*")), *sorted(files.KAGGLE_INPUT.glob("*/*"))]
    return next((folder for folder in attached if set(REQUIRED) <= set(find_files(folder))), None)


def find_files(folder: Path) -> dict[str, Path]:
    """Return the paths of Kaggle's files in a folder, by name; `.csv` rather than `.csv.zip`."""
    paths = [(name, folder / f"{name}{end}") for end in (".csv.zip", ".csv") for name in TABLES]
    return {name: path for name, path in paths if path.is_file()}


def _check_complete(folder: Path) -> Path:
    if not folder.is_dir():
        what = "a file, not a folder" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}; give the folder that holds train.csv")
    found = find_files(folder)
    missing = ", ".join(f"{name}.csv" for name in REQUIRED if name not in found)
    if missing:
        names = ", ".join(sorted(path.name for path in found.values())) or "none of them"
        fault = f"{missing} not found as .csv or .csv.zip (found: {names})"
        raise InputError(f"{folder}: {fault}; download the competition's files into this folder")
    return folder


def read_tables(folder: Path, id_column: str = "id", text_column: str = "comment_text") -> Tables:
    """Read and check Kaggle's files. The labels are the columns of train besides id and text."""
    paths = find_files(_check_complete(folder))
    train, names = _read_labelled(paths["train"], id_column, text_column)
    train[names] = _parse_labels(paths["train"], train[names], {"0": 0, "1": 1})
    test = pd.concat(iter_comments(paths["test"], id_column, text_column))
    expected = [id_column, *names], paths["test"], test[id_column]
    sample, _ = _read_labelled(paths["sample_submission"], id_column)
    align(paths["sample_submission"], sample, *expected)  # only a check: it keeps its order
    truth = None
    if "test_labels" in paths:
        truth = read_labels(paths["test_labels"], id_column)
        truth = align(paths["test_labels"], truth, *expected)
    digests = {path.name: files.sha256(path) for path in paths.values()}
    ids, labels = (train[id_column], test[id_column]), train[names].to_numpy()
    return Tables(train, test, sample, truth, names, id_column, digests, *ids, labels)


def iter_comments(path: Path, id_column: str, text_column: str) -> Iterator[pd.DataFrame]:
    """Yield the ids and texts of any CSV in chunks, for files larger than memory."""
    row_of_id: dict[str, int] = {}
    for chunk in read_chunks(path, CHUNK_ROWS):
        _require_columns(path, chunk, id_column, text_column)
        check_ids(path, chunk[id_column], row_of_id)
        yield chunk[[id_column, text_column]]


def read_labels(path: Path, id_column: str = "id") -> pd.DataFrame:
    """Read ids and labels: 0, 1, or -1 in a whole row that Kaggle does not score."""
    table, names = _read_labelled(path, id_column)
    labels = _parse_labels(path, table[names], {"0": 0, "1": 1, "-1": UNSCORED})
    scored = labels != UNSCORED
    whole_row = scored.eq(scored.any(axis=1), axis=0)
    check_cells(path, labels, whole_row, "must fill a whole row, which is then not scored")
    table[names] = labels
    return table


def read_scores(path: Path, id_column: str = "id") -> pd.DataFrame:
    """Read ids and probabilities, for example a submission."""
    table, names = _read_labelled(path, id_column)
    table[names] = parse_probabilities(path, table[names])
    return table


def write_scores(
    path: Path, ids: pd.Series, probabilities: np.ndarray, label_names: list[str], digits: int = 9
) -> None:
    """Write ids and probabilities, (N, L). 9 digits tell all float32 apart, and 17 all float64."""
    table = pd.DataFrame(probabilities, pd.Index(ids), label_names)
    with files.replacing(path) as temporary:
        table.to_csv(temporary, float_format=f"%.{digits}g")


def align(
    path: Path, table: pd.DataFrame, columns: list[str], other_path: Path | str, ids: pd.Series
) -> pd.DataFrame:
    """Return a table in the order of `ids`; refuse other columns, or ids that one side lacks."""
    if list(table) != columns:
        faults = [f"missing {show(name)}" for name in columns if name not in table]
        faults += [f"extra {show(name)}" for name in table if name not in columns]
        fault = f"columns differ from other files' ({', '.join(faults[:10]) or 'another order'})"
        raise InputError(f"{path}: {fault}; write exactly {show_all(columns)}")
    sides = [(path, table[ids.name]), (other_path, ids)]
    for (here, some), (there, others) in (sides, sides[::-1]):
        fault = f"is not in {there}; both must have the same ids (take them from one download)"
        check_cells(here, some.to_frame(), some.isin(others).to_frame(), fault)
    # pandas warns that an insertion is slow in a table of many columns, unless it is a copy.
    return table.set_index(ids.name).reindex(ids).copy().reset_index()


def check_ids(path: Path, ids: pd.Series, row_of_id: dict[str, int]) -> None:
    """Refuse empty ids and those that are in `row_of_id` already; add all others to it."""
    for row, value in zip(ids.index + 1, ids, strict=True):
        fault = "" if value.strip() else "an empty id; give the row an id"
        first = row_of_id.setdefault(value, row)
        if first != row:
            fault = f"id {show(value)} is in row {first} already; remove one of them"
        if fault:
            raise InputError(f"{path}: row {row}, column {show(ids.name)}: {fault}")


def parse_probabilities(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return all cells as numbers; an InputError reports the first that is no probability."""
    scores = table.apply(pd.to_numeric, errors="coerce")
    fault = "is not a probability; write a number from 0 to 1"
    check_cells(path, table, (scores >= 0) & (scores <= 1), fault)
    return scores


def _read_labelled(path: Path, id_column: str, *text: str) -> tuple[pd.DataFrame, list[str]]:
    """Read a table; return it and the names of its labels: all columns but ids and text."""
    table = pd.concat(read_chunks(path))
    _require_columns(path, table, id_column, *text)
    check_ids(path, table[id_column], {})
    names = [name for name in table if name not in (id_column, *text)]
    if not names:
        raise InputError(f"{path}: no label columns; add a column per label")
    return table, names


def _require_columns(path: Path, table: pd.DataFrame, *columns: str) -> None:
    remedy = "set id_column and text_column, or rename the columns"
    for column in columns:
        if column not in table:
            found = show_all(list(table))
            raise InputError(f"{path}: no column {show(column)}; found {found}; {remedy}")
        if columns.count(column) > 1:
            raise InputError(f"{path}: {show(column)} cannot hold both ids and text; {remedy}")


def _parse_labels(path: Path, table: pd.DataFrame, values: dict[str, int]) -> pd.DataFrame:
    labels = table.apply(lambda column: column.map(values))
    check_cells(path, table, labels.notna(), f"is not a label; write {' or '.join(values)}")
    return labels.astype(np.int8)
