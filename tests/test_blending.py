from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

import toxlib
from toxlib import blending, folds, metrics
from toxlib.errors import InputError
from toxlib.pipeline import copy_linear
from toxlib.predictions import to_logits
from toxlib.recipes import BLENDS, split_words


@pytest.fixture
def members():
    """Two members that know different halves of the truth, and one that knows nothing."""
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(2, 4000, 2))
    labels = (rng.random((4000, 2)) < expit(2 * halves.sum(axis=0) - 1)).astype(int)
    return labels, np.stack([*expit(2 * halves), rng.random((4000, 2))])


def test_the_blend_beats_its_members_on_other_rows(members):
    labels, scores = members
    weights = blending.fit_weights(labels[:2000], scores[:, :2000])
    assert np.allclose(weights.sum(axis=1), 1)
    assert (weights >= -1e-9).all()
    assert (weights[:, 2] < 0.1).all()
    blend = blending.apply_weights(weights, scores[:, 2000:])
    judged = labels[2000:]
    best = max(metrics.mean_columnwise_auc(judged, p[2000:]) for p in scores)
    assert metrics.mean_columnwise_auc(judged, blend) > best + 0.05


def test_no_other_weights_have_a_lower_loss(members):
    """Against a search that knows neither the gradient nor the constraints' form."""
    labels, scores = members
    fitted = blending.fit_weights(labels, scores)[0]
    logits = to_logits(scores)[:, :, 0]

    def loss(x):
        weights = np.exp(x) / np.exp(x).sum()
        blended = weights @ logits
        fit = np.mean(np.logaddexp(0, blended) - labels[:, 0] * blended)
        return fit + blending.PULL * np.sum((weights - 1 / 3) ** 2)

    found = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6}).x
    assert np.allclose(fitted, np.exp(found) / np.exp(found).sum(), atol=1e-3)


def test_without_a_positive_row_weights_are_equal():
    differing = expit(np.broadcast_to(np.array([-4.0, -5, -6])[:, None, None], (3, 20, 1)))
    assert np.allclose(blending.fit_weights(np.zeros((20, 1), int), differing), 1 / 3)


def test_certain_scores_stay_finite():
    weights = blending.fit_weights(
        np.array([[0], [1]]), np.array([[[0.0], [1.0]], [[1.0], [0.0]]])
    )
    assert np.isfinite(blending.apply_weights(weights, np.array([[[0.0]], [[1.0]]]))).all()


def test_runs_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match="give at least one"):
        blending.open_blend([])
    with pytest.raises(InputError, match=r"no run\.json"):
        blending.open_blend([str(tmp_path)])


def test_gold_on_tiny_encoders_of_the_same_kinds(checkpoints, small_dir, tmp_path):
    """Each member's recipe, shrunk by values alone, trained, and the three blended."""
    kinds = dict(zip(BLENDS["gold"], ("roberta", "distilbert", "longformer"), strict=True))
    folders, fitted = [], []
    for member, kind in kinds.items():
        shrunk = f"checkpoint={checkpoints[kind]} max_length=32 attention_window=16 epochs=1"
        folder = tmp_path / member
        if folders:
            copy_linear(Path(folders[0]), folder)
        run = toxlib.open_run(member, str(small_dir), str(folder), f"{shrunk} folds=2")
        folds.train_folds(run)
        fitted.append(folds.fit_linear_folds(run))
        folders.append(str(folder))
    assert fitted[0] == fitted[1] == fitted[2]  # to the second: fitted once, then kept
    run, members = blending.open_blend(folders, str(tmp_path / "gold"))
    assert [member.name for member in members] == [*kinds, "lr", "nb-lr"]
    labels = run.labels[run.split.is_validation]
    blended = blending.blend_parts(labels, members)
    test = blending.write_blend(run, members, blended)
    assert test.shape == (60, 6)
    report = blending.blend_report(run, members, blended)
    assert set(report["others"]) == {member.name for member in members}
    assert set(report["weights"]["toxic"]) == set(report["others"])
    table = blending.weights_table(blended, members, run.label_names)
    assert table.shape == (6, 5)
    correlations = blending.correlations(members)
    assert np.allclose(np.diag(correlations), 1)


def test_runs_of_other_folds_or_of_one_are_refused(small_dir, tmp_path):
    runs = {}
    for name, overrides in (("a", "folds=2"), ("b", "folds=3"), ("c", "folds=1")):
        run = toxlib.open_run("quick", str(small_dir), str(tmp_path / name), overrides)
        assert run.split.is_validation.any()
        runs[name] = str(run.folder)
    with pytest.raises(InputError, match="its folds are not those of"):
        blending.open_blend([runs["a"], runs["b"]])
    with pytest.raises(InputError, match="run it with folds=5"):
        blending.open_blend([runs["c"]])
    with pytest.raises(InputError, match="given twice"):
        blending.open_blend([runs["a"], runs["a"]])
    with pytest.raises(InputError, match="choose fitted or equal"):
        blending.open_blend([runs["a"]], weights="equall")
    with pytest.raises(InputError, match="No closing quotation"):
        split_words("'outputs/a", "runs")
    with pytest.raises(InputError, match="needs a folder of its own"):
        blending.open_blend([runs["a"]], runs["a"])
    with pytest.raises(InputError, match="not there yet: run 03_train"):
        blending.open_blend([runs["a"]], str(tmp_path / "blend"))
