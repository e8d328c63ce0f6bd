"""The run folder: its recipe, its data, who owns it, and where its files lie.

`01_eda` and `02_token_lengths` open a run and claim nothing. `03_train` claims the folder for one
recipe and one set of files. Later notebooks reopen the folder and read the recipe from run.json.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from transformers.utils import logging

from toxlib import files
from toxlib.data import kaggle, splits, text
from toxlib.data.translations import NO_TRANSLATIONS, Translations, read_translations
from toxlib.errors import InputError
from toxlib.parameters import Overrides, to_path
from toxlib.recipe_values import Recipe, affects_training
from toxlib.recipes import change, get_recipe
from toxlib.runs.lock import lock, unlock
from toxlib.runs.predictions import OWN, Predictions
from toxlib.runs.record import read_record, versions_and_machine

DEFAULT_RECIPE = "quick"


@dataclass(frozen=True)
class Run:
    """A recipe, the data, and the folder that holds all results.

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
    translations: Translations = NO_TRANSLATIONS
    """The comments with their translated copies, if the recipe names languages."""

    @property
    def label_names(self) -> list[str]:
        """The label columns, in the order of the training file's header."""
        return self.tables.label_names

    @property
    def training_recipe(self) -> Recipe:
        """The recipe in the precision that was chosen when the folder was claimed.

        So a run that goes on elsewhere keeps its precision, even where another one is faster.
        """
        # A run from before the choice was recorded has the recipe's own precision.
        chosen = self.machine.get("precision", self.recipe.precision)
        return change(self.recipe, {"precision": chosen})

    @property
    def machine(self) -> dict[str, object]:
        """What run.json says about the machine on which the folder was claimed."""
        found = read_record(self.folder).get("machine")
        return found if isinstance(found, dict) else {}

    @property
    def validation_labels(self) -> np.ndarray:
        """The labels of the validation rows, (N, L) of 0 and 1, in the file's order."""
        return self.tables.labels[self.split.is_validation]

    @property
    def data_note(self) -> str:
        """Where the comments come from, and what was assumed about their files, line by line."""
        source = kaggle.SAMPLE_NOTE if self.is_sample else f"Comments read from {self.data_dir}."
        return "\n".join([source, *self.tables.notes, *self.translations.notes])

    @property
    def data_sha256(self) -> dict[str, str]:
        """The digest of each file that the run was made from, by file name."""
        return self.tables.sha256 | self.translations.sha256

    @property
    def train_texts(self) -> text.PreparedTexts:
        """The training comments, prepared for models, in the file's order."""
        return self._prepared(self.tables.train)

    @property
    def test_texts(self) -> text.PreparedTexts:
        """The test comments, prepared for models, in the file's order."""
        return self._prepared(self.tables.test)

    @cached_property
    def split(self) -> splits.Split:
        """Which rows each fold trains on and is judged on, in split.csv, which `claim` writes."""
        return splits.read_split(self.path("split.csv"), self.tables.train_ids, self.recipe.folds)

    @property
    def member_folders(self) -> list[Path]:
        """The folders of the runs that this run blends; empty if it is no blend."""
        return list(dict.fromkeys(self.folder / m["run"] for m in self.members.values()))

    def texts(self, rows: np.ndarray) -> text.PreparedTexts:
        """Return the training file's comments where `rows`, (N,), is True."""
        return self._prepared(self.tables.train, np.flatnonzero(rows))

    def shown(self, texts: Sequence[str]) -> list[str]:
        """Return texts for display: shortened, escaped, and masked if `mask_comments` is set."""
        mask = text.mask if self.recipe.mask_comments else str
        return [text.visible(mask(text.shorten(t, 160))) for t in texts]

    def path(self, name: str) -> Path:
        """Return the path of a file in the run folder."""
        return self.folder / name

    def fold_folder(self, fold: int) -> Path:
        """Return the folder of a fold's model and predictions."""
        return fold_folders(self.folder, self.recipe)[fold]

    def predictions(self, name: str = OWN) -> Predictions:
        """Return the run's own predictions, or those of a linear model fitted beside it."""
        folders = fold_folders(self.folder, self.recipe)
        return Predictions(name, self.folder, folders, self.tables, self.split)

    def save_figure(self, figure: Figure, name: str) -> Figure:
        """Save a figure as figures/<name>.png and return it, so that the notebook shows it."""
        with files.replacing(self.path(f"figures/{name}.png")) as temporary:
            figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")
        return figure

    def record(self, **entries: object) -> None:
        """Add entries to run.json."""
        path = self.path("run.json")
        files.write_json(path, files.read_json(path, "run 03_train again") | entries)

    def publish_submission(self) -> Path | None:
        """On Kaggle, copy submission.csv to where the competition looks; return that path."""
        if files.outputs() != files.KAGGLE_WORKING:
            return None
        with files.replacing(files.KAGGLE_WORKING / "submission.csv") as temporary:
            shutil.copy(self.path("submission.csv"), temporary)
        return files.KAGGLE_WORKING / "submission.csv"

    def claim(self, split: splits.Split | None = None) -> None:
        """Make the folder this run's own: lock it, and write run.json and split.csv.

        Without `split`, the recipe's split is drawn. If the folder already belongs to this run,
        only recipe values that do not affect training are updated. If it belongs to another run,
        another process has locked it, or there are too few comments, an InputError is raised and
        nothing is written. The lock is held until `release` or the end of the process.
        """
        run_json, split_csv, recipe = self.path("run.json"), self.path("split.csv"), self.recipe
        is_new = not run_json.exists()
        record = self._new_record() if is_new else read_record(self.folder)
        self.check_owner(record)
        if is_new or not split_csv.exists():
            how = recipe.folds, recipe.validation_fraction, recipe.seed
            # Whether spelling is cleaned must not change the split, so that runs can be compared.
            texts = text.PreparedTexts(self.tables.train[recipe.text_column].array)
            split = split or splits.make_split(texts, self.tables.labels, *how)
        lock(self.folder)
        if is_new and run_json.exists():
            return self.claim(split)  # another process has claimed the folder in the meantime
        if split:
            splits.write_split(split_csv, self.tables.train_ids, split)
        files.write_json(run_json, record | {"recipe": asdict(recipe)})

    def check_owner(self, record: dict) -> None:
        """Raise an InputError if `record` is of a run with another recipe, data or members."""
        before, now = asdict(record["recipe"]), asdict(self.recipe)
        changed = [key for key in now if affects_training(key) and before[key] != now[key]]
        differences = [f"{key}={before[key]} there, {now[key]} here" for key in changed]
        if record["is_sample"] and not self.is_sample:
            differences.append(f"the synthetic sample there, {self.data_dir} here")
        elif record["data_sha256"] != self.data_sha256:
            differences.append(f"other data in {self.data_dir}, or data that have changed since")
        if record["members"] != self.members:
            differences.append("other members")
        if differences:
            fault = f"this folder belongs to another run ({'; '.join(differences[:4])})"
            remedy = "these values affect training: choose another run folder, or delete it"
            raise InputError(f"{self.folder}: {fault}; {remedy}")

    def release(self) -> None:
        """Let other processes write to the folder again."""
        unlock(self.folder)

    def _prepared(self, table: pd.DataFrame, rows: np.ndarray | None = None) -> text.PreparedTexts:
        comments = table[self.recipe.text_column].array
        return text.PreparedTexts(comments, rows, self.recipe.clean_spelling)

    def _new_record(self) -> dict:
        return {
            "recipe": self.recipe,
            "members": self.members,
            "data_dir": str(self.data_dir),
            "is_sample": self.is_sample,
            "data_sha256": self.data_sha256,
            "seconds": {},
            **versions_and_machine(self.recipe, trains=not self.members),
        }


def open_run(
    recipe: str = DEFAULT_RECIPE,
    data_dir: str | Path = "",
    run_dir: str | Path = "",
    overrides: Overrides = "",
) -> Run:
    """Check the parameters and the data, and return the run that they describe.

    The run folder is not written; `Run.claim` makes it this run's own.

    Args:
        recipe: a name in `toxlib.RECIPES`.
        data_dir: the folder of Kaggle's files. If empty, `data/` is tried, then Kaggle's input
            folder; if neither holds the files, the built-in sample is used.
        run_dir: the run folder; if empty, `outputs/<recipe>` (`/kaggle/working/<recipe>`).
        overrides: recipe values to change, such as `"learning_rate=1e-5 epochs=1"` or
            `{"epochs": 1}` or `["epochs=1"]`.

    >>> run = toxlib.open_run("quick", overrides="epochs=1")
    >>> run.label_names[0], len(run.train_texts)
    ('toxic', 2000)
    """
    set_up_display()
    chosen = get_recipe(recipe, overrides)
    target = run_folder(run_dir, chosen.name)
    folder, is_sample = kaggle.find_or_make_data(to_path(data_dir, "data_dir"))
    tables, translations = _read(chosen, folder)
    return Run(chosen, target, folder, is_sample, tables, translations=translations)


def reopen(run_dir: str | Path = "", overrides: Overrides = "") -> Run:
    """Return the run that a run folder belongs to, with its recipe and data.

    `run_dir` is a folder that `03_train` or `06_blend` has claimed; if empty, `outputs/quick`.
    `overrides` may only change values that do not affect training, such as
    `"wanted_precision=0.9"`; run.json keeps them.

    >>> toxlib.reopen("outputs/quick").recipe.name
    'quick'
    """
    set_up_display()
    folder = run_folder(run_dir, DEFAULT_RECIPE)
    record = read_record(folder, with_data=True)
    before, data_dir = record["recipe"], Path(record["data_dir"])
    recipe = change(before, overrides)
    tables, translations = _read(before, data_dir)
    own = record["is_sample"], tables, record["members"], translations
    run = Run(recipe, folder, data_dir, *own)
    run.check_owner(record)
    if recipe != before:
        run.record(recipe=asdict(recipe))
    return run


def _read(recipe: Recipe, folder: Path) -> tuple[kaggle.Tables, Translations]:
    columns = recipe.id_column, recipe.text_column, recipe.label_columns
    tables = kaggle.read_tables(folder, *columns)
    how = recipe.text_column, recipe.clean_spelling
    return tables, read_translations(folder, recipe.translations, tables, *how)


def reopen_all(folders: Sequence[str | Path], reserved: Sequence[str] = ()) -> dict[str, Run]:
    """Reopen runs on the same data and labels, by folder name, or by path if a name is taken."""
    runs: dict[str, Run] = {}
    for run in map(reopen, folders):
        first = next(iter(runs.values()), run)
        if run.folder in [other.folder for other in runs.values()]:
            raise InputError(f"{run.folder}: given twice; name each run once")
        if run.tables.sha256 != first.tables.sha256:
            fault = f"made from other data than {first.folder}"
            raise InputError(f"{run.folder}: {fault}; choose runs on the same files")
        if run.label_names != first.label_names:
            fault = f"its labels are not those of {first.folder}"
            raise InputError(f"{run.folder}: {fault}; choose runs with the same label_columns")
        name = run.folder.name
        runs[str(run.folder) if name in (*runs, *reserved) else name] = run
    return runs


def fold_folders(folder: Path, recipe: Recipe) -> list[Path]:
    """Return the folder of each fold; of a single fold, the run folder."""
    folds = recipe.folds
    return [folder] if folds == 1 else [folder / f"fold-{fold}" for fold in range(folds)]


def run_folder(run_dir: str | Path, name: str) -> Path:
    """Return `run_dir`, or if it is empty `outputs/<name>`, as an absolute path; refuse a file."""
    given = to_path(run_dir, "run_dir")
    folder = Path(given) if given else files.outputs() / name
    files.check_folder(folder)
    return folder.resolve()


def set_up_display() -> None:
    """Set how notebooks show tables, and silence transformers' progress bars and warnings."""
    pd.set_option("display.html.use_mathjax", False)  # comments contain dollar signs
    pd.set_option("display.max_colwidth", 300)
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # a warning says that the head is new, as intended
