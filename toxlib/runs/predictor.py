"""Load a finished run and score new comments with it."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from toxlib import files
from toxlib.data import kaggle, text
from toxlib.errors import InputError
from toxlib.evaluation.calibration import Calibrator
from toxlib.evaluation.parts import average
from toxlib.evaluation.thresholds import thresholds_from_json
from toxlib.evaluation.weights import apply_weights
from toxlib.progress import progress
from toxlib.recipes import Recipe
from toxlib.runs.blending import WEIGHTS_FILE
from toxlib.runs.folds import LINEAR_FOLDER
from toxlib.runs.predictions import OWN
from toxlib.runs.run import DEFAULT_RECIPE, fold_folders, read_recipe, read_record, run_folder
from toxlib.training.checkpoints import load_trained
from toxlib.training.inference import predict_probabilities
from toxlib.training.linear import LINEAR, LinearModels
from toxlib.training.machine import default_device

REMEDY = "run 04_thresholds on this run first"


def load(run_dir: str | Path = "") -> "Scorer":
    """Load a finished run: one with a single model, one with folds, or a blend.

    Args:
        run_dir: the run folder; if empty, `outputs/quick`.

    Raises:
        InputError: if the folder holds no run, or its models are missing or damaged.

    >>> scorer = toxlib.load("outputs/quick")
    >>> scorer.predict(["Thank you for the note."]).columns[0]
    'toxic'
    """
    folder = run_folder(str(run_dir), DEFAULT_RECIPE)
    members = read_record(folder).get("members")
    return Scorer(folder, _Blend(folder, members) if members else _Encoders(folder))


class Scorer:
    """The model or models of a finished run, ready to score comments; made by `toxlib.load`.

    >>> toxlib.load("outputs/quick").label_names[0]
    'toxic'
    """

    def __init__(self, folder: Path, model: "_Encoders | _Blend"):
        self.folder, self.recipe = folder, read_recipe(folder)
        self.label_names = model.label_names
        self._model = model

    def predict(self, texts: Sequence[str], calibrated: bool = False) -> pd.DataFrame:
        """Return the probability of each label for each comment.

        Args:
            texts: N comments.
            calibrated: apply the run's calibration.json, so that of comments scored 0.8, about
                eight in ten have the label. Use plain scores for thresholds.

        Returns:
            N rows in the order of `texts` and a column per label.

        Raises:
            InputError: if a comment is not a string, or calibration.json is missing or damaged.

        >>> toxlib.load("outputs/quick").predict(["Thank you.", "Get lost!"]).shape
        (2, 6)
        """
        return self._table(self._scores(texts, tqdm(disable=True)), calibrated)

    def decide(self, texts: Sequence[str]) -> pd.DataFrame:
        """Return yes or no for each comment and label, by the run's thresholds.json.

        Returns:
            N rows of booleans in the order of `texts` and a column per label.

        Raises:
            InputError: if a comment is not a string, or thresholds.json is missing or damaged.

        >>> toxlib.load("outputs/quick").decide(["Thank you."]).dtypes.iloc[0]
        dtype('bool')
        """
        return self._decisions(self._table(self._scores(texts, tqdm(disable=True))))

    def predict_file(
        self, path: Path, output: Path, calibrated: bool = False, decide: bool = False
    ) -> None:
        """Score a CSV with id and text columns in pieces, and write ids and scores in its order.

        Args:
            decide: add a column of 0 and 1 per label, called `<label>_decision`.
        """
        columns = self.recipe.id_column, self.recipe.text_column
        total = sum(len(chunk) for chunk in kaggle.iter_comments(path, *columns))
        total *= self._model.passes
        names = [f"{name}_decision" for name in self.label_names] if decide else []
        with (
            files.replacing(output) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
            progress(total=total, description="Predict") as bar,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([columns[0], *self.label_names, *names])
            for chunk in kaggle.iter_comments(path, *columns):
                plain = self._table(self._scores(chunk[columns[1]], bar))
                scores = self._table(plain.to_numpy(), calibrated).map("{:.9g}".format)
                if decide:
                    scores = pd.concat([scores, self._decisions(plain).astype(int)], axis=1)
                writer.writerows(scores.set_axis(chunk[columns[0]]).itertuples())

    def _scores(self, texts: Sequence[str], bar: tqdm) -> np.ndarray:
        for number, comment in enumerate(texts, start=1):
            if not isinstance(comment, str):
                raise InputError(f"comment {number} is {comment!r}, not a string; give a string")
        return self._model.predict(text.prepare(texts), bar)

    def _table(self, scores: np.ndarray, calibrated: bool = False) -> pd.DataFrame:
        if calibrated:
            scores = self._fitted("calibration.json", Calibrator.from_json)(scores)
        return pd.DataFrame(scores, columns=self.label_names)

    def _decisions(self, scores: pd.DataFrame) -> pd.DataFrame:
        return scores >= self._fitted("thresholds.json", thresholds_from_json)

    def _fitted(self, name: str, from_json):
        """Read what 04_thresholds has fitted for these labels."""
        path = self.folder / name
        content = files.read_json(path, REMEDY)
        try:
            return from_json(content, self.label_names)
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{path}: not made for the labels of this run; {REMEDY}") from None


class _Encoders:
    """The encoder of each fold; their logits are averaged."""

    def __init__(self, folder: Path):
        self.recipe: Recipe = read_recipe(folder)
        folders = [path / "model" for path in fold_folders(folder, self.recipe)]
        loaded = [load_trained(path) for path in folders]
        self.models = [(model.to(default_device()), tokenizer) for model, tokenizer in loaded]
        self.label_names = list(loaded[0][0].config.id2label.values())
        self.passes = len(self.models)

    def predict(self, texts: list[str], bar: tqdm) -> np.ndarray:
        """Return probabilities, (N, L)."""
        how = (self.recipe.precision, self.recipe.micro_batch_tokens, bar)
        return average([predict_probabilities(*model, texts, *how) for model in self.models])


class _Blend:
    """The members of a blend and their weights."""

    def __init__(self, folder: Path, members: dict[str, dict[str, str]]):
        self.members = {
            name: (folder / source["run"], source["predictions"])
            for name, source in members.items()
        }
        runs = dict.fromkeys(run for run, _ in self.members.values())
        self.encoders = {run: _Encoders(run) for run in runs}
        with_linear = dict.fromkeys(run for run, name in self.members.values() if name in LINEAR)
        self.linear = {run: self._load_linear(run) for run in with_linear}
        self.label_names = next(iter(self.encoders.values())).label_names
        self.passes = sum(encoders.passes for encoders in self.encoders.values())
        self.weights = self._read_weights(folder / WEIGHTS_FILE)

    def _load_linear(self, run: Path) -> list[LinearModels]:
        folders = fold_folders(run, self.encoders[run].recipe)
        return [LinearModels.load(folder / LINEAR_FOLDER) for folder in folders]

    def _read_weights(self, path: Path) -> np.ndarray:
        """Return the weights, (L, M)."""
        remedy = "run 06_blend again"
        content = files.read_json(path, remedy)
        try:
            rows = [[content[label][name] for name in self.members] for label in self.label_names]
            return np.array(rows, dtype=float)
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{path}: not the weights of these members; {remedy}") from None

    def predict(self, texts: list[str], bar: tqdm) -> np.ndarray:
        """Return probabilities, (N, L)."""
        by_run = {
            run: {OWN: encoders.predict(texts, bar)} for run, encoders in self.encoders.items()
        }
        for run, folds in self.linear.items():
            predicted = [models.predict(texts) for models in folds]
            by_run[run] |= {name: average([p[name] for p in predicted]) for name in LINEAR}
        members = [by_run[run][name] for run, name in self.members.values()]
        return apply_weights(self.weights, np.stack(members))
