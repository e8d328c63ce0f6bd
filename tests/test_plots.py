"""What a figure must not leave out."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from toxlib import plots

HOSTILE = ("$x", "$y$ \\(z\\)", "\x1b[31m", "\u202eabc", "a" * 5000, "<b>", "a" * 4999, "_{^", "")
RNG = np.random.default_rng(0)
SCORES = RNG.random((80, 400))
LABELS = (RNG.random((80, 400)) < np.linspace(0.01, 0.4, 400)).astype(int)
NAMES = [*HOSTILE, *(f"label {j}" for j in range(400 - len(HOSTILE)))]
TABLE = pd.DataFrame(LABELS, columns=NAMES)
BY_LABEL = {
    "label_rates": lambda n: plots.label_rates(TABLE.iloc[:, :n]),
    "cooccurrence": lambda n: plots.cooccurrence(TABLE.iloc[:, :n]),
    "lengths_by_label": lambda n: plots.lengths_by_label(
        np.arange(80), TABLE.iloc[:, :n], "words"
    ),
    "auc_by_label": lambda n: plots.auc_by_label(
        LABELS[:, :n], {"model": dict(zip(NAMES[:n], SCORES[0], strict=False))}
    ),
    "precision_recall": lambda n: plots.precision_recall(
        LABELS[:, :n], SCORES[:, :n], [0.5] * n, NAMES[:n]
    ),
    "threshold_spread": lambda n: plots.threshold_spread(
        LABELS[:, :n], SCORES[:5, :n], SCORES[0, :n], NAMES[:n]
    ),
    "reliability": lambda n: plots.reliability(
        LABELS[:, :n], SCORES[:, :n], SCORES[:, :n], NAMES[:n]
    ),
    "score_distributions": lambda n: plots.score_distributions(
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
    assert not any("commonest" in text.get_text() for text in figure.texts)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=40, bbox_inches="tight")
    assert plt.imread(io.BytesIO(picture.getvalue())).shape[1] < 1000


def test_the_commonest_labels_keep_the_order_of_the_file():
    labels = np.array([[0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]])
    assert plots.commonest(labels, 2).tolist() == [1, 3]
    assert plots.commonest(labels).tolist() == [0, 1, 2, 3]
    assert plots.labels_note(labels) == ""


def _texts(figure):
    axes = figure.axes
    ticks = [t.get_text() for a in axes for t in (*a.get_xticklabels(), *a.get_yticklabels())]
    return {*ticks, *(a.get_title() for a in axes)}


def test_every_model_has_its_mark():
    models = {f"model ${n}$": {"toxic": 0.9 + n / 100, "threat": 0.8} for n in range(6)}
    axes = plots.auc_by_label(np.ones((3, 2)), models).axes[0]
    assert len(axes.lines) == 6
    assert [t.get_text() for t in axes.get_legend().get_texts()][5] == r"model \$5\$"


def test_curves_with_and_without_scored_epochs():
    steps = [{"epoch": 0.5, "loss": 0.7}, {"epoch": 1.0, "loss": None}]
    scored = {"epoch": 1.0, "eval_loss": 0.5, "eval_mean_columnwise_auc": None}
    assert len(plots.training_curves(steps).axes) == 1
    assert len(plots.training_curves([*steps, scored]).axes) == 2
    assert not plt.get_fignums()
