"""One writer per run folder: the process that writes to a folder keeps it locked.

The operating system gives the lock back when the process ends, however it ends.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from toxlib.errors import InputError

LOCK = "run.lock"
"""The file in a run folder that is locked; it names the process."""
LOCKED_BY_PARENT = "TOXLIB_LOCKED"
"""The environment variable by which a process lends its lock on a folder to its children."""
_locks: dict[Path, FileLock] = {}  # kept here, because a lock ends when its object is deleted


def lock(folder: Path) -> None:
    """Make this process the only one that writes to a folder, until it ends or calls `unlock`.

    Child processes that are started inside `locked` share the lock.

    Raises:
        InputError: if another process has the lock; the message names it. Or if torchrun has
            started this process, because several processes would then do the same.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ or os.environ.get("WORLD_SIZE", "1") != "1":
        fault = "started by torchrun (or with WORLD_SIZE set), so each process would do everything"
        raise InputError(f"{folder}: {fault}; start it without that, and set processes=N")
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


def end_with(parent: int) -> None:
    """End this process within a second of the end of its parent, the process with that id.

    Otherwise a worker of joblib would go on, and write files, after its parent was killed and had
    lost its lock. Ctrl-C, which a terminal sends to both, is left to the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _lock_of(folder: Path) -> FileLock:
    return _locks.setdefault(folder, FileLock(folder / LOCK, thread_local=False))
