"""Translated copies of comments, as Kagglers share them: train_de.csv, test_de.csv and so on.

A copy has the id of a comment and another text: usually the comment translated into a language and
back. Copies are found by the ids of the comments alone, so they stand on their side of any split.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import files
from toxlib.data.comments import read_comments
from toxlib.data.csv_files import check_cells
from toxlib.data.kaggle import REQUIRED, Tables, find_files
from toxlib.data.tables import same_strings
from toxlib.data.text import PreparedTexts
from toxlib.errors import InputError


@dataclass(frozen=True)
class Versions:
    """N comments, and after them the M translated copies that some of them have."""

    texts: Sequence[str]  # (N + M,), on disk
    comments: np.ndarray  # (N + M,): the row of the comment that a text is a version of
    clean_spelling: bool = False  # whether the texts are cleaned by `spelling.normalise`

    def of(self, rows: np.ndarray) -> tuple[PreparedTexts, np.ndarray]:
        """Return all versions of some comments, and the row of each one's comment.

        The comments at `rows`, (n,), come first and in this order, and then their copies.

        >>> versions = Versions(["one", "two", "eins", "zwei", "un"], np.array([0, 1, 0, 1, 0]))
        >>> versions.of(np.array([0]))[0][:]
        ['one', 'eins', 'un']
        """
        first = int(self.comments.max(initial=-1)) + 1  # the first N texts are the comments
        copies = first + np.flatnonzero(np.isin(self.comments[first:], rows))
        taken = np.concatenate([rows, copies])
        return PreparedTexts(self.texts, taken, self.clean_spelling), self.comments[taken]


@dataclass(frozen=True)
class Translations:
    """The versions of training and test comments, and what was read; see `read_translations`."""

    train: Versions
    test: Versions
    sha256: dict[str, str] = field(default_factory=dict)  # of each file, by file name
    notes: tuple[str, ...] = ()  # what was assumed about the files, a sentence each


NO_TRANSLATIONS = Translations(*[Versions([], np.zeros(0, int))] * 2)


def translation_files(folder: Path, languages: str) -> dict[str, Path]:
    """Return the paths of the translated copies, by names such as train_de.

    `languages` are separated by commas, such as `de,fr`.
    """
    codes = dict.fromkeys(filter(None, languages.split(",")))
    return find_files(folder, [f"{name}_{code}" for name in REQUIRED for code in codes])


def read_translations(
    folder: Path, languages: str, tables: Tables, text_column: str, clean_spelling: bool = False
) -> Translations:
    """Return Kaggle's comments with their copies in `languages`, which may be none.

    With `clean_spelling`, the spelling of all texts is cleaned when they are taken.

    Each language needs copies of training comments, of all or of some; copies of test comments may
    be missing. A copy without text counts as missing. Columns besides id and text are left out.

    Raises:
        InputError: if a file is missing or damaged, or has ids that its originals lack.
    """
    paths, notes = translation_files(folder, languages), []
    for code in filter(None, languages.split(",")):
        if f"train_{code}" not in paths:
            fault = f"train_{code}.csv not found as .csv or .csv.zip"
            remedy = f"make it with python -m toxlib augment, or leave {code} out of translations"
            raise InputError(f"{folder}: {fault}; {remedy}")
        if f"test_{code}" not in paths:
            fault = "is not there: test comments are scored without these copies"
            notes.append(f"test_{code}.csv {fault}.")
    both = []
    for name, table in zip(REQUIRED, (tables.train, tables.test), strict=True):
        of_table = [path for key, path in paths.items() if key.startswith(f"{name}_")]
        originals = table[tables.id_column], table[text_column], f"{name}.csv"
        texts, comments = _read_versions(of_table, *originals, notes)
        both.append(Versions(texts, comments, clean_spelling))
    return Translations(*both, {p.name: files.sha256(p) for p in paths.values()}, tuple(notes))


def _read_versions(
    paths: list[Path], ids: pd.Series, texts: pd.Series, name: str, notes: list[str]
) -> tuple[Sequence[str], np.ndarray]:
    """Return the texts and comments of `Versions`. All texts stay on disk."""
    all_texts, comments = [texts], [np.arange(len(ids))]
    for path in paths:
        table = read_comments(path, ids.name, texts.name, notes)
        rows = _rows_of(path, table[ids.name], ids, name)
        has_text = np.array([not text.isspace() and text != "" for text in table[texts.name]])
        if not has_text.all():
            notes.append(f"{path.name}: {(~has_text).sum()} copies without text are left out.")
        all_texts.append(table[texts.name][has_text])
        comments.append(rows[has_text])
    return pd.concat(all_texts).array, np.concatenate(comments)


def _rows_of(path: Path, copies: pd.Series, ids: pd.Series, name: str) -> np.ndarray:
    """Return the row of the original of each copy, (M,), by their ids."""
    if same_strings(copies, ids):
        return np.arange(len(ids))
    rows = pd.Index(ids).get_indexer(copies)
    fault = f"is not in {name}; delete this row, or take both files from one download"
    check_cells(path, copies.to_frame(), pd.DataFrame(rows >= 0), fault)
    return rows
