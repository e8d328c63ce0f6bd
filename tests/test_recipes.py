import dataclasses
import typing

import pytest
import torch
from pydantic import ValidationError
from torch.optim import SGD
from transformers import get_scheduler

from toxlib.__main__ import main
from toxlib.errors import InputError
from toxlib.recipe_values import FIELDS, Recipe, affects_training
from toxlib.recipes import BLENDS, RECIPES, get_recipe


def test_overrides_change_single_values():
    recipe = get_recipe("quick", "learning_rate=3e-5 epochs=1 mask_comments=no run_name='a b'")
    assert (recipe.learning_rate, recipe.epochs, recipe.mask_comments) == (3e-5, 1, False)
    assert recipe.run_name == "a b"
    assert dataclasses.replace(recipe, **dataclasses.asdict(RECIPES["quick"])) == RECIPES["quick"]


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("quik", "", "did you mean quick"),
        ("quick", "learning_rat=1", "did you mean learning_rate"),
        ("quick", "zzz=1", "choose one of"),
        ("quick", "epochs", "write key=value"),
        ("quick", "epochs=one", "a valid integer"),
        ("quick", "epochs=0", "greater than or equal to 1; epochs means: Passes over"),
        ("quick", "learning_rate=nan", "a finite number"),
        ("quick", "mask_comments=perhaps", "a valid boolean"),
        ("quick", "precision=fp8", "'auto', 'fp32', 'bf16' or 'fp16'"),
        ("quick", "head=max", "'cls' or 'cls4'"),
        ("quick", "schedule=cosin", "'cosine'"),
        ("quick", "seed=-1", "greater than or equal to 0"),
        ("quick", "training_seed=-2", "greater than or equal to -1"),
        ("quick", "folds=0", "greater than or equal to 1"),
        ("quick", "folds=11", "less than or equal to 10"),
        ("best", "", "a blend: use python -m toxlib run --recipe best"),
        ("quick", "name=other", "unknown recipe value"),
        ("quick", "epochs='1", "a valid integer"),
        ("quick", "epochs=\x1b[31m", "\\x1b[31m"),
    ],
)
def test_a_bad_value_is_one_clear_line(name, overrides, expected):
    with pytest.raises(InputError) as error:
        get_recipe(name, overrides)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_transformers_knows_every_schedule():
    schedules = typing.get_args(FIELDS["schedule"].annotation)
    assert {get_scheduler(name, SGD([torch.zeros(1)]), 1, 9) for name in schedules}


def test_the_two_big_recipes_are_a_fair_pair():
    longformer, roberta = RECIPES["longformer-3048"], RECIPES["roberta-512"]
    changed = {"name", "checkpoint", "revision", "max_length"}
    for field in dataclasses.fields(longformer):
        same = getattr(longformer, field.name) == getattr(roberta, field.name)
        assert same or field.name in changed
    assert len(longformer.revision) == len(roberta.revision) == 40


def test_a_recipe_from_json_is_validated():
    values = dataclasses.asdict(RECIPES["quick"])
    assert Recipe(**values) == RECIPES["quick"]
    for wrong in ({"epochs": 0}, {"epochs": "many"}, {"colour": "red"}, {"precision": "fp8"}):
        with pytest.raises(ValidationError):
            Recipe(**values | wrong)


def test_every_value_says_what_it_means():
    assert all(field.description.endswith(".") for field in FIELDS.values())
    free = {name for name in FIELDS if not affects_training(name)}
    assert free == {
        *("checkpoint_steps", "engine", "jobs", "mask_comments", "micro_batch_tokens"),
        *("processes", "report_to", "run_name", "wanted_precision"),
    }


def test_recipes_on_the_command_line(capsys):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in (*RECIPES, *BLENDS))
    assert main(["recipes", "quick"]) == 0
    told = capsys.readouterr().out
    assert all(f"{name}=" in told for name in FIELDS)
    assert "folds=1  [≥ 1 and ≤ 10]" in told
    assert main(["recipes", "gold"]) == 0
    assert "gold-modernbert" in capsys.readouterr().out
    assert main(["recipes", "quik"]) == 2
    assert "did you mean quick" in capsys.readouterr().err
