import numpy as np
from scipy.sparse import csr_array

from toxlib.linear import LINEAR, LinearModels, log_count_ratio

TEXTS = [f"{'you idiot' if n % 3 == 0 else 'thank you'} number {n}" for n in range(60)]
LABELS = np.array([[n % 3 == 0, 0] for n in range(60)], dtype=np.int8)


def test_both_models_tell_the_label_from_its_word():
    predicted = LinearModels().fit(TEXTS, LABELS).predict(["an idiot", "many thanks", ""])
    assert set(predicted) == set(LINEAR)
    for probabilities in predicted.values():
        assert probabilities.shape == (3, 2)
        assert probabilities[0, 0] > probabilities[1, 0]


def test_a_label_on_one_side_only_is_rare_but_not_impossible():
    predicted = LinearModels().fit(TEXTS, LABELS).predict(["an idiot"])
    assert all(probabilities[0, 1] == 1 / 62 for probabilities in predicted.values())


def test_log_count_ratio_by_hand():
    counts = csr_array([[2.0, 0, 1], [1, 0, 0], [0, 3, 0], [0, 1, 0], [0, 1, 5]])
    ratio = log_count_ratio(counts, np.array([1, 1, 0, 0, 0]))
    with_label, without = np.array([3, 1, 2]) / 4, np.array([1, 4, 2]) / 5
    assert np.allclose(ratio, np.log(with_label / without))
