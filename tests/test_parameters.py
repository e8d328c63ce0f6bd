"""What notebooks and the command line hand over is read as it was meant, or named in one line."""

import math
from pathlib import Path

import numpy as np
import pytest
from papermill.translators import PythonTranslator

import toxlib
from toxlib import pipeline
from toxlib.__main__ import main
from toxlib.errors import InputError
from toxlib.parameters import read_folders, read_overrides
from toxlib.recipes import get_recipe

TEXTS = {
    "checkpoint=/content/drive/My Drive/bert epochs=1": ["/content/drive/My Drive/bert", "1"],
    r"checkpoint=C:\new\tab epochs=1": [r"C:\new\tab", "1"],
    "text_column=Ann's text epochs=1": ["Ann's text", "1"],
    "run_name='a b' epochs=1": ["a b", "1"],
    '"checkpoint=/a b"\n epochs=1\t': ["/a b", "1"],
    "run_name='a epochs=2'": ["a epochs=2"],
    "run_name='open epochs=1": ["'open", "1"],
    "run_name= epochs=1": ["", "1"],
    "run_name=x = y": ["x = y"],
    "  ": [],
}


@pytest.mark.parametrize(("text", "values"), TEXTS.items())
def test_a_text_is_split_before_each_key(text, values):
    assert list(read_overrides(text).values()) == values


@pytest.mark.parametrize(
    "item",
    ["checkpoint=/My Drive/bert", r"checkpoint=C:\new\tab", "run_name=Ann's", "run_name='a b'",
     "run_name=a epochs=1", "run_name= x ", "run_name=$HOME `x` \"y\""],
)  # fmt: skip
def test_an_item_of_a_list_is_taken_as_it_is(item):
    key, _, value = item.partition("=")
    assert getattr(get_recipe("quick", [item]), key) == value


@pytest.mark.parametrize(
    ("overrides", "epochs"),
    [({"epochs": 1}, 1), ({"epochs": np.int64(1)}, 1), ({"epochs": "1"}, 1), (("epochs=1",), 1),
     (None, 2), ({}, 2), ([], 2)],
)  # fmt: skip
def test_other_types_mean_the_same(overrides, epochs):
    assert get_recipe("quick", overrides).epochs == epochs


def test_values_of_a_mapping_keep_their_meaning():
    given = {"mask_comments": False, "learning_rate": 1e-5, "checkpoint": Path("a b"), "seed": 3}
    recipe = get_recipe("quick", given | {"revision": None, "run_name": 7})
    assert (recipe.mask_comments, recipe.learning_rate, recipe.seed) == (False, 1e-5, 3)
    assert (recipe.checkpoint, recipe.revision, recipe.run_name) == ("a b", "", "7")


WRONG = {
    "a list as overrides of numbers": ({"overrides": [1]}, "override '1' has no '='"),
    "a list in a list": (
        {"overrides": [["epochs=1"]]},
        "a value in overrides is of the type list",
    ),
    "a number as overrides": ({"overrides": 5}, "override '5' has no '='"),
    "NaN as overrides": ({"overrides": math.nan}, "override 'nan' has no '='"),
    "True as overrides": ({"overrides": True}, "overrides is of the type bool: 'True'"),
    "bytes as overrides": ({"overrides": b"epochs=1"}, "overrides is of the type bytes"),
    "a set as overrides": ({"overrides": {"epochs=1"}}, "overrides is of the type set"),
    "a key that is a number": ({"overrides": {1: 2}}, "unknown recipe value '1'"),
    "a list as a value": ({"overrides": {"epochs": [1]}}, "epochs is of the type list: '[1]'"),
    "None as a number": ({"overrides": {"epochs": None}}, "epochs=: input should be"),
    "a part as a number": ({"overrides": {"epochs": 1.5}}, "epochs=1.5: input should be"),
    "a blank around =": ({"overrides": "epochs = 1"}, "did you mean epochs"),
    "a number as recipe": ({"recipe": 7}, "unknown recipe '7'"),
    "a list as recipe": ({"recipe": ["quick"]}, "recipe is of the type list"),
    "None as recipe": ({"recipe": None}, "unknown recipe ''"),
    "an escape as recipe": ({"recipe": "\x1b[31m"}, r"unknown recipe '\x1b[31m'"),
    "a list as run_dir": ({"run_dir": ["a"]}, "run_dir is of the type list: \"['a']\""),
    "False as run_dir": ({"run_dir": False}, "run_dir is of the type bool"),
    "a NUL in run_dir": (
        {"run_dir": "a\0b"},
        r"run_dir='a\x00b': it has a character that no path",
    ),
    "half a character in run_dir": ({"run_dir": "\ud83d"}, "a character that no path can hold"),
    "a stranger's home as run_dir": ({"run_dir": "~nobody7/x"}, "there is no such home folder"),
    "a stranger's home as data_dir": ({"data_dir": "~nobody7"}, "data_dir='~nobody7': there is"),
    "a mapping as data_dir": ({"data_dir": {"a": 1}}, "data_dir is of the type dict"),
    "a number as data_dir": ({"data_dir": 7}, "7: no such folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_type_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given, expected = WRONG[name]
    functions = [toxlib.open_run]
    if not given.keys() & {"run_dir", "data_dir"}:
        functions.append(lambda recipe="quick", overrides="": get_recipe(recipe, overrides))
    for function in functions:
        with pytest.raises(InputError) as error:
            function(**given)
        assert expected in str(error.value)
        assert "\n" not in str(error.value)


def test_what_is_meant_opens_a_run(small_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = toxlib.open_run("quick", small_dir, 7, {"epochs": 1})
    assert (run.folder, run.recipe.epochs) == (tmp_path / "7", 1)
    assert toxlib.open_run("quick", str(small_dir), None, None).folder.name == "quick"
    run.claim()
    assert toxlib.reopen(7, {"wanted_precision": 0.5}).recipe.wanted_precision == 0.5
    with pytest.raises(InputError, match="run_dir is of the type list"):
        toxlib.reopen(["7"])


def test_folders_in_a_text_or_a_list():
    assert read_folders(r"outputs/a 'My Drive/b' C:\new Ann's", "runs") == [
        "outputs/a", "My Drive/b", r"C:\new", "Ann's"
    ]  # fmt: skip
    assert read_folders(["My Drive/a", Path("b")], "runs") == ["My Drive/a", "b"]
    assert read_folders(None, "runs") == []
    for wrong in ({"a": 1}, [["a"]], [""], True):
        with pytest.raises(InputError, match="runs"):
            read_folders(wrong, "runs")


@pytest.mark.parametrize("text", ["/My Drive/bert", r"C:\new\tab", "Ann's", 'a "b"', "é\n🙂 $x"])
def test_the_shell_and_papermill_change_nothing(text, monkeypatch):
    """From the command line's arguments to the parameters of the notebook's kernel."""
    taken = []
    monkeypatch.setattr(pipeline, "run_pipeline", lambda *given: taken.append(given))
    with pytest.raises(AttributeError):  # there is no run to report on
        main(["run", "--set", f"run_name={text}", "epochs=1", "--set", "seed=3"])
    injected = {}
    exec(PythonTranslator.codify({"overrides": taken[0][3]}), injected)
    recipe = get_recipe("quick", injected["overrides"])
    assert (recipe.run_name, recipe.epochs, recipe.seed) == (text, 1, 3)
