"""Write, check and grade a Kaggle submission."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import files
from toxlib.data import kaggle
from toxlib.errors import InputError, show, show_all
from toxlib.evaluation import intervals, metrics

SAMPLE = "the sample submission"
SCORED_ROWS = 63_978
MEDAL_LINES = {"gold": 0.98740, "silver": 0.98668, "bronze": 0.98639, "median": 0.98079}
DIFFERENCES = (
    ("mean_columnwise_auc", "mean column-wise AUC minus b", "AUC minus its", "+.5f"),
    ("error_ratio", "error divided by b's", "(1 - AUC) ÷ its", ".3f"),
    ("log_loss", "log loss minus b", "log loss minus its", "+.5f"),
)
"""Each difference's key, its name in `evaluate_against`, its name on a terminal, its format."""


def write_submission(
    path: Path, ids: Sequence[str], probabilities: np.ndarray, sample: pd.DataFrame
) -> None:
    """Write probabilities, (N, L), with exactly the ids, order and columns of Kaggle's sample.

    Raises:
        InputError: if the ids are not the sample's, or a value is not a probability.
        ValueError: if `ids`, `probabilities` and the sample's columns differ in number.
    """
    id_column, *names = sample.columns
    table = pd.DataFrame(probabilities, list(ids), names).reset_index(names=id_column)
    table = _align(table, sample, str(path), SAMPLE)
    check_submission(table, sample, str(path))
    with files.replacing(path) as temporary:
        kaggle.write_scores(temporary, table[id_column], table[names].to_numpy(), names)
        check_submission(kaggle.read_scores(temporary, id_column), sample, str(path))


def check_submission(submission: pd.DataFrame, sample: pd.DataFrame, name: str) -> None:
    """Raise an InputError unless columns, ids and order are the sample's and values lie in [0, 1].

    Messages call the submission `name`.
    """
    id_column, *label_names = sample.columns
    _align(submission, sample, name, SAMPLE)
    ids, expected = submission[id_column].to_numpy(), sample[id_column].to_numpy()
    moved = np.flatnonzero(ids != expected)
    if len(moved):
        found, wanted = show(ids[moved[0]]), show(expected[moved[0]])
        raise InputError(
            f"{name}: row {moved[0] + 1}, column {show(id_column)}: id {found} where the sample "
            f"has {wanted}; keep the sample's order"
        )
    values = submission[label_names].to_numpy()
    bad = np.argwhere(~((values >= 0) & (values <= 1)))  # NaN fails both comparisons
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"{name}: row {row + 1}, column {show(label_names[column])}: {values[row, column]} "
            "is not a probability; write a number from 0 to 1"
        )


def _align(table: pd.DataFrame, model: pd.DataFrame, name: str, where: str) -> pd.DataFrame:
    """Return `table` in the row order of `model`. Both must have the same columns and ids."""
    found, expected = list(table.columns), list(model.columns)
    if found != expected:
        raise InputError(
            f"{name}: columns {show_all(found)} are not those of {where}: {show_all(expected)}; "
            "rename or reorder them"
        )
    ids, wanted = (t[expected[0]].reset_index(drop=True) for t in (table, model))
    for kind, bad, column, place in (
        ("missing", ~wanted.isin(ids), wanted, where),
        ("extra", ~ids.isin(wanted), ids, name),
        ("repeated", ids.duplicated(), ids, name),
    ):
        if bad.any():
            row = bad.argmax()
            raise InputError(
                f"{name}: {bad.sum()} {kind} ids, such as {show(column[row])} (row {row + 1} of "
                f"{place}); it must have exactly the ids of {where}, each once"
            )
    return table.set_index(ids.name).loc[wanted].reset_index()


def score_files(
    submission: Path, labels: Path, other: Path | None = None, id_column: str = "id"
) -> dict:
    """Return the `grade` of a submission by Kaggle's `test_labels.csv`.

    With a second submission, return also its grade and the `paired_differences`.

    Raises:
        InputError: for missing, extra or repeated ids, other columns, or values outside [0, 1].
    """
    truth = kaggle.read_labels(labels, id_column)
    grades, scores = [], []
    for path in (submission,) if other is None else (submission, other):
        table = _align(kaggle.read_scores(path, id_column), truth, str(path), str(labels))
        scores.append(table.iloc[:, 1:].to_numpy())
        grades.append({"submission": str(path), **grade(truth, scores[-1], str(labels))})
    if other is None:
        return grades[0]
    return {**grades[0], "other": grades[1], "difference": paired_differences(truth, *scores)}


def grade(truth: pd.DataFrame, probabilities: np.ndarray, name: str = "test_labels") -> dict:
    """Return the competition's metric over the scored rows, with an interval, ready for JSON.

    `truth` has an id column, L label columns, and -1 in rows that are not scored. If no row is
    scored, raise an InputError that calls it `name`.
    """
    label_names, labels, scored = _scored(truth)
    if not len(labels):
        raise InputError(f"{name}: every row is -1, not scored; take Kaggle's test_labels.csv")
    probabilities = probabilities[scored]
    interval = intervals.bootstrap(labels, probabilities)
    aucs = metrics.auc_per_label(labels, probabilities, label_names)
    return {
        "mean_columnwise_auc": interval.estimate,
        "interval_95": [interval.low, interval.high],
        "auc_per_label": dict(zip(label_names, aucs.tolist(), strict=True)),
        "log_loss": metrics.mean_log_loss(labels, probabilities),
        "rows_scored": len(labels),
        "rows_unscored": len(truth) - len(labels),
        "place": medal(interval.estimate, len(labels)),
    }


def paired_differences(truth: pd.DataFrame, a: np.ndarray, b: np.ndarray) -> dict:
    """Return by how much two predictions differ over the scored rows, with intervals."""
    label_names, labels, scored = _scored(truth)
    report = intervals.evaluate_against(labels, a[scored], {"b": b[scored]}, label_names, note="")
    result = {}
    for key, name, _, _ in DIFFERENCES:
        estimate, low, high = report["intervals_95"][name].values()
        result |= {key: estimate, f"{key}_interval_95": [low, high]}
    return result


def _scored(truth: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the labels' names, the labels of the scored rows, and which rows these are, (N,)."""
    label_names = list(truth.columns[1:])
    scored = truth[label_names[0]].to_numpy() != kaggle.UNSCORED
    return label_names, truth.loc[scored, label_names].to_numpy(), scored


def medal(score: float, rows_scored: int) -> str | None:
    """Return where a score lies among Kaggle's medal lines; None unless all test rows are scored.

    The lines are those of the grader of openai/mle-bench (figures in impulse-ai/mlebench-medals).
    """
    if rows_scored != SCORED_ROWS or np.isnan(score):
        return None
    for name, line in MEDAL_LINES.items():
        if score >= line:
            return f"at or above the {name} line of {line:.5f}"
    return f"below the median team's {MEDAL_LINES['median']:.5f}"


def format_score(result: dict) -> str:
    """Format the result of `score_files` for a terminal."""
    if "other" not in result:
        return format_grade(result)
    lines = ["First compared with second, on the same resampled rows"]
    for key, _, name, form in DIFFERENCES:
        value, (low, high) = (result["difference"][key + end] for end in ("", "_interval_95"))
        lines.append(f"  {name:<22} {value:{form}} [{low:{form}}, {high:{form}}]")
    return "\n\n".join([format_grade(result), format_grade(result["other"]), "\n".join(lines)])


def format_grade(result: dict) -> str:
    """Format the result of `grade`, with the submission's name, for a terminal."""
    low, high = result["interval_95"]
    auc = result["mean_columnwise_auc"]
    table = {"mean column-wise AUC": f"{auc:.5f} [{low:.5f}, {high:.5f}]"}
    for name, auc in result["auc_per_label"].items():
        table[f"AUC {show(name)[1:-1]}"] = f"{auc:.5f}"
    table["log loss"] = f"{result['log_loss']:.5f}"
    table["rows"] = f"{result['rows_scored']} scored, {result['rows_unscored']} not scored"
    place = result["place"] or f"no medal line: that takes all {SCORED_ROWS:,} scored rows"
    lines = [f"  {name:<22} {value}" for name, value in table.items()]
    return "\n".join([result["submission"], *lines, f"  {place}"])
