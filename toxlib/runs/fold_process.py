"""What a process does that trains one fold: python -m toxlib.runs.fold_process, or by torchrun.

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
    log, sys.stderr = sys.stderr, sys.stdout if is_main else Path(os.devnull).open("w")  # noqa: SIM115
    sys.stdout = sys.stderr
    try:
        from toxlib.runs.folds import train_fold
        from toxlib.runs.run import reopen

        train_fold(reopen(folder), int(fold), int(side_by_side), int(threads))
    except Exception as error:
        traceback.print_exc(file=log)
        line = str(error).strip().partition("\n")[0]
        is_input_error = isinstance(error, InputError)
        line = line if is_input_error else f"{type(error).__name__}: {line}"
        files.write_json(Path(error_path), {"is_input_error": is_input_error, "line": line})
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
    # The group of processes is left in good order even if this one fails.
    sys.exit(main())
