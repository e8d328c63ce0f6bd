"""Load a finished run and score new comments with it."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from toxlib import files
from toxlib.data.comments import check_comments, iter_comments
from toxlib.data.csv_files import ignore
from toxlib.errors import InputError, show, show_all
from toxlib.evaluation.calibration import Calibrator
from toxlib.evaluation.cascade import Cascade
from toxlib.evaluation.thresholds import thresholds_from_json
from toxlib.evaluation.weights import apply_weights
from toxlib.progress import progress
from toxlib.recipe_values import affects_training
from toxlib.runs.blending import WEIGHTS_FILE
from toxlib.runs.folds import LINEAR_FOLDER
from toxlib.runs.predictions import OWN
from toxlib.runs.record import CARD, read_record
from toxlib.runs.run import DEFAULT_RECIPE, fold_folders, run_folder
from toxlib.scoring.cascading import fit_cascade, tell_rate
from toxlib.scoring.fold_models import FoldModels
from toxlib.scoring.shards import Options, tell, writing_table
from toxlib.training import occlusion
from toxlib.training.linear import LINEAR

CALIBRATION, THRESHOLDS = "calibration.json", "thresholds.json"
FITTED_BY = {
    WEIGHTS_FILE: "run 06_blend on this run first",
    CALIBRATION: "run 04_thresholds on this run first",
    THRESHOLDS: "run 04_thresholds on this run first",
}
"""What to do if a file that a notebook has fitted is missing."""


def load(run_dir: str | Path = "", cascade: float | None = None) -> "Scorer":
    """Load a finished run, which may be a blend; if `run_dir` is empty, the one in outputs/quick.

    With `cascade`, comments that the linear models are sure about skip the encoder: as many as
    lower the mean column-wise AUC by at most this number; see `toxlib.scoring.cascading`.

    Raises:
        InputError: if the folder holds no run, or a model is missing; or if no cascade can be
            fitted for this run.

    >>> scorer = toxlib.load("outputs/quick")
    >>> scorer.predict(["Thank you for the note."]).columns[0]
    'toxic'
    """
    folder = run_folder(str(run_dir), DEFAULT_RECIPE)
    return Scorer(folder, None if cascade is None else fit_cascade(folder, cascade))


def digest(folder: Path, options: Options) -> str:
    """Return a sha256 digest of all that the scores of a run depend on, without loading it.

    Raises:
        InputError: if a file is missing.
    """
    record = read_record(folder)
    members = record["members"]
    runs = [folder, *dict.fromkeys(folder / member["run"] for member in members.values())]
    names = {WEIGHTS_FILE: members, CALIBRATION: options.calibrated, THRESHOLDS: options.decide}
    content = [files.read_json(folder / n, FITTED_BY[n]) for n, wanted in names.items() if wanted]
    if options.most_lost is not None:  # it is chosen by the labels
        content.append(record["data_sha256"])
    for run in runs:
        recipe = read_record(run)["recipe"]
        content.append({k: v for k, v in asdict(recipe).items() if affects_training(k)})
        for part in fold_folders(run, recipe):
            paths = [*(part / "model").glob("*"), *(part / LINEAR_FOLDER).glob("*")]
            scoring = [path for path in sorted(paths) if path.name != CARD]
            content += [[path.name, files.sha256(path)] for path in scoring]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class Scorer:
    """The model or models of a finished run, ready to score comments; made by `toxlib.load`.

    >>> toxlib.load("outputs/quick").label_names[0]
    'toxic'
    """

    def __init__(self, folder: Path, cascade: Cascade | None = None, fold: int | None = None):
        """Load the models of all folds, or of one fold alone."""
        record = read_record(folder)
        self.folder, self.recipe, self.cascade = folder, record["recipe"], cascade
        blend = record["members"]
        # A run that is no blend has one member, itself.
        sources = blend or {OWN: {"run": ".", "predictions": OWN}}
        self._members = {n: (folder / m["run"], m["predictions"]) for n, m in sources.items()}
        runs = dict.fromkeys(run for run, _ in self._members.values())
        with_linear = {run for run, name in self._members.values() if name in LINEAR}
        self._models = {run: FoldModels(run, run in with_linear, cascade, fold) for run in runs}
        self.label_names = next(iter(self._models.values())).label_names
        self._weights = self._fitted(WEIGHTS_FILE, self._to_weights) if blend else None

    @property
    def encoders(self) -> list[tuple[PreTrainedModel, PreTrainedTokenizerBase]]:
        """The encoder and the tokenizer of each fold of each member."""
        return [encoder for models in self._models.values() for encoder in models.encoders]

    @property
    def skipped(self) -> int:
        """How many of the comments that were scored last have skipped the encoder."""
        return sum(models.skipped for models in self._models.values())

    @property
    def thresholds(self) -> np.ndarray:
        """The thresholds of thresholds.json, (L,); an InputError if it is missing or damaged."""
        return self._fitted(THRESHOLDS, thresholds_from_json)

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
        return self.calibrate(scores) if calibrated else scores

    def decide(self, texts: Sequence[str]) -> pd.DataFrame:
        """Return True where a comment has a label by the run's thresholds.json.

        >>> toxlib.load("outputs/quick").decide(["Thank you."]).dtypes.iloc[0]
        dtype('bool')
        """
        return self._decisions(self.predict(texts))

    def explain(self, texts: Sequence[str], label: str) -> list[pd.DataFrame]:
        """Return how far the score of a label falls if a word is masked, for each word of a text.

        Encoders read their mask token in the place of the word, and linear models a blank. Both
        compute in fp32, because rounding in bf16 would change scores by as much as most words do.
        Words of long texts are masked together where they matter little, so that no text takes
        more than some seconds; see `toxlib.training.occlusion`.

        Returns:
            A table per text with the columns `start` and `end`, the characters of the word in the
            text; `word`; and `effect`, which is positive if the word raises the score.

        Raises:
            InputError: if there is no such label, a comment is not a string, or the run was
                loaded with a cascade.

        >>> toxlib.load("outputs/quick").explain(["Thank you, fool."], "toxic")[0].shape
        (3, 4)
        """
        tables = self.explain_labels(texts, [label])
        return [table.set_axis([*table.columns[:3], "effect"], axis=1) for table in tables]

    def explain_labels(
        self, texts: Sequence[str], labels: Sequence[str] = ()
    ) -> Iterator[pd.DataFrame]:
        """Yield the same as `explain`, with a column of effects for each of the labels.

        `labels` are label names; if empty, all labels. InputErrors come with the first table.
        """
        names = list(labels) or self.label_names
        self.check_explainable(names)
        _check_strings(texts)
        columns = [self.label_names.index(name) for name in names]
        models = next(iter(self._models.values()))

        def score(masked: list[str]) -> np.ndarray:
            return self._scores(masked, tqdm(disable=True), explained=True).to_numpy()[:, columns]

        yield from occlusion.explain(texts, score, models.count_tokens(texts), names)

    def check_explainable(self, labels: Sequence[str]) -> None:
        """Raise an InputError if a label is unknown, or the run was loaded with a cascade."""
        if unknown := [label for label in labels if label not in self.label_names]:
            known = show_all(self.label_names)
            raise InputError(f"unknown label {show(unknown[0])}: choose one of {known}")
        if self.cascade is not None:
            raise InputError("scores of a cascade cannot be explained; load the run without one")

    def predict_file(self, path: Path, output: Path, options: Options | None = None) -> None:
        """Score a file with texts piece by piece; write ids and scores in its order.

        Without an id column, the rows are numbered. What was assumed about the file is told on
        stderr. The output is Parquet if it ends in .parquet, else CSV; it may also be a pipe, a
        device, or `-` for standard output. With `options.decide`, add a column of 0 and 1 per
        label, called `<label>_decision`.

        Raises:
            InputError: if the file cannot be read, or is `output` itself.
        """
        options = options or Options()
        files.check_output(output, path)
        if options.decide:
            _ = self.thresholds  # an InputError here, rather than after the first texts
        if options.calibrated:
            self._fitted(CALIBRATION, Calibrator.from_json)
        columns = self.recipe.id_column, self.recipe.text_column
        checked = check_comments(path, *columns, options.skip, options.unique_ids)
        tell([checked])
        if checked.rows == 0:
            raise InputError(f"{path}: no row is left to score; mend the file")
        how = {"number_rows": True, "without": checked.repeated_rows}
        how |= {"report": ignore} if options.skip else {}
        total = checked.rows * len(self.encoders)
        skipped, start = 0, time.perf_counter()
        with writing_table(output) as write, progress(total=total, description="Predict") as bar:
            for chunk in iter_comments(path, *columns, **how):
                table = self.table(chunk[columns[1]], options, bar)
                skipped += self.skipped
                table.insert(0, columns[0], chunk[columns[0]].to_numpy(), allow_duplicates=True)
                write(table)
        if self.cascade:
            tell_rate(checked.rows, skipped, time.perf_counter() - start)

    def table(
        self, texts: Sequence[str], options: Options, bar: tqdm | None = None
    ) -> pd.DataFrame:
        """Return the scores and, if `options.decide`, the decisions: a row per text."""
        plain = self._scores(texts, tqdm(disable=True) if bar is None else bar)
        table = self.calibrate(plain) if options.calibrated else plain
        if options.decide:
            taken = {f"{name}_decision" for name in self.label_names} & {*self.label_names}
            if taken:
                fault = (
                    f"--decide: a label is called {show(min(taken))}, as the column of another is"
                )
                raise InputError(f"{fault}; leave out --decide")
            table = table.join(self._decisions(plain).astype("int8").add_suffix("_decision"))
        return table

    def _scores(self, texts: Sequence[str], bar: tqdm, explained: bool = False) -> pd.DataFrame:
        """Return the scores; with `explained`, of texts that have `MASKED` words, in fp32."""
        _check_strings(texts)
        by_run = {run: m.predict(texts, bar, explained) for run, m in self._models.items()}
        scores = [by_run[run][name] for run, name in self._members.values()]
        blended = scores[0]
        if self._weights is not None:
            blended = apply_weights(self._weights, np.stack(scores))
        return pd.DataFrame(blended, columns=self.label_names)

    def calibrate(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Return calibrated probabilities for the scores of `predict`; see there."""
        calibrator = self._fitted(CALIBRATION, Calibrator.from_json)
        return pd.DataFrame(calibrator(scores.to_numpy()), columns=self.label_names)

    def _decisions(self, scores: pd.DataFrame) -> pd.DataFrame:
        return scores >= self.thresholds

    def _fitted(self, name: str, from_json: Callable):
        """Return what a notebook has fitted for the labels and members of this run."""
        path, remedy = self.folder / name, FITTED_BY[name]
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


def _check_strings(texts: Sequence[str]) -> None:
    for number, comment in enumerate(texts, start=1):
        if not isinstance(comment, str):
            raise InputError(f"comment {number} is {comment!r}, not a string; give a string")
