"""Write, check and grade a Kaggle submission."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import files
from toxlib.data import kaggle
from toxlib.data.sample import LABELS
from toxlib.data.tables import align, check_ids, parse_probabilities
from toxlib.errors import InputError, show
from toxlib.evaluation import intervals, metrics

SCORED_ROWS = 63_978
# From the grader of openai/mle-bench (figures in impulse-ai/mlebench-medals).
MEDAL_LINES = {"gold": 0.98740, "silver": 0.98668, "bronze": 0.98639, "median": 0.98079}
NO_MEDAL = f"no medal line: that takes the six labels of all {SCORED_ROWS:,} scored rows"
DIFFERENCES = (
    ("mean_columnwise_auc", "mean column-wise AUC minus b", "AUC minus its", "+.5f"),
    ("error_ratio", "error divided by b's", "(1 - AUC) ÷ its", ".3f"),
    ("log_loss", "log loss minus b", "log loss minus its", "+.5f"),
)
"""Each difference's key, its name in `evaluate_against`, its name on a terminal, its format."""


def write_submission(
    path: Path, ids: Sequence[str], probabilities: np.ndarray, sample: pd.DataFrame
) -> None:
    """Write probabilities, (N, L), with exactly the ids, order and columns of Kaggle's sample."""
    id_column, *names = sample.columns
    expected = list(sample), "the sample submission", sample[id_column]
    table = pd.DataFrame(probabilities, pd.Index(ids), names).reset_index(names=id_column)
    check_ids(path, table[id_column])
    table = align(path, table, *expected)
    scores = parse_probabilities(path, table[names]).to_numpy()
    with files.replacing(path) as temporary:
        kaggle.write_scores(temporary, sample[id_column], scores, names)
        align(path, kaggle.read_scores(temporary, id_column), *expected)


def score_files(
    submission: Path,
    labels: Path,
    other: Path | None = None,
    id_column: str = "id",
    notes: list[str] | None = None,
) -> dict:
    """Return the `grade` of a submission, or those of two and their `paired_differences`.

    As on Kaggle, the columns may have any order. What was assumed about the files is added to
    `notes`.
    """
    truth = kaggle.read_labels(labels, id_column, notes=notes)
    grades, scores = [], []
    for path in (submission,) if other is None else (submission, other):
        table = kaggle.read_scores(path, id_column, notes)
        table = align(path, table, list(truth), labels, truth[id_column], any_order=True)
        scores.append(table.iloc[:, 1:].to_numpy())
        grades.append({"submission": str(path), **grade(truth, scores[-1], str(labels))})
    if other is None:
        return grades[0]
    return {**grades[0], "other": grades[1], "difference": paired_differences(truth, *scores)}


def grade(truth: pd.DataFrame, probabilities: np.ndarray, name: str = "test_labels") -> dict:
    """Return the competition's metric over the scored rows, with an interval, ready for JSON.

    `truth` is a table as `kaggle.read_labels` returns it; error messages call it `name`.
    """
    scored = kaggle.is_scored(truth)
    labels = truth.iloc[:, 1:].to_numpy()[scored]
    if not len(labels):
        raise InputError(f"{name}: every row is -1, not scored; take Kaggle's test_labels.csv")
    interval = intervals.bootstrap(labels, probabilities[scored])
    scores = metrics.evaluate(labels, probabilities[scored], list(truth)[1:])
    return {
        "mean_columnwise_auc": interval.estimate,
        "interval_95": [interval.low, interval.high],
        "auc_per_label": scores["auc_per_label"],
        "log_loss": scores["log_loss"],
        "rows_scored": len(labels),
        "rows_unscored": len(truth) - len(labels),
        "place": medal(interval.estimate, len(labels), list(truth)[1:]),
    }


def paired_differences(truth: pd.DataFrame, a: np.ndarray, b: np.ndarray) -> dict:
    """Return by how much two predictions differ over the scored rows, with intervals."""
    scored = kaggle.is_scored(truth)
    labels, names = truth.iloc[:, 1:].to_numpy()[scored], list(truth)[1:]
    report = intervals.evaluate_against(labels, a[scored], {"b": b[scored]}, names, note="")
    result = {}
    for key, name, _, _ in DIFFERENCES:
        estimate, low, high = report["intervals_95"][name].values()
        result |= {key: estimate, f"{key}_interval_95": [low, high]}
    return result


def medal(score: float, rows_scored: int, label_names: Sequence[str]) -> str | None:
    """Return where a score lies among the competition's medal lines.

    It is None unless the score is that of the competition's six labels and of all rows it scores.
    """
    if rows_scored != SCORED_ROWS or {*label_names} != {*LABELS} or np.isnan(score):
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
    mean, (low, high) = result["mean_columnwise_auc"], result["interval_95"]
    table = {"mean column-wise AUC": f"{mean:.5f} [{low:.5f}, {high:.5f}]"}
    for name, auc in result["auc_per_label"].items():
        table[f"AUC {show(name)[1:-1]}"] = f"{auc:.5f}"
    table["log loss"] = f"{result['log_loss']:.5f}"
    table["rows"] = f"{result['rows_scored']} scored, {result['rows_unscored']} not scored"
    place = result["place"] or NO_MEDAL
    lines = [f"  {name:<22} {value}" for name, value in table.items()]
    return "\n".join([result["submission"], *lines, f"  {place}"])
