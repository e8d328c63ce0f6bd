"""Train one fold in a process of its own, started by `python -m` or by torchrun.

`toxlib.runs.engines` starts it. Only the main process prints; its bars go to standard output.
"""

import os
import sys
import threading
import traceback
from pathlib import Path

from toxlib import files
from toxlib.errors import InputError


def main() -> int:
    """Train and predict a fold of a run; write an error to a file, in one line."""
    folder, fold, threads, side_by_side, error_path = sys.argv[1:]
    _end_with_standard_input()
    is_main = os.environ.get("RANK", "0") == "0"
    sys.stderr = sys.stdout if is_main else Path(os.devnull).open("w")  # noqa: SIM115
    sys.stdout = sys.stderr
    try:
        from toxlib.runs.folds import train_fold
        from toxlib.runs.run import reopen
        from toxlib.training.machine import this_process

        train_fold(reopen(folder), int(fold), int(side_by_side), int(threads))
        this_process().destroy_process_group()
    except Exception as error:
        if Path(error_path).exists():  # another process has failed first, and this one for it
            return 1
        line = str(error).strip().partition("\n")[0]
        # What the operating system refuses, such as to write to a full disk, a user can mend, too.
        is_input_error = isinstance(error, InputError | OSError)
        line = line if is_input_error else f"{type(error).__name__}: {line}"
        content = {"is_input_error": is_input_error, "line": line}
        files.write_json(Path(error_path), content | {"traceback": traceback.format_exc()})
        return 1
    return 0


def _end_with_standard_input() -> None:
    """End this process when its standard input ends, as it does when its parent has ended.

    Otherwise it would go on, and write files, after the run was killed and had lost its lock.
    """

    def watch() -> None:
        while os.read(sys.__stdin__.fileno(), 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
