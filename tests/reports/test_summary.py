"""What a report says first."""

import json
import shlex
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

import toxlib
from toxlib.data import kaggle
from toxlib.data.sample import LABELS
from toxlib.data.splits import HoldOut
from toxlib.errors import InputError
from toxlib.recipes import change, get_recipe
from toxlib.reports import summary

ROWS = {"rows_scored": 1061, "mean_columnwise_auc": 0.97, "interval_95": [0.96, 0.98]}


@pytest.fixture(scope="module")
def told(executed):
    return summary.summarise(toxlib.reopen(executed))


def test_the_score_and_what_it_rests_on(executed, told):
    report = json.loads((executed / "metrics.json").read_text())
    score = report["intervals_95"]["mean column-wise AUC"]
    assert told.score == f"{score['estimate']:.4f}"
    assert f"{score['low']:.4f} to {score['high']:.4f}" in told.score_meaning
    assert f"{report['validation']['rows']} validation comments" in told.score_meaning
    assert told.facts["Comments"] == "240 training and 60 test comments with 6 labels"
    assert "train.csv" in told.facts["Files"]
    assert [name.split(":")[0] for name, _, _ in told.others] == ["lr", "nb-lr"]
    assert len(told.figures) == 3
    assert told.warning == ""


def test_the_sample_is_named_as_what_it_is(executed):
    told = summary.summarise(replace(toxlib.reopen(executed), is_sample=True))
    assert told.warning == kaggle.SAMPLE_NOTE
    assert not any("medal" in sentence for sentence in told.about_score)


def test_it_warns_of_rare_labels_and_of_an_epoch_chosen_on_the_same_comments(executed, told):
    cautions = "\n".join(told.cautions)
    assert HoldOut.note in cautions
    assert "has few positive validation comments (1), " in cautions
    assert r"\x1b[31m\u202e" in cautions or "labels have fewer than 50" in cautions
    assert all(text.isprintable() for text in told.cautions)


def test_the_command_has_the_values_that_differ_from_the_recipe(executed, told):
    command = shlex.split(told.command)
    assert command[:6] == ["python", "-m", "toxlib", "run", "--recipe", "quick"]
    assert command[command.index("--run-dir") + 1] == f"{executed}-again"
    given = command[command.index("--set") + 1 :]
    assert change(get_recipe("quick"), given) == toxlib.reopen(executed).recipe
    assert "max_length=48" in given
    assert not any(value.startswith("head=") for value in given)


def test_a_blend_is_repeated_by_its_recipe_or_from_its_members(executed_blend):
    (command,) = summary.repeat_commands(executed_blend)
    assert "--recipe best" in command
    assert "folds=2" in command
    run, blend = summary.repeat_commands(_blend_of_another_folder(executed_blend))
    assert "--recipe minilm" in run
    assert shlex.split(blend)[3:] == [
        "blend",
        f"{executed_blend.parent / 'moved'}-again",
        "--run-dir",
        f"{executed_blend.parent / 'other'}-again",
        "--equal",
    ]


def _blend_of_another_folder(executed_blend):
    """Return a folder whose run.json says that it blends, with equal weights, a run elsewhere."""
    folder = executed_blend.parent / "other"
    moved = shutil.copytree(executed_blend / "minilm", executed_blend.parent / "moved")
    folder.mkdir()
    record = json.loads((executed_blend / "run.json").read_text())
    record["members"] = {"minilm": {"run": str(moved), "predictions": "own"}}
    record["recipe"]["name"] = "blend of equal weights"
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize(
    ("names", "place", "expected"),
    [
        (LABELS, "at or above the gold line of 0.98740", ["is 0.97", "gold line"]),
        (LABELS, None, ["is 0.97", "No medal can be told"]),
        ({"bug", "praise"}, None, ["is 0.97"]),
    ],
)
def test_a_medal_is_named_only_if_all_test_comments_are_graded(
    names, place, expected, tmp_path, monkeypatch
):
    grade = {"test_grade": ROWS | {"place": place}}
    monkeypatch.setattr(summary, "read_record", lambda folder: grade)
    tables = SimpleNamespace(test_labels="there")
    run = SimpleNamespace(folder=tmp_path, is_sample=False, label_names=names, tables=tables)
    sentences = summary._about_test(run)
    assert len(sentences) == len(expected)
    assert all(text in said for text, said in zip(expected, sentences, strict=True))
    tables.test_labels = None
    assert ["No medal" in said for said in summary._about_test(run)] == [True] * (names == LABELS)


def test_a_damaged_file_is_named(executed, tmp_path, capsys):
    folder = shutil.copytree(executed, tmp_path / "run")
    (folder / "metrics.json").write_text('{"validation": 3}')
    with pytest.raises(InputError, match=r"metrics.json: damaged.*; delete it and run 03_train"):
        summary.summarise(toxlib.reopen(folder))


def test_a_perfect_auc_of_few_comments_is_not_called_sure():
    assert summary._how_sure(0.9, 0.95) == ", so its AUC may be from 0.90 to 0.95"
    assert summary._how_sure(1.0, 1.0) == ", too few to say how sure its AUC of 1.00 is"
    assert summary._how_sure(None, None) == ""
