"""Write, check and grade a Kaggle submission.

Letters: N comments, L labels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import data, intervals, metrics, paths
from toxlib.csv_files import show, show_all
from toxlib.errors import InputError

SCORED_ROWS = 63_978
MEDAL_LINES = (("gold", 0.98740), ("silver", 0.98668), ("bronze", 0.98639), ("median", 0.98079))


def write_submission(
    path: Path, ids: Sequence[str], probabilities: np.ndarray, sample: pd.DataFrame
) -> None:
    """Write the submission: exactly the sample's ids, order and columns, checked before it stays.

    Args:
        ids: N ids, in the order of `probabilities`.
        probabilities: (N, L), columns as in the sample.
        sample: Kaggle's sample submission.

    Raises:
        InputError: if the ids are not the sample's, or a value is no probability.
        ValueError: if `ids`, `probabilities` and the sample's columns differ in number.
    """
    id_column, *label_names = sample.columns
    _check_same_ids(
        str(path), pd.Series(list(ids), name=id_column), sample[id_column], "the sample submission"
    )
    table = pd.DataFrame(probabilities, list(ids), label_names).loc[sample[id_column]]
    values = table.to_numpy()
    check_submission(table.rename_axis(id_column).reset_index(), sample, str(path))
    with paths.replacing(path) as temporary:
        data.write_scores(temporary, sample[id_column], values, label_names)
        # What counts is what the file says.
        check_submission(data.read_scores(temporary, id_column), sample, str(path))


def check_submission(submission: pd.DataFrame, sample: pd.DataFrame, name: str) -> None:
    """Compare a submission with Kaggle's sample; `name` is what messages call it.

    Raises:
        InputError: for other columns, ids or order, or values outside [0, 1].
    """
    id_column, *label_names = sample.columns
    if list(submission.columns) != list(sample.columns):
        raise InputError(
            f"{name}: columns are not the sample's; expected {show_all(list(sample.columns))}"
        )
    ids, expected = submission[id_column], sample[id_column]
    _check_same_ids(name, ids, expected, "the sample submission")
    moved = ids.to_numpy() != expected.to_numpy()
    if moved.any():
        row = int(np.argmax(moved))
        raise InputError(
            f"{name}: row {row + 1}, column {show(id_column)}: id {show(ids.iloc[row])} "
            f"where the sample has {show(expected.iloc[row])}; keep the sample's order"
        )
    _check_probabilities(name, submission[label_names])


def score_files(
    submission: Path, labels: Path, other: Path | None = None, id_column: str = "id"
) -> dict:
    """Grade a submission, and a second one against it, by Kaggle's `test_labels.csv`.

    Returns:
        What `grade` returns; with `other`, also its grade and the paired differences.

    Raises:
        InputError: for missing, extra or repeated ids, other columns, or values outside [0, 1].
    """
    truth = data.read_labels(labels, id_column)
    _check_scored(str(labels), truth)
    probabilities = _aligned(submission, truth, labels, id_column)
    result = {"submission": str(submission), **grade(truth, probabilities)}
    if other is not None:
        others = _aligned(other, truth, labels, id_column)
        result["other"] = {"submission": str(other), **grade(truth, others)}
        result["difference"] = compare(truth, probabilities, others)
    return result


def grade(truth: pd.DataFrame, probabilities: np.ndarray) -> dict:
    """The competition's metric over the scored rows, with intervals, ready for JSON.

    Args:
        truth: id and L label columns; rows of -1 are not scored.
        probabilities: (N, L), in the order of `truth`.

    Raises:
        InputError: if no row is scored.
    """
    _check_scored("test_labels", truth)
    label_names, labels, scored = _scored(truth)
    probabilities = probabilities[scored]
    aucs = metrics.auc_per_label(labels, probabilities, label_names)
    interval = intervals.bootstrap_auc(labels, probabilities)
    return {
        "mean_columnwise_auc": interval.estimate,
        "interval_95": [interval.low, interval.high],
        "auc_per_label": dict(zip(label_names, aucs.tolist(), strict=True)),
        "log_loss": metrics.mean_log_loss(labels, probabilities),
        "rows_scored": int(scored.sum()),
        "rows_unscored": int((~scored).sum()),
        "place": medal(interval.estimate, int(scored.sum())),
    }


def compare(truth: pd.DataFrame, a: np.ndarray, b: np.ndarray) -> dict:
    """`a` beside `b` over the scored rows: AUC and log loss minus its, error divided by its."""
    label_names, labels, scored = _scored(truth)
    report = intervals.compare(labels, a[scored], {"b": b[scored]}, label_names, note="")
    result = {}
    for key, measured in (
        ("mean_columnwise_auc", "mean column-wise AUC minus b"),
        ("error_ratio", "error divided by b's"),
        ("log_loss", "log loss minus b"),
    ):
        interval = report["intervals_95"][measured]
        result[key] = interval["estimate"]
        result[f"{key}_interval_95"] = [interval["low"], interval["high"]]
    return result


def medal(score: float, rows_scored: int) -> str | None:
    """Where a score lies among Kaggle's medal lines; None unless it is over all scored rows.

    The lines are those of the whole scored test set, by the grader of openai/mle-bench (figures
    in impulse-ai/mlebench-medals); on a part of the rows they would mean nothing.
    """
    if rows_scored != SCORED_ROWS or np.isnan(score):
        return None
    for name, line in MEDAL_LINES:
        if score >= line:
            return f"at or above the {name} line of {line:.5f}"
    return f"below the median team's {MEDAL_LINES[-1][1]:.5f}"


def format_score(result: dict) -> str:
    """`score_files`' result for a terminal."""
    lines = [format_grade(result)]
    if "other" in result:
        difference = result["difference"]
        lines += [
            "",
            format_grade(result["other"]),
            "",
            "First beside second, same rows resampled",
        ]
        for name, key, form in (
            ("AUC minus its", "mean_columnwise_auc", "+.5f"),
            ("(1 - AUC) ÷ its", "error_ratio", ".3f"),
            ("log loss minus its", "log_loss", "+.5f"),
        ):
            low, high = difference[f"{key}_interval_95"]
            lines.append(f"  {name:<22} {difference[key]:{form}} [{low:{form}}, {high:{form}}]")
    return "\n".join(lines)


def format_grade(result: dict) -> str:
    """`grade`'s result, and whose it is, for a terminal."""
    low, high = result["interval_95"]
    lines = [
        result["submission"],
        f"  {'mean column-wise AUC':<22} {result['mean_columnwise_auc']:.5f} "
        f"[{low:.5f}, {high:.5f}]",
    ]
    lines += [
        f"  AUC {show(name)[1:-1]:<18} {auc:.5f}" for name, auc in result["auc_per_label"].items()
    ]
    lines.append(f"  {'log loss':<22} {result['log_loss']:.5f}")
    lines.append(
        f"  {'rows':<22} {result['rows_scored']} scored, {result['rows_unscored']} not scored"
    )
    place = result["place"] or f"no medal line: that takes all {SCORED_ROWS:,} scored rows"
    return "\n".join([*lines, f"  {place}"])


def _scored(truth: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    label_names = list(truth.columns[1:])
    labels = truth[label_names].to_numpy()
    scored = labels[:, 0] != data.UNSCORED
    return label_names, labels[scored], scored


def _aligned(path: Path, truth: pd.DataFrame, labels: Path, id_column: str) -> np.ndarray:
    table = data.read_scores(path, id_column)
    if list(table.columns) != list(truth.columns):
        raise InputError(
            f"{path}: columns {show_all(list(table.columns))} are not those of {labels}: "
            f"{show_all(list(truth.columns))}; rename or reorder them"
        )
    _check_same_ids(str(path), table[id_column], truth[id_column], str(labels))
    return table.set_index(id_column).loc[truth[id_column]].to_numpy()


def _check_scored(name: str, truth: pd.DataFrame) -> None:
    if (truth.iloc[:, 1] == data.UNSCORED).all():
        raise InputError(f"{name}: every row is -1, not scored; take Kaggle's test_labels.csv")


def _check_probabilities(name: str, values: pd.DataFrame) -> None:
    bad = ~((values >= 0) & (values <= 1)).to_numpy()  # NaN is neither
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{name}: row {row + 1}, column {show(values.columns[column])}: "
            f"{values.iloc[row, column]} is not a probability; write a number from 0 to 1"
        )


def _check_same_ids(name: str, ids: pd.Series, expected: pd.Series, where: str) -> None:
    for what, first, second in (("missing", expected, ids), ("extra", ids, expected)):
        alone = ~first.isin(second).to_numpy()
        if alone.any():
            row = int(np.argmax(alone))
            raise InputError(
                f"{name}: {alone.sum()} {what} ids, such as {show(first.iloc[row])} "
                f"(row {row + 1} {'there' if what == 'missing' else 'here'}); "
                f"it must have exactly those of {where}"
            )
    if ids.duplicated().any():
        row = int(np.argmax(ids.duplicated()))
        raise InputError(
            f"{name}: row {row + 1}, column {show(ids.name)}: id {show(ids.iloc[row])} "
            "stands there twice; remove one"
        )
