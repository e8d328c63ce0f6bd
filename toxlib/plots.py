"""Figures about the data, and what all figures share. `score_plots` has those about scores.

Each function returns a matplotlib Figure and neither shows nor saves it. A figure by label shows
the 30 commonest labels, as counted in its argument `labels`, (N, L), so that its size does not
grow with their number.
"""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator

from toxlib.data.splits import Split
from toxlib.data.text import short_name

BLUE, ORANGE, GREY = "#3b6fb6", "#d9822b", "#8a8f98"


def commonest(labels: np.ndarray, count: int = 30) -> np.ndarray:
    """Return the positions of the commonest labels of (N, L), at most `count`, in file order."""
    return np.sort(np.argsort(-np.asarray(labels).sum(axis=0), kind="stable")[:count])


def labels_note(labels: np.ndarray, count: int = 30) -> str:
    """Return a sentence that says which labels of (N, L) are shown; empty if all of them are."""
    total = np.shape(labels)[1]
    return f"Shown are the {count} commonest of {total} labels." if total > count else ""


def label_rates(labels: pd.DataFrame) -> Figure:
    """Draw the share of comments that have each label, and of those that have none."""
    shown = commonest(labels)
    rates = [*labels.iloc[:, shown].mean(), (labels.sum(axis=1) == 0).mean()]
    figure, axes = make_figure(8, 0.42 * len(rates) + 1)
    bars = axes.barh(range(len(rates)), 100 * np.array(rates), color=[BLUE] * len(shown) + [GREY])
    axes.set_yticks(range(len(rates)), [*tick_names(labels.columns, shown), "(none)"])
    axes.bar_label(bars, fmt=" %.1f %%", fontsize=9)
    axes.invert_yaxis()
    axes.set(xlim=(0, 118 * max(rates)), xlabel="share of training comments (%)")
    axes.set_title("How common each label is")
    return with_note(figure, labels)


def cooccurrence(labels: pd.DataFrame) -> Figure:
    """Draw, for comments with the row's label, the share that also has the column's label."""
    shown = commonest(labels)
    values = labels.iloc[:, shown].to_numpy(dtype=float)
    share = values.T @ values / np.maximum(values.sum(axis=0), 1)[:, None]
    side = (0.75 if len(shown) < 15 else 0.45) * len(shown) + 2
    figure, axes = make_figure(side, side - 1)
    image = axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
    names = tick_names(labels.columns, shown)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(share):
        colour = "white" if value > 0.6 else "black"
        axes.text(column, row, f"{value:.2f}", size=9, ha="center", va="center", color=colour)
    axes.set(title="Share of the row's comments\nthat also have the column's label")
    figure.colorbar(image, shrink=0.8)
    return with_note(figure, labels)


def lengths_by_label(lengths: np.ndarray, labels: pd.DataFrame, unit: str) -> Figure:
    """Draw the 5 %, 25 %, 50 %, 75 % and 95 % quantiles of lengths, (N,), per label."""
    shown, carried = commonest(labels), labels.to_numpy() == 1  # (N, L)
    chosen = [~carried.any(axis=1), *(carried[:, j] for j in shown)]
    groups = [np.maximum(lengths[rows], 1) for rows in chosen]
    figure, axes = make_figure(8, 0.42 * len(groups) + 1)
    style = {"orientation": "horizontal", "showfliers": False, "patch_artist": True}
    style["medianprops"] = {"color": "black", "linewidth": 2}
    names = ["(none)", *tick_names(labels.columns, shown)]
    boxes = axes.boxplot(groups, whis=(5, 95), tick_labels=names, **style)
    for number, box in enumerate(boxes["boxes"]):
        box.set_facecolor("#c9ccd2" if number == 0 else "#9dbbe3")
    axes.invert_yaxis()
    axes.set(xlabel=f"{unit} (5 %, quartiles, 95 %)", title="Length by label")
    _log_lengths(axes)
    return with_note(figure, labels)


def distributions(series: dict[str, np.ndarray], xlabel: str, title: str) -> Figure:
    """Draw the cumulative distribution of each array of lengths, on a log scale."""
    figure, axes = make_figure(8, 4)
    for (name, values), colour in zip(series.items(), (BLUE, ORANGE, GREY), strict=False):
        axes.ecdf(np.maximum(values, 1), label=name, color=colour)
    axes.set(xlabel=xlabel, ylabel="share up to this length", title=title)
    _log_lengths(axes)
    axes.legend(loc="lower right")
    return figure


def _log_lengths(axes: Axes) -> None:
    """Show lengths on a log scale, with few numbers, so that they do not overlap."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    digits = (1, 2, 5) if high > 10 * low else range(1, 10)
    axes.xaxis.set_major_locator(LogLocator(subs=digits))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", alpha=0.3)


def truncation(table: pd.DataFrame, chosen: int) -> Figure:
    """Draw the share of comments and of tokens that each `max_length` cuts off."""
    figure, axes = make_figure(8, 4)
    axes.plot(table.index, table["comments cut (%)"], "o-", color=BLUE, label="comments cut")
    axes.plot(table.index, table["tokens cut (%)"], "s-", color=ORANGE, label="tokens cut")
    axes.axvline(chosen, color=GREY, linestyle="--", label=f"this recipe: {chosen}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(table.index, table.index)
    axes.set(xlabel="max_length (tokens)", ylabel="%", title="What each length cuts off")
    axes.legend()
    return figure


def split_parts(split: Split) -> Figure:
    """Draw which rows each fold's model is trained on, judged on, and not given at all.

    Some 200 rows are drawn, ordered by the fold that holds them out.
    """
    holds_out = np.argmax([split.held_out(fold) for fold in split.folds], axis=0)
    order = np.argsort(holds_out - split.is_validation, kind="stable")
    shown = order[:: max(1, len(order) // 200)]
    kinds = np.zeros((len(split.folds), len(shown)), dtype=int)
    for fold in split.folds:
        kinds[fold, split.held_out(fold)[shown]] = 1
        kinds[fold, split.set_aside(fold)[shown]] = 2
    figure, axes = make_figure(8, 0.45 * len(kinds) + 1.4)
    colours = {"trained on": "#dfe6f0", "held out": ORANGE, "set aside": BLUE}
    palette = ListedColormap(list(colours.values()))
    axes.imshow(kinds, aspect="auto", cmap=palette, vmin=0, vmax=2, interpolation="nearest")
    axes.set_yticks(range(len(kinds)), [f"fold {fold}" for fold in split.folds])
    axes.set_xticks([])
    axes.set(xlabel="training comments", title="What each fold's model does with each comment")
    patches = [Patch(color=colour, label=kind) for kind, colour in colours.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=3)
    return figure


def intervals(table: pd.DataFrame, columns: Sequence[str], title: str) -> Figure:
    """Draw a panel per column and a line per row, with intervals from "… low" to "… high"."""
    figure, panels = make_panels(1, len(columns), (10, 0.5 * len(table) + 1.6), sharey=True)
    places = range(len(table))
    for panel, name in zip(panels, columns, strict=True):
        values = table[name].to_numpy(dtype=float)
        low, high = (table[f"{name} {end}"].to_numpy(dtype=float) for end in ("low", "high"))
        panel.hlines(places, low, high, color=BLUE)
        panel.plot(values, places, "o", color=ORANGE)
        panel.set_yticks(places, [plain(run) for run in table.index])
        panel.set_xlabel(name)
        panel.locator_params(axis="x", nbins=5)  # with more, long numbers would overlap
        panel.margins(y=0.3)
        panel.grid(axis="x", alpha=0.3)
    panels[0].invert_yaxis()
    figure.suptitle(title, fontsize=11)
    return figure


def make_panels(
    rows: int, columns: int, size: tuple[float, float], **options: object
) -> tuple[Figure, np.ndarray]:
    """Make a figure that pyplot does not keep, so that a notebook shows it only once."""
    figure, axes = plt.subplots(
        rows, columns, figsize=size, layout="constrained", squeeze=False, **options
    )
    plt.close(figure)
    return figure, axes.ravel()


def make_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure with a single panel, as `make_panels` does."""
    figure, panels = make_panels(1, 1, (width, height))
    return figure, panels[0]


def make_grid(titles: list[str], **shared: bool) -> tuple[Figure, np.ndarray]:
    """Make a figure with three panels per row, and a panel for each title."""
    rows = -(-len(titles) // 3)
    figure, axes = make_panels(rows, 3, (10, 2.8 * rows + 0.4), **shared)
    for title, panel in zip(titles, axes, strict=False):
        panel.set_title(title, fontsize=10)
        panel.grid(alpha=0.3)
    for unused in axes[len(titles) :]:
        unused.set_visible(False)
    return figure, axes[: len(titles)]


def legend_outside(figure: Figure, axes: Axes, where: str = "lower") -> None:
    """Put the legend of `axes` outside all panels, where it hides no mark.

    `where` is "upper" for a figure with a common label of its horizontal axes below.
    """
    handles, names = axes.get_legend_handles_labels()
    style = {"ncols": 4, "fontsize": 9, "frameon": False}
    figure.legend(handles, names, loc=f"outside {where} center", **style)


def with_note(figure: Figure, labels: np.ndarray) -> Figure:
    """Say under the figure which labels of (N, L) it shows, if it does not show all."""
    if note := labels_note(labels):
        figure.text(0.5, -0.02, note, ha="center", va="top", fontsize=9)
    return figure


def tick_names(names: Sequence[str], shown: np.ndarray) -> list[str]:
    """Return the names of the labels at the positions `shown`, as a figure can show them."""
    return [plain(names[j]) for j in shown]


def plain(name: str) -> str:
    """Shorten a name to two lines of at most 22 characters, so that panels keep room.

    Dollar signs are escaped, because matplotlib would typeset mathematics.
    """
    lines = textwrap.wrap(short_name(name), 22, max_lines=2, placeholder="…")
    return "\n".join(lines).replace("$", r"\$")
