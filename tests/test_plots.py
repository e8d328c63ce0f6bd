"""What a figure must not leave out."""

import io
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from toxlib import plots, score_plots

HOSTILE = ("$x", "$y$ \\(z\\)", "\x1b[31m", "\u202eabc", "a" * 5000, "<b>", "a" * 4999, "_{^", "")
RNG = np.random.default_rng(0)
SCORES = RNG.random((80, 400))
LABELS = (RNG.random((80, 400)) < np.linspace(0.01, 0.4, 400)).astype(int)
NAMES = [*HOSTILE, *(f"label {j}" for j in range(400 - len(HOSTILE)))]
TABLE = pd.DataFrame(LABELS, columns=NAMES)


def aucs(values, names):
    """The table of a model's AUCs with intervals, as `intervals.auc_tables` makes it."""
    values = np.array(values)
    columns = {"AUC": values, "low": values - 0.02, "high": values + 0.01}
    return pd.DataFrame(columns, index=names)


BY_LABEL = {
    "label_rates": lambda n: plots.label_rates(TABLE.iloc[:, :n]),
    "cooccurrence": lambda n: plots.cooccurrence(TABLE.iloc[:, :n]),
    "lengths_by_label": lambda n: plots.lengths_by_label(
        np.arange(80), TABLE.iloc[:, :n], "words"
    ),
    "auc_by_label": lambda n: score_plots.auc_by_label(
        LABELS[:, :n], {"model": aucs(SCORES[0, :n], NAMES[:n])}
    ),
    "precision_recall": lambda n: score_plots.precision_recall(
        LABELS[:, :n], SCORES[:, :n], [0.5] * n, NAMES[:n]
    ),
    "threshold_spread": lambda n: score_plots.threshold_spread(
        LABELS[:, :n], SCORES[:5, :n], SCORES[0, :n], NAMES[:n]
    ),
    "reliability": lambda n: score_plots.reliability(
        LABELS[:, :n], SCORES[:, :n], SCORES[:, :n], NAMES[:n]
    ),
    "score_distributions": lambda n: score_plots.score_distributions(
        LABELS[:, :n], SCORES[:, :n], SCORES[:, :n], NAMES[:n]
    ),
}


@pytest.mark.parametrize("name", BY_LABEL)
def test_many_labels_give_a_figure_of_bounded_size_that_says_so(name):
    figure = BY_LABEL[name](400)
    assert figure.get_size_inches().max() <= 30
    assert "Shown are the 30 commonest of 400 labels." in [t.get_text() for t in figure.texts]
    largest = sorted(range(400), key=lambda j: -LABELS[:, j].sum())[:30]
    assert {text for text in _texts(figure) if text.startswith("label ")} == {
        NAMES[j] for j in largest
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", BY_LABEL)
def test_hostile_names_of_labels_are_drawn_as_they_are(name):
    """Neither mathematics, which may fail, nor unseen characters, nor a figure of any width."""
    figure = BY_LABEL[name](len(HOSTILE))
    assert {r"\$x", r"\x1b[31m", r"\u202eabc", "a" * 39 + "…"} <= _texts(figure)
    long = [name for name in _written(figure) if name.startswith("aaa")]
    assert max(len(line) for name in long for line in name.split("\n")) <= 22
    assert not any("commonest" in text.get_text() for text in figure.texts)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=40, bbox_inches="tight")
    assert plt.imread(io.BytesIO(picture.getvalue())).shape[1] < 1000


def test_the_commonest_labels_keep_the_order_of_the_file():
    labels = np.array([[0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]])
    assert plots.commonest(labels, 2).tolist() == [1, 3]
    assert plots.commonest(labels).tolist() == [0, 1, 2, 3]
    assert plots.labels_note(labels) == ""


def test_every_model_has_its_mark_and_its_interval():
    models = {f"model ${n}$": aucs([0.9 + n / 100, 0.8], ["toxic", "threat"]) for n in range(6)}
    figure = score_plots.auc_by_label(np.ones((3, 2)), models)
    axes, legend = figure.axes[0], figure.legends[0]
    assert len(axes.lines) == len(axes.collections) == 6
    assert len({(line.get_marker(), line.get_color()) for line in axes.lines}) == 6
    for n, (marks, lines) in enumerate(zip(axes.lines, axes.collections, strict=True)):
        (x, y), segment = marks.get_xydata()[0], lines.get_segments()[0]
        assert segment.tolist() == [[x - 0.02, y], [x + 0.01, y]]
        assert x == 0.9 + n / 100
        assert abs(y) < 0.5
    assert [t.get_text() for t in legend.get_texts()][5] == r"model \$5\$"
    assert axes.get_legend() is None  # it would hide marks


def test_curves_with_and_without_scored_epochs():
    steps = [{"epoch": 0.5, "loss": 0.7}, {"epoch": 2.0, "loss": None}]
    scored = {"epoch": 2.0, "eval_loss": 0.5, "eval_mean_columnwise_auc": None}
    assert len(score_plots.training_curves(steps).axes) == 1
    figure = score_plots.training_curves([*steps, scored])
    assert len(figure.axes) == 2
    figure.canvas.draw()
    for axes in figure.axes:
        assert all(tick.is_integer() for tick in axes.get_xticks())
    assert not plt.get_fignums()


@pytest.mark.parametrize(("low", "high"), [(1, 5000), (20, 60), (30, 31), (1, 1), (3, 400_000)])
def test_lengths_have_ticks_that_do_not_overlap(low, high):
    lengths = np.linspace(low, high, 80)
    labels = TABLE.iloc[:, :2]
    for figure in (
        plots.lengths_by_label(lengths, labels, "words"),
        plots.distributions({"train": lengths}, "words", "title"),
    ):
        axes = figure.axes[0]
        figure.canvas.draw()
        shown = [tick.label1 for tick in axes.xaxis.get_major_ticks() if tick.label1.get_text()]
        boxes = sorted((label.get_window_extent() for label in shown), key=lambda box: box.x0)
        assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
        left, right = axes.get_xlim()
        assert any(left <= tick <= right for tick in axes.get_xticks())
        assert not axes.get_xticklabels(minor=True)


def test_groups_of_similar_scores_spread_over_the_scores_of_a_rare_label():
    scores = np.concatenate([np.full(900, 0.001), np.linspace(0.1, 0.9, 20)])
    groups = score_plots.score_groups(scores, 5)
    assert sorted(np.concatenate(groups).tolist()) == list(range(920))
    assert sum(scores[rows].mean() > 0.1 for rows in groups) >= 4
    assert len(score_plots.score_groups(np.zeros(5), 3)) == 1


def test_dots_on_the_edge_are_drawn_whole():
    labels, scores = np.array([[0], [1], [1]]), np.array([[0.1], [0.8], [0.9]])
    axes = score_plots.precision_recall(labels, scores, [0.5], ["toxic"]).axes[0]
    assert axes.lines[1].get_xydata().tolist() == [[1, 1]]
    assert axes.get_xlim()[1] > 1.03
    assert axes.get_ylim()[1] > 1.03


def _written(figure):
    """Return the names as they stand in the figure."""
    axes = figure.axes
    ticks = [t.get_text() for a in axes for t in (*a.get_xticklabels(), *a.get_yticklabels())]
    titles = [a.get_title() for a in axes] if len(axes) > 2 else []
    return [*ticks, *titles]


def _texts(figure):
    """Return the names without the breaks of their lines."""
    return {name.replace("\n", "") for name in _written(figure)}
