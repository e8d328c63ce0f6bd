"""Nothing that is applied to a fold depends on the labels of that fold."""

import shutil

import numpy as np
import pandas as pd
import pytest

import toxlib
from toxlib.evaluation import calibration, parts, thresholds
from toxlib.runs import blending, engines, folds
from toxlib.runs.examples import original_rows, training_examples
from toxlib.runs.predictions import OWN
from toxlib.training.linear import LINEAR

MINE = 1
ADDED = "translations=de,fr varied_copies=0.5 clean_spelling=true adapt_epochs=1"
"""Recipe values that add to what a fold learns from; `_add_files` writes their files."""


def _add_files(data_dir):
    """Write copies of all training comments in one language, and of some in another."""
    for name in ("train", "test"):
        table = pd.read_csv(data_dir / f"{name}.csv", dtype=str, keep_default_na=False)
        table["comment_text"] = [" ".join(reversed(t.split())) for t in table["comment_text"]]
        table.to_csv(data_dir / f"{name}_de.csv", index=False)
        table[::-3].to_csv(data_dir / f"{name}_fr.csv", index=False)


def _run(data_dir, folder, checkpoint, split=None, added=""):
    overrides = f"{added} checkpoint={checkpoint} lengthen_to=32 attention_window=64 head=cls4"
    overrides += " max_length=32 epochs=1 batch_size=32 folds=3 layer_decay=0.8"
    overrides += " head_lr_multiplier=10 learning_rate=1e-3 varied_copies=0.5"
    run = toxlib.open_run("quick", str(data_dir), str(folder), overrides)
    # Strata follow the labels, so the second run must be given the first run's split.
    run.claim(split)
    engines.train_folds(run)
    folds.fit_linear_folds(run)
    return run


def _applied(run, fold):
    """Return everything that is applied to the fold, or results from it, by name."""
    labels = run.validation_labels
    _, members = blending.open_blend([str(run.folder)], str(run.folder) + "-blend")
    blended = blending.blend_parts(labels, members)
    fitted = thresholds.cross_fitted_thresholds(labels, blended.parts)
    calibrated = calibration.calibrate_parts(blended.parts)[fold]
    own = {name: run.predictions(name).parts()[fold] for name in (OWN, *LINEAR)}
    return {
        "blend weights": blended.per_part[fold],
        "blend": blended.parts[fold].probabilities,
        "calibrated": calibrated.probabilities,
        "thresholds": fitted.per_part[fold],
        "decisions": fitted.decisions[calibrated.rows],
    } | {f"predictions {name}": part.probabilities for name, part in own.items()}


@pytest.fixture(scope="module")
def before_and_after(small_dir, checkpoints, tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaks")
    shutil.copytree(small_dir, folder / "data")
    _add_files(folder / "data")
    before = _run(folder / "data", folder / "before", checkpoints["bert"])
    shutil.copytree(folder / "data", folder / "permuted")
    table = pd.read_csv(small_dir / "train.csv", dtype=str, keep_default_na=False)
    rows = np.flatnonzero(before.split.held_out(MINE))
    permuted = np.random.default_rng(0).permutation(rows)
    table.loc[rows, before.label_names] = table.loc[permuted, before.label_names].to_numpy()
    table.to_csv(folder / "permuted" / "train.csv", index=False)
    after = _run(folder / "permuted", folder / "after", checkpoints["bert"], before.split)
    assert (before.tables.labels != after.tables.labels).any()
    return before, after


def test_permuting_a_folds_labels_leaves_what_is_applied_to_it_bit_for_bit(before_and_after):
    first, second = (_applied(run, MINE) for run in before_and_after)
    for name, values in first.items():
        assert np.array_equal(values, second[name]), name


def test_the_other_folds_do_learn_from_these_labels(before_and_after):
    for fold in {0, 1, 2} - {MINE}:
        first, second = (_applied(run, fold) for run in before_and_after)
        for name, values in first.items():
            assert not np.array_equal(values, second[name]), (fold, name)


@pytest.fixture(scope="module")
def students(before_and_after):
    """Train with all additions, and on test comments that a blend of each run has scored."""
    trained = []
    for run in before_and_after:
        folder = run.folder.with_name(f"{run.folder.name}-teacher")
        blend, members = blending.open_blend([str(run.folder)], str(folder))
        blending.write_blend(blend, members, blending.blend_parts(run.validation_labels, members))
        where = run.data_dir, folder / "student", run.recipe.checkpoint, run.split
        trained.append(_run(*where, f"{ADDED} teacher='{folder}'"))
    return trained


def test_what_is_added_to_a_fold_knows_nothing_of_its_labels(students):
    first, second = (training_examples(run, MINE) for run in students)
    assert len(first.texts) > 2 * len(original_rows(students[0], MINE)[0])
    assert np.array_equal(first.labels, second.labels)
    first, second = (_applied(run, MINE) for run in students)
    for name, values in first.items():
        assert np.array_equal(values, second[name]), name
    others = [training_examples(run, MINE - 1).labels for run in students]
    assert not np.array_equal(*others)


def test_a_finished_fold_is_not_trained_again(before_and_after, capsys):
    run = before_and_after[0]
    model = run.fold_folder(0) / "model/model.safetensors"
    before = model.stat().st_mtime_ns
    engines.train_folds(run)
    assert all(run.predictions().written(fold) for fold in run.split.folds)
    assert capsys.readouterr().out.count("was finished before") == 3
    assert folds.unfinished(run) == []
    assert model.stat().st_mtime_ns == before
    assert not (run.fold_folder(0) / "work").exists()


def test_out_of_fold_predictions_are_each_folds_own(before_and_after):
    run = before_and_after[0]
    joined = run.predictions().validation()
    assert len(joined) == len(run.tables.labels)
    assert np.allclose(joined, parts.join(run.predictions().parts()))
    tests = [pd.read_csv(run.fold_folder(k) / "test_predictions.csv") for k in run.split.folds]
    mean = parts.average([table[run.label_names].to_numpy() for table in tests])
    assert np.allclose(run.predictions().test(), mean, atol=1e-8)
