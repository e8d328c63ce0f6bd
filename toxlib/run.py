"""The run folder: where a run's notebooks leave what the later ones read.

A folder belongs to one recipe and one set of data files; `run.json` says which.
"""

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from transformers.utils import logging

from toxlib import data, paths, splits, text
from toxlib.errors import InputError
from toxlib.heads import register
from toxlib.recipes import Recipe, get_recipe
from toxlib.sample import write_sample

VERSIONED = ("torch", "transformers", "datasets", "pandas", "scikit-learn", "numpy")
SAMPLE_NOTE = (
    "Built-in synthetic sample: its label rates are raised on purpose, and its scores say nothing "
    "about the Jigsaw competition."
)
NOT_TRAINED = ("jobs", "wanted_precision", "mask_comments")
"""Recipe values that no model follows from: a finished run may be gone on with under others."""


@dataclass(frozen=True)
class Run:
    """A recipe, its data and the folder they meet in."""

    recipe: Recipe
    folder: Path
    data_dir: Path
    is_sample: bool
    tables: data.Tables
    members: tuple[str, ...] = ()
    """Folders of the runs that this one is a blend of."""

    @property
    def label_names(self) -> list[str]:
        """The label columns, in the order of the training file's header."""
        return self.tables.label_names

    @property
    def data_note(self) -> str:
        """One sentence on where the comments come from."""
        return SAMPLE_NOTE if self.is_sample else f"Comments read from {self.data_dir}."

    @cached_property
    def train_texts(self) -> list[str]:
        """Prepared training comments, in the file's order."""
        return self.prepare(self.tables.train)

    @cached_property
    def test_texts(self) -> list[str]:
        """Prepared test comments, in the file's order."""
        return self.prepare(self.tables.test)

    @property
    def labels(self) -> np.ndarray:
        """Training labels, (N, L) of 0 and 1."""
        return self.tables.train[self.label_names].to_numpy()

    @cached_property
    def split(self) -> splits.Split:
        """The part that each training row plays, as `open_run` has saved it to split.csv."""
        ids = self.tables.train[self.recipe.id_column]
        return splits.read_split(self.path("split.csv"), ids, self.recipe.folds)

    def draw_split(self) -> splits.Split:
        """The recipe's split of the training rows; an InputError if they are too few."""
        groups = splits.near_duplicate_groups(self.train_texts)
        fraction, seed = self.recipe.validation_fraction, self.recipe.seed
        return splits.make_split(self.labels, groups, self.recipe.folds, fraction, seed)

    def ids(self, rows: np.ndarray) -> pd.Series:
        """Ids of the training rows that a mask (N,) picks."""
        return self.tables.train[self.recipe.id_column][rows]

    def texts(self, rows: np.ndarray) -> list[str]:
        """Prepared comments of the training rows that a mask (N,) picks."""
        return [text for text, wanted in zip(self.train_texts, rows, strict=True) if wanted]

    def prepare(self, table: pd.DataFrame) -> list[str]:
        """The comments of a table, white space normalised and, if the recipe says so, cleaned."""
        return text.prepare(table[self.recipe.text_column], thorough=self.recipe.clean)

    def path(self, name: str) -> Path:
        """A file of the run folder."""
        return self.folder / name

    def save_figure(self, figure: Figure, name: str) -> Figure:
        """Keep a figure as figures/<name>.png, and hand it back to be shown."""
        path = self.path(f"figures/{name}.png")
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, dpi=120, bbox_inches="tight")
        return figure

    def record(self, **entries) -> None:
        """Add entries to run.json."""
        path = self.path("run.json")
        write_json(path, {**json.loads(path.read_text("utf-8")), **entries})

    def fold_folder(self, fold: int) -> Path:
        """Where a fold's model and predictions lie: the run folder itself if there is but one."""
        return self.folder if self.recipe.folds == 1 else self.path(f"fold-{fold}")


def reopen(folder: Path) -> Run:
    """The run that a run folder was made by, with its data.

    Raises:
        InputError: if the folder is no run's, or its data files are gone or have changed.
    """
    recipe, record = read_recipe(folder), json.loads((folder / "run.json").read_text("utf-8"))
    data_dir = Path(record["data_dir"])
    tables = data.read_tables(data_dir, recipe.id_column, recipe.text_column)
    if tables.sha256 != record["data_sha256"]:
        raise InputError(f"{folder}: the files in {data_dir} are no longer those it was made from")
    members = tuple(record.get("members", ()))
    return Run(recipe, folder.resolve(), data_dir, record["is_sample"], tables, members)


def reopen_all(folders: Sequence[str | Path]) -> list[Run]:
    """`reopen` of runs that are to be set side by side.

    Raises:
        InputError: as `reopen`, and if one is given twice or made from other data than the first.
    """
    runs: list[Run] = []
    for run in map(reopen, map(Path, folders)):
        if run.folder in [other.folder for other in runs]:
            raise InputError(f"{run.folder}: given twice; name each run once")
        if runs and run.tables.sha256 != runs[0].tables.sha256:
            raise InputError(
                f"{run.folder}: made from other data than {runs[0].folder}; choose runs on the "
                "same files"
            )
        runs.append(run)
    return runs


def open_run(recipe: str, data_dir: str = "", run_dir: str = "", overrides: str = "") -> Run:
    """What every notebook begins with: check the parameters and the data, open the run folder.

    Args:
        recipe: a name in `toxlib.recipes.RECIPES`.
        data_dir: Kaggle's files; empty: `data/`, then Kaggle's input folder, then the sample.
        run_dir: the run folder; empty: `outputs/<recipe>`, on Kaggle `/kaggle/working`.
        overrides: changed recipe values, `"learning_rate=1e-5 epochs=1"`.

    Raises:
        InputError: for a bad parameter or data file, or a run folder of another recipe or data.
    """
    register()
    set_up_display()
    plan = get_recipe(recipe, overrides)
    folder, is_sample = find_or_make_data(data_dir)
    tables = data.read_tables(folder, plan.id_column, plan.text_column)
    run = Run(plan, run_folder(recipe, run_dir), folder, is_sample, tables)
    drawn = None if run.path("split.csv").exists() else run.draw_split()
    claim(run)
    if drawn is not None:
        splits.write_split(run.path("split.csv"), run.tables.train[plan.id_column], drawn)
    return run


def find_or_make_data(data_dir: str = "") -> tuple[Path, bool]:
    """The folder of Kaggle's files and False, or the sample's, written if need be, and True."""
    folder = data.find_data_dir(data_dir or None)
    if folder is not None:
        return folder.resolve(), False
    sample = paths.outputs() / "sample"
    write_sample(sample)
    return sample, True


def read_recipe(folder: Path) -> Recipe:
    """The recipe that a run folder was made by."""
    path = folder / "run.json"
    if not path.is_file():
        raise InputError(f"{folder}: no run.json here; give a finished run folder")
    try:
        return Recipe(**json.loads(path.read_text("utf-8"))["recipe"])
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{path}: not written by this version of toxlib; run it again") from None


def model_folders(folder: Path, recipe: Recipe) -> list[Path]:
    """Where the trained models of a run folder lie, one per fold.

    Raises:
        InputError: for a blend, which has none of its own.
    """
    if not recipe.checkpoint:
        raise InputError(f"{folder}: a blend has no model of its own; give one of its members")
    if recipe.folds == 1:
        return [folder / "model"]
    return [folder / f"fold-{fold}" / "model" for fold in range(recipe.folds)]


def run_folder(recipe: str, run_dir: str = "") -> Path:
    """The folder a run writes into, as an absolute path; an InputError if it is a file."""
    if run_dir:
        folder = Path(run_dir).expanduser().resolve()
        paths.check_folder(folder)
        return folder
    on_kaggle = paths.outputs() == paths.KAGGLE_WORKING
    return paths.outputs() if on_kaggle else paths.outputs() / recipe


def write_json(path: Path, value: dict) -> None:
    """Write JSON, whole or not at all; NaN, which JSON has not, becomes null."""
    with paths.replacing(path) as temporary:
        temporary.write_text(json.dumps(nan_to_none(value), indent=2) + "\n", "utf-8")


def nan_to_none(value):
    """A JSON-like value in which each NaN is None."""
    if isinstance(value, dict):
        return {key: nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def set_up_display() -> None:
    """Set what a notebook shows: tables as they are, and toxlib's own bars only."""
    pd.set_option("display.html.use_mathjax", False)  # comments hold dollar signs
    pd.set_option("display.max_colwidth", 200)
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # a fresh head is what we ask for, no reason to warn


def claim(run: Run) -> None:
    """Write run.json, or check that the one that is there is this run's, and take up new choices.

    Raises:
        InputError: if the folder is one of another recipe, other data or other members.
    """
    path, identity = run.path("run.json"), _identity(run)
    if path.exists():
        before = json.loads(path.read_text("utf-8"))
        for key, what in (
            ("recipe", "another recipe"),
            ("data_sha256", "other data"),
            ("members", "other members"),
        ):
            if _lasting(before.get(key)) != _lasting(identity[key]):
                raise InputError(
                    f"{run.folder}: this is a run of {what} ({_difference(before, identity, key)})"
                    "; choose another run folder, or delete this one"
                )
        if before["recipe"] != identity["recipe"]:
            write_json(path, before | {"recipe": identity["recipe"]})
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    write_json(path, identity)


def _identity(run: Run) -> dict:
    versions = {name: importlib.metadata.version(name) for name in VERSIONED}
    return {
        "recipe": dataclasses.asdict(run.recipe),
        "members": list(run.members),
        "data_dir": str(run.data_dir),
        "is_sample": run.is_sample,
        "data_sha256": run.tables.sha256,
        "versions": {"python": platform.python_version(), **versions},
        "seconds": {},
    }


def _lasting(value):
    """What makes a run another one: nothing of `NOT_TRAINED`."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key not in NOT_TRAINED}


def _difference(before: dict, after: dict, key: str) -> str:
    old, new = before.get(key) or {}, after[key]
    if not isinstance(new, dict):
        return ", ".join(map(str, old)) or "none"
    names = [n for n in {**old, **new} if old.get(n) != new.get(n)]
    return ", ".join(names[:4])
