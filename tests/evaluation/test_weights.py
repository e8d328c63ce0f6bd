import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from toxlib.evaluation import metrics, weights
from toxlib.evaluation.parts import join, to_logits


@pytest.fixture
def models():
    """Two models that each predict a different half of the truth, and one that guesses."""
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(2, 4000, 2))
    labels = (rng.random((4000, 2)) < expit(2 * halves.sum(axis=0) - 1)).astype(int)
    return labels, np.stack([*expit(2 * halves), rng.random((4000, 2))])


def test_the_blend_beats_its_models_on_other_rows(models):
    labels, scores = models
    fitted = weights.fit_weights(labels[:2000], scores[:, :2000])
    assert np.allclose(fitted.sum(axis=1), 1)
    assert (fitted >= -1e-9).all()
    assert (fitted[:, 2] < 0.1).all()
    blend = weights.apply_weights(fitted, scores[:, 2000:])
    judged = labels[2000:]
    best = max(metrics.mean_columnwise_auc(judged, p[2000:]) for p in scores)
    assert metrics.mean_columnwise_auc(judged, blend) > best + 0.05


def test_no_other_weights_have_a_lower_loss(models):
    """A search without the gradient, over weights that satisfy the constraints by a softmax."""
    labels, scores = models
    fitted = weights.fit_weights(labels, scores)[0]
    logits = to_logits(scores)[:, :, 0]

    def loss(x):
        mixture = np.exp(x) / np.exp(x).sum()
        blended = mixture @ logits
        fit = np.mean(np.logaddexp(0, blended) - labels[:, 0] * blended)
        return fit + weights.PULL * np.sum((mixture - 1 / 3) ** 2)

    found = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6}).x
    assert np.allclose(fitted, np.exp(found) / np.exp(found).sum(), atol=1e-3)


def test_without_a_positive_row_weights_are_equal():
    differing = expit(np.broadcast_to(np.array([-4.0, -5, -6])[:, None, None], (3, 20, 1)))
    assert np.allclose(weights.fit_weights(np.zeros((20, 1), int), differing), 1 / 3)


def test_certain_scores_stay_finite():
    fitted = weights.fit_weights(np.array([[0], [1]]), np.array([[[0.0], [1.0]], [[1.0], [0.0]]]))
    assert np.isfinite(weights.apply_weights(fitted, np.array([[[0.0]], [[1.0]]]))).all()


def test_each_part_is_blended_with_weights_from_its_rows_to_fit_on(models, make_parts):
    labels, scores = models
    parts_by_model = [make_parts(labels, p) for p in scores]
    blended = weights.fit_part_weights(labels, parts_by_model)
    assert blended.per_part.shape == (5, 2, 3)
    assert (blended.final == weights.fit_weights(labels, scores)).all()
    for k, part in enumerate(blended.parts):
        to_fit = np.arange(len(labels)) % 5 != k
        expected = weights.fit_weights(labels[to_fit], scores[:, to_fit])
        assert (blended.per_part[k] == expected).all()
        assert (part.rows == np.flatnonzero(~to_fit)).all()
        assert (part.fit_labels == labels[to_fit]).all()
        found = weights.apply_weights(expected, scores)
        assert np.allclose(part.probabilities, found[~to_fit])
        assert np.allclose(part.fit_probabilities, found[to_fit])


def test_equal_weights_give_the_plain_average_of_logits(models, make_parts):
    labels, scores = models
    parts_by_model = [make_parts(labels, p) for p in scores]
    blended = weights.fit_part_weights(labels, parts_by_model, equal=True)
    assert (blended.per_part == 1 / 3).all()
    assert (blended.final == 1 / 3).all()
    assert np.allclose(join(blended.parts), expit(to_logits(scores).mean(axis=0)))
