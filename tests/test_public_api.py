"""Every public name ends its docstring with an example, and the examples run."""

import doctest
import shutil

import pytest

import toxlib
from toxlib import files, recipes


@pytest.fixture
def in_a_project(finished, tmp_path, monkeypatch):
    """Go to a folder with a finished run in outputs/quick, as the examples assume."""
    shutil.copytree(finished, tmp_path / "outputs" / "quick")
    monkeypatch.setattr(files, "REPOSITORY", tmp_path)
    monkeypatch.setattr(files, "KAGGLE_INPUT", tmp_path / "none")
    monkeypatch.chdir(tmp_path)


def _run_examples(name, obj):
    tests = [t for t in doctest.DocTestFinder().find(obj, name) if t.examples]
    for test in tests:
        test.globs = {"toxlib": toxlib, **vars(recipes)}
        output = []
        result = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
        assert not result.failed, "".join(output)
    return [test.name for test in tests]


@pytest.mark.parametrize("name", sorted({*toxlib.PUBLIC} - {"RECIPES"}))
def test_examples(name, in_a_project):
    obj = getattr(toxlib, name)
    assert name in _run_examples(name, obj), f"{name} has no example"
    assert ">>>" in obj.__doc__.strip().split("\n\n")[-1], f"{name} does not end with an example"


def test_examples_of_the_scorer_and_the_recipes(in_a_project):
    found = _run_examples("Scorer", toxlib.Scorer)
    assert {"Scorer.predict", "Scorer.decide"} <= set(found)
    assert _run_examples("recipes", recipes)
