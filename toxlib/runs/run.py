"""The run folder: its recipe, its data, who owns it, and where its files lie.

`01_eda` and `02_token_lengths` open a run and claim nothing. `03_train` claims the folder for one
recipe and one set of files. Later notebooks reopen the folder and read the recipe from run.json.
"""

import dataclasses
import importlib.metadata
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from transformers.utils import logging

from toxlib import files
from toxlib.data import kaggle, splits, text
from toxlib.errors import InputError
from toxlib.recipes import FIELDS, Recipe, affects_training, change, get_recipe
from toxlib.runs.predictions import DONE, OWN, Predictions

DEFAULT_RECIPE = "quick"
VERSIONED = ("torch", "transformers", "datasets", "pandas", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Run:
    """A recipe, the data, and the folder that holds what they lead to.

    >>> run = toxlib.reopen("outputs/quick")
    >>> run.predictions().test().shape == (len(run.test_texts), len(run.label_names))
    True
    """

    recipe: Recipe
    folder: Path
    data_dir: Path
    is_sample: bool
    tables: kaggle.Tables
    members: dict[str, dict[str, str]] = field(default_factory=dict)
    """For a blend: member → {"run": a folder, from the blend's; "predictions": their name}."""

    @property
    def label_names(self) -> list[str]:
        """The label columns, in the order of the training file's header."""
        return self.tables.label_names

    @property
    def labels(self) -> np.ndarray:
        """The labels of the training rows, (N, L) of 0 and 1."""
        return self.tables.labels

    @property
    def validation_labels(self) -> np.ndarray:
        """The labels of the validation rows, (N, L) of 0 and 1, in the file's order."""
        return self.labels[self.split.is_validation]

    @property
    def data_note(self) -> str:
        """A sentence that says where the comments come from."""
        return kaggle.SAMPLE_NOTE if self.is_sample else f"Comments read from {self.data_dir}."

    @cached_property
    def train_texts(self) -> list[str]:
        """The training comments with white space normalised, in the file's order."""
        return text.prepare(self.tables.train[self.recipe.text_column])

    @cached_property
    def test_texts(self) -> list[str]:
        """The test comments with white space normalised, in the file's order."""
        return text.prepare(self.tables.test[self.recipe.text_column])

    @cached_property
    def split(self) -> splits.Split:
        """Which rows each fold is trained on and judged on; drawn by `claim`, in split.csv."""
        return splits.read_split(self.path("split.csv"), self.tables.train_ids, self.recipe.folds)

    def texts(self, rows: np.ndarray) -> list[str]:
        """Return the training comments that a mask, (N,), picks."""
        return [t for t, wanted in zip(self.train_texts, rows, strict=True) if wanted]

    def shown(self, texts: Sequence[str], width: int = 160) -> list[str]:
        """Return texts shortened for display, and masked unless the recipe shows them."""
        mask = text.mask if self.recipe.mask_comments else str
        return [mask(text.shorten(str(t), width)) for t in texts]

    def path(self, name: str) -> Path:
        """Return the path of a file in the run folder."""
        return self.folder / name

    def fold_folder(self, fold: int) -> Path:
        """Return the folder of a fold's model and predictions."""
        return fold_folders(self.folder, self.recipe)[fold]

    @property
    def member_folders(self) -> list[Path]:
        """The folders of the runs that this run blends; empty if it is no blend."""
        return list(dict.fromkeys(self.folder / m["run"] for m in self.members.values()))

    def predictions(self, name: str = OWN) -> Predictions:
        """Return the run's own predictions, or those of a linear model fitted beside it."""
        remedy = f"run 03_train; delete a fold's {DONE} to train it again"
        if self.members:
            remedy = "blend the members again"
        folders = fold_folders(self.folder, self.recipe)
        return Predictions(name, self.folder, folders, self.tables, self.split, remedy)

    def save_figure(self, figure: Figure, name: str) -> Figure:
        """Save a figure as figures/<name>.png and return it, so that the notebook shows it."""
        path = self.path(f"figures/{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120, bbox_inches="tight")
        return figure

    def record(self, **entries: object) -> None:
        """Add entries to run.json."""
        path = self.path("run.json")
        files.write_json(path, files.read_json(path, "run 03_train first") | entries)

    def publish_submission(self) -> Path | None:
        """On Kaggle, copy submission.csv to where the competition looks; return that path."""
        if files.outputs() != files.KAGGLE_WORKING:
            return None
        return Path(
            shutil.copyfile(self.path("submission.csv"), files.KAGGLE_WORKING / "submission.csv")
        )

    def claim(self, split: splits.Split | None = None) -> None:
        """Make the folder this run's own: write run.json and split.csv.

        If the folder already belongs to this run, only recipe values that do not affect training
        are updated.

        Args:
            split: the split to keep; without it, the recipe's split is drawn.

        Raises:
            InputError: if the folder belongs to a run with another recipe, data or members, or
                if there are too few comments to split. Nothing is written then.
        """
        path, identity = self.path("run.json"), self._identity()
        record = read_record(self.folder) if path.exists() else None
        if record is not None:
            self._check_owner(record, identity)
        if record is None or not self.path("split.csv").exists():
            split = split or self._draw_split()
            splits.write_split(self.path("split.csv"), self.tables.train_ids, split)
        files.write_json(path, (record or identity) | {"recipe": identity["recipe"]})

    def _draw_split(self) -> splits.Split:
        recipe = self.recipe
        return splits.make_split(
            self.train_texts, self.labels, recipe.folds, recipe.validation_fraction, recipe.seed
        )

    def _identity(self) -> dict:
        versions = {name: importlib.metadata.version(name) for name in VERSIONED}
        return {
            "recipe": dataclasses.asdict(self.recipe),
            "members": self.members,
            "data_dir": str(self.data_dir),
            "is_sample": self.is_sample,
            "data_sha256": self.tables.sha256,
            "versions": {"python": platform.python_version(), **versions},
            "seconds": {},
        }

    def _check_owner(self, record: dict, identity: dict) -> None:
        before, now = record["recipe"], identity["recipe"]
        differences = [
            f"{key}={before.get(key)} there, {value} here"
            for key, value in now.items()
            if before.get(key) != value and affects_training(key)
        ]
        for key, what in (("data_sha256", "other data"), ("members", "other members")):
            if record.get(key) != identity[key]:
                differences.append(what)
        if differences:
            raise InputError(
                f"{self.folder}: this folder belongs to another run ("
                f"{'; '.join(differences[:4])}); choose another run folder, or delete this one"
            )


def open_run(
    recipe: str = DEFAULT_RECIPE, data_dir: str = "", run_dir: str = "", overrides: str = ""
) -> Run:
    """Check the parameters and the data, and return the run that they describe.

    Nothing is written. `Run.claim` makes the folder this run's own.

    Args:
        recipe: a name in `toxlib.RECIPES`.
        data_dir: the folder of Kaggle's files. If empty, `data/` is tried, then Kaggle's input
            folder; if neither holds the files, the built-in sample is used.
        run_dir: the run folder; if empty, `outputs/<recipe>`, on Kaggle below `/kaggle/working`.
        overrides: recipe values to change, such as `"learning_rate=1e-5 epochs=1"`.

    Raises:
        InputError: for a wrong parameter or data file.

    >>> run = toxlib.open_run("quick", overrides="epochs=1")
    >>> run.label_names[0], len(run.train_texts)
    ('toxic', 2000)
    """
    set_up_display()
    chosen = get_recipe(recipe, overrides)
    folder, is_sample = kaggle.find_or_make_data(data_dir)
    tables = kaggle.read_tables(folder, chosen.id_column, chosen.text_column)
    return Run(chosen, run_folder(run_dir, recipe), folder, is_sample, tables)


def reopen(run_dir: str | Path = "", overrides: str = "") -> Run:
    """Return the run that a run folder belongs to, with its recipe and data.

    Args:
        run_dir: a folder that `03_train` or `06_blend` has claimed; if empty, `outputs/quick`.
        overrides: recipe values to change; only those that do not affect training, such as
            `"wanted_precision=0.9"`. They are kept in run.json.

    Raises:
        InputError: if the folder holds no run, its data files are gone or have changed, or a
            value in `overrides` affects training.

    >>> toxlib.reopen("outputs/quick").recipe.name
    'quick'
    """
    set_up_display()
    folder = run_folder(str(run_dir), DEFAULT_RECIPE)
    record, before = read_record(folder), read_recipe(folder)
    recipe = change(before, overrides)
    for key in FIELDS:
        if getattr(recipe, key) != getattr(before, key) and affects_training(key):
            raise InputError(
                f"{key}={getattr(recipe, key)}: {folder} was trained with {getattr(before, key)}; "
                "this value affects training, so choose a new run folder and start from 03_train"
            )
    data_dir = Path(record["data_dir"])
    tables = kaggle.read_tables(data_dir, recipe.id_column, recipe.text_column)
    if tables.sha256 != record["data_sha256"]:
        raise InputError(f"{folder}: the files in {data_dir} have changed since the run was made")
    run = Run(recipe, folder, data_dir, record["is_sample"], tables, record["members"])
    if recipe != before:
        run.record(recipe=dataclasses.asdict(recipe))
    return run


def reopen_all(folders: Sequence[str | Path]) -> list[Run]:
    """Reopen several runs that are to be compared or blended.

    Raises:
        InputError: as `reopen`, and if a run is given twice or uses other data than the first.
    """
    runs: list[Run] = []
    for run in map(reopen, folders):
        if run.folder in [other.folder for other in runs]:
            raise InputError(f"{run.folder}: given twice; name each run once")
        if runs and run.tables.sha256 != runs[0].tables.sha256:
            raise InputError(
                f"{run.folder}: made from other data than {runs[0].folder}; choose runs on the "
                "same files"
            )
        runs.append(run)
    return runs


def read_record(folder: Path) -> dict:
    """Read a run folder's run.json; an InputError that lists known runs if there is none."""
    if not (folder / "run.json").is_file():
        known = sorted(str(path.parent) for path in files.outputs().glob("*/run.json"))
        raise InputError(
            f"{folder}: no run here (there is no run.json); run 03_train first, or give the "
            f"folder of a run ({', '.join(known[:5]) or 'there is none in outputs/'})"
        )
    return files.read_json(folder / "run.json", "delete the folder and run 03_train again")


def read_recipe(folder: Path) -> Recipe:
    """Read the recipe of a run folder from its run.json."""
    record = read_record(folder)
    try:
        return Recipe(**record["recipe"])
    except (ValueError, TypeError, KeyError):
        raise InputError(
            f"{folder / 'run.json'}: not written by this version of toxlib; run it again"
        ) from None


def fold_folders(folder: Path, recipe: Recipe) -> list[Path]:
    """Return the folder of each fold; a run with one validation set keeps it in the run folder."""
    if recipe.folds == 1:
        return [folder]
    return [folder / f"fold-{fold}" for fold in range(recipe.folds)]


def run_folder(run_dir: str, name: str) -> Path:
    """Return `run_dir`, or if it is empty `outputs/<name>`, as an absolute path.

    Raises:
        InputError: if that is a file.
    """
    folder = Path(run_dir).expanduser() if run_dir else files.outputs() / name
    files.check_folder(folder)
    return folder.resolve()


def set_up_display() -> None:
    """Set how notebooks show tables, and silence transformers' progress bars and warnings."""
    pd.set_option("display.html.use_mathjax", False)  # comments contain dollar signs
    pd.set_option("display.max_colwidth", 200)
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # it warns that the head is new, which is what we ask for
