"""Compare finished runs: how they score, how sure the differences are, and what they cost."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from toxlib import files, plots
from toxlib.errors import InputError
from toxlib.evaluation import intervals, metrics, thresholds
from toxlib.progress import format_seconds
from toxlib.runs.run import Run, reopen_all

INTERVALS = {
    "mean column-wise AUC": ("mean column-wise AUC", ".5f"),
    "AUC minus first": ("mean column-wise AUC minus first", "+.5f"),
    "error ÷ first's": ("error divided by first's", ".3f"),
    "log loss minus first": ("log loss minus first", "+.5f"),
}
"""Column → what `intervals.evaluate_against` calls it, and how it is formatted."""


def compare_runs(folders: list[Path]) -> pd.DataFrame:
    """Score runs on the validation rows that they share, none of which their models trained on.

    Returns a row per run. Differences are from the first run, on the same resampled comments. The
    ends of intervals are in columns that end in "low" and "high".
    """
    runs = reopen_all(folders)
    opened = runs.values()
    common = np.logical_and.reduce([run.split.is_validation for run in opened])
    if not common.any():
        raise InputError("the runs share no validation row; compare runs with the same folds")
    scores = [run.predictions().validation()[common[run.split.is_validation]] for run in opened]
    rows = [_row(run, own, scores[0], common) for run, own in zip(opened, scores, strict=True)]
    return pd.DataFrame(rows, index=pd.Index(list(runs), name="run"))


def _row(run: Run, scores: np.ndarray, first: np.ndarray, common: np.ndarray) -> dict:
    labels = run.tables.labels[common]
    report = intervals.evaluate_against(labels, scores, {"first": first}, run.label_names, "")
    row = {
        "recipe": " + ".join([run.recipe.name, *(folder.name for folder in run.member_folders)]),
        "epoch chosen on these rows": run.split.chooses_epoch,
        "folds": run.recipe.folds,
        "rows": len(labels),
        "log loss": report["validation"]["log_loss"],
    }
    for name, (measured, _) in INTERVALS.items():
        interval = report["intervals_95"][measured]
        row[name] = interval["estimate"]
        row |= {f"{name} {end}": interval[end] for end in ("low", "high")}
    parts, precision = run.predictions().parts(), run.recipe.wanted_precision
    fitted = thresholds.cross_fitted_thresholds(run.validation_labels, parts, precision)
    decisions = fitted.decisions[common[run.split.is_validation]]
    row["macro F1 at 0.5"] = metrics.f1(labels, scores >= thresholds.DEFAULT, "macro")
    row["macro F1 cross-fitted"] = metrics.f1(labels, decisions, "macro")
    return row | _cost(run)


def _cost(run: Run) -> dict[str, float]:
    """Return the seconds of all models and the most memory; for a blend, those of its members."""
    costs = [_read_cost(folder / "metrics.json") for folder in run.member_folders or [run.folder]]
    return {
        "seconds": sum(cost["model_seconds"] for cost in costs),
        "peak memory (GB)": max(cost["peak_memory_gb"] for cost in costs),
    }


def _read_cost(path: Path) -> dict[str, float]:
    cost = files.read_json(path, "run 03_train again").get("cost")
    if not isinstance(cost, dict):
        raise InputError(f"{path}: damaged; delete it and run 03_train again")
    return cost


def format_comparison(table: pd.DataFrame) -> str:
    """Format the comparison for a terminal: a column per run, intervals beside their estimates."""
    shown = {}
    for run, row in table.iterrows():
        lines = row[["recipe", "folds", "epoch chosen on these rows", "rows"]].to_dict()
        for name, (_, form) in INTERVALS.items():
            low, high = row[f"{name} low"], row[f"{name} high"]
            lines[name] = f"{row[name]:{form}} [{low:{form}}, {high:{form}}]"
        for name in ("log loss", "macro F1 at 0.5", "macro F1 cross-fitted"):
            lines[name] = f"{row[name]:.4f}"
        lines["time"] = format_seconds(row["seconds"])
        lines["peak memory (GB)"] = f"{row['peak memory (GB)']:.1f}"
        shown[run] = lines
    return pd.DataFrame(shown).to_string()


def plot_comparison(table: pd.DataFrame) -> Figure:
    """Draw each run's mean column-wise AUC and its difference from the first, with intervals."""
    panels = ("mean column-wise AUC", "AUC minus first")
    return plots.intervals(table, panels, "Runs on the same validation rows")
