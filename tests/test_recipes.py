import dataclasses

import pytest
import torch
from torch.optim import SGD
from transformers import get_scheduler

from toxlib.errors import InputError
from toxlib.recipes import RECIPES, SCHEDULES, get_recipe


def test_overrides_change_single_values():
    recipe = get_recipe("quick", "learning_rate=3e-5 epochs=1 clean=true run_name='a b'")
    assert (recipe.learning_rate, recipe.epochs, recipe.clean) == (3e-5, 1, True)
    assert recipe.run_name == "a b"
    assert dataclasses.replace(recipe, **dataclasses.asdict(RECIPES["quick"])) == RECIPES["quick"]


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("quik", "", "did you mean quick"),
        ("quick", "learning_rat=1", "did you mean learning_rate"),
        ("quick", "zzz=1", "choose one of"),
        ("quick", "epochs", "write key=value"),
        ("quick", "epochs=one", "whole number"),
        ("quick", "epochs=0", "at least 1"),
        ("quick", "learning_rate=nan", "from 0 to 1"),
        ("quick", "clean=perhaps", "clean=true"),
        ("quick", "precision=fp8", "choose auto"),
        ("quick", "head=max", "choose cls, cls4, mean"),
        ("quick", "schedule=cosin", "choose linear, cosine"),
        ("quick", "seed=-1", "from 0 to"),
        ("quick", "folds=0", "from 1 to 10"),
        ("best", "", "a blend: python -m toxlib run makes it"),
        ("quick", "name=other", "unknown recipe value"),
        ("quick", "run_name='open", "No closing quotation"),
    ],
)
def test_a_bad_value_is_one_clear_line(name, overrides, expected):
    with pytest.raises(InputError) as error:
        get_recipe(name, overrides)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_transformers_knows_every_schedule():
    assert {get_scheduler(name, SGD([torch.zeros(1)]), 1, 9) for name in SCHEDULES}


def test_the_two_big_recipes_are_a_fair_pair():
    longformer, roberta = RECIPES["longformer-3048"], RECIPES["roberta-512"]
    changed = {"name", "checkpoint", "revision", "max_length"}
    for field in dataclasses.fields(longformer):
        same = getattr(longformer, field.name) == getattr(roberta, field.name)
        assert same or field.name in changed
    assert len(longformer.revision) == len(roberta.revision) == 40
