"""Paths, and writing files so that no reader ever finds a half-written one.

Nothing here depends on the working directory.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from toxlib.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]
KAGGLE_INPUT = Path("/kaggle/input")
KAGGLE_WORKING = Path("/kaggle/working")
LOCK = "run.lock"
"""The file in a run folder that the process which writes there keeps locked."""
LOCKED_BY_PARENT = "TOXLIB_LOCKED"
"""The environment variable by which a process lends its lock on a folder to its children."""
_locks: dict[Path, object] = {}  # a FileLock per folder; the lock is given back when it is deleted


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
    if path.parent.exists() and not path.parent.is_dir():
        raise InputError(f"{path.parent}: a file where a folder is needed; delete or rename it")
    if path.is_dir():
        raise InputError(f"{path}: a folder where a file is written; delete or rename it")
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


def lock(folder: Path) -> None:
    """Make this process the only one that writes to a folder, until it ends or calls `unlock`.

    The operating system gives the lock back when the process ends, however it ends. Child
    processes that are started inside `locked` share the lock.

    Raises:
        InputError: if another process has the lock; the message names it.
    """
    from filelock import Timeout

    if os.environ.get(LOCKED_BY_PARENT) == str(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / LOCK).is_dir():
        raise InputError(f"{folder / LOCK}: a folder where a file is written; delete it")
    try:
        if not _lock_of(folder).is_locked:
            _lock_of(folder).acquire(timeout=0)
    except Timeout:
        holder = (folder / LOCK).read_text("utf-8").strip() or "another process"
        fault = f"in use by {holder}"
        remedy = "wait until it has finished, end it, or choose another run folder"
        raise InputError(f"{folder}: {fault}; {remedy}") from None
    since = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    (folder / LOCK).write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")


def unlock(folder: Path) -> None:
    """Give back the lock that `lock` has taken, if this process holds it."""
    _lock_of(folder).release(force=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder inside the context, and lend the lock to processes started there."""
    lock(folder)
    before = os.environ.get(LOCKED_BY_PARENT)
    os.environ[LOCKED_BY_PARENT] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[LOCKED_BY_PARENT]
        else:
            os.environ[LOCKED_BY_PARENT] = before
        if before != str(folder):
            unlock(folder)


def _lock_of(folder: Path):
    from filelock import FileLock

    return _locks.setdefault(folder, FileLock(folder / LOCK, thread_local=False))
