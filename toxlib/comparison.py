"""Set finished runs side by side: what they are, how they score, what they cost."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from toxlib import intervals, metrics, plots, predictions, thresholds
from toxlib.errors import InputError
from toxlib.run import Run, reopen_all
from toxlib.training import format_seconds

INTERVALS = {
    "mean column-wise AUC": "mean column-wise AUC",
    "AUC minus first": "mean column-wise AUC minus first",
    "error ÷ first's": "error divided by first's",
    "log loss minus first": "log loss minus first",
}
"""Column → what `toxlib.intervals.compare` calls it."""


def compare_runs(folders: list[Path]) -> pd.DataFrame:
    """One row per run; differences are paired with the first run's predictions.

    Runs that were validated on the same rows are scored on those. Otherwise all are scored on the
    rows that every one of them was validated on, which no model of theirs was trained on.

    Returns:
        Indexed by run; intervals are in columns that end in "low" and "high".

    Raises:
        InputError: if a run is unfinished or given twice, or they have other labels or data, or
            no common row.
    """
    runs = reopen_all(folders)
    common = np.logical_and.reduce([run.split.is_validation for run in runs])
    if not common.any():
        raise InputError(
            "the runs have no validation row in common; compare runs of the same folds"
        )
    labels = runs[0].labels[common]
    scores = [_scores(run, common) for run in runs]
    rows = [
        _row(run, labels, own, scores[0], common) for run, own in zip(runs, scores, strict=True)
    ]
    names = [run.folder.name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.folder) for run in runs]
    return pd.DataFrame(rows, index=pd.Index(names, name="run"))


def _scores(run: Run, rows: np.ndarray) -> np.ndarray:
    _, probabilities = predictions.read_validation(run)
    return probabilities[rows[run.split.is_validation]]


def _row(
    run: Run, labels: np.ndarray, scores: np.ndarray, first: np.ndarray, common: np.ndarray
) -> dict:
    report = intervals.compare(labels, scores, {"first": first}, run.label_names, note="")
    row = {
        "recipe": " + ".join([run.recipe.name, *(Path(member).name for member in run.members)]),
        "epoch chosen on these rows": run.recipe.folds == 1,
        "folds": run.recipe.folds,
        "rows": len(labels),
        "log loss": report["validation"]["log_loss"],
    }
    for name, measured in INTERVALS.items():
        interval = report["intervals_95"][measured]
        row |= {
            name: interval["estimate"],
            f"{name} low": interval["low"],
            f"{name} high": interval["high"],
        }
    return row | _threshold_f1(run, labels, scores, common) | _cost(run)


def _threshold_f1(
    run: Run, labels: np.ndarray, scores: np.ndarray, common: np.ndarray
) -> dict[str, float]:
    """On the common rows, decided at 0.5 and by thresholds chosen on other rows."""
    parts, own = predictions.read_parts(run), run.labels[run.split.is_validation]
    fitted = thresholds.cross_fitted_thresholds(own, parts, run.recipe.wanted_precision)
    decisions = fitted.decisions[common[run.split.is_validation]]
    return {
        "macro F1 at 0.5": metrics.f1(labels, scores >= thresholds.DEFAULT, "macro"),
        "macro F1 cross-fitted": metrics.f1(labels, decisions, "macro"),
    }


def _cost(run: Run) -> dict[str, float]:
    """Seconds that the models took, a blend's being its members', and the most memory."""
    costs = []
    for folder in map(Path, run.members or [run.folder]):
        metrics_file = folder / "metrics.json"
        if not metrics_file.is_file():
            raise InputError(f"{metrics_file} is not there yet: finish the run first")
        costs.append(json.loads(metrics_file.read_text("utf-8"))["cost"])
    return {
        "seconds": sum(cost["model_seconds"] for cost in costs),
        "peak memory (GB)": max(cost["peak_memory_gb"] for cost in costs),
    }


def format_comparison(table: pd.DataFrame) -> str:
    """The comparison for a terminal: a column per run, intervals beside their estimates."""
    shown = {}
    for run, row in table.iterrows():
        plain = ("recipe", "folds", "epoch chosen on these rows", "rows")
        lines = {name: row[name] for name in plain}
        for name, form in zip(INTERVALS, (".5f", "+.5f", ".3f", "+.5f"), strict=True):
            low, high = row[f"{name} low"], row[f"{name} high"]
            lines[name] = f"{row[name]:{form}} [{low:{form}}, {high:{form}}]"
        for name in ("log loss", "macro F1 at 0.5", "macro F1 cross-fitted"):
            lines[name] = f"{row[name]:.4f}"
        lines["time"] = format_seconds(row["seconds"])
        lines["peak memory (GB)"] = f"{row['peak memory (GB)']:.1f}"
        shown[run] = lines
    return pd.DataFrame(shown).to_string()


def plot_comparison(table: pd.DataFrame) -> Figure:
    """Each run's mean column-wise AUC, and its difference from the first, with intervals."""
    panels = ("mean column-wise AUC", "AUC minus first")
    return plots.intervals(table, panels, "Runs on the same validation rows")
