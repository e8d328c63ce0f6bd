"""Run the notebooks with papermill, one after the other, into a run folder."""

import builtins
import dataclasses
import logging
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import papermill
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from toxlib import files
from toxlib.data.identity_sentences import read_sentences
from toxlib.errors import KEPT, InputError, NotebookError
from toxlib.evaluation import label_errors
from toxlib.parameters import Overrides, to_path
from toxlib.progress import format_seconds
from toxlib.recipes import BLENDS, get_recipe
from toxlib.reports import audit
from toxlib.reports.report import write_report
from toxlib.reports.summary import summarise
from toxlib.runs.blending import open_blend
from toxlib.runs.engines import folds_side_by_side
from toxlib.runs.folds import copy_linear
from toxlib.runs.lock import locked
from toxlib.runs.pseudo_labels import open_teacher
from toxlib.runs.record import read_record
from toxlib.runs.run import Run, fold_folders, open_run, reopen, run_folder, set_up_display
from toxlib.training import adaptation, checkpoints

NOTEBOOKS = ("01_eda", "02_token_lengths", "03_train", "04_thresholds", "05_submission")
BLEND_NOTEBOOKS = ("06_blend", "04_thresholds", "05_submission")
REOPENING = {"04_thresholds": {"interactive": False}, "05_submission": {}}
"""Notebooks that take the run folder and read the rest from run.json, and their own parameters."""
FULL = 1e6  # bytes; with fewer, an error in a cell most likely comes from the full disk
FREE_FOR_OTHERS = 200e6  # bytes on the disk for predictions, figures, tokens and the report


def run_pipeline(
    recipe: str,
    data_dir: str = "",
    run_dir: str = "",
    overrides: Overrides = "",
    start: str = "01",
) -> Run:
    """Check parameters and data, then execute the notebooks and write the report.

    `start` is the number of the first notebook to execute. From 04 on, the run folder is reopened,
    and `recipe` only names the folder if `run_dir` is empty.

    Raises:
        InputError: for a wrong parameter or file, mostly before any notebook runs.
        NotebookError: if a cell fails; the executed notebook is kept for reading.
    """
    numbers = [name[:2] for name in NOTEBOOKS]
    if start not in numbers:
        raise InputError(f"--from {start}: choose one of {', '.join(numbers)}")
    notebooks = NOTEBOOKS[numbers.index(start) :]
    if notebooks[0] in REOPENING:
        folder = run_folder(run_dir, recipe)
        record = read_record(folder, with_data=True)  # an InputError if there is no run
        before = Path(record["data_dir"])
        if data_dir and Path(data_dir).expanduser().resolve() != before.resolve():
            fault = f"this run was made from {before}, and only 01 to 03 read other data"
            raise InputError(f"--data-dir {data_dir}: {fault}; leave it out")
        with locked(folder):
            return _execute_all(reopen(folder, overrides), notebooks, {})
    if recipe in BLENDS:
        return _run_blend_recipe(recipe, data_dir, run_dir, overrides, start)
    run = open_checked(recipe, data_dir, run_dir, overrides)
    run.claim()
    opening = {"recipe": recipe, "data_dir": str(run.data_dir), "overrides": overrides}
    with locked(run.folder):
        return _execute_all(run, notebooks, opening)


def open_checked(recipe: str, data_dir: str, run_dir: str, overrides: Overrides) -> Run:
    """Open a run, and find each mistake that can be found before its first notebook.

    The run folder is not written. `recipe` may not be a blend; see `check_members`.
    """
    run = open_run(recipe, data_dir, run_dir, overrides)
    checkpoints.check(run.recipe, run.label_names)
    if run.recipe.teacher:
        open_teacher(run)
    if run.recipe.adapt_epochs:
        adaptation.check(run.recipe)
    _check_disk(run)
    return run


def run_blend(runs: list[str], run_dir: str = "", weights: str = "fitted") -> Run:
    """Open a blend as `open_blend` does, then execute 06, 04 and 05 into its folder."""
    run, _ = open_blend(runs, run_dir, weights)
    folders = [str(Path(folder).resolve()) for folder in runs]
    with locked(run.folder):
        return _execute_all(run, BLEND_NOTEBOOKS, {"runs": folders, "weights": weights})


def run_audit(run_dir: str, templates: str = "") -> Run:
    """Execute 07_audit on a finished run, and write the report with what it has found.

    `templates` is a CSV of sentences that name groups; see `toxlib.data.identity_sentences`.

    Raises:
        InputError: if there is no finished run, cleanlab is missing, or the CSV has a fault.
        NotebookError: if a cell fails.
    """
    label_errors.check_installed()
    run, path = reopen(run_dir), to_path(templates, "templates")
    if path:
        read_sentences(Path(path))
    with locked(run.folder):
        absolute = path and str(Path(path).resolve())
        return _execute_all(run, (audit.AUDIT,), {"templates": absolute})


def check_members(recipe: str, overrides: Overrides) -> None:
    """Find mistakes in the overrides of a blend before its first member trains for hours."""
    members = [get_recipe(member, overrides) for member in BLENDS[recipe]]
    if members[0].folds == 1:
        raise InputError(f"folds=1: the weights of {recipe} are fitted out of fold; set folds=5")
    # Members may share an encoder if they were trained in other ways, such as by another seed.
    own = {get_recipe(member).checkpoint for member in BLENDS[recipe]}
    if len({member.checkpoint for member in members}) < len(own):
        fault = f"{recipe} blends {len(members)} encoders, and this would replace all of them"
        remedy = "run the members one by one, and then python -m toxlib blend"
        raise InputError(f"checkpoint={members[0].checkpoint}: {fault}; {remedy}")
    if len({dataclasses.replace(member, name="") for member in members}) < len(members):
        fault = f"{recipe} blends {len(members)} models, and with these values some are the same"
        raise InputError(f"{fault}; leave out training_seed, or whatever tells them apart")
    set_up_display()
    for member in members:
        checkpoints.check(member, ["label"])
        if member.adapt_epochs:
            adaptation.check(member)


def execute(name: str, folder: Path, parameters: dict[str, object]) -> float:
    """Execute one notebook into the run folder, with its progress bars shown; return seconds.

    The kernel and the processes that it has started are ended, whatever happens.
    """
    start, source = time.perf_counter(), files.REPOSITORY / "notebooks" / f"{name}.ipynb"
    target = folder / f"{name}.ipynb"
    if target.is_dir():
        raise InputError(f"{target}: a folder where a file is written; delete or rename it")
    for logger in ("asyncio", "papermill"):  # we say in one line what they say of a dead kernel
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    kernel = AsyncKernelManager(kernel_name="python3")
    try:
        papermill.execute_notebook(
            *(str(path).replace("{", "{{").replace("}", "}}") for path in (source, target)),
            parameters=parameters,
            kernel_name="python3",
            km=kernel,
            progress_bar=False,
            # jupyter_client interrupts a kernel before it ends it, and a kernel that is about to
            # finish its last answer would log this as an error.
            extra_arguments=["--log-level=CRITICAL"],
            stderr_file=sys.stderr,
        )
    except PapermillExecutionError as error:
        raise _cell_error(name, target, error) from None
    except DeadKernelError:
        raise _dead_kernel_error(name, kernel) from None
    finally:
        if kernel.has_kernel:
            run_sync(kernel.shutdown_kernel)(now=True)
    return time.perf_counter() - start


def _cell_error(name: str, target: Path, error: PapermillExecutionError) -> Exception:
    """Return the error to report for a failed cell: one line if the user can mend it."""
    last_line = error.evalue.strip().rpartition("\n")[2]
    if error.ename == "InputError":
        return InputError(error.evalue)
    if shutil.disk_usage(target.parent).free < FULL:
        return InputError(f"{target.parent}: the disk is full; free some space; {KEPT}")
    if issubclass(getattr(builtins, error.ename, type), OSError):
        return InputError(f"{name}: {last_line}; {KEPT}")
    fault = f"{name}, cell {error.exec_count}: {error.ename}: {last_line}"
    return NotebookError(f"{fault}\nthe executed notebook shows more: {target}")


def _dead_kernel_error(name: str, kernel: AsyncKernelManager) -> InputError:
    """Return the error to report for a kernel that has ended by itself."""
    process = getattr(kernel.provisioner, "process", None)
    fault = "the notebook's process has ended"
    if process is not None and process.poll() == -signal.SIGKILL:
        fault = "the notebook's process was killed, most likely because memory ran out"
        training = "set a smaller micro_batch_tokens or jobs=1"
        remedy = training if name == "03_train" else "free some memory and start again"
        return InputError(f"{name}: {fault}; {remedy}; {KEPT}")
    return InputError(f"{name}: {fault}; {KEPT}")


def _execute_all(run: Run, notebooks: tuple[str, ...], parameters: dict[str, object]) -> Run:
    """Execute the notebooks with the parameters that each one takes, and write the report."""
    print(f"Run folder {run.folder}\n{run.data_note}", flush=True)
    for number, name in enumerate(notebooks, start=1):
        step = f"[{number}/{len(notebooks)}] {name}"
        print(f"{step} …", flush=True)
        taken = REOPENING.get(name, parameters)
        seconds = execute(name, run.folder, taken | {"run_dir": str(run.folder)})
        before = read_record(run.folder)["seconds"]
        run.record(seconds=before | {name: round(seconds, 1)})
        print(f"{step} done in {format_seconds(seconds)}", flush=True)
    # An audit is left out if 04 has chosen other thresholds since.
    audited = (audit.AUDIT,) if audit.findings(run.folder) else ()
    names = (*NOTEBOOKS[:3], *BLEND_NOTEBOOKS, *audited)
    write_report(run.folder, names, summarise(run))
    return run


def _run_blend_recipe(
    recipe: str, data_dir: str, run_dir: str, overrides: Overrides, start: str
) -> Run:
    """Run each recipe of the blend in a subfolder, then blend these runs in the run folder.

    01 and 02 look at the data, which are the same for all, so only the first run executes them.
    """
    folder, members = run_folder(run_dir, recipe), BLENDS[recipe]
    paths = [folder / member for member in members]
    check_members(recipe, overrides)
    if (folder / "run.json").exists() and reopen(folder).member_folders != paths:
        raise InputError(f"{folder}: this folder belongs to another run; choose another one")
    for member, path in zip(members, paths, strict=True):
        if not path.exists():
            copy_linear(paths[0], path)
        first = start if path == paths[0] else max(start, "03")
        run_pipeline(member, data_dir, str(path), overrides, first)
    return run_blend([str(path) for path in paths], str(folder))


def _check_disk(run: Run) -> None:
    """Raise an InputError if the run folder cannot be written, or the disk has too little room.

    A checkpoint is three times as large as the model. Of each fold that is trained at the same
    time three are kept, and a fourth is written before one is deleted. A trained model is kept for
    each fold, and an adapted encoder. Models that a run which goes on has saved before need no
    more room.
    """
    folder = next(path for path in (run.folder, *run.folder.parents) if path.exists())
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: not writable; choose another run folder by --run-dir")
    parameters = checkpoints.count_parameters(run.recipe, run.label_names)
    folders = fold_folders(run.folder, run.recipe)
    missing = sum(not (fold / "model").exists() for fold in folders)
    models = missing + 12 * min(missing, folds_side_by_side(run.recipe))
    models += missing > 0 and run.recipe.adapt_epochs > 0
    needed, free = 4 * parameters * models + FREE_FOR_OTHERS, shutil.disk_usage(folder).free
    if needed > free:
        fault = f"{free / 1e9:.1f} GB are free, and the run needs up to {needed / 1e9:.1f} GB"
        raise InputError(f"{folder}: {fault}; free some, or choose another disk by --run-dir")
