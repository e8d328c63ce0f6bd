"""Explain the scores of a file's comments, as a table or as a page to read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from toxlib import files
from toxlib.coloured_text import LEGEND, coloured_list
from toxlib.data.comments import check_comments, iter_comments
from toxlib.data.text import short_name
from toxlib.errors import InputError
from toxlib.progress import progress
from toxlib.scoring.predictor import Scorer, load
from toxlib.scoring.score_files import readable
from toxlib.scoring.shards import tell

Write = Callable[[Scorer, list[str], list[str], list[str]], None]
"""Explains the comments of some ids, with some texts, for some labels."""
CHUNK = 64
"""Comments that are explained together."""
MOST_ON_PAGE = 500
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Why these scores</title>
<style>
:root { color-scheme: light dark }
body { max-width: 50rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }
</style>
<h1>Why these scores</h1>
<p>Each comment's words are marked by their effect on the label that scores highest.</p>
"""


def explain_file(run: Path, path: Path, output: Path, labels: list[str]) -> None:
    """Write how far the score of each label falls if a word of a comment is masked.

    The output is a page if its name ends in .html, else CSV: a row per word with the columns id,
    `start`, `end`, `word`, and one per label. `labels` are label names; if empty, all labels.

    Raises:
        InputError: if the file cannot be read, a label is unknown, or a page would be too long.
    """
    files.check_output(output, path)
    scorer = load(run)
    names = labels or scorer.label_names
    scorer.check_explainable(names)
    with readable(path) as copy:
        _explain_file(scorer, copy, output, names)


def _explain_file(scorer: Scorer, path: Path, output: Path, labels: list[str]) -> None:
    columns = scorer.recipe.id_column, scorer.recipe.text_column
    checked = check_comments(path, *columns)
    tell([checked])
    if output.suffix == ".html" and checked.rows > MOST_ON_PAGE:
        remedy = "write a .csv, or explain a part of the file"
        raise InputError(f"{path}: {checked.rows} rows, but a page shows {MOST_ON_PAGE}; {remedy}")
    with files.writing(output) as file, progress(total=checked.rows, description="Explain") as bar:
        write = _page(file) if output.suffix == ".html" else _table(file)
        for ids, texts in _chunks(path, columns):
            write(scorer, ids, texts, labels)
            bar.update(len(ids))


def _chunks(path: Path, columns: tuple[str, str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the ids and texts of `CHUNK` comments after another."""
    for chunk in iter_comments(path, *columns, number_rows=True):
        for start in range(0, len(chunk), CHUNK):
            rows = chunk.iloc[start : start + CHUNK]
            yield rows[columns[0]].tolist(), rows[columns[1]].tolist()


def _table(file: IO[str]) -> Write:
    """Return what writes rows of the table."""
    headers = [True]

    def write(scorer: Scorer, ids: list[str], texts: list[str], labels: list[str]) -> None:
        for name, table in zip(ids, scorer.explain_labels(texts, labels), strict=True):
            table.insert(0, scorer.recipe.id_column, name, allow_duplicates=True)
            table.to_csv(file, header=bool(headers), index=False, float_format="%.6g")
            headers.clear()

    return write


def _page(file: IO[str]) -> Write:
    """Return what writes comments to the page, each coloured for its highest label."""
    file.write(PAGE + LEGEND)

    def write(scorer: Scorer, ids: list[str], texts: list[str], labels: list[str]) -> None:
        explained = list(scorer.explain_labels(texts, labels))
        scores, effects, headings = scorer.predict(texts)[labels].to_numpy(), [], []
        for name, row, table in zip(ids, scores, explained, strict=True):
            order = row.argsort(kind="stable")[::-1]
            told = [f"{short_name(labels[j])} {row[j]:.2f}" for j in order]
            headings.append(f"{name}: {' · '.join(told)}")
            # By place, because a label may be called like one of the first three columns.
            highest = table.iloc[:, [0, 1, 2, 3 + order[0]]]
            effects.append(highest.set_axis(["start", "end", "word", "effect"], axis=1))
        file.write(coloured_list(texts, effects, headings, scorer.recipe.mask_comments))

    return write
