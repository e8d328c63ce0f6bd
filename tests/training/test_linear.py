import numpy as np
import pytest
from scipy.sparse import csr_array

from toxlib.data import drift
from toxlib.errors import InputError
from toxlib.training import linear
from toxlib.training.linear import LINEAR, LinearModels, log_count_ratio, telling_words

TEXTS = [f"{'you idiot' if n % 3 == 0 else 'thank you'} number {n}" for n in range(60)]
LABELS = np.array([[n % 3 == 0, 0] for n in range(60)], dtype=np.int8)


def test_both_models_tell_the_label_from_its_word():
    predicted = LinearModels().fit(TEXTS, LABELS).predict(["an idiot", "many thanks", ""])
    assert set(predicted) == set(LINEAR)
    for probabilities in predicted.values():
        assert probabilities.shape == (3, 2)
        assert probabilities[0, 0] > probabilities[1, 0]


def test_of_too_many_comments_evenly_spaced_ones_are_taken(monkeypatch, capsys):
    whole = LinearModels().fit(TEXTS[::2], LABELS[::2])
    words = telling_words(TEXTS[::2], LABELS[::2], ["a", "b"], count=2)
    compared = drift.adversarial_auc(TEXTS[::2], [f"x {t}" for t in TEXTS][::2], seed=0)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(linear, "MOST_ROWS", 30)
    monkeypatch.setattr(drift, "MOST_ROWS", 30)
    fitted = LinearModels().fit(TEXTS, LABELS)
    assert "fitted on 30 of 60 comments, evenly spaced" in capsys.readouterr().out
    for name, values in whole.arrays.items():
        assert (fitted.arrays[name] == values).all()
    assert telling_words(TEXTS, LABELS, ["a", "b"], count=2).equals(words)
    assert drift.adversarial_auc(TEXTS, [f"x {t}" for t in TEXTS], seed=0) == compared


def test_a_label_on_one_side_only_is_rare_but_not_impossible():
    predicted = LinearModels().fit(TEXTS, LABELS).predict(["an idiot"])
    assert all(
        probabilities[0, 1] == pytest.approx(1 / 62) for probabilities in predicted.values()
    )


def test_log_count_ratio_by_hand():
    counts = csr_array([[2.0, 0, 1], [1, 0, 0], [0, 3, 0], [0, 1, 0], [0, 1, 5]])
    ratio = log_count_ratio(counts, np.array([1, 1, 0, 0, 0]))
    with_label, without = np.array([3, 1, 2]) / 4, np.array([1, 4, 2]) / 5
    assert np.allclose(ratio, np.log(with_label / without))


def test_saved_models_predict_the_same_to_the_bit(tmp_path):
    models = LinearModels().fit(TEXTS, LABELS)
    models.save(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"vocabulary.json", "weights.safetensors"}
    texts = ["an idiot", "many thanks", ""]
    first, second = models.predict(texts), LinearModels.load(tmp_path).predict(texts)
    assert all(np.array_equal(first[name], second[name]) for name in LINEAR)


def test_nb_lr_is_a_regression_on_scaled_features():
    """Multiplying the scale into the coefficients gives what scaling the features gives."""
    from sklearn.linear_model import LogisticRegression

    models = LinearModels().fit(TEXTS, LABELS)
    matrix = csr_array(
        np.hstack([v.transform(TEXTS).toarray() for v in models.vectorizers.values()])
    )
    ratio = log_count_ratio(matrix, LABELS[:, 0])
    scaled = csr_array(matrix.multiply(ratio))
    expected = LogisticRegression(C=1.0, solver="liblinear").fit(scaled, LABELS[:, 0])
    assert np.allclose(models.predict(TEXTS)["nb-lr"][:, 0], expected.predict_proba(scaled)[:, 1])


@pytest.mark.parametrize("name", ["vocabulary.json", "weights.safetensors"])
def test_damaged_files_are_one_line(tmp_path, name):
    LinearModels().fit(TEXTS, LABELS).save(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"damaged.*run 03_train again"):
        LinearModels.load(tmp_path)


def test_words_that_tell_the_label():
    table = telling_words(TEXTS, LABELS, ["rude", "never"], count=3)
    assert table.loc[1, "rude"] == "idiot"
    assert "thank" not in set(table["rude"])
    assert table.shape == (3, 2)
