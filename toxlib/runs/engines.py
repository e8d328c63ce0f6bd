"""Train the folds of a run: one after the other, side by side, in several processes, or by Ray.

A fold that is not trained by this process is trained by `toxlib.runs.fold_process`. It is started
by torchrun if several processes train the fold together.
"""

import codecs
import os
import queue
import re
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
from toxlib.data import kaggle
from toxlib.data.translations import translation_files
from toxlib.errors import InputError
from toxlib.progress import progress
from toxlib.recipe_values import Recipe
from toxlib.runs import cluster
from toxlib.runs.adapting import adapted_recipe
from toxlib.runs.folds import is_trained, remove_work, train_fold, unfinished
from toxlib.runs.lock import lock
from toxlib.runs.run import Run

KILLED = "a process that trained it was killed, most likely for lack of memory"
GO_ON = "set fewer jobs or a smaller micro_batch_tokens and start again, to go on from there"
TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables by which a process is one of several; those we start must not get ours."""


def train_folds(run: Run) -> list[dict]:
    """Train the encoder on each fold that needs it, and predict. Returns the folds' records."""
    lock(run.folder)
    folds = unfinished(run)
    if not all(is_trained(run, fold) for fold in folds):
        adapted_recipe(run)  # once, here, so that all folds find it
    if folds and run.recipe.engine == "ray":
        _train_by_ray(run, folds)
    elif processes_per_fold(run.recipe) == 1 and folds_side_by_side(run.recipe) == 1:
        for fold in folds:
            train_fold(run, fold, 1, threads_per_process(run.recipe))
    else:
        _train_side_by_side(run, folds)
    remove_work(run)
    run.predictions().join_folds()
    return run.predictions().records()


def trains_here(recipe: Recipe) -> bool:
    """Return whether a notebook trains fold 0 itself, as one process on this machine.

    It does not if there are several GPUs, which then train several folds at the same time.
    """
    if torch.cuda.is_available() and folds_side_by_side(recipe) > 1:
        return False
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
    stop: threading.Event | None = None,
) -> None:
    """Train and predict one fold in new processes, and show on stderr what they print.

    They end if this process ends, or if the standard input of the one that is added to `running`
    is closed, or if `stop` is set already. `gpus` are those that they may see, such as "0,1".

    Raises:
        InputError: if a process was killed, or has raised one.
        RuntimeError: for any other error, in one line; its traceback is printed.
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
            if stop and stop.is_set():
                process.stdin.close()
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            while some := process.stdout.read1():
                sys.stderr.write(decoder.decode(some))
        if process.returncode:
            raise _error_of(f"{folder}, fold {fold}", error, log, process.returncode)


@contextmanager
def _started(
    command: list[str], log: object, threads: int, gpus: str
) -> Iterator[subprocess.Popen]:
    """Start a command that ends when its standard input ends, however this process ends."""
    environment = {name: value for name, value in os.environ.items() if name not in TORCHRUN}
    environment["OMP_NUM_THREADS"] = str(threads)
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpus
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            yield process
        finally:
            process.stdin.close()


def _error_of(what: str, error: Path, log: Path, status: int) -> Exception:
    """Return the error that ended a fold's processes.

    If one of several was killed, torchrun says so in its log, and the others raise errors because
    they have lost the connection to it. Without an error, a process was killed, or did not start.
    """
    said = log.read_text(errors="replace").strip()
    if status < 0 or re.search(r"exitcode *: -(6|7|9|11)\b", said):
        return InputError(f"{what}: {KILLED}; {GO_ON}")
    if not error.exists():
        last = said.rpartition("\n")[2]
        return RuntimeError(f"{what}: its process ended with status {status}: {last}")
    content = files.read_json(error, "")
    if content["is_input_error"]:
        return InputError(content["line"])
    print(content["traceback"], file=sys.stderr)
    return RuntimeError(f"{what}: {content['line']}")


def _train_by_ray(run: Run, folds: list[int]) -> None:
    """Train each fold as a task of Ray, with a GPU per process where the cluster has GPUs.

    Run folder and data lie on storage that all nodes share. If a node dies, Ray starts its folds
    on another one, where they go on from their checkpoints.
    """
    processes, threads = processes_per_fold(run.recipe), threads_per_process(run.recipe)
    with cluster.ray_started() as ray:
        cluster.check_shared(run.folder)
        cluster.check_seen(_read_files(run))
        total = ray.cluster_resources()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        with_gpus = [node for node in nodes if node.get("GPU")]
        if with_gpus:  # the cores are shared out with the GPUs, so that no GPU is left idle
            threads = max(1, min(int(node["CPU"] // node["GPU"]) for node in with_gpus))
        needed = {"CPU": processes * threads, "GPU": processes if with_gpus else 0}
        _check_room(needed, nodes)
        together = min(len(folds), *(int(total[kind] // n) for kind, n in needed.items() if n))
        resources = {"num_cpus": needed["CPU"], "num_gpus": needed["GPU"]}
        task = ray.remote(**resources, scheduling_strategy="SPREAD")(run_fold)
        how = processes, threads, together
        running = {task.remote(str(run.folder), fold, *how): fold for fold in folds}
        try:
            with progress(total=len(folds), description="Train folds", unit="fold") as bar:
                while running:
                    (done,), _ = ray.wait(list(running))
                    fold = running.pop(done)
                    ray.get(done)
                    bar.update()
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError:
            raise InputError(f"{run.folder}, fold {fold}: {KILLED}; {GO_ON}") from None
        finally:
            for task in running:  # if a fold has failed, the others would write on
                ray.cancel(task)


def _read_files(run: Run) -> list[Path]:
    """Return the files that a fold's process reads besides those of the run folder."""
    checkpoint = Path(run.recipe.checkpoint).expanduser()
    weights = (
        [path for path in checkpoint.iterdir() if path.is_file()] if checkpoint.is_dir() else []
    )
    translated = translation_files(run.data_dir, run.recipe.translations)
    return [*kaggle.find_files(run.data_dir).values(), *translated.values(), *weights]


def _check_room(needed: dict[str, int], nodes: list[dict[str, float]]) -> None:
    """Raise an InputError if no node has what a fold needs; Ray would wait for one for ever."""
    if not any(all(node.get(kind, 0) >= n for kind, n in needed.items()) for node in nodes):
        wanted = " and ".join(f"{n} {kind}(s)" for kind, n in needed.items() if n)
        remedy = "set fewer processes, or more jobs, so that each process has fewer threads"
        raise InputError(f"no node of the cluster has {wanted}, which one fold needs; {remedy}")


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
            run_fold(str(run.folder), fold, processes, threads, jobs, gpus, running, stop)
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
