"""Find, read and check Kaggle's files: train, test, sample_submission and test_labels.

The first fault raises an InputError that names file, row and column and says what to do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import files
from toxlib.data.csv_files import check_cells, read_chunks, read_table
from toxlib.data.sample import write_sample
from toxlib.errors import InputError, show, show_all

TABLES = ("train", "test", "sample_submission", "test_labels")
REQUIRED = TABLES[:3]
UNSCORED = -1
"""The value of all labels of a test row that Kaggle does not score."""
SAMPLE_NOTE = (
    "Built-in synthetic sample: its label rates are raised on purpose, and its scores say nothing "
    "about the Jigsaw competition."
)


@dataclass(frozen=True)
class Tables:
    """Kaggle's files, read and checked."""

    train: pd.DataFrame
    """Id, text, and a column of 0 and 1 per label."""
    test: pd.DataFrame
    """Id and text."""
    sample_submission: pd.DataFrame
    """Id and labels: the ids, order and columns that a submission must have."""
    test_labels: pd.DataFrame | None
    """Id and labels in the order of `test`; None if there is no such file."""
    label_names: list[str]
    id_column: str
    text_column: str
    sha256: dict[str, str]
    """The digest of each file, by file name."""

    @property
    def train_ids(self) -> pd.Series:
        return self.train[self.id_column]

    @property
    def test_ids(self) -> pd.Series:
        return self.test[self.id_column]

    @property
    def labels(self) -> np.ndarray:
        """The labels of the training rows: (N, L) of 0 and 1."""
        return self.train[self.label_names].to_numpy()


def find_or_make_data(data_dir: str = "") -> tuple[Path, bool]:
    """Return the folder of Kaggle's files and False, or that of the sample and True."""
    folder = find_data_dir(data_dir)
    if folder is None:
        return write_sample(files.outputs() / "sample"), True
    return folder.resolve(), False


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
    test = read_comments(paths["test"], id_column, text_column)
    sample, _ = _read_labelled(paths["sample_submission"], id_column, label_names=names)
    test_ids = paths["test"], test[id_column]
    _check_same_ids(test_ids, (paths["sample_submission"], sample[id_column]))
    labels = None
    if "test_labels" in paths:
        labels = read_labels(paths["test_labels"], id_column, names)
        _check_same_ids((paths["test_labels"], labels[id_column]), test_ids)
        labels = labels.set_index(id_column).loc[test[id_column]].reset_index()
    digests = {path.name: files.sha256(path) for path in paths.values()}
    return Tables(train, test, sample, labels, names, id_column, text_column, digests)


def read_comments(
    path: Path, id_column: str = "id", text_column: str = "comment_text"
) -> pd.DataFrame:
    """Read the ids and texts of any CSV that has both columns."""
    return pd.concat(iter_comments(path, id_column, text_column))


def iter_comments(
    path: Path, id_column: str = "id", text_column: str = "comment_text", chunk_rows: int = 8192
) -> Iterator[pd.DataFrame]:
    """Yield what `read_comments` returns in chunks, for files larger than memory."""
    row_of_id: dict[str, int] = {}
    for chunk in read_chunks(path, chunk_rows):
        _require_columns(path, chunk, id_column, text_column)
        _check_ids(path, chunk[id_column], row_of_id)
        yield chunk[[id_column, text_column]]


def read_labels(
    path: Path, id_column: str = "id", label_names: list[str] | None = None
) -> pd.DataFrame:
    """Read ids and labels: 0, 1, or -1 in a whole row that Kaggle does not score."""
    table, names = _read_labelled(path, id_column, label_names=label_names)
    table[names] = _parse_labels(path, table[names], {"0": 0, "1": 1, "-1": UNSCORED})
    return table


def read_scores(path: Path, id_column: str = "id") -> pd.DataFrame:
    """Read ids and probabilities, for example a submission."""
    table, names = _read_labelled(path, id_column)
    scores = table[names].apply(pd.to_numeric, errors="coerce")
    fault = "is not a probability; write a number from 0 to 1"
    check_cells(path, table[names], (scores >= 0) & (scores <= 1), fault)
    table[names] = scores
    return table


def write_scores(
    path: Path, ids: pd.Series, probabilities: np.ndarray, label_names: list[str], digits: int = 9
) -> None:
    """Write ids and probabilities, (N, L), with `digits` significant digits.

    9 digits keep every float32 apart, and 17 every float64; with fewer, ranks would be lost.
    """
    table = pd.DataFrame(probabilities, columns=label_names)
    table.insert(0, ids.name, list(ids))
    with files.replacing(path) as temporary:
        table.to_csv(temporary, index=False, float_format=f"%.{digits}g")


def _read_labelled(
    path: Path, id_column: str, text_column: str | None = None, label_names: list | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Read a table and the names of its label columns: all others, or exactly `label_names`."""
    table = read_table(path)
    if label_names is not None:
        _require_exactly(path, table, [id_column, *label_names])
    others = [id_column] if text_column is None else [id_column, text_column]
    _require_columns(path, table, *others)
    _check_ids(path, table[id_column], {})
    names = [name for name in table.columns if name not in others]
    if not names:
        raise InputError(f"{path}: no label columns; add a column per label")
    return table, names


def _require_columns(path: Path, table: pd.DataFrame, *columns: str) -> None:
    for column in columns:
        if column not in table:
            fault = f"no column {show(column)}; found {show_all(list(table))}"
            raise InputError(f"{path}: {fault}; rename it, or set id_column and text_column")
        if columns.count(column) > 1:
            fault = f"column {show(column)} cannot hold both ids and text"
            raise InputError(f"{path}: {fault}; set id_column and text_column to two columns")


def _require_exactly(path: Path, table: pd.DataFrame, columns: list[str]) -> None:
    if list(table) != columns:
        faults = [f"missing {show(name)}" for name in columns if name not in table]
        faults += [f"extra {show(name)}" for name in table if name not in columns]
        fault = f"columns do not match train's ({', '.join(faults[:10]) or 'another order'})"
        raise InputError(f"{path}: {fault}; write exactly {show_all(columns)}")


def _check_ids(path: Path, ids: pd.Series, row_of_id: dict[str, int]) -> None:
    """Refuse empty ids and those that are in `row_of_id` already; add all others to it."""
    filled = ids.str.strip() != ""
    check_cells(path, ids.to_frame(), filled.to_frame(), "is an empty id; give the row an id")
    for row, value in zip(ids.index + 1, ids, strict=True):
        first = row_of_id.setdefault(value, row)
        if first != row:
            fault = f"id {show(value)} is in row {first} already; remove one of them"
            raise InputError(f"{path}: row {row}, column {show(ids.name)}: {fault}")


def _check_same_ids(*tables: tuple[Path, pd.Series]) -> None:
    """Refuse an id that only one of two tables has."""
    for (path, ids), (other_path, other_ids) in (tables, tables[::-1]):
        fault = f"is not in {other_path}; take both files from one download"
        check_cells(path, ids.to_frame(), ids.isin(other_ids).to_frame(), fault)


def _parse_labels(path: Path, table: pd.DataFrame, values: dict[str, int]) -> pd.DataFrame:
    labels = table.apply(lambda column: column.map(values))
    check_cells(path, table, labels.notna(), f"is not a label; write {' or '.join(values)}")
    scored = labels != UNSCORED
    whole_row = scored.eq(scored.any(axis=1), axis=0)
    check_cells(path, table, whole_row, "must fill a whole row, which is then not scored")
    return labels.astype(np.int8)
