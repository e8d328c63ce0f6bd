import numpy as np
import pandas as pd
import pytest

from toxlib.data import kaggle, splits, text
from toxlib.data.duplicates import duplicate_groups, near_duplicate_groups
from toxlib.errors import InputError


@pytest.fixture
def rows():
    """1,000 comments with some copies, the numbers of the distinct ones, and their labels."""
    rng = np.random.default_rng(0)
    texts = [f"comment{n} about tram{n}" for n in rng.integers(0, 900, 1000)]
    groups = duplicate_groups(texts)
    labels = (rng.random((900, 3)) < [0.3, 0.1, 0.05]).astype(np.int8)
    return texts, groups, labels[groups]  # identical comments, identical labels


def test_identical_comments_stay_on_one_side_and_rates_agree(rows):
    texts, groups, labels = rows
    held_out = splits.draw_validation(labels, groups, 0.1, seed=1)
    sides = pd.Series(held_out).groupby(texts).nunique()
    assert (sides == 1).all()
    assert 0.08 < held_out.mean() < 0.12
    assert np.allclose(labels[held_out].mean(0), labels.mean(0), atol=0.03)
    assert (held_out == splits.draw_validation(labels, groups, 0.1, seed=1)).all()
    assert (held_out != splits.draw_validation(labels, groups, 0.1, seed=2)).any()


@pytest.mark.parametrize("folds", [1, 2])
def test_too_few_rows_to_split(folds):
    with pytest.raises(InputError, match="2 distinct comments are too few"):
        splits.make_split(["a", "b", "b"], np.eye(3, dtype=np.int8), folds, 0.1, seed=0)


@pytest.mark.parametrize("fraction", [0.01, 0.95])
def test_a_side_without_comments_is_refused(fraction):
    labels = np.tile(np.eye(3, dtype=np.int8), (7, 1))
    with pytest.raises(InputError, match="validation_fraction"):
        splits.draw_validation(labels, np.arange(21), fraction, seed=0)


def test_a_label_too_rare_for_both_sides_is_only_warned_of():
    labels = np.zeros((40, 2), np.int8)
    labels[:9, 0] = labels[0, 1] = 1
    with pytest.warns(UserWarning, match="label column 2 has 1 positive"):
        assert splits.draw_validation(labels, np.arange(40), 0.2, seed=0).any()


@pytest.mark.parametrize(
    ("folds", "content"),
    [
        (2, ""),
        (2, "id\na\n"),
        (1, "id,fold,set_aside_for\na,0,1\nb,0,0\n"),
        (2, "id,fold,set_aside_for\na,0,1\nb,x,0\n"),
        (2, "id,fold,set_aside_for\na,0,2\nb,1,0\n"),
        (2, "id,fold,set_aside_for\na,0,1\n"),
        (1, "id,part\na,4\nb,5\n"),
        (2, "id,fold,set_aside_for\na,0,0\nb\n"),
    ],
)
def test_a_damaged_split_is_refused(tmp_path, folds, content):
    path = tmp_path / "split.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=r"split\.csv: damaged, or not .* delete it and"):
        splits.read_split(path, pd.Series(["a", "b"], name="id"), folds)


@pytest.mark.parametrize(("folds", "columns"), [(1, ["part"]), (4, ["fold", "set_aside_for"])])
def test_split_is_saved_and_checked(tmp_path, rows, folds, columns):
    texts, _, labels = rows
    split = splits.make_split(texts, labels, folds, 0.1, seed=1)
    ids = pd.Series([f"{n:05d}" for n in range(1000)], name="id")
    path = tmp_path / "split.csv"
    splits.write_split(path, ids, split)
    assert path.read_text().splitlines()[0] == ",".join(["id", *columns])
    read = splits.read_split(path, ids, folds)
    assert type(read) is type(split)
    for column in columns:
        assert (getattr(read, column) == getattr(split, column)).all()
    with pytest.raises(InputError, match="delete it"):
        splits.read_split(path, ids[::-1], folds)


def test_every_row_has_one_role_in_each_fold(rows):
    texts, groups, labels = rows
    split = splits.make_split(texts, labels, 4, 0.1, seed=1)
    assert split.is_validation.all()
    assert list(split.folds) == [0, 1, 2, 3]
    for fold in split.folds:
        held_out, aside = split.held_out(fold), split.set_aside(fold)
        masks = np.stack([held_out, aside, split.trained_on(fold)])
        assert (masks.sum(axis=0) == 1).all()
        assert 0.2 < held_out.mean() < 0.3
        assert 0.04 < aside.mean() < 0.12
        assert np.allclose(labels[held_out].mean(0), labels.mean(0), atol=0.03)
        for mask in masks:  # no comment has two roles
            assert not set(groups[mask]) & set(groups[~mask])


def test_one_validation_set_sets_nothing_aside(rows):
    texts, groups, labels = rows
    split = splits.make_split(texts, labels, 1, 0.1, seed=1)
    assert list(split.folds) == [0]
    assert not split.set_aside(0).any()
    assert 0.08 < split.is_validation.mean() < 0.12
    assert (split.is_validation == split.held_out(0)).all()
    assert (split.trained_on(0) == ~split.is_validation).all()
    assert (split.is_validation == splits.draw_validation(labels, groups, 0.1, seed=1)).all()


@pytest.mark.parametrize("folds", [1, 2, 4])
def test_parts_cover_validation_once_and_fit_on_other_comments(sample_dir, folds):
    tables = kaggle.read_tables(sample_dir)
    texts = text.prepare(tables.train["comment_text"])
    groups = near_duplicate_groups(texts)
    split = splits.make_split(texts, tables.labels, folds, 0.2, seed=0)
    parts = split.parts()
    assert len(parts) == (splits.VALIDATION_PARTS if folds == 1 else folds)
    assert (sum(held_out.astype(int) for _, held_out, _ in parts) == split.is_validation).all()
    for fold, held_out, fit in parts:
        assert held_out.any()
        assert fit.any()
        assert not (held_out & fit).any()
        assert not set(groups[held_out]) & set(groups[fit])
        assert not (fit & split.trained_on(fold)).any()
        assert not (held_out & ~split.held_out(fold)).any()


def test_folds_keep_groups_and_rates(rows):
    _, groups, labels = rows
    fold = splits.stratified_folds(labels, groups, 5, seed=0)
    assert set(fold) == set(range(5))
    assert (pd.Series(fold).groupby(groups).nunique() == 1).all()


def test_a_fold_with_no_row_set_aside_is_refused(monkeypatch):
    """Among few comments, all rows drawn for a fold can happen to be the fold's own rows."""
    monkeypatch.setattr(splits, "stratified_folds", lambda labels, *_: np.arange(len(labels)) % 2)
    texts = [f"comment{n}" for n in range(40)]
    with pytest.raises(InputError, match="too few for 2 folds with rows set aside"):
        splits.make_split(texts, np.zeros((40, 2), np.int8), 2, 0.1, seed=0)
