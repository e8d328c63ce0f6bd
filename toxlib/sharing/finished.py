"""Read what the files of a finished run say about it, for its model card.

Nothing is computed here, and no model or data is loaded.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import files
from toxlib.evaluation.thresholds import JUDGED
from toxlib.recipe_values import Recipe
from toxlib.reports.costs import METRICS
from toxlib.runs.blending import WEIGHTS_FILE
from toxlib.runs.predictions import OWN, REMEDY
from toxlib.runs.record import public_names, public_recipe, read_record
from toxlib.scoring.predictor import CALIBRATION, FITTED_BY, THRESHOLDS

AUC, LOSS, F1 = "mean_columnwise_auc", "log_loss", "f1_macro_at_0.5"
SPREAD = ["threshold", "lowest", "highest", "positives"]
CALIBRATED = ["slope", "intercept", "Brier before", "Brier after", "ECE before", "ECE after"]
OTHER_RESULTS = {
    "AUC difference": "mean column-wise AUC minus {}",
    "loss difference": "log loss minus {}",
}
"""Column of `Finished.others` → its name in metrics.json, for the other model `{}`."""


@dataclass(frozen=True)
class Finished:
    """What the files of a finished run say. Members and checkpoints have names without folders."""

    folder: Path
    record: dict  # run.json
    recipe: Recipe
    scores: dict[str, float]  # `AUC`, `LOSS`, `F1`, and "low" and "high" of the AUC
    note: str  # how far the scores can be trusted
    others: pd.DataFrame  # a row per baseline or member: scores, and differences with intervals
    labels: pd.DataFrame  # a row per label, the commonest first: AUC, threshold, calibration
    rows: dict[str, int]  # the number of comments: train, validation, test
    models: dict[str, Recipe]  # member of a blend, or "own" → the recipe of its encoder
    members: dict[str, tuple[str, float]]  # of a blend: member → its predictions, mean weight
    seconds: float  # of training and scoring; NaN for a blend
    grade: dict[str, float]  # on the scored rows of test_labels; empty if there are none


def read_finished(folder: Path) -> Finished:
    """Read the files of a finished run.

    Raises:
        InputError: if a file is missing or damaged, or the folder is an exported one.
    """
    record = read_record(folder, with_data=True)
    path, remedy = folder / METRICS, REMEDY
    metrics = files.read_json(path, remedy)
    with files.damage_told(path, remedy):
        own = metrics["validation"]
        names = public_names(metrics["others"] | record["members"])
        low, high = (
            metrics["intervals_95"]["mean column-wise AUC"][end] for end in ("low", "high")
        )
        scores = {key: _number(own[key]) for key in (AUC, LOSS, F1)}
        scores |= {"low": _number(low), "high": _number(high)}
        others = _read_others(metrics, names)
        aucs = pd.Series(own["auc_per_label"], dtype=float).to_frame("AUC")
        rows = {"validation": int(own["rows"])}
        note = str(metrics["validation_note"])
        seconds = _number(metrics.get("cost", {}).get("model_seconds"))
    for kind, name in (("train", "split.csv"), ("test", "test_predictions.csv")):
        rows[kind] = _count_rows(folder / name, remedy)
    models, members = _read_members(folder, record, names)
    with files.damage_told(folder / "run.json", "run 05_submission on this run again"):
        grade = _read_grade(record.get("test_grade"))
    return Finished(
        folder=folder,
        record=record,
        recipe=public_recipe(record["recipe"]),
        scores=scores,
        note=note,
        others=others,
        labels=_read_labels(folder, aucs),
        rows=rows,
        models=models,
        members=members,
        seconds=seconds,
        grade=grade,
    )


def _read_others(metrics: dict, names: dict[str, str]) -> pd.DataFrame:
    """Return a row per baseline or member: its scores, and what the model has more than it."""
    rows = {}
    for name, found in metrics["others"].items():
        rows[names[name]] = {key: _number(found[key]) for key in (AUC, LOSS, F1)}
        for column, key in OTHER_RESULTS.items():
            interval = metrics["intervals_95"][key.format(name)]
            for end in ("estimate", "low", "high"):
                rows[names[name]][f"{column} {end}"] = _number(interval[end])
    return pd.DataFrame.from_dict(rows, "index")


def _read_labels(folder: Path, aucs: pd.DataFrame) -> pd.DataFrame:
    """Join what 04 has written about each label to its AUC; NaN where a file says nothing."""
    table = aucs
    for name, columns in ((THRESHOLDS, [*SPREAD, *JUDGED]), (CALIBRATION, CALIBRATED)):
        content = files.read_json(folder / name, FITTED_BY[name])
        with files.damage_told(folder / name, FITTED_BY[name]):
            rows = [[content[label].get(c) for c in columns] for label in aucs.index]
            found = pd.DataFrame(rows, aucs.index, columns)
            numbers = [column for column in columns if "interval" not in column]
            table = table.join(found.astype(dict.fromkeys(numbers, float)))
            if not np.isfinite(table[columns[0]]).all():
                raise ValueError(columns[0])
    return table.sort_values("positives", ascending=False, kind="stable")


def _read_members(
    folder: Path, record: dict, names: dict[str, str]
) -> tuple[dict[str, Recipe], dict[str, tuple[str, float]]]:
    """Return the recipes of all encoders, and the members of a blend with their mean weights."""
    if not record["members"]:
        return {OWN: public_recipe(record["recipe"])}, {}
    path, remedy = folder / WEIGHTS_FILE, FITTED_BY[WEIGHTS_FILE]
    weights, models, members = files.read_json(path, remedy), {}, {}
    for member, source in record["members"].items():
        with files.damage_told(path, remedy):
            mean = sum(float(of_label[member]) for of_label in weights.values()) / len(weights)
        members[names[member]] = source["predictions"], mean
        if source["predictions"] == OWN:
            models[names[member]] = public_recipe(read_record(folder / source["run"])["recipe"])
    return models, members


def _read_grade(found: dict | None) -> dict[str, float]:
    if not found:
        return {}
    low, high = found["interval_95"]
    grade = {"rows": found["rows_scored"], AUC: found[AUC], LOSS: found[LOSS]}
    return {key: _number(value) for key, value in {**grade, "low": low, "high": high}.items()}


def _count_rows(path: Path, remedy: str) -> int:
    with files.damage_told(path, remedy):
        return len(pd.read_csv(path, usecols=[0], dtype=str))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
