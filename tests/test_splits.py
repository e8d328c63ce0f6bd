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
        assert splits.split_validation(labels, np.arange(40), 0.2, seed=0).any()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "empty"),
        ("id\na\n", "columns must be 'id', 'fold', 'calibrates'; delete it"),
        ("id,fold,calibrates\na,0,1\nb,x,0\n", "row 2, column 'fold': 'x' is none of -1 … 1"),
        ("id,fold,calibrates\na,0,2\nb,1,0\n", "row 1, column 'calibrates': '2' is none"),
        ("id,fold,calibrates\na,0,0\nb\n", "row 2: 1 fields"),
    ],
)
def test_a_damaged_split_is_refused(tmp_path, content, expected):
    path = tmp_path / "split.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=expected):
        splits.read_split(path, pd.Series(["a", "b"], name="id"), folds=2)


@pytest.mark.parametrize("folds", [1, 4])
def test_split_is_saved_and_checked(tmp_path, rows, folds):
    _, groups, labels = rows
    split = splits.make_split(labels, groups, folds, 0.1, seed=1)
    ids = pd.Series([f"{n:05d}" for n in range(1000)], name="id")
    splits.write_split(tmp_path / "split.csv", ids, split)
    read = splits.read_split(tmp_path / "split.csv", ids, folds)
    assert (read.fold == split.fold).all()
    assert (read.calibrates == split.calibrates).all()
    with pytest.raises(InputError, match="delete it"):
        splits.read_split(tmp_path / "split.csv", ids[::-1], folds)


def test_every_row_has_one_part_in_each_fold(rows):
    _, groups, labels = rows
    split = splits.make_split(labels, groups, 4, 0.1, seed=1)
    assert split.is_validation.all()
    assert list(split.folds) == [0, 1, 2, 3]
    for fold in split.folds:
        held_out, aside = split.held_out(fold), split.calibration(fold)
        parts = np.stack([held_out, aside, split.fitting(fold)])
        assert (parts.sum(axis=0) == 1).all()
        assert 0.2 < held_out.mean() < 0.3
        assert 0.04 < aside.mean() < 0.12
        assert np.allclose(labels[held_out].mean(0), labels.mean(0), atol=0.03)
        for part in parts:  # no comment stands in two parts
            assert not set(groups[part]) & set(groups[~part])


def test_one_validation_set_sets_nothing_aside(rows):
    _, groups, labels = rows
    split = splits.make_split(labels, groups, 1, 0.1, seed=1)
    assert list(split.folds) == [0]
    assert not split.calibration(0).any()
    assert (split.is_validation == split.held_out(0)).all()


def test_folds_keep_groups_and_rates(rows):
    _, groups, labels = rows
    fold = splits.stratified_folds(labels, groups, 5, seed=0)
    assert set(fold) == set(range(5))
    assert (pd.Series(fold).groupby(groups).nunique() == 1).all()
    with pytest.raises(InputError, match="too few for 5 folds"):
        splits.stratified_folds(labels, groups * 0, 5, seed=0)


def test_edited_copies_are_one_comment():
    warning = "thank you for experimenting with the page {} on wikipedia , your test worked"
    texts = [warning.format(n) for n in ("tram", "ferry", "canal")]
    texts += [
        "You are WRONG!",
        "you are wrong",
        "are you wrong?",
        "the railway is old",
        "?!",
        "!!",
    ]
    groups = splits.near_duplicate_groups(texts)
    assert len(set(groups[:3])) == 1
    assert len(set(groups[3:6])) == 1
    assert len(set(groups)) == 5
    assert set(splits.near_duplicate_groups(["?!", "!", "?!"])) == {0, 1}


def test_many_copies_do_not_hide_what_joins_them():
    words = "thank you for experimenting with the page on wikipedia your test has been removed now"
    copies = [f"{words}{'!' * n}" for n in range(150)] + [
        f"{words} please{'.' * n}" for n in range(150)
    ]
    assert len(set(splits.near_duplicate_groups([*copies, "a tram"]))) == 2


def test_a_fold_with_no_row_set_aside_is_refused(monkeypatch):
    """As chance may have it among few comments: all of a fold's own rows, and no others."""
    monkeypatch.setattr(splits, "stratified_folds", lambda labels, *_: np.arange(len(labels)) % 2)
    with pytest.raises(InputError, match="too few for 2 folds with rows set aside"):
        splits.make_split(np.zeros((40, 2), np.int8), np.arange(40), 2, 0.1, seed=0)


def test_conflicting_rows():
    labels = np.array([[0], [1], [1], [1], [0]])
    assert splits.conflicting_rows(labels, np.array([0, 0, 1, 1, 2])) == 2


def test_drift_is_found_where_there_is_some():
    plain = [f"the article {n} on trams" for n in range(60)]
    other = [f"los artículos {n} sobre tranvías" for n in range(60)]
    assert splits.adversarial_auc(plain, other, seed=0) > 0.95
    assert np.isnan(splits.adversarial_auc(plain, plain, seed=0))
