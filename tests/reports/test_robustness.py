"""Runs that clean spelling or train on copies with varied spelling, and what variation costs."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest

import toxlib
from toxlib.__main__ import main
from toxlib.data import spelling
from toxlib.errors import InputError
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.recipes import change
from toxlib.reports.robustness import measure_robustness
from toxlib.runs import blending, engines, folds
from toxlib.runs.examples import training_examples
from toxlib.training.linear import LINEAR

VARIED = ["you i d i o t", "you stuuupid 1d10t", "what a n.i.c.e tram"]
CLEANED = ["you idiot", "you stupid idiot", "what a nice tram"]


def _open(data_dir, folder, *values):
    return toxlib.open_run("quick", data_dir, folder, " ".join(["max_length=32", *values]))


@pytest.fixture(scope="module")
def cleaning(small_dir, tiny_overrides, tmp_path_factory):
    """Train two folds with clean_spelling and varied copies, on comments with varied spelling."""
    folder = tmp_path_factory.mktemp("cleaning")
    data = shutil.copytree(small_dir, folder / "data")
    for path in (data / "train.csv", data / "test.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table["comment_text"] = spelling.vary_rows(table["comment_text"], table.index, seed=3)
        table.to_csv(path, index=False)
    values = ["folds=2", "clean_spelling=true", "varied_copies=0.5"]
    run = _open(data, folder / "run", *tiny_overrides, *values)
    run.claim()
    engines.train_folds(run)
    folds.fit_linear_folds(run)
    run.release()
    return run


@pytest.fixture(scope="module")
def not_cleaning(cleaning, tmp_path_factory):
    """Make a run folder with the same models that reads texts as they are."""
    folder = tmp_path_factory.mktemp("not-cleaning") / "run"
    shutil.copytree(cleaning.folder, folder)
    record = json.loads((folder / "run.json").read_text())
    record["recipe"]["clean_spelling"] = False
    (folder / "run.json").write_text(json.dumps(record))
    return toxlib.reopen(folder)


@pytest.fixture(scope="module")
def blend(cleaning):
    """Blend the run's encoder with its linear models."""
    run, members = blending.open_blend([str(cleaning.folder)], f"{cleaning.folder}-blend")
    blended = blending.blend_parts(run.validation_labels, members)
    blending.write_blend(run, members, blended)
    run.release()
    return run


def test_copies_are_of_the_rows_that_the_fold_trains_on(small_dir, tmp_path):
    run = _open(small_dir, tmp_path / "run", "folds=3", "varied_copies=0.4")
    run.claim()
    copies_of = {}
    for fold in run.split.folds:
        rows = run.split.trained_on(fold)
        n, taken = rows.sum(), training_examples(run, fold)
        texts, labels, ids = taken.texts, taken.labels, np.array(taken.ids)
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
    again = training_examples(toxlib.reopen(run.folder), 2)
    assert list(again.texts) == list(texts)


def test_without_the_values_nothing_changes(small_dir, tmp_path):
    run = _open(small_dir, tmp_path / "run")
    run.claim()
    rows = run.split.trained_on(0)
    taken = training_examples(run, 0)
    comments = run.tables.train["comment_text"][rows]
    assert taken.texts[:] == [" ".join(comment.split()) for comment in comments]
    assert np.array_equal(taken.labels, run.tables.labels[rows])
    assert taken.ids.equals(run.tables.train_ids[rows])
    assert taken.weights is None


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


def test_a_run_that_does_not_clean_scores_texts_as_they_are(not_cleaning):
    scores = [toxlib.load(not_cleaning.folder).predict(texts) for texts in (VARIED, CLEANED)]
    assert ((scores[0] - scores[1]).abs().max(axis=1) > 1e-5).all()


def test_a_blend_cleans_for_the_runs_that_do(cleaning, blend):
    scorer = toxlib.load(blend.folder)
    assert scorer.predict(VARIED).equals(scorer.predict(CLEANED))
    raw = cleaning.tables.test["comment_text"].tolist()
    assert np.abs(scorer.predict(raw) - blend.predictions().test()).max().max() < 1e-6


def test_cleaned_texts_are_read_in_training_and_prediction(cleaning):
    comments = cleaning.tables.train["comment_text"]
    cleaned = [spelling.normalise(" ".join(comment.split())) for comment in comments]
    assert list(cleaning.train_texts) == cleaning.train_texts[:] == cleaned
    assert sum(a != " ".join(b.split()) for a, b in zip(cleaned, comments, strict=True)) > 100
    taken = training_examples(cleaning, 0)
    rows = pd.Index(cleaning.tables.train_ids).get_indexer(taken.ids)
    texts, n = taken.texts, cleaning.split.trained_on(0).sum()
    originals = [cleaned[row] for row in rows]
    assert texts[:n] == originals[:n]
    varied = spelling.vary_rows(originals[n:], rows[n:], cleaning.recipe.seed)
    assert texts[n:] == [*map(spelling.normalise, varied)]
    own = pd.read_csv(cleaning.folder / "test_predictions.csv")[cleaning.label_names]
    raw = cleaning.tables.test["comment_text"].tolist()
    assert np.abs(toxlib.load(cleaning.folder).predict(raw) - own).max().max() < 1e-6


@pytest.mark.parametrize(
    ("name", "value", "changes_linear"),
    [("varied_copies", 0.25, False), ("clean_spelling", False, True)],
)
def test_models_that_were_trained_on_other_texts_are_refused(
    cleaning, name, value, changes_linear
):
    assert folds.is_trained(cleaning, 0)
    assert folds.is_trained(cleaning, 0, LINEAR)
    other = dataclasses.replace(cleaning, recipe=change(cleaning.recipe, {name: value}))
    with pytest.raises(InputError, match=f"other values of {name}"):
        folds.is_trained(other, 0)
    if changes_linear:
        with pytest.raises(InputError, match=f"other values of {name}"):
            folds.is_trained(other, 0, LINEAR)
    else:
        assert folds.is_trained(other, 0, LINEAR)


def test_linear_models_of_before_the_value_existed_are_kept(not_cleaning):
    for name in LINEAR:
        path = not_cleaning.predictions(name).done_path(0)
        record = json.loads(path.read_text())
        assert record["trained_by"].pop("clean_spelling") is True
        path.write_text(json.dumps(record))
    assert folds.is_trained(not_cleaning, 0, LINEAR)


def test_each_comment_is_scored_by_models_that_have_not_seen_it(cleaning, not_cleaning, blend):
    table = measure_robustness(cleaning.folder)
    assert list(table.index) == ["as written", *spelling.KINDS, "all kinds"]
    own = mean_columnwise_auc(cleaning.validation_labels, cleaning.predictions().validation())
    assert table["AUC"]["as written"] == pytest.approx(own, abs=1e-6)
    assert table["AUC lost"]["as written"].startswith("0.0000")
    assert (table["AUC"][1:] != own).all()
    for name, line in table[1:].iterrows():
        lost = float(line["AUC lost"].partition(" ")[0])
        assert lost == pytest.approx(own - line["AUC"], abs=1e-4), name
    other = measure_robustness(not_cleaning.folder)
    assert (other["AUC"] != table["AUC"]).all()


def test_robustness_on_the_command_line(blend, capsys):
    assert main(["robustness", str(blend.folder), "--rows", "60"]) == 0
    told = capsys.readouterr().out
    assert "spelling, 60 comments" in told
    assert "starred" in told
    assert main(["robustness", str(blend.folder / "nowhere")]) == 2
    assert "no run here" in capsys.readouterr().err
