"""Write translated copies of Kaggle's files: train_de.csv beside train.csv, and so on.

    train_de.csv               ids and translated texts, in the order of train.csv
    _translated/<digest>.json  finished blocks of 256 comments, while a file is translated

A block's name is a digest of its texts and of the models, so a command that was stopped goes on
where it was, and another command never takes its blocks.
"""

import csv
import hashlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd

from toxlib import files
from toxlib.data.comments import read_comments
from toxlib.data.kaggle import find_files
from toxlib.data.text import PreparedTexts
from toxlib.errors import InputError, show
from toxlib.progress import progress
from toxlib.recipe_values import LANGUAGE
from toxlib.training.translation import Translator, load_translator

BLOCK = 256
"""Comments that are translated together; a stopped command loses at most one block."""
BLOCKS = "_translated"
ORIGINAL = "en"
"""The language of the comments, which they are translated back into."""
Checkpoint = tuple[str, str]
"""A folder and "", or a name on the hub and its revision."""


def augment(
    paths: Sequence[Path],
    folder: Path,
    language: str,
    there: Checkpoint,
    back: Checkpoint | None = None,
    columns: tuple[str, str] = ("id", "comment_text"),
) -> list[Path]:
    """Translate the texts of files, and write them to `folder`; return the paths.

    With `back`, they are translated into the language and back, as the files are that Kagglers
    share: other words with the same meaning, which the same encoder reads. Without it, they stay
    in the language. A file that `folder` has already is left as it is.

    Args:
        paths: CSV files with ids and texts, such as train.csv and test.csv.
        language: such as de; it becomes part of the files' names.
        columns: those of ids and texts.

    Raises:
        InputError: at the first fault of a file or a checkpoint, before anything is written.
    """
    targets = _targets(paths, folder, language)
    there_already = find_files(folder, [target.stem for target in targets.values()])
    for found in there_already.values():
        print(f"{found} is there already; delete it to translate again", file=sys.stderr)
    todo = {path: t for path, t in targets.items() if t.stem not in there_already}
    tables = {path: _read(path, columns) for path in todo}
    if todo:
        steps = [load_translator(*there, language)]
        steps += [load_translator(*back, ORIGINAL)] if back else []
        count = sum(map(len, tables.values()))
        with progress(total=count, description=f"Translate to {language}") as bar:
            for path, table in tables.items():
                _write(todo[path], table, steps, bar.update)
    return [there_already.get(target.stem, target) for target in targets.values()]


def _targets(paths: Sequence[Path], folder: Path, language: str) -> dict[Path, Path]:
    """Return the file to write for each file to read."""
    files.check_folder(folder)
    if not re.fullmatch(LANGUAGE, language):
        raise InputError(f"--to {show(language)}: not the code of a language; write one like de")
    stems = {path: re.sub(r"(\.csv)?(\.zip|\.gz)?$", "", path.name) for path in paths}
    targets = {path: folder / f"{stem}_{language}.csv" for path, stem in stems.items()}
    for path, target in targets.items():
        if list(targets.values()).count(target) > 1:
            raise InputError(f"{path}: another file has this name too; translate one at a time")
    return targets


def _read(path: Path, columns: tuple[str, str]) -> pd.DataFrame:
    notes = []
    table = read_comments(path, *columns, notes)
    print(*notes, sep="\n", end="\n" if notes else "", file=sys.stderr)
    return table


def _write(target: Path, table: pd.DataFrame, steps: list[Translator], done: Callable) -> None:
    """Translate a table block by block, write it, and then delete the blocks."""
    ids, texts, blocks = table.iloc[:, 0], PreparedTexts(table.iloc[:, 1].array), []
    starts = range(0, len(texts), BLOCK)
    for start in starts:
        block = texts[start : start + BLOCK]
        blocks.append(_block(target.parent / BLOCKS, block, steps))
        done(len(block))
    with files.writing(target) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        for start, path in zip(starts, blocks, strict=True):
            translated = files.read_json(path, "start the command again")["texts"]
            writer.writerows(zip(ids[start : start + BLOCK], translated, strict=True))
    _delete(blocks)


def _delete(blocks: list[Path]) -> None:
    """Delete blocks, and what a killed process has left half-written of them."""
    digests, folder = {path.stem for path in blocks}, blocks[0].parent
    for path in folder.iterdir():
        if path.name.lstrip(".").partition(".")[0] in digests:
            path.unlink(missing_ok=True)
    with suppress(OSError):  # another command has blocks there
        folder.rmdir()


def _block(folder: Path, texts: list[str], steps: list[Translator]) -> Path:
    """Translate a block, unless it is finished, and return its path."""
    content = json.dumps([texts, *(step.digest for step in steps)])
    path = folder / f"{hashlib.sha256(content.encode()).hexdigest()}.json"
    if not _is_whole(path, len(texts)):
        for step in steps:
            texts = step(texts)
        files.write_json(path, {"texts": texts})
    return path


def _is_whole(path: Path, count: int) -> bool:
    texts = (files.read_json_or_none(path) or {}).get("texts")
    is_list = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    return is_list and len(texts) == count
