"""What the figures of the audit must not leave out."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from toxlib import audit_plots, plots

HOSTILE = ("$x", "$y$ \\(z\\)", "\x1b[31m", "\u202eabc", "a" * 5000, "<b>", "")
AUCS = ("subgroup AUC", "BPSN AUC")


def report(names):
    """A table of an audit, whose rates rise from 0 to 1."""
    table = pd.DataFrame(index=pd.Index(names, name="group"))
    for column in ("rate", *AUCS):
        table[column] = np.linspace(0, 1, len(names))
        table[f"{column} low"], table[f"{column} high"] = (
            table[column] - 0.01,
            table[column] + 0.01,
        )
    return table


FIGURES = {
    "group_rates": lambda table: audit_plots.group_rates(table, "rate", "a $\\nope$"),
    "group_aucs": lambda table: audit_plots.group_aucs(table, AUCS, "a $\\nope$"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_hostile_names_are_drawn_as_they_are(name):
    figure = FIGURES[name](report(HOSTILE))
    names = {tick.get_text().replace("\n", "") for tick in figure.axes[0].get_yticklabels()}
    assert {r"\$x", r"\x1b[31m", r"\u202eabc", "a" * 39 + "…"} <= names
    picture = io.BytesIO()
    figure.savefig(picture, dpi=40, bbox_inches="tight")
    assert plt.imread(io.BytesIO(picture.getvalue())).shape[1] < 1000


def test_the_highest_rates_come_first_and_stand_out():
    figure = audit_plots.group_rates(report([f"g{i}" for i in range(200)]), "rate", "title")
    axes = figure.axes[0]
    ticks = [tick.get_text() for tick in axes.get_yticklabels()]
    assert ticks[:2] == ["g199", "g198"]
    assert len(ticks) == audit_plots.MOST_GROUPS
    assert figure.get_size_inches().max() < 15
    table = report([*"abcd"])  # the highest rate is exactly twice the mean
    assert _colours(table) == [plots.BLUE] * 4
    table.loc["d", "rate"] = 3
    assert _colours(table) == [plots.ORANGE, *[plots.BLUE] * 3]


def _colours(table):
    lines = audit_plots.group_rates(table, "rate", "title").axes[0].collections[0]
    return [to_hex(colour) for colour in lines.get_colors()]


def test_panels_share_their_scale():
    first, second = audit_plots.group_aucs(report(list("abc")), AUCS, "title").axes
    assert first.get_xlim() == second.get_xlim()
    assert not plt.get_fignums()
