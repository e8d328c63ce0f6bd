"""Show what `toxlib.benchmarks.speed` has measured: tables for a terminal, and two figures."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toxlib import plots

COLUMNS = {
    "train_comments_per_second": "training, comments/s",
    "ratio": "×",
    "share_of_limit": "share of limit",
    "score_comments_per_second": "scoring, comments/s",
}


def format_speed(result: dict) -> str:
    """Return the result's tables for a terminal."""
    lines = title(result)
    for panel, rows in panels(result).items():
        table = pd.DataFrame(rows).set_index("label")[list(COLUMNS)].rename_axis(None)
        lines += ["", panel, table.rename(columns=COLUMNS).to_string(float_format="{:.3f}".format)]
    lines.append("")
    lines += [f"{n:<76}{x:12,.4f}" for n, x in (result["ratios"] | result["figures"]).items()]
    for row in result["lengths"]:
        cost = row.get("left_out") or f"{row['seconds']:.2f} s, {row['bytes'] / 1e9:.2f} GB"
        lines.append(f"{row['name']:<14}{row['tokens']:>7} tokens  {cost}")
    return "\n".join(lines)


def title(result: dict) -> list[str]:
    """Return two lines: what was done, and on which machine."""
    machine, layers = result["machine"], result["layers"]
    size = "base size" if layers == 12 else f"base width, but {layers} layers"
    where = f"{machine['processor']}, {machine['threads']} threads, {machine['date']}"
    return [f"One training step on {result['comments']}, {size}", where]


def panels(result: dict) -> dict[str, list[dict]]:
    """Return the rows of each comparison, with `label` and `ratio` added.

    The ratio is the speed in training, divided by that of the comparison's first row.
    """
    found: dict[str, list[dict]] = {}
    for row in result["recipes"]:
        is_auto = row["name"] == "ours" and row["precision"] == result["machine"]["auto_precision"]
        label = f"{row['name']}, {row['precision']}{' (auto takes this)' if is_auto else ''}"
        rows = found.setdefault(row["panel"], [])
        first = rows[0] if rows else row
        rows.append(row | {"label": label, "ratio": first["train_seconds"] / row["train_seconds"]})
    return found


def plot_speed(result: dict) -> Figure:
    """Draw training speed, a panel per comparison; its first row is the bar at the bottom."""
    found = panels(result)
    heights = [len(rows) + 1 for rows in found.values()]
    figure, axes = plots.make_panels(
        len(found), 1, (10, 0.4 * sum(heights) + 1), height_ratios=heights
    )
    for panel, (name, rows) in zip(axes, found.items(), strict=True):
        _draw_panel(panel, name, rows)
    axes[-1].set_xlabel(
        "×: times as fast as the lowest bar.  Limit: a step that is all matrix products, at the "
        "machine's best rate.",
        fontsize=9,
    )
    figure.suptitle("\n".join(title(result)), fontsize=11)
    return figure


def _draw_panel(axes: Axes, name: str, rows: list[dict]) -> None:
    rates = [row["train_comments_per_second"] for row in rows]
    colours = [plots.ORANGE if row["name"].startswith("ours") else plots.BLUE for row in rows]
    bars = axes.barh([row["label"] for row in rows], rates, color=colours)
    ratios = [f"{row['ratio']:{'.0f' if row['ratio'] >= 10 else '.2g'}} ×" for row in rows]
    axes.bar_label(bars, ratios, padding=4, fontsize=11, fontweight="bold")
    details = [
        f"{row['train_comments_per_second']:.2g} comments/s, "
        f"{100 * row['share_of_limit']:.0f} % of the limit"
        for row in rows
    ]
    axes.bar_label(bars, details, padding=52, fontsize=9, color="#555555")
    axes.set(xlim=(0, 2 * max(rates)), xticks=[])
    axes.set_title(name, loc="left", fontsize=11)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def plot_lengths(rows: list[dict]) -> Figure:
    """Draw time and memory of one forward and backward pass by length, on log scales."""
    figure, axes_of = plots.make_panels(1, 2, (10, 3.8))
    units = (("seconds", 1, "seconds"), ("bytes", 1e9, "GB above the parameters"))
    for axes, (what, unit, label) in zip(axes_of, units, strict=True):
        for name, colour in (("ours", plots.ORANGE), ("transformers", plots.BLUE)):
            points = [r for r in rows if r["name"] == name and what in r]
            values = [r[what] / unit for r in points]
            axes.plot([r["tokens"] for r in points], values, "o-", color=colour, label=name)
        axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel=label)
        axes.legend()
    left_out = [
        f"{r['name']}, {r['tokens']:,} tokens: {r['left_out']}" for r in rows if "left_out" in r
    ]
    heading = "One forward and backward pass of two base-size layers"
    figure.suptitle("\n".join([heading, *left_out]), fontsize=10)
    return figure
