"""The page of a comparison: a table to sort, differences, training curves and recipes.

Names of folders, labels and recipe values may be hostile, so the template escapes everything, and
a Content-Security-Policy allows nothing but the page's own script and style, by their digests.
"""

import base64
import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import jinja2
import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from toxlib import files, score_plots
from toxlib.data.text import short_name, visible
from toxlib.progress import format_seconds
from toxlib.reports import comparison
from toxlib.reports.comparison import DIFFERENCE, INTERVALS, SCORE, Group

TEMPLATES = Path(__file__).with_name("templates")
NUMBERS, MEMORY = ("log loss", "macro F1 cross-fitted"), "peak memory (GB)"
THEMES = {"light": "default", "dark": "dark_background"}
"""What the browser prefers → the style of matplotlib."""


def print_comparison(folder: Path, groups: Sequence[Group], left_out: Sequence[str] = ()) -> None:
    """Write comparison.csv and comparison.html to a folder, and print the tables.

    `left_out` says, in a line each, which runs were left out and why.
    """
    with files.replacing(folder / "comparison.csv") as temporary:
        comparison.to_csv_table(groups).to_csv(temporary)
    with files.replacing(folder / "comparison.html") as temporary:
        temporary.write_text(render(folder, groups, left_out), "utf-8")
    for reason in left_out:
        print(f"left out: {visible(reason)}")
    print(comparison.format_comparison(groups), folder / "comparison.html", sep="\n")


def render(folder: Path, groups: Sequence[Group], left_out: Sequence[str] = ()) -> str:
    """Return the page as HTML. Its links to reports hold for a page in `folder`."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    script, style = (
        Markup((TEMPLATES / f"comparison.{kind}").read_text("utf-8")) for kind in ("js", "css")
    )
    return environment.get_template("comparison.html").render(
        policy=policy(script, style),
        script=script,
        style=style,
        groups=[_group(group, folder) for group in groups],
        left_out=[visible(reason) for reason in left_out],
    )


def policy(script: str, style: str) -> str:
    """Return a Content-Security-Policy that allows this script, this style and inline images."""
    digests = [hashlib.sha256(text.encode()).digest() for text in (script, style)]
    allowed = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    return (
        f"default-src 'none'; script-src {allowed[0]}; style-src {allowed[1]}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _group(group: Group, folder: Path) -> dict:
    """Return what the template shows of a group."""
    curves = {name: entry.history for name, entry in group.runs.items() if entry.history}
    table = group.table.sort_values(SCORE, ascending=False, kind="stable")
    return {
        "title": comparison.describe(group),
        "warning": comparison.optimism(group),
        "reference": short_name(group.reference),
        "rows": _rows(group, table, folder),
        "figures": [_bars(table, column) for column in (SCORE, DIFFERENCE) if len(table) > 1],
        "curves": _curves(curves),
        "names": [visible(name) for name in group.runs],
        "recipes": {
            key: [visible(value) for value in values]
            for key, values in comparison.recipe_differences(group).items()
        },
    }


def _rows(group: Group, table: pd.DataFrame, folder: Path) -> list[dict]:
    """Return the rows of the table that the page shows."""
    rows = []
    for name, row in table.iterrows():
        difference = _interval(row, DIFFERENCE)
        if name == group.reference:
            difference["text"], difference["note"] = "reference", ""
        cells = [
            _interval(row, SCORE),
            difference,
            *(_cell(f"{row[number]:.4f}", row[number]) for number in NUMBERS),
            _cell(format_seconds(row["seconds"]), row["seconds"]),
            _cell(f"{row[MEMORY]:.1f} GB", row[MEMORY]),
            _cell(f"{row['finished']:%Y-%m-%d %H:%M}", row["finished"].timestamp()),
        ]
        link = _link(group.runs[name].run.path("report.html"), folder)
        about = f"{row['recipe']}, {row['folds']} {'fold' if row['folds'] == 1 else 'folds'}"
        rows.append({"name": visible(name), "about": visible(about), "link": link, "cells": cells})
    return rows


def _cell(text: str, value: float, note: str = "") -> dict:
    """Return a cell of the table: what it shows, the number it is sorted by, and a small note."""
    return {"text": text, "value": value, "note": note}


def _interval(row: pd.Series, name: str) -> dict:
    """Return the cell of an estimate, whose note is its interval."""
    form = INTERVALS[name][1]
    note = f"{row[f'{name} low']:{form}} to {row[f'{name} high']:{form}}"
    return _cell(f"{row[name]:{form}}", row[name], note)


def _link(report: Path, folder: Path) -> str:
    """Return the address of a run's report for a page in `folder`; empty if there is none."""
    return quote(os.path.relpath(report, folder.resolve())) if report.exists() else ""


def _bars(table: pd.DataFrame, column: str) -> dict:
    """Return a figure of intervals: places of ticks, bars and dots, in per cent of its width."""
    ends = table[[column, f"{column} low", f"{column} high"]].to_numpy(dtype=float)  # (runs, 3)
    known = ends[np.isfinite(ends)]
    ticks = MaxNLocator(4).tick_values(known.min(), known.max()) if len(known) else [0, 1]
    start, width = ticks[0], ticks[-1] - ticks[0]

    def place(value: float) -> float:
        return round(5 + 90 * (value - start) / width, 2)

    return {
        "title": column,
        "ticks": [(place(tick), f"{round(tick, 9) + 0.0:.6g}") for tick in ticks],
        "bars": [
            (visible(str(name)), [place(value) for value in row] if np.isfinite(row).all() else [])
            for name, row in zip(table.index, ends, strict=True)
        ],
    }


def _curves(histories: dict[str, list[dict]]) -> list[dict]:
    """Draw the training curves of several runs, with the same limits on their axes."""
    images: list[dict[str, str]] = [{} for _ in histories]
    for theme, style in THEMES.items():
        with matplotlib.style.context(style):
            figures = [score_plots.training_curves(h, upright=True) for h in histories.values()]
            _share_limits(figures)
            for image, figure in zip(images, figures, strict=True):
                image[theme] = _data_uri(figure)
    return [{"name": visible(n), "image": i} for n, i in zip(histories, images, strict=True)]


def _share_limits(figures: Sequence[Figure]) -> None:
    """Give panels of the same title the same limits, so that runs can be compared by eye."""
    panels: dict[str, list] = {}
    for axes in (axes for figure in figures for axes in figure.axes):
        panels.setdefault(axes.get_title(), []).append(axes)
    for same in panels.values():
        for limits in ("xlim", "ylim"):
            ends = [end for axes in same for end in getattr(axes, f"get_{limits}")()]
            for axes in same:
                axes.set(**{limits: (min(ends), max(ends))})


def _data_uri(figure: Figure) -> str:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150, transparent=True)
    return f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
