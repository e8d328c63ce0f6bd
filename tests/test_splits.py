import numpy as np
import pandas as pd
import pytest

from toxlib import splits
from toxlib.errors import InputError


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    texts = [f"comment {n}" for n in rng.integers(0, 900, 1000)]
    groups = splits.duplicate_groups(texts)
    labels = (rng.random((900, 3)) < [0.3, 0.1, 0.05]).astype(np.int8)
    return texts, groups, labels[groups]  # identical comments, identical labels


def test_identical_comments_stay_on_one_side_and_rates_agree(rows):
    texts, groups, labels = rows
    held_out = splits.split_validation(labels, groups, 0.1, seed=1)
    sides = pd.Series(held_out).groupby(texts).nunique()
    assert (sides == 1).all()
    assert 0.08 < held_out.mean() < 0.12
    assert np.allclose(labels[held_out].mean(0), labels.mean(0), atol=0.03)
    assert (held_out == splits.split_validation(labels, groups, 0.1, seed=1)).all()
    assert (held_out != splits.split_validation(labels, groups, 0.1, seed=2)).any()


def test_too_few_rows_to_split():
    groups = splits.duplicate_groups(["a", "b", "b"])
    with pytest.raises(InputError, match="2 distinct comments are too few"):
        splits.split_validation(np.eye(3, dtype=np.int8), groups, 0.1, 0)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.95, 1.0])
def test_a_side_without_comments_is_refused(fraction):
    labels = np.tile(np.eye(3, dtype=np.int8), (7, 1))
    with pytest.raises(InputError, match="validation_fraction"):
        splits.split_validation(labels, np.arange(21), fraction, seed=0)


def test_a_label_too_rare_for_both_sides_is_only_warned_of():
    labels = np.zeros((40, 2), np.int8)
    labels[:9, 0] = labels[0, 1] = 1
    with pytest.warns(UserWarning, match="label column 2 has 1 positive"):
        assert splits.split_validation(labels, np.arange(40), 0.1, seed=0).any()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "empty"),
        ("id\na\n", "columns must be 'id', 'fold'; delete it"),
        ("id,fold\na,0\nb,x\n", "row 2, column 'fold': 'x' is neither 0 nor -1; delete it"),
        ("id,fold\na,0\nb\n", "row 2: 1 fields"),
    ],
)
def test_a_damaged_split_is_refused(tmp_path, content, expected):
    path = tmp_path / "split.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=expected):
        splits.read_split(path, pd.Series(["a", "b"], name="id"))


def test_split_is_saved_and_checked(tmp_path, rows):
    _, groups, labels = rows
    held_out = splits.split_validation(labels, groups, 0.1, seed=1)
    ids = pd.Series([f"{n:05d}" for n in range(1000)], name="id")
    splits.write_split(tmp_path / "split.csv", ids, held_out)
    assert (splits.read_split(tmp_path / "split.csv", ids) == held_out).all()
    with pytest.raises(InputError, match="delete it"):
        splits.read_split(tmp_path / "split.csv", ids[::-1])


def test_conflicting_rows():
    labels = np.array([[0], [1], [1], [1], [0]])
    assert splits.conflicting_rows(labels, np.array([0, 0, 1, 1, 2])) == 2


def test_drift_is_found_where_there_is_some():
    plain = [f"the article {n} on trams" for n in range(60)]
    other = [f"los artículos {n} sobre tranvías" for n in range(60)]
    assert splits.adversarial_auc(plain, other, seed=0) > 0.95
    assert np.isnan(splits.adversarial_auc(plain, plain, seed=0))
