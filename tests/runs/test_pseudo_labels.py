"""A finished run's scores of the test comments serve as labels: `teacher`."""

import shutil

import numpy as np
import pandas as pd
import pytest

import toxlib
from toxlib.errors import InputError
from toxlib.evaluation.parts import average
from toxlib.evaluation.weights import apply_weights
from toxlib.runs import blending
from toxlib.runs.examples import training_examples
from toxlib.runs.pseudo_labels import pseudo_labelled

FOLD = 1


@pytest.fixture
def student(blended, tiny_overrides, hostile_dir, tmp_path):
    """Return a function that makes a claimed run with the given values."""

    def make(**values):
        shrunk = [*tiny_overrides, "lengthen_to=48", "folds=2"]
        values = {"teacher": blended} | values
        changed = [f"{name}={value}" for name, value in values.items()]
        run = toxlib.open_run("minilm", hostile_dir, tmp_path / "student", [*shrunk, *changed])
        run.claim()
        return run

    return make


def test_a_fold_learns_from_the_teachers_models_of_this_fold(student, blended):
    member = blended / "minilm"
    run = student(teacher=member, pseudo_weight=0.3)
    saved = pd.read_csv(member / f"fold-{FOLD}" / "test_predictions.csv")
    taken = training_examples(run, FOLD)
    count = len(saved)
    assert np.allclose(taken.labels[-count:], saved[run.label_names])
    assert list(taken.ids[-count:]) == list(run.tables.test_ids)
    assert taken.texts[-count:] == list(run.test_texts)
    assert taken.weights[-count:].tolist() == [0.3] * count
    rows = run.split.trained_on(FOLD)
    assert np.array_equal(taken.labels[:-count], run.tables.labels[rows])
    assert set(taken.weights[:-count]) == {1.0}


def test_a_blend_teaches_with_the_weights_of_this_fold(student, blended):
    teacher, labels = toxlib.reopen(blended), pseudo_labelled(student(), FOLD).labels
    members = blending.members_of(teacher)
    fitted = blending.blend_parts(teacher.validation_labels, members)
    scores = np.stack([member.test_of(FOLD) for member in members.values()])
    assert np.allclose(labels, apply_weights(fitted.per_part[FOLD], scores))
    assert not np.allclose(labels, apply_weights(fitted.per_part[0], scores))


def test_a_blend_of_equal_weights_teaches_with_them(student, blended, tmp_path):
    blend, members = blending.open_blend([blended / "minilm"], str(tmp_path / "b"), "equal")
    made = blending.blend_parts(blend.validation_labels, members, equal=True)
    blending.write_blend(blend, members, made)
    blend.release()
    labels = pseudo_labelled(student(teacher=blend.folder), FOLD).labels
    assert np.allclose(labels, average(m.test_of(FOLD) for m in members.values()), atol=1e-6)


def test_fewer_comments_are_evenly_spaced(student):
    run = student(pseudo_rows=7)
    taken = pseudo_labelled(run, FOLD)
    ids = list(run.tables.test_ids)
    places = [ids.index(name) for name in taken.ids]
    assert 0 < len(places) <= 7
    assert len(set(np.diff(places))) == 1


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"seed": 3}, "its folds are others; set folds=2 seed=42"),
        ({"folds": 3}, "its folds are others; set folds=2 seed=42"),
        ({"teacher": "no run"}, "no run here"),
    ],
)
def test_a_teacher_that_does_not_fit_is_one_line(student, values, fault):
    with pytest.raises(InputError, match=fault):
        pseudo_labelled(student(**values), FOLD)


def test_a_teacher_of_one_model_or_other_data_is_refused(
    student, finished, blended, hostile_dir, tmp_path
):
    with pytest.raises(InputError, match="rows that a fold holds out; give one with folds=5"):
        pseudo_labelled(student(teacher=finished, folds=1), 0)
    other = shutil.copytree(hostile_dir, tmp_path / "data")
    table = pd.read_csv(other / "train.csv", dtype=str, keep_default_na=False)
    table[::-1].to_csv(other / "train.csv", index=False)
    run = toxlib.open_run("minilm", other, tmp_path / "x", f"folds=2 teacher='{blended}'")
    with pytest.raises(InputError, match="made from other data; give a run on the same files"):
        pseudo_labelled(run, FOLD)
