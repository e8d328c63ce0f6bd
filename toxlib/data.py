"""Find, read and check Kaggle's files."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import paths
from toxlib.csv_files import read_chunks, show, show_all
from toxlib.errors import InputError

TABLES = ("train", "test", "sample_submission", "test_labels")
REQUIRED = TABLES[:3]
UNSCORED = -1


@dataclass(frozen=True)
class Tables:
    """Kaggle's four files, read and checked."""

    train: pd.DataFrame
    """id, text, and a column of 0 and 1 per label."""
    test: pd.DataFrame
    """id, text."""
    sample_submission: pd.DataFrame
    """id and a column per label: the ids, order and columns that a submission must have."""
    test_labels: pd.DataFrame | None
    """id and labels, -1 throughout a row that is not scored; None if the file is not there."""
    label_names: list[str]
    sha256: dict[str, str]
    """Digest of each file as it lies on disk."""


def find_files(folder: Path) -> dict[str, Path]:
    """Kaggle's files in a folder, as `.csv` or, failing that, `.csv.zip`: name → path."""
    candidates = (
        (name, folder / f"{name}{end}") for end in (".csv.zip", ".csv") for name in TABLES
    )
    return {name: path for name, path in candidates if path.is_file()}


def find_data_dir(data_dir: str | Path | None, kaggle_input: Path | None = None) -> Path | None:
    """The folder that holds Kaggle's files; None where there is none, and none was asked for.

    A folder that is asked for must hold them. Else `data/` of the repository is tried, then the
    data sets attached to a Kaggle notebook.

    Raises:
        InputError: naming what the folder lacks. `data/` with only some of the files is an error
            too: to fall back to the sample would mislead.
    """
    if data_dir:
        return _complete(Path(data_dir).expanduser())
    default = paths.REPOSITORY / "data"
    if find_files(default):
        return _complete(default)
    root = kaggle_input or paths.KAGGLE_INPUT
    attached = sorted(root.glob("*")) + sorted(root.glob("*/*"))
    return next((f for f in attached if set(REQUIRED) <= set(find_files(f))), None)


def _complete(folder: Path) -> Path:
    if not folder.is_dir():
        what = "a file, not a folder" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}; give the folder that holds train.csv")
    files = find_files(folder)
    missing = [f"{name}.csv" for name in REQUIRED if name not in files]
    if missing:
        found = ", ".join(sorted(path.name for path in files.values())) or "none of them"
        raise InputError(
            f"{folder}: {', '.join(missing)} not found as .csv or .csv.zip (found: {found}); "
            "download the competition's files into this folder"
        )
    return folder


def read_tables(folder: Path, id_column: str = "id", text_column: str = "comment_text") -> Tables:
    """Read and check all of a folder's files; label names come from train's header.

    Raises:
        InputError: for the first fault found, with file, row, column and remedy.
    """
    files = find_files(_complete(folder))
    train = _read_csv(files["train"])
    names = _label_names(files["train"], train, id_column, text_column)
    _check_ids(files["train"], train[id_column])
    train = _with_labels(files["train"], train, names, allow_unscored=False)
    test = read_comments(files["test"], id_column, text_column)
    sample = _read_csv(files["sample_submission"], [id_column, *names])
    _check_ids(files["sample_submission"], sample[id_column])
    _check_same_ids(files["test"], test[id_column], files["sample_submission"], sample[id_column])
    labels = None
    if "test_labels" in files:
        labels = read_labels(files["test_labels"], id_column, names)
        _check_same_ids(files["test_labels"], labels[id_column], files["test"], test[id_column])
        labels = labels.set_index(id_column).loc[test[id_column]].reset_index()
    digests = {path.name: file_sha256(path) for path in files.values()}
    return Tables(train, test, sample, labels, names, digests)


def read_comments(
    path: Path, id_column: str = "id", text_column: str = "comment_text"
) -> pd.DataFrame:
    """The ids and texts of any CSV that has both columns; others are left out."""
    return pd.concat(iter_comments(path, id_column, text_column), ignore_index=True)


def iter_comments(
    path: Path, id_column: str = "id", text_column: str = "comment_text", chunk_rows: int = 8192
) -> Iterator[pd.DataFrame]:
    """`read_comments` in pieces of `chunk_rows`, for files larger than memory."""
    seen: dict[str, int] = {}
    for start, header, rows in read_chunks(path, chunk_rows):
        _require_columns(path, header, id_column, text_column)
        chunk = pd.DataFrame(rows, columns=header, dtype=object)[[id_column, text_column]]
        _check_ids(path, chunk[id_column], start, seen)
        yield chunk


def read_labels(
    path: Path,
    id_column: str = "id",
    label_names: list[str] | None = None,
    allow_unscored: bool = True,
) -> pd.DataFrame:
    """Ids and labels; -1 is legal for a whole row, if at all: Kaggle does not score it."""
    table = _read_csv(path, label_names and [id_column, *label_names], id_column)
    _check_ids(path, table[id_column])
    names = [name for name in table.columns if name != id_column]
    _require_labels(path, names)
    return _with_labels(path, table, names, allow_unscored)


def read_scores(path: Path, id_column: str = "id") -> pd.DataFrame:
    """Ids and probabilities: a submission, or a run's validation predictions."""
    table = _read_csv(path, None, id_column)
    _check_ids(path, table[id_column])
    _require_labels(path, list(table.columns.drop(id_column)))
    for column in table.columns.drop(id_column):
        values = pd.to_numeric(table[column], errors="coerce")
        bad = ~values.between(0, 1)
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(
                f"{path}: row {row + 1}, column {show(column)}: {show(table[column].iloc[row])} "
                "is not a probability; write a number from 0 to 1"
            )
        table[column] = values
    return table


def write_scores(
    path: Path, ids: pd.Series, probabilities: np.ndarray, label_names: list[str]
) -> None:
    """Write ids and probabilities, (N, L), for `read_scores`.

    Nine digits keep every float32 apart: rounding would tie comments that are ranked.
    """
    table = pd.DataFrame(probabilities, columns=label_names)
    table.insert(0, ids.name, list(ids))
    with paths.replacing(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")


def file_sha256(path: Path) -> str:
    """The file's sha256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _label_names(path: Path, train: pd.DataFrame, id_column: str, text_column: str) -> list[str]:
    found = list(train.columns)
    _require_columns(path, found, id_column, text_column)
    names = [name for name in found if name not in (id_column, text_column)]
    _require_labels(path, names)
    return names


def _require_columns(path: Path, header: list[str], id_column: str, text_column: str) -> None:
    for column in (id_column, text_column):
        if column not in header:
            raise InputError(
                f"{path}: no column {show(column)}; found {show_all(header)}; rename the column, "
                "or set id_column and text_column"
            )
    if id_column == text_column:
        raise InputError(
            f"{path}: column {show(id_column)} cannot hold both ids and text; set id_column and "
            "text_column to two columns"
        )


def _require_labels(path: Path, names: list[str]) -> None:
    if not names:
        raise InputError(f"{path}: no label columns; add a column per label")


def _read_csv(
    path: Path, columns: list[str] | None = None, id_column: str | None = None
) -> pd.DataFrame:
    chunks = [(header, rows) for _, header, rows in read_chunks(path, 65536)]
    header = chunks[0][0]
    if columns is not None and header != columns:
        _refuse_columns(path, header, columns)
    if id_column is not None and id_column not in header:
        raise InputError(
            f"{path}: no column {show(id_column)}; found {show_all(header)}; rename the column, "
            "or set id_column"
        )
    rows = [row for _, part in chunks for row in part]
    return pd.DataFrame(rows, columns=header, dtype=object)


def _refuse_columns(path: Path, header: list[str], columns: list[str]) -> None:
    missing = [name for name in columns if name not in header]
    extra = [name for name in header if name not in columns]
    faults = [f"missing {show_all(missing)}"] if missing else []
    faults += [f"extra {show_all(extra)}"] if extra else []
    raise InputError(
        f"{path}: columns do not match train's ({'; '.join(faults) or 'another order'}); "
        f"write exactly {show_all(columns)}"
    )


def _check_ids(
    path: Path, ids: pd.Series, start: int = 0, seen: dict[str, int] | None = None
) -> None:
    seen = {} if seen is None else seen
    for row, value in enumerate(ids, start=start + 1):
        if not value.strip():
            raise InputError(f"{path}: row {row}, column {show(ids.name)}: empty id; give it one")
        if value in seen:
            raise InputError(
                f"{path}: row {row}, column {show(ids.name)}: id {show(value)} stands in row "
                f"{seen[value]} already; remove one of them"
            )
        seen[value] = row


def _check_same_ids(path: Path, ids: pd.Series, other_path: Path, others: pd.Series) -> None:
    for here, there, first, second in (
        (path, other_path, ids, others),
        (other_path, path, others, ids),
    ):
        alone = ~first.isin(second)
        if alone.any():
            row = int(np.argmax(alone))
            raise InputError(
                f"{here}: row {row + 1}, column {show(first.name)}: id {show(first.iloc[row])} is "
                f"not in {there} ({int(alone.sum())} such ids); take both from one download"
            )


def _with_labels(
    path: Path, table: pd.DataFrame, names: list[str], allow_unscored: bool
) -> pd.DataFrame:
    allowed = {"0": 0, "1": 1} | ({"-1": UNSCORED} if allow_unscored else {})
    values = table[names].apply(lambda column: column.map(allowed))
    _refuse_first(path, table, names, values.isna().to_numpy(), f"write {' or '.join(allowed)}")
    unscored = values.eq(UNSCORED).to_numpy()
    partial = unscored & ~unscored.all(axis=1, keepdims=True)
    _refuse_first(path, table, names, partial, "-1 is for a whole row, which is then not scored")
    return table.assign(**values.astype(np.int8))


def _refuse_first(
    path: Path, table: pd.DataFrame, names: list[str], bad: np.ndarray, remedy: str
) -> None:
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{path}: row {row + 1}, column {show(names[column])}: label "
            f"{show(table[names[column]].iloc[row])} is not allowed; {remedy}"
        )
