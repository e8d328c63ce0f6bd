"""Figures. Each function returns a matplotlib Figure and neither shows nor saves it.

Letters: N comments, L labels.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve

BLUE, ORANGE, GREY = "#3b6fb6", "#d9822b", "#8a8f98"


def label_rates(labels: pd.DataFrame) -> Figure:
    """Share of the comments that carry each label, and no label."""
    rates = pd.concat([labels.mean(), pd.Series({"(none)": (labels.sum(axis=1) == 0).mean()})])
    figure, axes = _figure(7, 0.45 * len(rates) + 1)
    axes.barh(
        [_plain(n) for n in rates.index], 100 * rates, color=[BLUE] * (len(rates) - 1) + [GREY]
    )
    for place, rate in enumerate(rates):
        axes.annotate(f" {100 * rate:.1f} %", (100 * rate, place), va="center", fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel="share of training comments (%)", title="How common each label is")
    return figure


def cooccurrence(labels: pd.DataFrame) -> Figure:
    """Of the comments with the row's label, the share that also carries the column's."""
    values = labels.to_numpy(dtype=float)
    share = values.T @ values / np.maximum(values.sum(axis=0), 1)[:, None]
    side = 0.75 * len(labels.columns) + 2
    figure, axes = _figure(side, side - 1)
    image = axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
    names = [_plain(n) for n in labels.columns]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(share):
        colour = "white" if value > 0.6 else "black"
        axes.annotate(f"{value:.2f}", (column, row), ha="center", va="center", color=colour)
    axes.set(title="Share of the row's comments\nthat also carry the column's label")
    figure.colorbar(image, shrink=0.8)
    return figure


def lengths_by_label(lengths: np.ndarray, labels: pd.DataFrame, unit: str) -> Figure:
    """Quartiles, 5 % and 95 % of the comments' lengths, per label, on a log scale."""
    groups = {"(none)": lengths[(labels.sum(axis=1) == 0).to_numpy()]}
    groups |= {_plain(n): lengths[labels[n].to_numpy() == 1] for n in labels.columns}
    figure, axes = _figure(7, 0.5 * len(groups) + 1)
    boxes = axes.boxplot(
        [np.maximum(g, 1) for g in groups.values()],
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        tick_labels=list(groups),
    )
    for number, box in enumerate(boxes["boxes"]):
        box.set_facecolor(GREY if number == 0 else BLUE)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel=f"{unit} (5 %, quartiles, 95 %)", title="Length by label")
    return figure


def distributions(series: dict[str, np.ndarray], xlabel: str, title: str) -> Figure:
    """Empirical distribution functions side by side, on a log scale."""
    figure, axes = _figure(7, 4)
    for (name, values), colour in zip(series.items(), (BLUE, ORANGE, GREY), strict=False):
        ordered = np.sort(np.maximum(values, 1))
        axes.plot(ordered, np.arange(1, len(ordered) + 1) / len(ordered), label=name, color=colour)
    axes.set(
        xscale="log", xlabel=xlabel, ylabel="share of comments at most this long", title=title
    )
    axes.legend()
    return figure


def truncation(table: pd.DataFrame, chosen: int) -> Figure:
    """Share of comments and of tokens that each `max_length` cuts, the chosen one marked."""
    figure, axes = _figure(7, 4)
    axes.plot(table.index, table["comments cut (%)"], "o-", color=BLUE, label="comments cut")
    axes.plot(table.index, table["tokens cut (%)"], "s-", color=ORANGE, label="tokens cut")
    axes.axvline(chosen, color=GREY, linestyle="--", label=f"this recipe: {chosen}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(table.index, table.index)
    axes.set(xlabel="max_length (tokens)", ylabel="%", title="What each length cuts off")
    axes.legend()
    return figure


def training_curves(history: list[dict]) -> Figure:
    """Training loss; if epochs were scored, also validation loss and mean column-wise AUC."""
    evaluations = [h for h in history if "eval_loss" in h and "epoch" in h]
    panels = 2 if evaluations else 1
    figure, axes = plt.subplots(
        1, panels, figsize=(5 * panels, 3.8), layout="constrained", squeeze=False
    )
    plt.close(figure)
    losses, epochs = axes[0, 0], [h["epoch"] for h in evaluations]
    steps = [h for h in history if "loss" in h]
    losses.plot([h["epoch"] for h in steps], _column(steps, "loss"), color=BLUE, label="training")
    losses.set(xlabel="epoch", ylabel="binary cross-entropy (nats)", title="Loss")
    if evaluations:
        loss, auc = (_column(evaluations, f"eval_{k}") for k in ("loss", "mean_columnwise_auc"))
        losses.plot(epochs, loss, "o-", color=ORANGE, label="validation")
        axes[0, 1].plot(epochs, auc, "o-", color=ORANGE)
        axes[0, 1].set(xlabel="epoch", ylabel="mean column-wise AUC", title="Validation score")
    losses.legend()
    return figure


def _column(entries: list[dict], name: str) -> list[float]:
    """A value of each log entry; JSON has null for NaN."""
    return [float("nan") if entry[name] is None else float(entry[name]) for entry in entries]


def auc_by_label(scores: dict[str, dict[str, float]]) -> Figure:
    """AUC per label of several models: {model: {label: AUC}}."""
    labels = list(next(iter(scores.values())))
    figure, axes = _figure(7, 0.5 * len(labels) + 1.5)
    names = [_plain(n) for n in labels]
    for number, (model, aucs) in enumerate(scores.items()):
        marker, colour = "osD^vP*X"[number % 8], f"C{(1, 0, 2, 3, 4, 5, 6, 7)[number % 8]}"
        axes.plot([aucs[n] for n in labels], names, marker, color=colour, label=_plain(model))
    axes.invert_yaxis()
    axes.grid(axis="y", alpha=0.3)
    axes.set(xlabel="ROC AUC on validation comments", title="Score by label")
    axes.legend()
    return figure


def precision_recall(
    labels: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray, names: Sequence[str]
) -> Figure:
    """A precision-recall curve per label; a dot where its chosen threshold lies."""
    figure, axes = _grid(len(names), sharex=True, sharey=True)
    for j, (name, panel) in enumerate(zip(names, axes, strict=False)):
        panel.set_title(_plain(name), fontsize=10)
        if not labels[:, j].any():
            panel.annotate("no positive comment", (0.5, 0.5), ha="center")
            continue
        precision, recall, cutoffs = precision_recall_curve(labels[:, j], probabilities[:, j])
        panel.plot(recall, precision, color=BLUE)
        point = min(np.searchsorted(cutoffs, thresholds[j]), len(cutoffs) - 1)
        panel.plot(recall[point], precision[point], "o", color=ORANGE)
        panel.set(xlim=(0, 1), ylim=(0, 1.02))
    figure.supxlabel("recall")
    figure.supylabel("precision")
    return figure


def threshold_spread(per_part: np.ndarray, final: np.ndarray, names: Sequence[str]) -> Figure:
    """The threshold that each part would choose (K, L), and the one chosen on all rows (L,)."""
    figure, axes = _figure(7, 0.45 * len(names) + 1.3)
    for j in range(len(names)):
        axes.plot(per_part[:, j], [j] * len(per_part), "|", color=BLUE, markersize=14)
    axes.plot(final, range(len(names)), "o", color=ORANGE, label="chosen on all rows")
    axes.axvline(0.5, color=GREY, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(names)), [_plain(n) for n in names])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="threshold", title="Threshold, part by part")
    axes.legend()
    return figure


def reliability(
    labels: np.ndarray, before: np.ndarray, after: np.ndarray, names: Sequence[str]
) -> Figure:
    """Share of the comments that carry a label against the score they got, by tenths of rows.

    Args:
        labels, before, after: (N, L); the scores before and after calibration.
    """
    figure, axes = _grid(len(names), sharex=True, sharey=True)
    for j, (name, panel) in enumerate(zip(names, axes, strict=False)):
        panel.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
        panel.set_title(_plain(name), fontsize=10)
        if labels[:, j].any():
            for scores, colour, way in ((before, BLUE, "before"), (after, ORANGE, "after")):
                share, said = calibration_curve(
                    labels[:, j], scores[:, j], n_bins=10, strategy="quantile"
                )
                panel.plot(said, share, "o-", color=colour, label=way, markersize=4)
    axes[0].legend(fontsize=8)
    figure.supxlabel("mean score")
    figure.supylabel("share that carries the label")
    return figure


def score_distributions(validation: np.ndarray, test: np.ndarray, names: Sequence[str]) -> Figure:
    """Histograms of validation and test probabilities per label, on a log scale."""
    figure, axes = _grid(len(names), sharex=True)
    bins = np.linspace(0, 1, 41)
    for j, (name, panel) in enumerate(zip(names, axes, strict=False)):
        for values, colour, label in ((validation, BLUE, "validation"), (test, ORANGE, "test")):
            panel.hist(
                values[:, j], bins, density=True, histtype="step", color=colour, label=label
            )
        panel.set_yscale("log")
        panel.set_title(_plain(name), fontsize=10)
    axes[0].legend(fontsize=8)
    figure.supxlabel("predicted probability")
    figure.supylabel("density")
    return figure


def intervals(table: pd.DataFrame, panels: Sequence[str], title: str) -> Figure:
    """A panel per estimate, a row per line of the table, with 95 % intervals.

    Args:
        panels: columns, beside each of which stand its columns "… low" and "… high".
    """
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(10, 0.5 * len(table) + 1.6),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    plt.close(figure)
    places = range(len(table))
    for panel, name in zip(axes[0], panels, strict=True):
        values = table[name].to_numpy(dtype=float)
        low, high = (table[f"{name} {end}"].to_numpy(dtype=float) for end in ("low", "high"))
        panel.hlines(places, low, high, color=BLUE)
        panel.plot(values, places, "o", color=ORANGE)
        panel.set_yticks(places, [_plain(run) for run in table.index])
        panel.set_xlabel(name)
        panel.locator_params(axis="x", nbins=5)  # or long numbers run into each other
        panel.margins(y=0.3)
        panel.grid(axis="x", alpha=0.3)
    axes[0, 0].invert_yaxis()
    figure.suptitle(title, fontsize=11)
    return figure


def speed(ways: list[dict]) -> Figure:
    """Comments per second in training, a bar for each way that `toxlib.bench` has timed."""
    figure, axes = _figure(8, 0.45 * len(ways) + 1)
    rates = [way["train_comments_per_second"] for way in ways]
    colours = [ORANGE if way["way"].startswith("ours") else BLUE for way in ways]
    axes.barh([way["way"] for way in ways], rates, color=colours)
    for place, rate in enumerate(rates):
        axes.annotate(f" {rate:.3g}", (rate, place), va="center", fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(xscale="log", xlabel="comments per second", title="Training, base size")
    return figure


def cost_by_length(rows: list[dict]) -> Figure:
    """Time and memory of one forward and backward pass by length, on log scales."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    plt.close(figure)
    units = (("seconds", 1, "seconds"), ("bytes", 1e9, "GB above the parameters"))
    for axes, (what, unit, label) in zip(panels, units, strict=True):
        for way, colour in (("ours", ORANGE), ("transformers", BLUE)):
            points = [r for r in rows if r["way"] == way and what in r]
            values = [r[what] / unit for r in points]
            axes.plot([r["tokens"] for r in points], values, "o-", color=colour, label=way)
        axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel=label)
        axes.legend()
    left_out = [
        f"{r['way']}, {r['tokens']:,} tokens: {r['left_out']}" for r in rows if "left_out" in r
    ]
    title = "One forward and backward pass of two base-size layers"
    figure.suptitle("\n".join([title, *left_out]), fontsize=10)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure that pyplot has let go of: it is shown once, by whoever returns it last."""
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    plt.close(figure)
    return figure, axes


def _grid(panels: int, **kwargs) -> tuple[Figure, np.ndarray]:
    rows = -(-panels // 3)
    figure, axes = plt.subplots(
        rows, 3, figsize=(10, 2.8 * rows), layout="constrained", squeeze=False, **kwargs
    )
    plt.close(figure)
    for unused in axes.flat[panels:]:
        unused.set_visible(False)
    return figure, axes.flat[:panels]


def _plain(name: str) -> str:
    """A label name as it stands: matplotlib would typeset what lies between dollar signs."""
    return str(name).replace("$", r"\$")
