"""A cascade: a cheap model scores the comments that it is sure about, a costly one all others."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit
from scipy.stats import norm, rankdata

from toxlib.evaluation.intervals import Interval
from toxlib.evaluation.parts import Part, join, to_logits

SHARES = np.arange(2, 100, 2) / 100
"""The shares of comments to skip that are tried."""


@dataclass(frozen=True)
class Cascade:
    """Which comments skip the costly model, and which scores they get instead.

    A comment skips it if the cheap model finds no label likely: if its largest logit is below
    `threshold`. A line per label carries the cheap model's logits to the scale of the costly
    model's, so that all comments are in one ranking, and thresholds and calibrators that were
    fitted for the costly model hold for all.
    """

    threshold: float  # a logit; minus infinity if no comment may skip the costly model
    slope: np.ndarray  # (L,)
    intercept: np.ndarray  # (L,)

    def skips(self, cheap: np.ndarray) -> np.ndarray:
        """Return which comments skip the costly model, (n,), by the cheap one's scores, (n, L)."""
        return to_logits(cheap).max(axis=1) < self.threshold

    def to_costly_scale(self, cheap: np.ndarray) -> np.ndarray:
        """Return the scores of comments that skip the costly model, (n, L) → (n, L)."""
        return expit(to_logits(cheap) * self.slope + self.intercept)

    def merge(self, cheap: np.ndarray, costly: np.ndarray) -> np.ndarray:
        """Return the scores, (n, L), of comments that both models have scored."""
        return np.where(self.skips(cheap)[:, None], self.to_costly_scale(cheap), costly)


@dataclass(frozen=True)
class CrossFittedCascade:
    """Cascades chosen on some comments and applied to others."""

    skipped: np.ndarray  # (N,) booleans; the cascade of each comment was chosen on other comments
    probabilities: np.ndarray  # (N, L)
    final: Cascade  # chosen on all N, for new comments, never for a score on these


def choose(labels: np.ndarray, cheap: np.ndarray, costly: np.ndarray, most_lost: float) -> Cascade:
    """Choose the cascade that lets most comments skip the costly model within a loss of AUC.

    The arrays are (n, L): labels, and both models' scores, of comments that neither model was
    trained on. We try `SHARES` of the comments, from the smallest on, as long as the loss of mean
    column-wise AUC, at the upper end of its 95 % interval, is at most `most_lost`.
    """
    chosen = Cascade(-np.inf, *_lines(to_logits(cheap), to_logits(costly)))
    before = _auc(labels, costly)
    for threshold in np.quantile(to_logits(cheap).max(axis=1), SHARES):
        tried = replace(chosen, threshold=float(threshold))
        lost = _minus(before, _auc(labels, tried.merge(cheap, costly)))
        if not lost.high <= most_lost:  # also if it is NaN
            break
        chosen = tried
    return chosen


def cross_fitted_cascade(
    labels: np.ndarray, cheap: list[Part], costly: list[Part], most_lost: float
) -> CrossFittedCascade:
    """Choose a cascade on each part's rows to fit on, and apply it to its held-out rows.

    On the rows that a cascade was chosen on, it loses too little. `labels` are those of all
    held-out rows, (N, L), in file order; `cheap` and `costly` are the parts of the two models.
    """
    skipped, merged = np.zeros(len(labels), dtype=bool), np.empty(labels.shape)
    for light, heavy in zip(cheap, costly, strict=True):
        fit = light.fit_labels, light.fit_probabilities, heavy.fit_probabilities
        chosen = choose(*fit, most_lost)
        skipped[light.rows] = chosen.skips(light.probabilities)
        merged[light.rows] = chosen.merge(light.probabilities, heavy.probabilities)
    final = choose(labels, join(cheap), join(costly), most_lost)
    return CrossFittedCascade(skipped, merged, final)


def lost_auc(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> Interval:
    """Return the mean column-wise AUC of `before` minus that of `after`, (N, L), with interval."""
    return _minus(_auc(labels, before), _auc(labels, after))


def _lines(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept, (L,) each, of the least-squares lines from columns of x to y."""
    from_mean = x - x.mean(axis=0)
    squares = np.maximum((from_mean**2).sum(axis=0), np.finfo(float).tiny)  # 0 if x is constant
    slope = (from_mean * y).sum(axis=0) / squares
    return slope, y.mean(axis=0) - slope * x.mean(axis=0)


def _minus(a: tuple[float, np.ndarray], b: tuple[float, np.ndarray]) -> Interval:
    """Return the difference of two AUCs of the same rows, each with the rows' influences."""
    half = norm.ppf(0.975) * np.linalg.norm(a[1] - b[1])
    return Interval(a[0] - b[0], a[0] - b[0] - half, a[0] - b[0] + half)


def _auc(labels: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean column-wise AUC of (n, L) scores, and each row's influence on it, (n,).

    The squares of the influences add up to the variance of the AUC, and the squares of the
    differences between two models' to the variance of the difference (DeLong 1988). The interval
    is close to that of the bootstrap and takes a hundredth of its time. Labels of one class are
    left out.
    """
    aucs, influence = [], np.zeros(len(labels))
    for positive, column in zip((labels == 1).T, scores.T, strict=True):
        if positive.all() or not positive.any():
            continue
        ranks, wins = rankdata(column), np.empty(len(column))
        for own in (positive, ~positive):  # the share of the other class that has a lower score
            wins[own] = (ranks[own] - rankdata(column[own])) / (~own).sum()
        wins[~positive] = 1 - wins[~positive]
        aucs.append(wins[positive].mean())
        for own in (positive, ~positive):
            influence[own] += (wins[own] - aucs[-1]) / own.sum()
    return (float(np.mean(aucs)) if aucs else np.nan), influence / max(1, len(aucs))
