"""Run the notebooks with papermill, one after the other, into a run folder."""

import json
import shlex
import shutil
import sys
import time
from pathlib import Path

import nbformat
import papermill
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from papermill.exceptions import PapermillExecutionError

from toxlib import paths
from toxlib.blending import open_blend
from toxlib.checkpoints import load_config, load_tokenizer
from toxlib.errors import InputError, NotebookError
from toxlib.linear import LINEAR
from toxlib.recipes import BLENDS, get_recipe
from toxlib.run import Run, open_run, reopen, run_folder, set_up_display, write_json
from toxlib.training import format_seconds

NOTEBOOKS = ("01_eda", "02_token_lengths", "03_train", "04_thresholds", "05_submission")
BLEND_NOTEBOOK = "06_blend"


def run_pipeline(
    recipe: str, data_dir: str = "", run_dir: str = "", overrides: str = "", start: str = "01"
) -> Run:
    """Check everything that can be checked, then execute the notebooks and join the report.

    Args:
        start: number of the first notebook to execute; what earlier ones left is used.

    Raises:
        InputError: for a bad parameter or file, before any notebook runs.
        NotebookError: if a cell fails; the executed copy is kept for reading.
    """
    notebooks = _from(start)
    if recipe in BLENDS:
        return _run_blend_recipe(recipe, data_dir, run_dir, overrides, start)
    run = open_run(recipe, data_dir, run_dir, overrides)
    print(f"Run folder {run.folder}\n{run.data_note}", flush=True)
    parameters = {
        "recipe": recipe,
        "data_dir": str(run.data_dir),
        "run_dir": str(run.folder),
        "overrides": overrides,
    }
    for number, name in enumerate(notebooks, start=1):
        print(f"[{number}/{len(notebooks)}] {name} …", flush=True)
        seconds = execute(name, run.folder, parameters)
        _record_seconds(run, name, seconds)
        print(f"[{number}/{len(notebooks)}] {name} done in {format_seconds(seconds)}", flush=True)
    write_report(run.folder)
    return run


def _run_blend_recipe(recipe: str, data_dir: str, run_dir: str, overrides: str, start: str) -> Run:
    """Run each member into a subfolder of the run folder, then blend them there."""
    folder, members = run_folder(recipe, run_dir), BLENDS[recipe]
    paths = [folder / member for member in members]
    _check_blend_recipe(recipe, overrides, folder, paths)
    for member, path in zip(members, paths, strict=True):
        if not path.exists():
            copy_linear(paths[0], path)
        run_pipeline(member, data_dir, str(path), overrides, start)
    return run_blend([str(path) for path in paths], str(folder))


def copy_linear(source: Path, target: Path) -> None:
    """Take over what the linear models said in another run: 03_train then keeps it as finished.

    On the same rows and folds they are the same models, and take longest on a machine with a GPU.
    """
    for member in LINEAR:
        for folder in source.glob(f"fold-*/{member}"):
            shutil.copytree(folder, target / folder.relative_to(source), dirs_exist_ok=True)


def _check_blend_recipe(recipe: str, overrides: str, folder: Path, paths: list[Path]) -> None:
    """Find what can be found before the first member trains for hours."""
    plans = [get_recipe(member, overrides) for member in BLENDS[recipe]]
    if plans[0].folds == 1:
        raise InputError(f"folds=1: the weights of {recipe} are fitted out of fold; set folds=5")
    if len({plan.checkpoint for plan in plans}) < len(plans):
        raise InputError(
            f"{recipe} blends {len(plans)} encoders, and this checkpoint would stand for all of "
            "them; run the members one by one, and then python -m toxlib blend"
        )
    if (folder / "run.json").exists() and reopen(folder).members != tuple(map(str, paths)):
        raise InputError(f"{folder}: this is another run; choose another run folder")
    set_up_display()
    for plan in plans:
        load_config(plan, ["label"])
        load_tokenizer(plan)


def run_blend(runs: list[str], run_dir: str = "", weights: str = "fitted") -> Run:
    """Check that the runs fit together, execute 06_blend into the run folder, write the report.

    Args:
        runs: finished run folders.
        weights: `fitted` or `equal`.

    Raises:
        InputError: as `toxlib.blending.open_blend`.
        NotebookError: if a cell fails.
    """
    run, _ = open_blend(runs, run_dir, weights)
    folders = shlex.join(str(Path(folder).resolve()) for folder in runs)
    parameters = {"runs": folders, "run_dir": str(run.folder), "weights": weights}
    print(f"Blend {len(runs)} run(s) into {run.folder}", flush=True)
    _record_seconds(run, BLEND_NOTEBOOK, execute(BLEND_NOTEBOOK, run.folder, parameters))
    write_report(run.folder)
    return run


def execute(name: str, folder: Path, parameters: dict[str, str]) -> float:
    """Execute one notebook into the run folder; returns its seconds.

    What its cells write to stderr (progress bars) is passed on as it comes.
    """
    start = time.perf_counter()
    try:
        papermill.execute_notebook(
            paths.REPOSITORY / "notebooks" / f"{name}.ipynb",
            folder / f"{name}.ipynb",
            parameters=parameters,
            kernel_name="python3",
            progress_bar=False,
            extra_arguments=["--log-level=ERROR"],
            stderr_file=sys.stderr,
        )
    except PapermillExecutionError as error:
        if error.ename == "InputError":
            raise InputError(error.evalue) from None
        last_lines = error.evalue.strip().splitlines()[-1:] or [""]
        raise NotebookError(
            f"{name}, cell {error.exec_count}: {error.ename}: {last_lines[0]}\n"
            f"the executed copy shows more: {folder / name}.ipynb"
        ) from None
    return time.perf_counter() - start


def write_report(folder: Path) -> Path:
    """Join the executed notebooks into one self-contained page, report.html."""
    copies = [folder / f"{name}.ipynb" for name in (*NOTEBOOKS, BLEND_NOTEBOOK)]
    notebooks = [nbformat.read(path, as_version=4) for path in copies if path.exists()]
    joined = notebooks[0]
    joined.cells = [cell for notebook in notebooks for cell in notebook.cells]
    joined.metadata.pop("widgets", None)
    joined.metadata["title"] = f"toxlib: {folder.name}"
    exporter = HTMLExporter(mathjax_url="", require_js_url="", embed_images=True)
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)  # bars: last state
    page, _ = exporter.from_notebook_node(joined)
    report = folder / "report.html"
    with paths.replacing(report) as temporary:
        temporary.write_text(page, "utf-8")
    return report


def _from(start: str) -> tuple[str, ...]:
    numbers = [name[:2] for name in NOTEBOOKS]
    if start not in numbers:
        raise InputError(f"--from {start}: choose one of {', '.join(numbers)}")
    return NOTEBOOKS[numbers.index(start) :]


def _record_seconds(run: Run, name: str, seconds: float) -> None:
    """Read run.json again first: the notebook may have added to it."""
    path = run.path("run.json")
    content = json.loads(path.read_text("utf-8"))
    content["seconds"][name] = round(seconds, 1)
    write_json(path, content)
