"""Draw the line by hand: what a threshold would do, for one label of a finished run."""

import ipywidgets
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from toxlib import score_plots
from toxlib.data.text import short_name
from toxlib.evaluation import decisions
from toxlib.evaluation.decisions import Use
from toxlib.runs.run import Run

NEAREST = 6
"""Comments that are shown, those with the scores nearest to the threshold."""


class Explorer:
    """Shows what a threshold does to the validation comments of a run.

    `view` returns what there is to see for one label and threshold. `widget` lets you move them in
    Jupyter.
    """

    def __init__(self, run: Run, thresholds: np.ndarray):
        """Take a run and its thresholds, (L,), at which the widget begins."""
        self.run, self.thresholds = run, thresholds
        self.labels, predictions = run.validation_labels, run.predictions()
        self.probabilities, self.parts = predictions.validation(), predictions.parts()
        self.texts = run.texts(run.split.is_validation)

    def base_rate(self, label: int) -> float:
        """Return the share of validation comments that have the label."""
        return float(self.labels[:, label].mean())

    def consequences(self, label: int, threshold: float, use: Use) -> pd.DataFrame:
        """Return `value`, `low` and `high` of each measure; see `evaluation.decisions`."""
        own = self.labels[:, label], self.probabilities[:, label]
        return decisions.consequences(*own, threshold, use)

    def confusion(self, label: int, threshold: float) -> pd.DataFrame:
        """Return the counts of the validation comments by label and decision."""
        name, said = (
            short_name(self.run.label_names[label]),
            self.probabilities[:, label] >= threshold,
        )
        matrix = confusion_matrix(self.labels[:, label], said, labels=[0, 1])
        return pd.DataFrame(matrix, [f"not {name}", name], ["we say no", "we say yes"])

    def nearest(self, label: int, threshold: float) -> pd.DataFrame:
        """Return the comments with the scores nearest to the threshold, the highest first."""
        scores = self.probabilities[:, label]
        rows = np.argsort(np.abs(scores - threshold), kind="stable")[:NEAREST]
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        return pd.DataFrame(
            {
                "comment": self.run.shown([self.texts[row] for row in rows]),
                "score": scores[rows].round(4),
                "we say": ["yes" if scores[row] >= threshold else "no" for row in rows],
                "given": ["yes" if self.labels[row, label] else "no" for row in rows],
            }
        )

    def least_cost(self, label: int, use: Use) -> str:
        """Return two sentences about the threshold of the least expected cost."""
        own = self.labels[:, label], self.probabilities[:, label]
        threshold = decisions.least_cost_threshold(*own, use)
        fitted = decisions.cross_fitted_cost(self.labels, self.parts, label, use)
        spread = f"{fitted['lowest']:.3f} to {fitted['highest']:.3f} over the parts"
        return (
            f"A threshold of {threshold:.3f} ({spread}) has the least expected cost.\n"
            f"Thresholds that are chosen in this way on other comments cost {fitted['cost']:.1f}."
        )

    def figure(self, label: int, threshold: float, use: Use) -> Figure:
        """Draw precision, recall and cost against the threshold."""
        scores = self.probabilities[:, label]
        steps = np.unique(np.quantile(scores, np.linspace(0, 1, 60)))
        tables = {step: self.consequences(label, step, use) for step in steps}
        return score_plots.threshold_curves(
            tables, threshold, short_name(self.run.label_names[label])
        )

    def view(self, label: int, threshold: float, use: Use) -> list[object]:
        """Return all of it, ready for IPython's `display`."""
        table = self.consequences(label, threshold, use)
        counts = table.index.str.contains(" per ")
        return [
            self.figure(label, threshold, use),
            pd.concat([table[~counts].map("{:.3f}".format), table[counts].map("{:.1f}".format)]),
            self.confusion(label, threshold),
            self.least_cost(label, use),
            self.nearest(label, threshold),
        ]

    def show(self, label: int, threshold: float, use: Use) -> None:
        """Display what `view` returns."""
        for shown in self.view(label, threshold, use):
            print(shown) if isinstance(shown, str) else display(shown)

    def widget(self) -> ipywidgets.Widget:
        """Return the controls and what they show, for Jupyter."""
        names = [(short_name(name), j) for j, name in enumerate(self.run.label_names)]
        label = ipywidgets.Dropdown(options=names, description="label")
        slide = {"min": 0.0, "max": 1.0, "step": 0.001, "readout_format": ".3f"}
        wide = ipywidgets.Layout(width="34em")
        threshold = ipywidgets.FloatSlider(description="threshold", layout=wide, **slide)
        rate = ipywidgets.BoundedFloatText(description="base rate", min=0, max=1, step=0.001)
        cost = {"min": 0, "max": 1e6, "style": {"description_width": "initial"}}
        miss = ipywidgets.BoundedFloatText(1, description="cost of a miss", **cost)
        alarm = ipywidgets.BoundedFloatText(1, description="of a false alarm", **cost)

        def begin(change: object = None) -> None:
            threshold.value = float(self.thresholds[label.value])
            rate.value = round(self.base_rate(label.value), 4)

        def show(label: int, threshold: float, rate: float, miss: float, alarm: float) -> None:
            self.show(label, threshold, Use(rate, miss, alarm))

        begin()
        label.observe(begin, "value")
        controls = {"label": label, "threshold": threshold, "rate": rate}
        controls |= {"miss": miss, "alarm": alarm}
        shown = ipywidgets.interactive_output(show, controls)
        rows = ipywidgets.HBox([label, rate]), threshold, ipywidgets.HBox([miss, alarm])
        return ipywidgets.VBox([*rows, shown])
