"""Figures of the identity audit. Each function returns a matplotlib Figure."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from toxlib.plots import BLUE, GREY, ORANGE, make_panels, plain

MOST_GROUPS = 50


def group_rates(table: pd.DataFrame, rate: str, title: str) -> Figure:
    """Draw each group's rate, in the column `rate`, with its interval, the highest rate first.

    Lines show the mean over all groups and twice the mean. Dots beyond the latter are orange.
    """
    mean = table[rate].mean()
    shown = table.sort_values(rate, ascending=False, kind="stable")[:MOST_GROUPS]
    figure, panels = make_panels(1, 1, (8, 0.22 * len(shown) + 1.6))
    axes, places = panels[0], range(len(shown))
    colours = [ORANGE if value > 2 * mean else BLUE for value in shown[rate]]
    axes.hlines(places, 100 * shown[f"{rate} low"], 100 * shown[f"{rate} high"], colours)
    axes.scatter(100 * shown[rate], places, color=colours, zorder=3)
    axes.axvline(100 * mean, color=GREY, label=f"mean of {len(table)} groups: {mean:.1%}")
    axes.axvline(200 * mean, color=GREY, linestyle="--", label="twice the mean")
    axes.set_yticks(places, [plain(name) for name in shown.index])
    axes.set(
        xlabel=f"{rate} (%)", title=_escaped(title), xlim=(-2, 102), ylim=(len(shown) - 0.3, -0.7)
    )
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def group_aucs(table: pd.DataFrame, columns: Sequence[str], title: str) -> Figure:
    """Draw a panel per column and a line per group, with intervals, all on the same scale."""
    size = (10, 0.3 * len(table) + 1.4)
    figure, panels = make_panels(1, len(columns), size, sharex=True, sharey=True)
    places = range(len(table))
    for panel, name in zip(panels, columns, strict=True):
        panel.hlines(places, table[f"{name} low"], table[f"{name} high"], BLUE)
        panel.plot(table[name], places, "o", color=BLUE)
        panel.set_yticks(places, [plain(name) for name in table.index])
        panel.set(xlabel=name, ylim=(len(table) - 0.4, -0.6))
        panel.grid(axis="x", alpha=0.3)
    figure.suptitle(_escaped(title), fontsize=11)
    return figure


def _escaped(title: str) -> str:
    """Escape dollar signs: matplotlib would typeset mathematics."""
    return title.replace("$", r"\$")
