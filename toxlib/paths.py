"""Where things lie: nothing here depends on the working directory."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from toxlib.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]
KAGGLE_INPUT = Path("/kaggle/input")
KAGGLE_WORKING = Path("/kaggle/working")


def outputs() -> Path:
    """Where runs are kept: `outputs/`; on Kaggle, where it looks for `submission.csv`."""
    return KAGGLE_WORKING if KAGGLE_WORKING.is_dir() else REPOSITORY / "outputs"


def check_folder(path: Path) -> None:
    """An InputError if what is to be a folder of results is a file."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: a file; give a folder")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, on error it is removed.

    So a reader, or a run that is cut off, never finds a file half-written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
