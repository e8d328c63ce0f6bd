"""What a run's report begins with: its score, what to be careful about, and how to repeat it.

All of it is plain text. Names from the data are hostile: here they lose the characters that cannot
be seen, and the page escapes them.
"""

import base64
import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toxlib import files
from toxlib.data.sample import LABELS
from toxlib.data.text import short_name, visible
from toxlib.evaluation.submission import SCORED_ROWS
from toxlib.progress import format_seconds
from toxlib.recipe_values import Recipe
from toxlib.recipes import BLENDS, RECIPES
from toxlib.reports import audit
from toxlib.reports.costs import METRICS, cost_of
from toxlib.runs.blending import EQUAL
from toxlib.runs.predictions import REMEDY
from toxlib.runs.record import read_record
from toxlib.runs.run import Run
from toxlib.training.linear import LINEAR_NAMES

FEW = 50
"""Positive validation comments below which the AUC of a label is uncertain."""
MOST_NAMED = 5
FIGURES = {
    "auc_by_label": "How well each label is ranked, beside the other models. "
    "Lines are 95 % intervals; where they are long, few comments decide.",
    "precision_recall": "What a decision costs: precision says how often a “yes” is right, recall "
    "which share of the comments with the label is found. Dots are the chosen thresholds.",
    "reliability": "What a score means: on the dashed line, 8 of 10 comments scored 0.8 have the "
    "label.",
}
"""The figures of a run that the summary shows, and what they say."""


@dataclass(frozen=True)
class ShownFigure:
    """A figure of the summary: a data address and a sentence."""

    source: str
    caption: str


@dataclass(frozen=True)
class Summary:
    """The summary's texts, in the order of the page."""

    title: str
    warning: str
    score: str
    score_meaning: str
    about_score: list[str]
    others: list[tuple[str, str, str]]
    cautions: list[str]
    figures: list[ShownFigure]
    facts: dict[str, str]
    command: str


def summarise(run: Run) -> Summary:
    """Summarise a finished run or blend.

    Raises:
        InputError: if a file of the run is missing or damaged.
    """
    report = files.read_json(run.path(METRICS), REMEDY)
    with files.damage_told(run.path(METRICS), f"delete it and {REMEDY}"):
        score, rows = report["intervals_95"]["mean column-wise AUC"], report["validation"]["rows"]
        return Summary(
            title=f"toxlib: {visible(run.folder.name)}",
            warning=run.data_note.split("\n")[0] if run.is_sample else "",
            score=_number(score["estimate"]),
            score_meaning=f"mean column-wise AUC on {rows:,} validation comments{_within(score)}",
            about_score=[*_about_validation(run, report), *_about_test(run)],
            others=_others(report),
            cautions=[visible(line) for line in _cautions(run, report)],
            figures=_figures(run.folder),
            facts={name: visible(value) for name, value in _facts(run).items()},
            command="\n".join(map(visible, repeat_commands(run.folder))),
        )


def _number(value: float | None, form: str = ".4f") -> str:
    """Format a score; JSON has null for one that is not defined, as without a positive comment."""
    return "not defined" if value is None else f"{value:{form}}"


def _within(interval: dict[str, float | None], form: str = ".4f") -> str:
    """Return the ends of an interval in brackets, after a blank; nothing if it has none."""
    ends = interval["low"], interval["high"]
    if None in ends:
        return ""
    return f" (95 % interval {ends[0]:{form}} to {ends[1]:{form}})"


def _about_validation(run: Run, report: dict) -> list[str]:
    """Say how the comments were scored, if that is not among the cautions."""
    return [] if run.split.chooses_epoch else [report["validation_note"]]


def _about_test(run: Run) -> list[str]:
    """Say how the run does on labelled test comments, and what that is worth on Kaggle."""
    grade, told = read_record(run.folder).get("test_grade"), []
    if run.tables.test_labels is not None and grade:
        ends = dict(zip(("low", "high"), grade["interval_95"], strict=True))
        score = _number(grade["mean_columnwise_auc"]) + _within(ends)
        told = [f"On {grade['rows_scored']:,} labelled test comments the score is {score}."]
        if grade["place"]:
            return [*told, f"On Kaggle's private leaderboard that is {grade['place']}."]
    if run.is_sample or {*run.label_names} != {*LABELS}:
        return told
    why = "validation comments of this competition score 0.002 to 0.005 higher than its test set"
    return [
        *told,
        f"No medal can be told from this: that takes the labels of all {SCORED_ROWS:,} test "
        f"comments that Kaggle scores, and {why}.",
    ]


def _how_sure(low: float | None, high: float | None) -> str:
    """Say between which values the AUC of a rare label may be; `low` and `high` are a bootstrap's.

    If a model ranks the few comments at hand without an error, every resample has an AUC of 1.
    """
    if low is None or high is None:
        return ""
    if f"{low:.2f}" == f"{high:.2f}":
        return f", too few to say how sure its AUC of {high:.2f} is"
    return f", so its AUC may be from {low:.2f} to {high:.2f}"


def _others(report: dict) -> list[tuple[str, str, str]]:
    """Return a row for each model that the run is compared with: name, score, difference."""
    rows = []
    for name, scores in report["others"].items():
        found = report["intervals_95"][f"mean column-wise AUC minus {name}"]
        difference = _number(found["estimate"], "+.4f") + _within(found, "+.4f")
        what = LINEAR_NAMES.get(name)
        told = f"{short_name(name)}: {what}" if what else short_name(name)
        rows.append((told, _number(scores["mean_columnwise_auc"]), difference))
    return rows


def _cautions(run: Run, report: dict) -> list[str]:
    """Return what a reader of the score must know, a sentence or two each."""
    told = [run.split.note] if run.split.chooses_epoch else []
    for name in report["others"]:
        low = report["intervals_95"][f"mean column-wise AUC minus {name}"]["low"]
        if low is None or low <= 0:
            told.append(f"This run was not shown to rank better than {short_name(name)}.")
    told += _rare_labels(run, report.get("auc_intervals_95", {}).get("validation", {}))
    return [*told, *run.tables.notes, *run.translations.notes, *audit.findings(run.folder)]


def _rare_labels(run: Run, intervals: dict[str, list[float | None]]) -> list[str]:
    """Name the labels whose score depends on few positive validation comments."""
    positives = run.validation_labels.sum(axis=0)
    rare = [j for j in np.argsort(positives, kind="stable") if positives[j] < FEW]
    told = []
    for j in rare[:MOST_NAMED]:
        few = f"has few positive validation comments ({positives[j]})"
        sure = _how_sure(*intervals.get(run.label_names[j], (None, None)))
        told.append(f"“{short_name(run.label_names[j])}” {few}{sure}.")
    if len(rare) > MOST_NAMED:
        told.append(f"In all, {len(rare)} labels have fewer than {FEW} positive comments.")
    return told


def _figures(folder: Path) -> list[ShownFigure]:
    """Read the summary's figures, as far as they are there."""
    shown = []
    for name, caption in FIGURES.items():
        path = folder / "figures" / f"{name}.png"
        if path.is_file():
            content = base64.b64encode(path.read_bytes()).decode("ascii")
            shown.append(ShownFigure(f"data:image/png;base64,{content}", caption))
    return shown


def _facts(run: Run) -> dict[str, str]:
    """Return what the run was made from, and what it took."""
    recipe = run.recipe
    comments = f"{len(run.tables.train_ids):,} training and {len(run.tables.test_ids):,} test"
    facts = {
        "Comments": f"{comments} comments with {len(run.label_names)} labels",
        "Files": f"{', '.join(run.data_sha256)} in {run.data_dir}",
    }
    if run.members:
        facts["Blend of"] = ", ".join(map(short_name, run.members))
    else:
        size = f"{recipe.max_length:,} tokens, epochs: {recipe.epochs}"
        facts["Model"] = f"{recipe.checkpoint}, {size} (recipe {recipe.name})"
    facts["Folds"] = str(recipe.folds)
    if folders := _there(run.member_folders if run.members else [run.folder]):
        machine = run.machine.get("device", "an unknown machine")
        seconds = format_seconds(cost_of(folders)["seconds"])
        facts["Time"] = f"{seconds} to train and score, on {machine}"
    return facts


def _there(folders: list[Path]) -> list[Path]:
    """Return the folders of a blend's runs that have not been moved or deleted."""
    return [folder for folder in folders if (folder / "run.json").exists()]


def repeat_commands(folder: Path) -> list[str]:
    """Return the commands, a line each, that repeat a run in a new folder beside its own."""
    record = read_record(folder)
    members = list(dict.fromkeys(folder / m["run"] for m in record["members"].values()))
    there = _there(members)
    for name, found in BLENDS.items():
        if there == [folder / member for member in found]:
            return [_run_command(name, read_record(there[0]), folder)]
    if not members:
        return [_run_command(record["recipe"].name, record, folder)]
    commands = []
    for member in members:
        gone = f"# {member} has been moved or deleted, so its command is not known"
        commands += repeat_commands(member) if member in there else [gone]
    again = [*map(_again, members), "--run-dir", _again(folder)]
    again += ["--equal"] if record["recipe"].name == EQUAL else []
    return [*commands, shlex.join(["python", "-m", "toxlib", "blend", *again])]


def _run_command(name: str, record: dict, folder: Path) -> str:
    """Return the command of a recipe, or of a blend of recipes, with the values that differ."""
    recipe = record["recipe"]
    command = ["python", "-m", "toxlib", "run", "--recipe", name]
    command += [] if record["is_sample"] else ["--data-dir", record["data_dir"]]
    command += ["--run-dir", _again(folder)]
    changed = _changed(recipe)
    return shlex.join([*command, *(["--set", *changed] if changed else [])])


def _changed(recipe: Recipe) -> list[str]:
    """Return key=value for each value that differs from the named recipe's."""
    usual = RECIPES.get(recipe.name, recipe)
    now, before = dataclasses.asdict(recipe), dataclasses.asdict(usual)
    return [f"{key}={_text(now[key])}" for key in now if now[key] != before[key]]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _again(folder: Path) -> str:
    return f"{folder}-again"
