"""What a figure must not leave out."""

import matplotlib.pyplot as plt

from toxlib import plots


def test_every_model_has_its_mark():
    models = {f"model ${n}$": {"toxic": 0.9 + n / 100, "threat": 0.8} for n in range(6)}
    axes = plots.auc_by_label(models).axes[0]
    assert len(axes.lines) == 6
    assert [t.get_text() for t in axes.get_legend().get_texts()][5] == r"model \$5\$"


def test_curves_with_and_without_scored_epochs():
    steps = [{"epoch": 0.5, "loss": 0.7}, {"epoch": 1.0, "loss": None}]
    scored = {"epoch": 1.0, "eval_loss": 0.5, "eval_mean_columnwise_auc": None}
    assert len(plots.training_curves(steps).axes) == 1
    assert len(plots.training_curves([*steps, scored]).axes) == 2
    assert not plt.get_fignums()
