import numpy as np
import pytest

import toxlib
from toxlib.evaluation.decisions import Use
from toxlib.reports.explorer import NEAREST, Explorer


@pytest.fixture(params=["plain", "blend"])
def explorer(request, finished, blended):
    run = toxlib.reopen({"plain": finished, "blend": blended}[request.param])
    return Explorer(run, toxlib.load(run.folder).thresholds)


def test_the_view_tells_what_the_threshold_does(explorer):
    scores = explorer.probabilities[:, 0]
    threshold = float(np.quantile(scores, 0.7))
    view = explorer.view(0, threshold, Use(0.1))
    figure, table, confusion, sentence, nearest = view
    said, carried = scores >= threshold, explorer.labels[:, 0] == 1
    assert confusion.to_numpy()[1, 1] == (said & carried).sum()
    assert confusion.to_numpy().sum() == len(scores)
    assert float(table.loc["recall", "value"]) == pytest.approx(said[carried].mean(), abs=1e-3)
    assert "has the least expected cost" in sentence
    assert len(nearest) == NEAREST
    assert nearest["score"].is_monotonic_decreasing
    farthest = np.abs(nearest["score"] - threshold).max()
    assert (np.abs(scores - threshold) < farthest - 1e-4).sum() < NEAREST
    assert len(figure.axes) == 2


def test_the_widget_follows_its_controls(explorer):
    widget = explorer.widget()
    (label, rate), threshold = widget.children[0].children, widget.children[1]
    assert threshold.value == pytest.approx(explorer.thresholds[0], abs=1e-3)
    label.value = 1
    assert threshold.value == pytest.approx(explorer.thresholds[1], abs=1e-3)
    assert rate.value == pytest.approx(explorer.base_rate(1), abs=1e-4)
