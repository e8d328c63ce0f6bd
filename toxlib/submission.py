"""Write, check and grade a Kaggle submission.

Letters: N comments, L labels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import data, metrics, paths
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
    """
    id_column, *label_names = sample.columns
    _check_same_ids(str(path), pd.Series(ids), sample[id_column], "the sample submission")
    order = pd.Index(ids).get_indexer(sample[id_column])
    with paths.replacing(path) as temporary:
        data.write_scores(temporary, sample[id_column], probabilities[order], label_names)
        check_submission(temporary, sample)


def check_submission(path: Path, sample: pd.DataFrame) -> None:
    """Read a written submission back and compare it with Kaggle's sample.

    Raises:
        InputError: for other ids, order or columns, or values outside [0, 1].
    """
    id_column = sample.columns[0]
    table = data.read_scores(path, id_column)
    if list(table.columns) != list(sample.columns):
        raise InputError(f"{path}: columns are not the sample's: {show_all(sample.columns)}")
    if list(table[id_column]) != list(sample[id_column]):
        raise InputError(f"{path}: ids are not the sample's, in its order")


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
    """
    label_names, labels, scored = _scored(truth)
    probabilities = probabilities[scored]
    aucs = metrics.auc_per_label(labels, probabilities)
    interval = metrics.bootstrap_auc(labels, probabilities)
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
    """Paired differences of AUC and log loss, `a` minus `b`, over the scored rows."""
    _, labels, scored = _scored(truth)
    auc = metrics.paired_bootstrap_auc(labels, a[scored], b[scored])
    loss = metrics.paired_bootstrap_log_loss(labels, a[scored], b[scored])
    return {
        "mean_columnwise_auc": auc.estimate,
        "mean_columnwise_auc_interval_95": [auc.low, auc.high],
        "log_loss": loss.estimate,
        "log_loss_interval_95": [loss.low, loss.high],
    }


def medal(score: float, rows_scored: int) -> str | None:
    """Where a score lies among Kaggle's medal lines; None unless it is over all scored rows.

    The lines are those of the whole scored test set, by the grader of openai/mle-bench (figures
    in impulse-ai/mlebench-medals); on a part of the rows they would mean nothing.
    """
    if rows_scored != SCORED_ROWS:
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
            "First minus second, same rows resampled",
        ]
        for name, key in (
            ("mean column-wise AUC", "mean_columnwise_auc"),
            ("log loss", "log_loss"),
        ):
            low, high = difference[f"{key}_interval_95"]
            lines.append(f"  {name:<22} {difference[key]:+.5f} [{low:+.5f}, {high:+.5f}]")
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
        f"  AUC {ascii(name)[1:-1]:<18} {auc:.5f}" for name, auc in result["auc_per_label"].items()
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
            f"{show_all(list(truth.columns))}"
        )
    _check_same_ids(str(path), table[id_column], truth[id_column], str(labels))
    return table.set_index(id_column).loc[truth[id_column]].to_numpy()


def _check_same_ids(name: str, ids: pd.Series, expected: pd.Series, where: str) -> None:
    for what, first, second in (("missing", expected, ids), ("extra", ids, expected)):
        alone = first[~first.isin(second)]
        if len(alone):
            raise InputError(
                f"{name}: {len(alone)} {what} ids, such as {show(alone.iloc[0])}; "
                f"it must have exactly those of {where}"
            )
    if ids.duplicated().any():
        repeated = ids[ids.duplicated()].iloc[0]
        raise InputError(f"{name}: id {show(repeated)} stands there twice; remove one")
