"""Compare finished runs: how they score, how sure the differences are, and what they cost."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib.data.text import visible
from toxlib.errors import InputError
from toxlib.evaluation import intervals, metrics, thresholds
from toxlib.progress import format_seconds, progress
from toxlib.recipe_values import FIELDS
from toxlib.reports.costs import cost_of
from toxlib.runs.record import read_record
from toxlib.runs.run import Run, reopen, reopen_all

SCORE = "mean column-wise AUC"
DIFFERENCE = "AUC minus reference"
INTERVALS = {
    SCORE: (SCORE, ".5f"),
    DIFFERENCE: ("mean column-wise AUC minus first", "+.5f"),
    "error ÷ reference's": ("error divided by first's", ".3f"),
    "log loss minus reference": ("log loss minus first", "+.5f"),
}
"""Column → what `intervals.compare_with_first` calls it, and how it is formatted."""
NEEDED = ("metrics.json", "validation_predictions.csv")
"""Files of a run folder without which a run cannot be compared: it is not finished."""


@dataclass(frozen=True)
class Entry:
    """What a comparison reads of a run folder."""

    run: Run
    scores: np.ndarray
    """The scores of the run's n validation rows, (n, L)."""
    decisions: np.ndarray
    """Yes or no for these rows, (n, L), by thresholds that were fitted on other rows."""
    cost: dict[str, float]
    """The seconds of all models, and the most memory in GB; for a blend, those of its members."""
    history: list[dict]
    """The training log of the first fold; empty for a blend."""
    finished: pd.Timestamp
    """When metrics.json was written, in the machine's time."""

    @property
    def rows(self) -> np.ndarray:
        """Which rows of the training file, (N,), are the run's validation rows."""
        return self.run.split.is_validation


@dataclass(frozen=True)
class Group:
    """Runs that are scored on the same rows."""

    runs: dict[str, Entry]
    """Name → run. The first one is the reference, from which differences are measured."""
    table: pd.DataFrame
    """A row per run. The ends of intervals are in columns that end in "low" and "high"."""

    @property
    def reference(self) -> str:
        """The name of the run from which differences are measured."""
        return next(iter(self.runs))


def compare_runs(folders: Sequence[Path], reference: Path | None = None) -> Group:
    """Score runs on the validation rows that they share, none of which their models trained on.

    Differences are from `reference`, or from the first run, on the same resampled comments.

    Raises:
        InputError: if a run is not finished, or the runs have other data or labels, or share no
            validation row.
    """
    if reference:
        others = [folder for folder in folders if folder.resolve() != reference.resolve()]
        folders = [reference, *others]
    runs = reopen_all(folders)
    common = np.logical_and.reduce([run.split.is_validation for run in runs.values()])
    if not common.any():
        raise InputError("the runs share no validation row; compare runs with the same folds")
    return _compare({name: _read(run) for name, run in runs.items()}, common)


def compare_all(root: Path, reference: Path | None = None) -> tuple[list[Group], list[str]]:
    """Compare all finished runs below a folder, and say which ones were left out, and why.

    Runs with the same data, labels and validation rows form a group, in which they are sorted by
    their score. Differences are from `reference` in its group, and else from the best run.

    Raises:
        InputError: if there is no finished run, or `reference` is not among them.
    """
    entries, left_out = _read_all(root)
    if not entries:
        more = f", and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        first = f" ({left_out[0]}{more})" if left_out else ""
        raise InputError(f"{root}: no finished run to compare{first}; finish one, or name runs")
    wanted = reference and reference.resolve()
    if wanted and wanted not in [entry.run.folder for entry in entries.values()]:
        fault = f"not among the finished runs in {root}"
        raise InputError(f"--reference {reference}: {fault}; give the folder of one of them")
    groups: dict[tuple, dict[str, Entry]] = {}
    for name in sorted(entries, key=lambda name: -_score(entries[name])):
        run, rows = entries[name].run, entries[name].rows
        key = (*run.tables.sha256.items(), *run.label_names, rows.tobytes())
        groups.setdefault(key, {})[name] = entries[name]
    compared = []
    for group in groups.values():
        order = sorted(group, key=lambda name: group[name].run.folder != wanted)
        ordered = {name: group[name] for name in order}
        compared.append(_compare(ordered, ordered[order[0]].rows))
    return sorted(compared, key=lambda group: -len(group.runs)), left_out


def recipe_differences(group: Group) -> dict[str, list[str]]:
    """Return the recipe values that differ in a group: value → its text for each run."""
    recipes = [asdict(entry.run.recipe) for entry in group.runs.values()]
    return {
        key: [str(recipe[key]) for recipe in recipes]
        for key in FIELDS
        if any(recipe[key] != recipes[0][key] for recipe in recipes)
    }


def format_comparison(groups: Sequence[Group]) -> str:
    """Format the comparison for a terminal: a line per run, intervals beside their estimates."""
    return "\n\n".join(f"{describe(group)}\n{_format_table(group)}" for group in groups)


def describe(group: Group) -> str:
    """Return how many runs a group has, and on which rows they are scored."""
    count, first = len(group.runs), group.runs[group.reference].run
    runs = "1 run" if count == 1 else f"{count} runs"
    source = "the synthetic sample" if first.is_sample else visible(str(first.data_dir))
    return f"{runs} on {group.table['rows'].iloc[0]:,} validation rows of {source}"


def optimism(group: Group) -> str:
    """Return a warning about the score of the best of several runs; empty if there is one run."""
    if len(group.runs) == 1:
        return ""
    warning = (
        f"{len(group.runs)} runs are compared on the same validation rows. If you choose the best "
        "of them by these scores, its score here is optimistic, and more so the more runs there "
        "are: expect a lower one on new comments."
    )
    epochs = int(group.table["epoch chosen on these rows"].sum())
    return warning + (
        f" {epochs} of the runs also chose their best epoch on these rows." if epochs else ""
    )


def to_csv_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Return the tables of all groups as one, with the number of the group in a column."""
    tables = [group.table.assign(group=number) for number, group in enumerate(groups, start=1)]
    return pd.concat(tables)


def _read_all(root: Path) -> tuple[dict[str, Entry], list[str]]:
    """Return the finished runs below a folder by their path from there, and why others are not."""
    entries, left_out = {}, []
    folders = sorted(path.parent for path in root.rglob("run.json"))
    for folder in progress(folders, total=len(folders), description="Read", unit="run"):
        try:
            read_record(folder, with_data=True)  # an InputError if it is an exported folder
            if not all((folder / name).exists() for name in NEEDED):
                remedy = "the command that began it goes on with it"
                raise InputError(f"{folder}: not finished; {remedy}")
            entries[str(folder.relative_to(root))] = _read(reopen(folder))
        except InputError as error:
            left_out.append(str(error))
    return entries, left_out


def _read(run: Run) -> Entry:
    """Read what is compared; an InputError if a file is missing or damaged."""
    own, precision = run.predictions(), run.recipe.wanted_precision
    scores, labels = own.validation(), run.validation_labels
    decisions = thresholds.cross_fitted_thresholds(labels, own.parts(), precision).decisions
    history = [] if run.members or not own.done_path(0).exists() else own.record(0).get("history")
    cost = cost_of(run.member_folders or [run.folder])
    written = run.path("metrics.json").stat().st_mtime
    when = pd.Timestamp.fromtimestamp(int(written))
    return Entry(run, scores, decisions, cost, _usable(history), when)


def _usable(history: object) -> list[dict]:
    """Return a training log if curves can be drawn from it, else an empty one."""
    steps = history if isinstance(history, list) else []
    steps = [step for step in steps if isinstance(step, dict) and "epoch" in step]
    return steps if any("loss" in step for step in steps) else []


def _score(entry: Entry) -> float:
    return metrics.mean_columnwise_auc(entry.run.validation_labels, entry.scores)


def _compare(entries: dict[str, Entry], rows: np.ndarray) -> Group:
    """Compare runs with the first of them on `rows`, (N,), which are validation rows of all."""
    labels = next(iter(entries.values())).run.tables.labels[rows]
    scores = [entry.scores[rows[entry.rows]] for entry in entries.values()]
    measured = intervals.compare_with_first(labels, scores)
    table = {
        name: _row(entry, labels, own, found, rows)
        for (name, entry), own, found in zip(entries.items(), scores, measured, strict=True)
    }
    return Group(entries, pd.DataFrame(table.values(), pd.Index(list(table), name="run")))


def _row(
    entry: Entry,
    labels: np.ndarray,
    scores: np.ndarray,
    measured: dict[str, intervals.Interval],
    rows: np.ndarray,
) -> dict:
    run = entry.run
    row = {
        "recipe": " + ".join([run.recipe.name, *(folder.name for folder in run.member_folders)]),
        "epoch chosen on these rows": run.split.chooses_epoch,
        "folds": run.recipe.folds,
        "rows": len(labels),
        "log loss": metrics.mean_log_loss(labels, scores),
    }
    for column, (name, _) in INTERVALS.items():
        interval = measured[name]
        row |= {column: interval.estimate}
        row |= {f"{column} low": interval.low, f"{column} high": interval.high}
    decisions = entry.decisions[rows[entry.rows]]
    row["macro F1 at 0.5"] = metrics.f1(labels, scores >= thresholds.DEFAULT, "macro")
    row["macro F1 cross-fitted"] = metrics.f1(labels, decisions, "macro")
    return row | entry.cost | {"finished": entry.finished}


def _format_table(group: Group) -> str:
    lines = {}
    for run, row in group.table.iterrows():
        line = {name: format_interval(row, name) for name in (SCORE, DIFFERENCE)}
        for name in ("log loss", "macro F1 cross-fitted"):
            line[name] = f"{row[name]:.4f}"
        line["time"] = format_seconds(row["seconds"])
        lines[visible(str(run))] = line
    return pd.DataFrame(lines).T.to_string()


def format_interval(row: pd.Series, name: str) -> str:
    """Format an estimate of `INTERVALS` with its interval."""
    form = INTERVALS[name][1]
    low, high = row[f"{name} low"], row[f"{name} high"]
    return f"{row[name]:{form}} [{low:{form}}, {high:{form}}]"
