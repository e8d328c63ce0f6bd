"""Paths, and writing files so that no reader ever finds a half-written one.

Nothing here depends on the working directory.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from toxlib.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]
KAGGLE_INPUT = Path("/kaggle/input")
KAGGLE_WORKING = Path("/kaggle/working")
STANDARD_OUTPUT = Path("-")


def outputs() -> Path:
    """Return the folder that holds all runs: `outputs/`, or on Kaggle `/kaggle/working`."""
    return KAGGLE_WORKING if KAGGLE_WORKING.is_dir() else REPOSITORY / "outputs"


def check_folder(path: Path) -> None:
    """Raise an InputError if `path`, which should be a folder, is a file."""
    if path == STANDARD_OUTPUT:
        raise InputError(f"{path}: several files are written; give a folder")
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: a file; give a folder")


def check_output(output: Path, source: Path) -> None:
    """Raise an InputError if `output` is a folder, or the file `source` that is read."""
    if output.is_dir():
        raise InputError(f"{output}: a folder; give the path of the CSV to write")
    if Path(os.path.realpath(output)).is_symlink():
        raise InputError(f"{output}: a link that leads back to itself; give another path")
    with contextlib.suppress(OSError):  # one of them does not exist, so they differ
        is_stdout = output == STANDARD_OUTPUT
        status = os.fstat(sys.stdout.fileno()) if is_stdout else output.stat()
        if os.path.samestat(status, source.stat()):
            raise InputError(f"{output}: the file that is read; give another path to write to")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; the file written there replaces `path` on success.

    A reader never finds a half-written file, even if the process is killed. If `path` is a link,
    the file that it leads to is replaced.
    """
    path = Path(os.path.realpath(path))
    _check_parent(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder where a file is written; delete or rename it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder, which becomes the folder `path` on success and else is deleted.

    Raises:
        InputError: if `path` is a file, or a folder that is not empty.
    """
    check_folder(path)
    path = Path(os.path.realpath(path))
    _check_parent(path)
    if path.exists() and any(path.iterdir()):
        raise InputError(f"{path}: a folder with other files; give a new folder, or delete it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.replace(path)  # which may be an empty folder
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[str]]:
    """Open what a user has named as output: a file, a pipe, a device, or `-`.

    A file is replaced as `replacing` does. What cannot be replaced is written as a stream.
    """
    how = {"encoding": "utf-8", "newline": ""}
    if path == STANDARD_OUTPUT:
        with open(sys.stdout.fileno(), "w", closefd=False, **how) as file:
            yield file
    elif _is_stream(path):
        with path.open("a", **how) as file:  # "w" would empty a log that /dev/stdout leads to
            yield file
    else:
        with replacing(path) as temporary, temporary.open("w", **how) as file:
            yield file


def _is_stream(path: Path) -> bool:
    """Return whether `path` is a pipe or a device, or a name of an open file: /dev/fd/3."""
    names_open_files = re.fullmatch(r"/dev|/proc/.+/fd", os.path.realpath(path.parent))
    return path.exists() and (bool(names_open_files) or not path.is_file())


def _check_parent(path: Path) -> None:
    if path.parent.exists() and not path.parent.is_dir():
        raise InputError(f"{path.parent}: a file where a folder is needed; delete or rename it")


def write_json(path: Path, value: dict) -> None:
    """Write JSON, whole or not at all. NaN becomes null, because JSON has no NaN."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(nan_to_none(value), indent=2) + "\n", "utf-8")


def as_json(value: dict) -> dict:
    """Return a value as `read_json` would return it after `write_json`."""
    return json.loads(json.dumps(nan_to_none(value)))


def read_json(path: Path, remedy: str) -> dict:
    """Read a JSON object.

    Raises:
        InputError: if the file is missing or damaged; the message ends with `remedy`.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file; {remedy}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder, not a file; delete it and {remedy}") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged, it is not a JSON object; delete it and {remedy}")
    return content


@contextlib.contextmanager
def damage_told(path: Path, remedy: str) -> Iterator[None]:
    """Turn what goes wrong with the content of a file into an InputError of one line."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {remedy}") from None
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        fault = "damaged, or not written by this version of toxlib"
        raise InputError(f"{path}: {fault}; {remedy}") from None


def read_json_or_none(path: Path) -> dict | None:
    """Read a JSON object; None if the file is missing or damaged."""
    try:
        return read_json(path, "")
    except (InputError, OSError):
        return None


def nan_to_none(value: object) -> object:
    """Replace each NaN in a JSON-like value by None."""
    if isinstance(value, dict):
        return {key: nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def sha256(path: Path) -> str:
    """Return the file's sha256 digest in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Delete a file, or a folder and all that is in it, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
