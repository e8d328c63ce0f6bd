"""A run with translated copies trains on them, averages over them, and keeps them on one side."""

import shutil

import numpy as np
import pandas as pd
import pytest

import toxlib
from toxlib.__main__ import main
from toxlib.errors import InputError
from toxlib.evaluation.parts import average_versions
from toxlib.runs import blending, engines, examples, folds
from toxlib.runs.predictions import SET_ASIDE, TEST, VALIDATION
from toxlib.training import checkpoints as loading
from toxlib.training.inference import predict_probabilities
from toxlib.training.linear import LINEAR

ROWS = {"train_de": slice(None, None, -1), "train_fr": slice(0, 90), "test_de": slice(10, None)}


@pytest.fixture(scope="module")
def data_dir(small_dir, tmp_path_factory):
    """Write copies of all or some comments; each one begins with the language and its id."""
    folder = shutil.copytree(small_dir, tmp_path_factory.mktemp("translated") / "data")
    for name, rows in ROWS.items():
        source, language = name.split("_")
        table = pd.read_csv(folder / f"{source}.csv", dtype=str, keep_default_na=False)[rows]
        marks = [f"{language} {key} " for key in table["id"]]
        table.assign(comment_text=marks + table["comment_text"]).to_csv(
            folder / f"{name}.csv", index=False
        )
    return folder


@pytest.fixture(scope="module")
def opened(data_dir, tiny_overrides, tmp_path_factory):
    """Return a function that opens and claims a run of two folds with or without copies."""

    def make(translations: str, overrides: str = ""):
        values = [
            *tiny_overrides,
            "folds=2",
            "lengthen_to=0",
            f"translations={translations}",
            *overrides.split(),
        ]
        folder = tmp_path_factory.mktemp("runs") / f"run-{translations or 'none'}"
        run = toxlib.open_run("quick", str(data_dir), str(folder), values)
        run.claim()
        return run

    return make


@pytest.fixture(scope="module")
def finished_runs(opened):
    runs = opened("de,fr"), opened("")
    for run in runs:
        engines.train_folds(run)
        folds.fit_linear_folds(run)
    return runs


@pytest.mark.parametrize("folds_count", [1, 3])
def test_copies_stand_on_the_side_of_their_originals(opened, folds_count):
    run = opened("de,fr", f"folds={folds_count}")
    for fold in run.split.folds:
        rows = np.flatnonzero(run.split.trained_on(fold))
        taken = examples.training_examples(run, fold)
        texts, labels, ids = taken.texts, taken.labels, list(taken.ids)
        trained = set(run.tables.train_ids.iloc[rows])
        copies = [text.split()[:2] for text in texts[len(rows) :]]
        assert texts[: len(rows)] == run.texts(run.split.trained_on(fold))[:]
        assert [key for _, key in copies] == ids[len(rows) :]
        assert {key for language, key in copies if language == "de"} == trained
        assert {key for language, key in copies if language == "fr"} == trained & set(
            run.tables.train_ids[:90]
        )
        of_id = dict(zip(run.tables.train_ids, run.tables.labels, strict=True))
        assert np.array_equal(labels, [of_id[key] for key in ids])
        if folds_count == 1:
            validation = examples.validation_examples(run, fold)
            assert validation.texts[:] == run.texts(run.split.held_out(0))[:]


def test_a_score_is_the_average_over_a_comments_versions(finished_runs):
    run, fold = finished_runs[0], 0
    model, tokenizer = loading.load_trained(run.fold_folder(fold) / "model")
    for kind in (VALIDATION, SET_ASIDE, TEST):
        versions = run.translations.test if kind == TEST else run.translations.train
        rows = np.arange(len(run.test_texts))
        if kind != TEST:
            rows = np.flatnonzero(run.predictions().rows(kind, fold))
        texts, of_row = versions.of(rows)
        assert len(texts) > len(rows)
        scores = predict_probabilities(model, tokenizer, texts)
        expected = average_versions(scores, np.searchsorted(rows, of_row))
        written = run.predictions()._read(kind, fold)
        assert np.allclose(written, expected, atol=1e-5)
        assert not np.allclose(written, scores[: len(rows)], atol=1e-3)


def test_the_linear_models_read_originals_only(finished_runs):
    with_copies, without = finished_runs
    for name in LINEAR:
        for kind in ("validation", "test"):
            first, second = (getattr(run.predictions(name), kind)() for run in finished_runs)
            assert np.array_equal(first, second)
    assert folds.is_trained(with_copies, 0, LINEAR)
    assert not np.array_equal(
        with_copies.predictions().validation(), without.predictions().validation()
    )


def test_a_run_with_copies_is_blended_with_one_without(finished_runs, tmp_path):
    for order in (finished_runs, finished_runs[::-1]):
        folder = tmp_path / order[0].folder.name
        run, members = blending.open_blend([str(r.folder) for r in order], str(folder))
        blending.write_blend(run, members, blending.blend_parts(run.validation_labels, members))
        assert toxlib.reopen(folder).tables.sha256 == run.tables.sha256


def test_new_comments_are_scored_as_they_are(finished_runs):
    run = finished_runs[0]
    scorer, text = toxlib.load(run.folder), run.train_texts[0]
    loaded = [loading.load_trained(run.fold_folder(fold) / "model") for fold in run.split.folds]
    scores = np.concatenate([predict_probabilities(*model, [text]) for model in loaded])
    expected = average_versions(scores, np.zeros(len(scores), int))
    assert np.allclose(scorer.predict([text]), expected, atol=1e-5)


def test_a_run_belongs_to_its_files_of_copies(data_dir, tiny_overrides, tmp_path):
    copy = shutil.copytree(data_dir, tmp_path / "data")
    path, run_dir = copy / "train_fr.csv", str(tmp_path / "run")

    def claim(translations: str) -> None:
        values = [*tiny_overrides, f"translations={translations}"]
        toxlib.open_run("quick", str(copy), run_dir, values).claim()

    claim("de,fr")
    claim("de,fr")
    toxlib.reopen(run_dir)
    with pytest.raises(InputError, match="translations=de,fr there, de here"):
        claim("de")
    path.write_text(path.read_text().replace("fr ", "FR ", 1))
    with pytest.raises(InputError, match="data that have changed since"):
        claim("de,fr")
    with pytest.raises(InputError, match="data that have changed since"):
        toxlib.reopen(run_dir)


def test_without_the_value_the_files_are_not_looked_at(data_dir, tmp_path):
    copy = shutil.copytree(data_dir, tmp_path / "data")
    (copy / "train_de.csv").write_text("damaged")
    run = toxlib.open_run("quick", str(copy), str(tmp_path / "run"))
    assert not any("_de" in name or "_fr" in name for name in run.data_sha256)
    assert len(run.translations.train.comments) == len(run.train_texts)


def test_a_copy_of_no_comment_stops_the_command_with_one_line(data_dir, tmp_path, capsys):
    copy = shutil.copytree(data_dir, tmp_path / "data")
    with (copy / "train_fr.csv").open("a") as file:
        file.write("stranger,x,0,0,0,0,0,0\n")
    arguments = ["--data-dir", str(copy), "--run-dir", str(tmp_path / "run")]
    assert main(["run", *arguments, "--set", "translations=de,fr"]) == 2
    error = capsys.readouterr().err
    assert "train_fr.csv: row 91, column 'id': 'stranger' is not in train.csv; delete" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["de;fr", "de,", "labels", "../x", "DE", "de, fr", "d"])
def test_a_bad_list_of_languages_is_refused(value):
    with pytest.raises(InputError, match="translations means: Languages of"):
        toxlib.get_recipe("quick", {"translations": value})
