import json

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from toxlib.evaluation import metrics


def test_auc_against_brute_force(scores):
    labels, good, _ = scores
    for j, auc in enumerate(metrics.auc_per_label(labels, good)):
        positive, negative = good[labels[:, j] == 1, j], good[labels[:, j] == 0, j]
        wins = (positive[:, None] > negative).mean() + (positive[:, None] == negative).mean() / 2
        assert auc == pytest.approx(wins)


def test_a_label_with_one_class_gets_nan_and_is_left_out_of_the_mean(scores):
    labels, good, _ = scores
    labels = labels * [1, 0, 1]
    with pytest.warns(UserWarning, match="one-class columns '1'"):
        aucs = metrics.auc_per_label(labels, good)
    assert np.isnan(aucs).tolist() == [False, True, False]
    with pytest.warns(UserWarning, match="undefined"):
        assert metrics.mean_columnwise_auc(labels, good) == pytest.approx(np.nanmean(aucs))


def test_the_warning_names_the_label_and_escapes_it(scores):
    labels, good, _ = scores
    with pytest.warns(UserWarning, match=r"columns 'b\\x1b'$"):
        metrics.auc_per_label(labels * [1, 0, 1], good, np.array(["a", "b\x1b", "c"]))


@pytest.mark.parametrize("columns", [1, 3])
def test_the_mean_is_nan_if_no_label_has_an_auc(scores, columns):
    labels, good, _ = scores
    with pytest.warns(UserWarning, match="undefined"):
        assert np.isnan(metrics.mean_columnwise_auc(labels[:, :columns] * 0, good[:, :columns]))


def test_evaluate_against_sklearn(scores):
    labels, good, _ = scores
    result = metrics.evaluate(labels, good, ["a", "b", "c"])
    assert result["rows"] == 400
    assert result["mean_columnwise_auc"] == pytest.approx(roc_auc_score(labels, good))
    assert result["auc_per_label"]["b"] == pytest.approx(roc_auc_score(labels[:, 1], good[:, 1]))
    columns = [log_loss(labels[:, j], good[:, j]) for j in range(3)]
    assert result["log_loss"] == pytest.approx(np.mean(columns))
    macro = f1_score(labels, good >= 0.5, average="macro")
    assert result["f1_macro_at_0.5"] == pytest.approx(macro)
    json.dumps(result)


def test_tutorial_metrics_look_at_decisions(scores):
    labels, good, _ = scores
    result = metrics.tutorial_metrics(labels, good)
    hits = (labels == (good >= 0.5)).all(axis=1).mean()
    assert result["subset_accuracy_on_thresholded_values"] == pytest.approx(hits)
    micro = roc_auc_score(labels.ravel(), (good >= 0.5).ravel())
    assert result["roc_auc_micro_on_thresholded_values"] == pytest.approx(micro)
    micro = f1_score(labels, good >= 0.5, average="micro")
    assert result["f1_micro_on_thresholded_values"] == pytest.approx(micro)
    json.dumps(result)


def test_a_single_label_has_the_f1_of_its_positives(scores):
    labels, good, _ = scores
    expected = f1_score(labels[:, 0], good[:, 0] >= 0.5)
    for average in ("micro", "macro"):
        assert metrics.f1(labels[:, :1], good[:, :1] >= 0.5, average) == pytest.approx(expected)


def test_log_loss_of_certain_errors_is_clipped_as_in_sklearn(scores):
    labels, good, _ = scores
    certain = (good >= 0.5).astype(np.float32)  # only 0 and 1, so that clipping decides
    expected = log_loss(labels.ravel(), certain.ravel().astype(float))
    assert metrics.mean_log_loss(labels, certain) == pytest.approx(expected)


def test_the_loss_of_each_decision_is_that_of_scikit_learn(scores):
    labels, good, _ = scores
    found = metrics.losses(labels, good)
    assert found.shape == labels.shape
    for j in range(labels.shape[1]):
        assert found[:, j].mean() == pytest.approx(log_loss(labels[:, j], good[:, j]))
    assert found[0, 0] == pytest.approx(-np.log(good[0, 0] if labels[0, 0] else 1 - good[0, 0]))
