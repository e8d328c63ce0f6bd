"""Runs that clean spelling or train on copies with varied spelling, and what variation costs."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

import toxlib
from toxlib.__main__ import main
from toxlib.data import spelling
from toxlib.errors import InputError
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.recipes import change
from toxlib.runs import engines, folds
from toxlib.runs.robustness import measure_robustness
from toxlib.training.linear import LINEAR

VARIED = ["you i d i o t", "you stuuupid 1d10t", "what a n.i.c.e tram"]
CLEANED = ["you idiot", "you stupid idiot", "what a nice tram"]


def _open(data_dir, folder, *values):
    return toxlib.open_run("quick", data_dir, folder, " ".join(["max_length=32", *values]))


@pytest.fixture(scope="module")
def cleaning(small_dir, tiny_overrides, tmp_path_factory):
    """Train a run with clean_spelling and varied copies, and its linear models."""
    values = [*tiny_overrides, "clean_spelling=true", "varied_copies=0.5"]
    run = _open(small_dir, tmp_path_factory.mktemp("cleaning") / "run", *values)
    run.claim()
    engines.train_folds(run)
    folds.fit_linear_folds(run)
    run.release()
    return run


def test_copies_are_of_the_rows_that_the_fold_trains_on(small_dir, tmp_path):
    run = _open(small_dir, tmp_path / "run", "folds=3", "varied_copies=0.4")
    run.claim()
    copies_of = {}
    for fold in run.split.folds:
        rows = run.split.trained_on(fold)
        n, (texts, labels) = rows.sum(), folds.train_rows(run, fold)
        ids = folds.train_ids(run, fold).to_numpy()
        assert len(texts) == len(labels) == len(ids)
        assert 1.25 * n < len(texts) < 1.55 * n
        assert list(texts[:n]) == list(run.texts(rows))
        assert np.array_equal(labels[:n], run.tables.labels[rows])
        assert len(set(ids[n:])) == len(ids[n:])
        assert set(ids[n:]) < set(ids[:n])
        assert not set(ids) & set(run.tables.train_ids[run.split.held_out(fold)])
        place = pd.Index(run.tables.train_ids).get_indexer(ids[n:])
        assert np.array_equal(labels[n:], run.tables.labels[place])
        for row, text in zip(place, texts[n:], strict=True):
            assert text != run.train_texts[row]
            assert copies_of.setdefault(row, text) == text  # the same in each fold
    again = folds.train_rows(toxlib.reopen(run.folder), 2)
    assert list(again[0]) == list(texts)


def test_without_the_values_nothing_changes(small_dir, tmp_path):
    run = _open(small_dir, tmp_path / "run")
    run.claim()
    rows = run.split.trained_on(0)
    texts, labels = folds.train_rows(run, 0)
    comments = run.tables.train["comment_text"][rows]
    assert texts[:] == [" ".join(comment.split()) for comment in comments]
    assert np.array_equal(labels, run.tables.labels[rows])
    assert folds.train_ids(run, 0).equals(run.tables.train_ids[rows])


def test_cleaning_does_not_change_the_split(small_dir, tmp_path):
    splits = []
    for values in ("clean_spelling=false", "clean_spelling=true"):
        run = _open(small_dir, tmp_path / values, values, "folds=3")
        run.claim()
        splits.append(run.path("split.csv").read_bytes())
    assert splits[0] == splits[1]


def test_a_run_that_cleans_does_so_wherever_it_scores(cleaning, tmp_path, capsys):
    plain = toxlib.load(cleaning.folder)
    cascade = toxlib.load(cleaning.folder, cascade=0.1)
    for scorer in (plain, cascade):
        scores = scorer.predict(VARIED)
        assert scores.equals(scorer.predict(CLEANED))
        assert not np.allclose(scores.to_numpy()[0], scores.to_numpy()[2])
    (tmp_path / "texts.csv").write_text("comment_text\n" + "\n".join(VARIED + CLEANED) + "\n")
    command = ["predict", str(cleaning.folder), str(tmp_path / "texts.csv"), "-o"]
    assert main([*command, str(tmp_path / "scores.csv")]) == 0
    written = pd.read_csv(tmp_path / "scores.csv").iloc[:, 1:].to_numpy()
    assert np.allclose(written[:3], written[3:])
    assert np.allclose(written[:3], plain.predict(VARIED), atol=1e-6)
    capsys.readouterr()
    assert main(["export", str(cleaning.folder), "-o", str(tmp_path / "graph")]) == 2
    assert "clean_spelling=true, and a graph does not clean texts" in capsys.readouterr().err
    assert not (tmp_path / "graph").exists()


def test_a_run_that_does_not_clean_scores_texts_as_they_are(finished):
    scores = [toxlib.load(finished).predict(texts).to_numpy() for texts in (VARIED, CLEANED)]
    assert (np.abs(scores[0] - scores[1]).max(axis=1) > 1e-4).all()


def test_cleaned_texts_are_read_in_training_and_prediction(cleaning):
    texts = [*cleaning.train_texts, *cleaning.test_texts, *folds.train_rows(cleaning, 0)[0]]
    assert all(spelling.normalise(text) == text for text in texts)
    own = pd.read_csv(cleaning.folder / "test_predictions.csv")[cleaning.label_names]
    raw = cleaning.tables.test["comment_text"].tolist()
    assert np.abs(toxlib.load(cleaning.folder).predict(raw) - own).max().max() < 1e-6


def test_models_that_were_trained_on_other_texts_are_refused(cleaning):
    assert folds.is_trained(cleaning, 0)
    assert folds.is_trained(cleaning, 0, LINEAR)
    for name, value, faulty in (
        ("varied_copies", 0.25, [("own",)]),
        ("clean_spelling", False, [("own",), LINEAR]),
    ):
        recipe = change(cleaning.recipe, {name: value})
        other = dataclasses.replace(cleaning, recipe=recipe)
        for names in (("own",), LINEAR):
            given = () if names == ("own",) else (names,)
            if names in faulty:
                with pytest.raises(InputError, match=f"other values of {name}"):
                    folds.is_trained(other, 0, *given)
            else:
                assert folds.is_trained(other, 0, *given)


def test_linear_models_of_before_the_value_existed_are_kept(finished):
    run = toxlib.reopen(finished)
    path = run.predictions(LINEAR[0]).done_path(0)
    before = path.read_text()
    record = json.loads(before)
    assert record["trained_by"].pop("clean_spelling") is False
    path.write_text(json.dumps(record))
    try:
        assert folds.is_trained(run, 0, LINEAR)
    finally:
        path.write_text(before)


def test_each_comment_is_scored_by_models_that_have_not_seen_it(blended, capsys):
    folder = blended / "minilm"
    run = toxlib.reopen(folder)
    table = measure_robustness(folder)
    assert list(table.index) == ["as written", *spelling.KINDS, "all kinds"]
    own = mean_columnwise_auc(run.validation_labels, run.predictions().validation())
    assert table["AUC"]["as written"] == pytest.approx(own, abs=1e-6)
    assert table["AUC lost"]["as written"].startswith("0.0000")
    assert (table["AUC"][1:] != table["AUC"]["as written"]).all()
    for name, line in table[1:].iterrows():
        lost = float(line["AUC lost"].partition(" ")[0])
        assert lost == pytest.approx(table["AUC"]["as written"] - line["AUC"], abs=1e-4), name
    assert main(["robustness", str(blended), "--rows", "60"]) == 0
    told = capsys.readouterr().out
    assert "spelling, 60 comments" in told
    assert "starred" in told
