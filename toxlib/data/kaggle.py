"""Find, read and check Kaggle's files; the first fault raises an InputError that says where."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import files
from toxlib.data.comments import read_comments
from toxlib.data.csv_files import check_cells
from toxlib.data.sample import write_sample
from toxlib.data.tables import (
    LABELS,
    align,
    parse_labels,
    parse_probabilities,
    read_labelled,
)
from toxlib.errors import InputError, show_all

TABLES = ("train", "test", "sample_submission", "test_labels")
REQUIRED = TABLES[:2]
UNSCORED = -1  # the value of all labels of a test row that Kaggle does not score
SAMPLE_NOTE = "Synthetic sample with raised label rates: its scores say nothing about Jigsaw."


@dataclass(frozen=True)
class Tables:
    """Kaggle's files, read and checked. The ids and texts stay on disk; see `join_on_disk`."""

    train: pd.DataFrame  # id, text, and a column of 0 and 1 per label
    test: pd.DataFrame  # id and text
    sample_submission: pd.DataFrame  # the ids, order and columns that a submission must have
    test_labels: pd.DataFrame | None  # id and labels in the order of `test`; None if none count
    label_names: list[str]
    id_column: str
    sha256: dict[str, str]  # the digest of each file, by file name
    train_ids: pd.Series
    test_ids: pd.Series
    labels: np.ndarray  # of the training rows, (N, L) of 0 and 1
    notes: tuple[str, ...] = ()  # what was assumed about the files, a sentence each


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
    # Many data sets have a train.csv and a test.csv; we do not take one that nobody has named.
    wanted = {*REQUIRED, "sample_submission"}
    return next((folder for folder in attached if wanted <= set(find_files(folder))), None)


def find_files(folder: Path, names: Sequence[str] = TABLES) -> dict[str, Path]:
    """Return the paths of Kaggle's files in a folder, by name; `.csv` rather than `.csv.zip`."""
    paths = [(name, folder / f"{name}{end}") for end in (".csv.zip", ".csv") for name in names]
    return {name: path for name, path in paths if path.is_file()}


def _check_complete(folder: Path) -> Path:
    remedy = "give the folder that holds train.csv"
    try:
        if not folder.is_dir():
            what = "a file, not a folder" if folder.exists() else "no such folder"
            raise InputError(f"{folder}: {what}; {remedy}")
        found = find_files(folder)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror.lower()}; {remedy}") from None
    missing = ", ".join(f"{name}.csv" for name in REQUIRED if name not in found)
    if missing:
        names = ", ".join(sorted(path.name for path in found.values())) or "none of them"
        fault = f"{missing} not found as .csv or .csv.zip (found: {names})"
        raise InputError(f"{folder}: {fault}; download the competition's files into this folder")
    return folder


def read_tables(
    folder: Path,
    id_column: str = "id",
    text_column: str = "comment_text",
    label_columns: str = "",
) -> Tables:
    """Read and check Kaggle's files.

    `label_columns` names the label columns of train, separated by commas. If it is empty, they are
    all columns besides id and text. Without a sample_submission file, the table is made from the
    test ids and the labels.
    """
    paths, notes = find_files(_check_complete(folder)), []
    wanted = label_columns, notes
    train, names = _read_training(paths["train"], (id_column, text_column), *wanted)
    test = read_comments(paths["test"], id_column, text_column, notes)
    expected = [id_column, *names], paths["test"], test[id_column]
    if "sample_submission" in paths:
        sample, _ = read_labelled(paths["sample_submission"], (id_column,), _as_it_is, notes=notes)
        align(paths["sample_submission"], sample, *expected)  # only a check: it keeps its order
    else:
        sample = test[[id_column]].assign(**dict.fromkeys(names, 0.5))
        notes.append("sample_submission.csv is not there: made from the test ids and the labels.")
    truth = None
    if "test_labels" in paths:
        truth = read_labels(paths["test_labels"], id_column, *wanted)
        truth = align(paths["test_labels"], truth, *expected, any_order=True)
        if not is_scored(truth).any():
            truth = None
            notes.append(f"{paths['test_labels'].name}: every row is -1, so nothing is graded.")
    digests = {path.name: files.sha256(path) for path in paths.values()}
    ids, labels = (train[id_column], test[id_column]), train[names].to_numpy()
    return Tables(train, test, sample, truth, names, id_column, digests, *ids, labels, (*notes,))


def read_labels(
    path: Path, id_column: str = "id", label_columns: str = "", notes: list[str] | None = None
) -> pd.DataFrame:
    """Read ids and labels: 0, 1, or -1 in a whole row that Kaggle does not score."""
    parse = partial(_parse_test_labels, path)
    table, names = read_labelled(path, (id_column,), parse, label_columns, notes)
    return table[[id_column, *names]]


def _parse_test_labels(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    values = LABELS | {"-1": UNSCORED, "-1.0": UNSCORED}
    labels = parse_labels(path, table, values, "write 0 or 1 or -1")
    scored = labels != UNSCORED
    whole_row = scored.eq(scored.any(axis=1), axis=0)
    check_cells(path, labels, whole_row, "must fill a whole row, which is then not scored")
    return labels


def is_scored(truth: pd.DataFrame) -> np.ndarray:
    """Return the rows of a table of `read_labels`, (N,), that Kaggle scores: those not of -1."""
    return (truth.iloc[:, 1] != UNSCORED).to_numpy()


def read_scores(path: Path, id_column: str = "id", notes: list[str] | None = None) -> pd.DataFrame:
    """Read ids and probabilities, for example a submission."""
    return read_labelled(path, (id_column,), partial(parse_probabilities, path), notes=notes)[0]


def write_scores(
    path: Path, ids: pd.Series, probabilities: np.ndarray, label_names: list[str], digits: int = 9
) -> None:
    """Write ids and probabilities, (N, L). 9 digits tell all float32 apart, and 17 all float64."""
    table = pd.DataFrame(probabilities, pd.Index(ids), label_names)
    with files.replacing(path) as temporary:
        table.to_csv(temporary, float_format=f"%.{digits}g")


def _read_training(
    path: Path, first: tuple[str, ...], label_columns: str, notes: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Read ids, texts and labels; return them and the names of the labels."""
    remedy = "write 0 or 1"
    if not label_columns:
        remedy += "; every further column is taken for a label, unless label_columns names them"
    parse = partial(parse_labels, path, values=LABELS, remedy=remedy)
    train, names = read_labelled(path, first, parse, label_columns, notes)
    labels = train[names]
    if not labels.any(axis=None):
        fault = "no row has a label, all are 0"
        raise InputError(f"{path}: {fault}; give rows with labels, there is nothing to learn")
    if constant := list(labels.columns[(labels == labels.iloc[0]).all()]):
        same = f"the same in every row, so nothing is learnt about it: {show_all(constant)}"
        notes.append(f"{path.name}: a label is {same}.")
    return train, names


def _as_it_is(table: pd.DataFrame) -> pd.DataFrame:
    return table
