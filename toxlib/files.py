"""Paths, and writing files so that no reader ever finds a half-written one.

Nothing here depends on the working directory.
"""

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

from toxlib.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]
KAGGLE_INPUT = Path("/kaggle/input")
KAGGLE_WORKING = Path("/kaggle/working")


def outputs() -> Path:
    """Return the folder that holds all runs: `outputs/`, or on Kaggle `/kaggle/working`."""
    return KAGGLE_WORKING if KAGGLE_WORKING.is_dir() else REPOSITORY / "outputs"


def check_folder(path: Path) -> None:
    """Raise an InputError if `path`, which should be a folder, is a file."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: a file; give a folder")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; the file written there replaces `path` on success.

    A reader never finds a half-written file, even if the process is killed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: dict) -> None:
    """Write JSON, whole or not at all. NaN becomes null, because JSON has no NaN."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(nan_to_none(value), indent=2) + "\n", "utf-8")


def read_json(path: Path, remedy: str) -> dict:
    """Read a JSON object.

    Raises:
        InputError: if the file is missing or damaged; the message ends with `remedy`.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file; {remedy}") from None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged, it is not a JSON object; {remedy}")
    return content


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
