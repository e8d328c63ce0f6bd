"""Figures. Each function returns a matplotlib Figure and neither shows nor saves it.

A figure by label shows the 30 commonest labels, as counted in its argument `labels`, (N, L), so
that its size does not grow with their number.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve

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
    figure, axes = _figure(7, 0.45 * len(rates) + 1)
    bars = axes.barh(range(len(rates)), 100 * np.array(rates), color=[BLUE] * len(shown) + [GREY])
    axes.set_yticks(range(len(rates)), [*_names(labels.columns, shown), "(none)"])
    axes.bar_label(bars, fmt=" %.1f %%", fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel="share of training comments (%)", title="How common each label is")
    return _with_note(figure, labels)


def cooccurrence(labels: pd.DataFrame) -> Figure:
    """Draw, for comments with the row's label, the share that also has the column's label."""
    shown = commonest(labels)
    values = labels.iloc[:, shown].to_numpy(dtype=float)
    share = values.T @ values / np.maximum(values.sum(axis=0), 1)[:, None]
    side = (0.75 if len(shown) < 15 else 0.45) * len(shown) + 2
    figure, axes = _figure(side, side - 1)
    image = axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
    names = _names(labels.columns, shown)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(share):
        colour = "white" if value > 0.6 else "black"
        axes.text(column, row, f"{value:.2f}", size=9, ha="center", va="center", color=colour)
    axes.set(title="Share of the row's comments\nthat also have the column's label")
    figure.colorbar(image, shrink=0.8)
    return _with_note(figure, labels)


def lengths_by_label(lengths: np.ndarray, labels: pd.DataFrame, unit: str) -> Figure:
    """Draw the 5 %, 25 %, 50 %, 75 % and 95 % quantiles of lengths, (N,), per label."""
    shown, carried = commonest(labels), labels.to_numpy() == 1  # (N, L)
    chosen = [~carried.any(axis=1), *(carried[:, j] for j in shown)]
    groups = [np.maximum(lengths[rows], 1) for rows in chosen]
    figure, axes = _figure(7, 0.5 * len(groups) + 1)
    style = {"orientation": "horizontal", "showfliers": False, "patch_artist": True}
    names = ["(none)", *_names(labels.columns, shown)]
    boxes = axes.boxplot(groups, whis=(5, 95), tick_labels=names, **style)
    for number, box in enumerate(boxes["boxes"]):
        box.set_facecolor(GREY if number == 0 else BLUE)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel=f"{unit} (5 %, quartiles, 95 %)", title="Length by label")
    return _with_note(figure, labels)


def distributions(series: dict[str, np.ndarray], xlabel: str, title: str) -> Figure:
    """Draw the cumulative distribution of each array of lengths, on a log scale."""
    figure, axes = _figure(7, 4)
    for (name, values), colour in zip(series.items(), (BLUE, ORANGE, GREY), strict=False):
        axes.ecdf(np.maximum(values, 1), label=name, color=colour)
    axes.set(xscale="log", xlabel=xlabel, ylabel="share up to this length", title=title)
    axes.legend()
    return figure


def truncation(table: pd.DataFrame, chosen: int) -> Figure:
    """Draw the share of comments and of tokens that each `max_length` cuts off."""
    figure, axes = _figure(7, 4)
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
    figure, axes = _figure(8, 0.45 * len(kinds) + 1.4)
    colours = {"trained on": "#dfe6f0", "held out": ORANGE, "set aside": BLUE}
    palette = ListedColormap(list(colours.values()))
    axes.imshow(kinds, aspect="auto", cmap=palette, vmin=0, vmax=2, interpolation="nearest")
    axes.set_yticks(range(len(kinds)), [f"fold {fold}" for fold in split.folds])
    axes.set_xticks([])
    axes.set(xlabel="training comments", title="What each fold's model does with each comment")
    patches = [Patch(color=colour, label=kind) for kind, colour in colours.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=3)
    return figure


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
    return figure


def auc_by_label(labels: np.ndarray, scores: dict[str, dict[str, float]]) -> Figure:
    """Draw the AUC of several models for each label of (N, L): {model: {label: AUC}}."""
    shown, names = commonest(labels), list(next(iter(scores.values())))
    figure, axes = _figure(7, 0.5 * len(shown) + 1.5)
    for number, (model, aucs) in enumerate(scores.items()):
        marker, colour = "osD^vP*X"[number % 8], f"C{(1, 0, 2, 3, 4, 5, 6, 7)[number % 8]}"
        values = [aucs[names[j]] for j in shown]
        axes.plot(values, range(len(shown)), marker, color=colour, label=_plain(model))
    axes.set_yticks(range(len(shown)), _names(names, shown))
    axes.invert_yaxis()
    axes.grid(axis="y", alpha=0.3)
    axes.set(xlabel="ROC AUC on validation comments", title="Score by label")
    axes.legend()
    return _with_note(figure, labels)


def precision_recall(
    labels: np.ndarray, scores: np.ndarray, thresholds: Sequence[float], names: Sequence[str]
) -> Figure:
    """Draw a precision-recall curve per label, with a dot at its threshold; arrays are (N, L)."""
    shown = commonest(labels)
    figure, panels = _grid(_names(names, shown), sharex=True, sharey=True)
    for j, panel in zip(shown, panels, strict=True):
        if not labels[:, j].any():
            panel.annotate("no positive comment", (0.5, 0.5), ha="center")
            continue
        precision, recall, cutoffs = precision_recall_curve(labels[:, j], scores[:, j])
        panel.plot(recall, precision, color=BLUE)
        point = np.searchsorted(cutoffs, thresholds[j])  # the last point has recall 0
        panel.plot(recall[point], precision[point], "o", color=ORANGE)
        panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    figure.supxlabel("recall")
    figure.supylabel("precision")
    return _with_note(figure, labels)


def threshold_spread(
    labels: np.ndarray, per_part: np.ndarray, final: np.ndarray, names: Sequence[str]
) -> Figure:
    """Draw the thresholds that decide on each part, (K, L), and those chosen on all rows, (L,)."""
    shown = commonest(labels)
    figure, axes = _figure(7, 0.45 * len(shown) + 1.3)
    for place, j in enumerate(shown):
        axes.plot(per_part[:, j], [place] * len(per_part), "|", color=BLUE, markersize=14)
    axes.plot(final[shown], range(len(shown)), "o", color=ORANGE, label="chosen on all rows")
    axes.axvline(0.5, color=GREY, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(shown)), _names(names, shown))
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="threshold", title="Thresholds by part")
    axes.legend()
    return _with_note(figure, labels)


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
        panel.legend(fontsize=8)
    figure.suptitle(_plain(name), fontsize=11)
    return figure


def reliability(
    labels: np.ndarray, before: np.ndarray, after: np.ndarray, names: Sequence[str]
) -> Figure:
    """Draw the share of comments that have a label against their mean score, by tenths of rows.

    `before` and `after` are the scores before and after calibration, (N, L).
    """
    shown = commonest(labels)
    figure, panels = _grid(_names(names, shown), sharex=True, sharey=True)
    for j, panel in zip(shown, panels, strict=True):
        panel.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
        for scores, colour, way in ((before, BLUE, "before"), (after, ORANGE, "after")):
            if labels[:, j].any():
                share, score = calibration_curve(
                    labels[:, j], scores[:, j], n_bins=10, strategy="quantile"
                )
                panel.plot(score, share, "o-", color=colour, label=way, markersize=4)
    panels[0].legend(fontsize=8)
    figure.supxlabel("mean score")
    figure.supylabel("share that has the label")
    return _with_note(figure, labels)


def score_distributions(
    labels: np.ndarray, validation: np.ndarray, test: np.ndarray, names: Sequence[str]
) -> Figure:
    """Draw histograms of validation and test scores, (N, L) each, per label, on a log scale."""
    shown = commonest(labels)
    figure, panels = _grid(_names(names, shown), sharex=True)
    bins = np.linspace(0, 1, 41)
    for j, panel in zip(shown, panels, strict=True):
        for values, colour, label in ((validation, BLUE, "validation"), (test, ORANGE, "test")):
            style = {"histtype": "step", "color": colour, "label": label}
            panel.hist(values[:, j], bins, density=True, **style)
        panel.set_yscale("log")
    panels[0].legend(fontsize=8)
    figure.supxlabel("predicted probability")
    figure.supylabel("density")
    return _with_note(figure, labels)


def intervals(table: pd.DataFrame, columns: Sequence[str], title: str) -> Figure:
    """Draw a panel per column and a line per row, with intervals from "… low" to "… high"."""
    figure, panels = make_panels(1, len(columns), (10, 0.5 * len(table) + 1.6), sharey=True)
    places = range(len(table))
    for panel, name in zip(panels, columns, strict=True):
        values = table[name].to_numpy(dtype=float)
        low, high = (table[f"{name} {end}"].to_numpy(dtype=float) for end in ("low", "high"))
        panel.hlines(places, low, high, color=BLUE)
        panel.plot(values, places, "o", color=ORANGE)
        panel.set_yticks(places, [_plain(run) for run in table.index])
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


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure, panels = make_panels(1, 1, (width, height))
    return figure, panels[0]


def _grid(titles: list[str], **shared: bool) -> tuple[Figure, np.ndarray]:
    """Make a figure with three panels per row, and a panel for each title."""
    rows = -(-len(titles) // 3)
    figure, axes = make_panels(rows, 3, (10, 2.8 * rows), **shared)
    for title, panel in zip(titles, axes, strict=False):
        panel.set_title(title, fontsize=10)
    for unused in axes[len(titles) :]:
        unused.set_visible(False)
    return figure, axes[: len(titles)]


def _with_note(figure: Figure, labels: np.ndarray) -> Figure:
    """Say under the figure which labels of (N, L) it shows, if it does not show all."""
    if note := labels_note(labels):
        figure.text(0.5, -0.01, note, ha="center", va="top", fontsize=9)
    return figure


def _names(names: Sequence[str], shown: np.ndarray) -> list[str]:
    """Return the names of the labels at the positions `shown`, as a figure can show them."""
    return [_plain(names[j]) for j in shown]


def _plain(name: str) -> str:
    """Shorten a name, and escape dollar signs: matplotlib would typeset mathematics."""
    return short_name(name).replace("$", r"\$")
