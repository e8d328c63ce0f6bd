import numpy as np
import pytest
from scipy.special import expit

from toxlib.evaluation import cascade, metrics
from toxlib.evaluation.intervals import paired_bootstrap

ROWS = 4000


@pytest.fixture(scope="module")
def models():
    """Labels, (4000, 3), most rows without any, and a cheap and a costly model's scores."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(ROWS, 1)) + rng.normal(size=(ROWS, 3)) * 0.3
    labels = (signal + rng.normal(size=signal.shape) * 0.3 > [1.2, 1.4, 1.6]).astype(int)
    cheap = expit(2 * signal - 3 + rng.normal(size=signal.shape) * 0.7)
    costly = expit(5 * signal - 8 + rng.normal(size=signal.shape) * 0.3)
    return labels, cheap, costly


@pytest.fixture
def fitted(models, make_parts):
    """A function from the loss of AUC that is allowed to a cross-fitted cascade."""
    labels, cheap, costly = models
    parts = make_parts(labels, cheap), make_parts(labels, costly)
    return lambda most_lost: cascade.cross_fitted_cascade(labels, *parts, most_lost)


def _lost(labels, costly, probabilities):
    return np.subtract(*(metrics.mean_columnwise_auc(labels, p) for p in (costly, probabilities)))


@pytest.mark.parametrize("most_lost", [0.0005, 0.002, 0.02])
def test_the_loss_stays_within_what_is_allowed(models, fitted, most_lost):
    labels, _, costly = models
    found = fitted(most_lost)
    assert found.skipped.mean() > 0.3
    assert _lost(labels, costly, found.probabilities) <= most_lost
    assert np.array_equal(found.probabilities[~found.skipped], costly[~found.skipped])


def test_who_allows_more_loss_skips_no_fewer_comments(fitted):
    shares = [fitted(most_lost).skipped.mean() for most_lost in (0, 0.002, 0.1)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_a_cheap_model_that_knows_nothing_skips_no_comment(models):
    labels, cheap, costly = models
    for useless in (np.random.default_rng(1).permutation(cheap), np.full_like(cheap, 0.1)):
        chosen = cascade.choose(labels, useless, costly, 0.001)
        assert not chosen.skips(useless).any()
        assert np.array_equal(chosen.merge(useless, costly), costly)


def test_without_a_label_that_can_be_ranked_no_comment_is_skipped(models):
    labels, cheap, costly = models
    chosen = cascade.choose(np.zeros_like(labels), cheap, costly, 0.001)
    assert not chosen.skips(cheap).any()


def test_labels_of_a_part_change_nothing_that_is_applied_to_it(models, make_parts):
    labels, cheap, costly = models
    changed, mine = labels.copy(), np.arange(ROWS) % 5 == 2
    changed[mine] = np.random.default_rng(2).permutation(changed[mine])
    first, second = (
        cascade.cross_fitted_cascade(y, make_parts(y, cheap), make_parts(y, costly), 0.002)
        for y in (labels, changed)
    )
    assert np.array_equal(first.probabilities[mine], second.probabilities[mine])
    assert not np.array_equal(first.probabilities[~mine], second.probabilities[~mine])


def test_skipped_comments_are_scored_on_the_costly_models_scale(models, fitted):
    _, cheap, costly = models
    final = fitted(0.02).final
    assert final.skips(cheap).any()
    gap = np.log(final.to_costly_scale(cheap) / costly)[final.skips(cheap)]
    raw = np.log(cheap / costly)[final.skips(cheap)]
    assert np.abs(gap).mean() < np.abs(raw).mean() / 2


def test_the_interval_is_that_of_the_bootstrap(models, fitted):
    labels, _, costly = models
    merged = fitted(0.02).probabilities
    quick = cascade.lost_auc(labels, costly, merged)
    slow = paired_bootstrap(labels, costly, merged)
    assert quick.estimate == pytest.approx(slow.estimate, abs=1e-12)
    width = slow.high - slow.low
    assert quick.low == pytest.approx(slow.low, abs=width / 10)
    assert quick.high == pytest.approx(slow.high, abs=width / 10)


def test_a_label_of_one_class_is_left_out(models):
    labels, _, costly = models
    with_constant = np.column_stack([labels, np.zeros(ROWS, int)])
    scores = np.column_stack([costly, costly[:, 0]])
    other = np.round(scores, 1)
    expected = cascade.lost_auc(labels, costly, other[:, :3])
    assert cascade.lost_auc(with_constant, scores, other) == expected
