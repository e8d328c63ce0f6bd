"""Load a finished run and score new comments with it."""

import sys
from collections.abc import Callable, Sequence
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
from toxlib.runs.blending import WEIGHTS_FILE
from toxlib.runs.folds import LINEAR_FOLDER
from toxlib.runs.predictions import OWN
from toxlib.runs.run import DEFAULT_RECIPE, fold_folders, read_record, run_folder
from toxlib.training.checkpoints import load_trained
from toxlib.training.inference import predict_probabilities
from toxlib.training.linear import LINEAR, LinearModels
from toxlib.training.machine import default_device


def load(run_dir: str | Path = "") -> "Scorer":
    """Load a finished run, which may be a blend; if `run_dir` is empty, the one in outputs/quick.

    Raises:
        InputError: if the folder holds no run, or a model is missing.

    >>> scorer = toxlib.load("outputs/quick")
    >>> scorer.predict(["Thank you for the note."]).columns[0]
    'toxic'
    """
    return Scorer(run_folder(str(run_dir), DEFAULT_RECIPE))


class Scorer:
    """The model or models of a finished run, ready to score comments; made by `toxlib.load`.

    >>> toxlib.load("outputs/quick").label_names[0]
    'toxic'
    """

    def __init__(self, folder: Path):
        record = read_record(folder)
        self.folder, self.recipe = folder, record["recipe"]
        blend = record["members"]
        # A run that is no blend has one member, itself.
        sources = blend or {OWN: {"run": ".", "predictions": OWN}}
        self._members = {n: (folder / m["run"], m["predictions"]) for n, m in sources.items()}
        runs = dict.fromkeys(run for run, _ in self._members.values())
        with_linear = {run for run, name in self._members.values() if name in LINEAR}
        self._models = {run: _Models(run, run in with_linear) for run in runs}
        self.label_names = next(iter(self._models.values())).label_names
        self._weights = self._fitted(WEIGHTS_FILE, "06_blend", self._to_weights) if blend else None

    def predict(self, texts: Sequence[str], calibrated: bool = False) -> pd.DataFrame:
        """Return the probability of each label: a row per comment and a column per label.

        With `calibrated`, the run's calibration.json is applied: of comments scored 0.8, about
        eight in ten have the label. Use plain scores for thresholds.

        Raises:
            InputError: if a comment is not a string, or calibration.json is missing or damaged.

        >>> toxlib.load("outputs/quick").predict(["Thank you.", "Get lost!"]).shape
        (2, 6)
        """
        scores = self._scores(texts, tqdm(disable=True))
        return self._calibrated(scores) if calibrated else scores

    def decide(self, texts: Sequence[str]) -> pd.DataFrame:
        """Return True where a comment has a label by the run's thresholds.json.

        >>> toxlib.load("outputs/quick").decide(["Thank you."]).dtypes.iloc[0]
        dtype('bool')
        """
        return self._decisions(self.predict(texts))

    def predict_file(
        self, path: Path, output: Path, calibrated: bool = False, decide: bool = False
    ) -> None:
        """Score a CSV with texts piece by piece; write ids and scores in its order.

        Without an id column, the rows are numbered. What was assumed about the file is told on
        stderr. `output` may also be a pipe, a device, or `-` for standard output. With `decide`,
        add a column of 0 and 1 per label, called `<label>_decision`.

        Raises:
            InputError: if the file cannot be read, or is `output` itself.
        """
        files.check_output(output, path)
        notes: list[str] = []
        columns = self.recipe.id_column, self.recipe.text_column
        chunks = kaggle.iter_comments(path, *columns, notes, number_rows=True)
        rows = sum(len(chunk) for chunk in chunks)
        for note in notes:
            print(note, file=sys.stderr)
        total = rows * sum(len(models.encoders) for models in self._models.values())
        with files.writing(output) as file, progress(total=total, description="Predict") as bar:
            for chunk in kaggle.iter_comments(path, *columns, number_rows=True):
                plain = self._scores(chunk[columns[1]], bar)
                table = self._calibrated(plain) if calibrated else plain
                if decide:
                    table = table.join(self._decisions(plain).astype(int).add_suffix("_decision"))
                table = table.set_axis(chunk[columns[0]])
                table.to_csv(file, header=chunk.index[0] == 0, float_format="%.9g")

    def _scores(self, texts: Sequence[str], bar: tqdm) -> pd.DataFrame:
        for number, comment in enumerate(texts, start=1):
            if not isinstance(comment, str):
                raise InputError(f"comment {number} is {comment!r}, not a string; give a string")
        prepared = text.prepare(texts)
        by_run = {run: models.predict(prepared, bar) for run, models in self._models.items()}
        scores = [by_run[run][name] for run, name in self._members.values()]
        blended = scores[0]
        if self._weights is not None:
            blended = apply_weights(self._weights, np.stack(scores))
        return pd.DataFrame(blended, columns=self.label_names)

    def _calibrated(self, scores: pd.DataFrame) -> pd.DataFrame:
        calibrator = self._fitted("calibration.json", "04_thresholds", Calibrator.from_json)
        return pd.DataFrame(calibrator(scores.to_numpy()), columns=self.label_names)

    def _decisions(self, scores: pd.DataFrame) -> pd.DataFrame:
        return scores >= self._fitted("thresholds.json", "04_thresholds", thresholds_from_json)

    def _fitted(self, name: str, notebook: str, from_json: Callable):
        """Return what a notebook has fitted for the labels and members of this run."""
        path, remedy = self.folder / name, f"run {notebook} on this run first"
        content = files.read_json(path, remedy)
        try:
            return from_json(content, self.label_names)
        except (KeyError, TypeError, ValueError):
            fault = "not made for the labels of this run or, in a blend, its members"
            raise InputError(f"{path}: {fault}; {remedy}") from None

    def _to_weights(self, content: dict, label_names: list[str]) -> np.ndarray:
        """Return the weights, (L, M)."""
        rows = [[content[label][member] for member in self._members] for label in label_names]
        return np.array(rows, dtype=float)


class _Models:
    """Each fold's models: the encoder and, if a blend uses them, the linear models."""

    def __init__(self, folder: Path, with_linear: bool):
        self.recipe = read_record(folder)["recipe"]
        folders = fold_folders(folder, self.recipe)
        loaded = [load_trained(path / "model") for path in folders]
        self.encoders = [(model.to(default_device()), tokenizer) for model, tokenizer in loaded]
        self.linear = [LinearModels.load(path / LINEAR_FOLDER) for path in folders if with_linear]
        self.label_names = list(loaded[0][0].config.id2label.values())

    def predict(self, texts: list[str], bar: tqdm) -> dict[str, np.ndarray]:
        """Return {name of the predictions: probabilities, (N, L), averaged over the folds}."""
        how = {
            "precision": self.recipe.precision,
            "token_budget": self.recipe.micro_batch_tokens,
            "long_texts": self.recipe.long_texts,
        }
        encoded = [
            predict_probabilities(*encoder, texts, bar=bar, **how) for encoder in self.encoders
        ]
        by_fold = [{OWN: probabilities} for probabilities in encoded]
        for fold, models in enumerate(self.linear):
            by_fold[fold] |= models.predict(texts)
        return {name: average([scores[name] for scores in by_fold]) for name in by_fold[0]}
