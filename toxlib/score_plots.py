"""Figures about scores, thresholds and calibration; see `plots` for what they share."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_curve

from toxlib.plots import (
    BLUE,
    GREY,
    ORANGE,
    commonest,
    legend_outside,
    make_figure,
    make_grid,
    make_panels,
    plain,
    tick_names,
    with_note,
)

COLOURS = (BLUE, ORANGE, "C2", "C3", "C4", "C5", "C6", "C8")
"""The colours of models, the run's own first."""


def training_curves(history: list[dict], upright: bool = False) -> Figure:
    """Draw the training loss and, if epochs were scored, validation loss and mean AUC.

    The second panel stands beside the first, or below it in a small figure that is `upright`.
    """
    log = pd.DataFrame(history).apply(pd.to_numeric, errors="coerce").set_index("epoch")
    columns = 2 if "eval_loss" in log else 1
    shape = (columns, 1, (3.6, 2.6 * columns)) if upright else (1, columns, (5 * columns, 3.8))
    figure, panels = make_panels(*shape)
    panels[0].plot(log["loss"].dropna(), color=BLUE, label="training")
    panels[0].set(xlabel="epoch", ylabel="binary cross-entropy (nats)", title="Loss")
    if columns == 2:
        panels[0].plot(log["eval_loss"].dropna(), "o-", color=ORANGE, label="validation")
        panels[1].plot(log["eval_mean_columnwise_auc"].dropna(), "o-", color=ORANGE)
        panels[1].set(xlabel="epoch", ylabel="mean column-wise AUC", title="Validation score")
    panels[0].legend()
    for panel in panels:
        panel.set_xlim(0, 1.03 * log.index.max())
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        panel.grid(alpha=0.3)
    return figure


def auc_by_label(labels: np.ndarray, scores: dict[str, pd.DataFrame]) -> Figure:
    """Draw the AUC of M models for each label of (N, L), with 95 % intervals.

    `scores` are the tables of `intervals.auc_tables`: model → (L, 3) with AUC, low and high.
    """
    shown, names = commonest(labels), list(next(iter(scores.values())).index)
    figure, axes = make_figure(8, (0.3 + 0.11 * len(scores)) * len(shown) + 1.4)
    offsets = 0.5 * (np.arange(len(scores)) - (len(scores) - 1) / 2) / len(scores)
    for number, ((model, table), offset) in enumerate(zip(scores.items(), offsets, strict=True)):
        marker, colour = "osD^vP*X"[number % 8], COLOURS[number % 8]
        auc, low, high = table.iloc[shown].to_numpy(dtype=float).T
        places = np.arange(len(shown)) + offset
        axes.hlines(places, low, high, color=colour, linewidth=1.5)
        axes.plot(auc, places, marker, color=colour, markersize=5, label=plain(model))
    axes.set_yticks(range(len(shown)), tick_names(names, shown))
    axes.set(ylim=(len(shown) - 0.5, -0.5), xlabel="ROC AUC on validation comments")
    axes.set_title("Score by label, with 95 % intervals")
    axes.grid(axis="x", alpha=0.3)
    legend_outside(figure, axes)
    return with_note(figure, labels)


def precision_recall(
    labels: np.ndarray, scores: np.ndarray, thresholds: Sequence[float], names: Sequence[str]
) -> Figure:
    """Draw a precision-recall curve per label, with a dot at its threshold; arrays are (N, L)."""
    shown = commonest(labels)
    figure, panels = make_grid(tick_names(names, shown), sharex=True, sharey=True)
    for j, panel in zip(shown, panels, strict=True):
        if not labels[:, j].any():
            panel.annotate("no positive comment", (0.5, 0.5), ha="center")
            continue
        precision, recall, cutoffs = precision_recall_curve(labels[:, j], scores[:, j])
        panel.plot(recall, precision, color=BLUE)
        point = np.searchsorted(cutoffs, thresholds[j])  # the last point has recall 0
        panel.plot(recall[point], precision[point], "o", color=ORANGE, zorder=3)
    for panel in panels:
        panel.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.08))
    figure.supxlabel("recall")
    figure.supylabel("precision")
    return with_note(figure, labels)


def threshold_spread(
    labels: np.ndarray, per_part: np.ndarray, final: np.ndarray, names: Sequence[str]
) -> Figure:
    """Draw the thresholds that decide on each part, (K, L), and those chosen on all rows, (L,)."""
    shown = commonest(labels)
    figure, axes = make_figure(8, 0.42 * len(shown) + 1.5)
    for place, j in enumerate(shown):
        style = {"color": BLUE, "markersize": 14, "markeredgewidth": 2}
        name = None if place else "decides on one part"
        axes.plot(per_part[:, j], [place] * len(per_part), "|", label=name, **style)
    axes.plot(final[shown], range(len(shown)), "o", color=ORANGE, label="chosen on all rows")
    axes.axvline(0.5, color=GREY, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(shown)), tick_names(names, shown))
    axes.set(xlim=(-0.02, 1.02), ylim=(len(shown) - 0.5, -0.5))
    axes.set(xlabel="threshold", title="Thresholds by part")
    axes.grid(axis="y", alpha=0.3)
    legend_outside(figure, axes)
    return with_note(figure, labels)


def threshold_curves(tables: dict[float, pd.DataFrame], chosen: float, name: str) -> Figure:
    """Draw what thresholds do to a label, with intervals, and a line at the chosen threshold.

    `tables` has a table of `toxlib.evaluation.decisions.consequences` for each threshold.
    """
    figure, panels = make_panels(1, 2, (10, 3.6))
    measures = next(iter(tables.values())).index
    for panel, shown in zip(panels, (measures[:2], measures[-1:]), strict=True):
        for measure, colour in zip(shown, (BLUE, ORANGE), strict=False):
            values = pd.DataFrame({step: table.loc[measure] for step, table in tables.items()}).T
            panel.plot(values.index, values["value"], color=colour, label=measure)
            style = {"color": colour, "alpha": 0.2}
            panel.fill_between(values.index, values["low"], values["high"], **style)
        panel.axvline(chosen, color=GREY, linestyle="--", label=f"threshold {chosen:.3f}")
        panel.set(xlabel="threshold", xlim=(0, 1))
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    figure.suptitle(plain(name), fontsize=11)
    return figure


def reliability(
    labels: np.ndarray, before: np.ndarray, after: np.ndarray, names: Sequence[str]
) -> Figure:
    """Draw the share of comments that have a label against their mean score, in groups.

    `before` and `after` are the scores before and after calibration, (N, L). Lines are 95 %
    intervals of the share.
    """
    shown = commonest(labels)
    titles = tick_names(names, shown)
    figure, panels = make_grid(titles, sharex=True, sharey=True)
    for j, panel in zip(shown, panels, strict=True):
        panel.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
        if labels[:, j].any():
            _draw_shares(panel, labels[:, j], before[:, j], BLUE, "before calibration")
            _draw_shares(panel, labels[:, j], after[:, j], ORANGE, "after")
        panel.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    legend_outside(figure, panels[0], "upper")
    figure.supxlabel("mean score")
    figure.supylabel("share that has the label")
    return with_note(figure, labels)


def _draw_shares(
    panel: Axes, labels: np.ndarray, scores: np.ndarray, colour: str, name: str
) -> None:
    """Draw a dot for each group of N comments with similar scores, and an interval."""
    for rows in score_groups(scores, int(np.clip(labels.sum() // 10, 2, 10))):
        place, counts = scores[rows].mean(), (int(labels[rows].sum()), len(rows))
        low, high = binomtest(*counts).proportion_ci(method="wilson")
        panel.plot([place, place], [low, high], color=colour, linewidth=1.5, alpha=0.5)
        panel.plot(place, counts[0] / counts[1], "o", color=colour, markersize=4, label=name)
        name = None


def score_groups(scores: np.ndarray, count: int) -> list[np.ndarray]:
    """Cut N rows into groups of similar scores p, each with the same sum of p (1 - p).

    With equally many rows in each, nearly all groups of a rare label would have a score near 0.

    >>> [rows.tolist() for rows in score_groups(np.array([0.8, 0.2, 0.1, 0.5]), 2)]
    [[2, 1], [3, 0]]
    """
    order = np.argsort(scores, kind="stable")
    total = np.cumsum(scores[order] * (1 - scores[order]))
    cuts = np.searchsorted(total, total[-1] * np.arange(1, count) / count, side="right")
    return [rows for rows in np.split(order, cuts) if len(rows)]


def score_distributions(
    labels: np.ndarray, validation: np.ndarray, test: np.ndarray, names: Sequence[str]
) -> Figure:
    """Draw histograms of validation and test scores, (N, L) each, per label, on a log scale."""
    shown = commonest(labels)
    figure, panels = make_grid(tick_names(names, shown), sharex=True)
    bins = np.linspace(0, 1, 41)
    for j, panel in zip(shown, panels, strict=True):
        for values, colour, label in ((validation, BLUE, "validation"), (test, ORANGE, "test")):
            style = {"histtype": "step", "color": colour, "label": label}
            panel.hist(values[:, j], bins, density=True, **style)
        panel.set_yscale("log")
    legend_outside(figure, panels[0], "upper")
    figure.supxlabel("predicted probability")
    figure.supylabel("density")
    return with_note(figure, labels)
