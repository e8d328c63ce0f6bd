"""Choose a cascade for a finished run: which comments its linear models are sure enough about."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import expit

from toxlib.errors import InputError, show, show_all
from toxlib.evaluation.cascade import Cascade, CrossFittedCascade, cross_fitted_cascade, lost_auc
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.evaluation.parts import Part, average, join
from toxlib.runs.record import read_record
from toxlib.runs.run import reopen
from toxlib.training.linear import LINEAR

MOST_LOST = 0.1
"""The largest loss of AUC that can be asked for; sensible ones are far smaller."""


def read_most_lost(value: object) -> float:
    """Return the loss of AUC that a user allows; an InputError if it is no sensible number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= MOST_LOST:
        fault = f"cascade={show(value)}: not a number from 0 to {MOST_LOST}"
        raise InputError(f"{fault}; give the loss of AUC that you allow, such as 0.001")
    return number


def fit_cascade(folder: Path, most_lost: float) -> Cascade | None:
    """Choose a cascade by a run's predictions for its held-out rows; say on stderr what it costs.

    `most_lost` is the loss of mean column-wise AUC that is allowed. Return None if no comment may
    skip the encoder.

    Raises:
        InputError: if the run is a blend, its data or predictions are missing, or `most_lost` is
            not from 0 to `MOST_LOST`.
    """
    most_lost = read_most_lost(most_lost)
    if members := read_record(folder)["members"].values():
        runs = show_all(list(dict.fromkeys(member["run"] for member in members)))
        fault = "a blend, which needs all of its members' scores for each comment"
        raise InputError(f"{folder}: {fault}; use --cascade with one of its runs ({runs})")
    run = reopen(folder)
    linear = zip(*(run.predictions(name).parts() for name in LINEAR), strict=True)
    cheap, costly = [_average_part(same) for same in linear], run.predictions().parts()
    fitted = cross_fitted_cascade(run.validation_labels, cheap, costly, most_lost)
    if not fitted.final.skips(join(cheap)).any():
        fault = "the linear models are not sure enough, so the encoder scores all comments"
        print(f"cascade {most_lost:g}: {fault}", file=sys.stderr)
        return None
    print(_cost(run.validation_labels, join(costly), fitted, most_lost), file=sys.stderr)
    return fitted.final


def _average_part(same: Sequence[Part]) -> Part:
    """Return the same part of several models as one, with their scores averaged."""
    held_out = average(part.probabilities for part in same)
    to_fit = average(part.fit_probabilities for part in same)
    return replace(same[0], probabilities=held_out, fit_probabilities=to_fit)


def _cost(
    labels: np.ndarray, own: np.ndarray, fitted: CrossFittedCascade, most_lost: float
) -> str:
    """Say what the cascade does to the held-out rows, (N, L), if it is chosen on other rows."""
    lost, auc = lost_auc(labels, own, fitted.probabilities), mean_columnwise_auc(labels, own)
    share, threshold = fitted.skipped.mean(), expit(fitted.final.threshold)
    return (
        f"cascade {most_lost:g}: comments skip the encoder if the linear models score no label "
        f"above {threshold:.3f}; with thresholds chosen on other rows, {share:.0%} of "
        f"{len(labels)} held-out comments do, and AUC falls by {lost} from {auc:.4f}"
    )


def tell_rate(rows: int, skipped: int, seconds: float) -> None:
    """Say on stderr how many rows have skipped the encoder, and how many were scored a second."""
    share = f"{skipped} of {rows} rows ({skipped / max(1, rows):.0%}) skipped the encoder"
    print(f"{share}; {rows / seconds:.0f} rows/s", file=sys.stderr)
