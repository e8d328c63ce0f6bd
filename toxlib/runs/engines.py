"""Train the folds of a run: one after the other, side by side, in several processes, or by Ray.

A fold that is not trained by this process is trained by `toxlib.runs.fold_process`. It is started
by torchrun if several processes train the fold together.
"""

import codecs
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import torch

from toxlib import files
from toxlib.errors import InputError
from toxlib.recipes import Recipe
from toxlib.runs.folds import remove_work, train_fold, unfinished
from toxlib.runs.lock import lock
from toxlib.runs.run import Run

KILLED = "a process that trained it was killed, most likely for lack of memory"
GO_ON = "set jobs=1 or a smaller micro_batch_tokens and start again, to go on from there"


def train_folds(run: Run) -> list[dict]:
    """Train the encoder on each fold that needs it, and predict. Returns the folds' records."""
    lock(run.folder)
    folds = unfinished(run)
    if run.recipe.engine == "ray":
        raise NotImplementedError
    elif processes_per_fold(run.recipe) == 1 and folds_side_by_side(run.recipe) == 1:
        for fold in folds:
            train_fold(run, fold, 1, threads_per_process(run.recipe))
    else:
        _train_side_by_side(run, folds)
    remove_work(run)
    run.predictions().join_folds()
    return run.predictions().records()


def trains_here(recipe: Recipe) -> bool:
    """Return whether one process of this machine trains a fold, as a notebook can do itself."""
    return recipe.engine == "local" and processes_per_fold(recipe) == 1


def folds_side_by_side(recipe: Recipe) -> int:
    """Return how many folds this machine trains at the same time; two never share a GPU."""
    most = torch.cuda.device_count() or torch.get_num_threads()
    return min(recipe.jobs, recipe.folds, max(1, most // max(1, recipe.processes)))


def processes_per_fold(recipe: Recipe) -> int:
    """Return how many processes train a fold together; an InputError if there are fewer GPUs."""
    gpus = torch.cuda.device_count()
    if recipe.engine == "ray":
        return recipe.processes or 1
    if gpus and recipe.processes > gpus:
        fault = f"processes={recipe.processes}: this machine has {gpus} GPU(s), one per process"
        raise InputError(f"{fault}; set processes={gpus} or less")
    return recipe.processes or max(1, gpus // folds_side_by_side(recipe))


def threads_per_process(recipe: Recipe) -> int:
    """Return the CPU threads of each process. Their number changes the last digits of results."""
    processes = folds_side_by_side(recipe) * processes_per_fold(recipe)
    return max(1, torch.get_num_threads() // processes)


def run_fold(
    folder: str,
    fold: int,
    processes: int,
    threads: int,
    side_by_side: int,
    gpus: str = "",
    running: list[subprocess.Popen] | None = None,
) -> None:
    """Train and predict one fold in new processes, and show on stderr what they print.

    They end if this process ends, or if the standard input of the one that is added to `running`
    is closed. `gpus` are the GPUs that they may see, such as "0,1".

    Raises:
        InputError: if a process was killed, or has raised one.
        RuntimeError: for any other error, in one line.
    """
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        launcher += ["-m"]
    with tempfile.TemporaryDirectory() as scratch:
        error, log = Path(scratch, "error.json"), Path(scratch, "log")
        arguments = [folder, str(fold), str(threads), str(side_by_side), str(error)]
        command = [*launcher, "toxlib.runs.fold_process", *arguments]
        with log.open("wb") as file, _started(command, file, threads, gpus) as process:
            if running is not None:
                running.append(process)
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            while some := process.stdout.read1():
                sys.stderr.write(decoder.decode(some))
        if process.returncode:
            raise _error_of(f"{folder}, fold {fold}", error, log)


@contextmanager
def _started(
    command: list[str], log: object, threads: int, gpus: str
) -> Iterator[subprocess.Popen]:
    """Start a command that ends when its standard input ends, however this process ends."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpus
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            yield process
        finally:
            process.stdin.close()


def _error_of(what: str, error: Path, log: Path) -> Exception:
    """Return the error that ended a fold's processes; without one, they were killed."""
    if not error.exists():
        return InputError(f"{what}: {KILLED}; {GO_ON}")
    content = files.read_json(error, "")
    if content["is_input_error"]:
        return InputError(content["line"])
    return RuntimeError(f"{what}: {content['line']}")


def _train_side_by_side(run: Run, folds: list[int]) -> None:
    """Train folds at the same time, each in processes of its own, with GPUs of its own."""
    jobs, processes = folds_side_by_side(run.recipe), processes_per_fold(run.recipe)
    threads, stop, running = threads_per_process(run.recipe), threading.Event(), []
    free: queue.SimpleQueue[str] = queue.SimpleQueue()
    for gpus in _share_gpus(jobs, processes):
        free.put(gpus)

    def train(fold: int) -> None:
        if stop.is_set():
            return
        gpus = free.get()
        try:
            run_fold(str(run.folder), fold, processes, threads, jobs, gpus, running)
        except BaseException:
            stop.set()
            raise
        free.put(gpus)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(train, fold) for fold in folds]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stop.set()
            for process in running:
                process.stdin.close()
            raise


def _share_gpus(jobs: int, processes: int) -> list[str]:
    """Return the GPUs of each job as CUDA numbers them, such as "0,1"; empty on a CPU."""
    numbers = [str(gpu) for gpu in range(torch.cuda.device_count())]
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        numbers = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    return [",".join(numbers[job * processes : (job + 1) * processes]) for job in range(jobs)]
