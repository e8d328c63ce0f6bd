"""The named recipes; `toxlib.recipe_values` explains their values.

>>> get_recipe("quick", "epochs=1 learning_rate=1e-5").learning_rate
1e-05
>>> sorted(RECIPES)[:2]
['gold-deberta', 'gold-modernbert']
"""

import dataclasses
import difflib
import textwrap
import typing
from collections.abc import Iterable

from pydantic import ValidationError

from toxlib.errors import InputError, show
from toxlib.parameters import Overrides, read_overrides, to_text
from toxlib.recipe_values import BUNDLED_MINILM, FIELDS, Recipe, affects_training

ROBERTA = ("FacebookAI/roberta-base", "e2da8e2f811d1448a5b465c236feacd80ffbac7b")
LONGFORMER = ("allenai/longformer-base-4096", "301e6a42cb0d9976a6d6a26a079fef81c18aa895")
DEBERTA = ("microsoft/deberta-v3-base", "8ccc9b6f36199bec6961081d44eb72fb3f7353f3")
MODERNBERT = ("answerdotai/ModernBERT-base", "8949b909ec900327062f0ebf497f51aef5e6f0c8")
MPNET = ("sentence-transformers/all-mpnet-base-v2", "e8c3b32edf5434bc2275fc9bab85f82640a19130")
LICENCES = {
    BUNDLED_MINILM: "apache-2.0",
    ROBERTA[0]: "mit",
    LONGFORMER[0]: "apache-2.0",
    DEBERTA[0]: "mit",
    MODERNBERT[0]: "apache-2.0",
    MPNET[0]: "apache-2.0",
}
"""The licence of each checkpoint that a recipe names, as the hub writes licences."""
MINILM_ON_THE_HUB = "sentence-transformers/all-MiniLM-L6-v2"
"""What the hub calls the checkpoint that is installed."""
MINILM = {
    "checkpoint": BUNDLED_MINILM,
    "attention_window": 1024,  # it covers texts of up to 512 tokens, as MiniLM's attention does
    "epochs": 2,
    "batch_size": 16,
    "learning_rate": 5e-4,
    "layer_decay": 0.8,
    "head_lr_multiplier": 30,
    "warmup_steps": 0.06,
    "attention_dropout": 0.0,
}
GOLD = {
    "epochs": 3,
    "batch_size": 32,
    "learning_rate": 3e-5,
    "head_lr_multiplier": 10,
    "warmup_steps": 0.06,
    "folds": 5,
}
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("quick", max_length=1024, lengthen_to=1024, **MINILM),
        Recipe(
            "minilm",
            lengthen_to=512,
            head="cls4",
            clean_spelling=True,
            folds=5,
            jobs=2,  # on two cores 1.28 times as fast as one fold after the other
            **MINILM,
        ),
        Recipe("roberta-512", *ROBERTA, warmup_steps=1500),
        Recipe("longformer-3048", *LONGFORMER, max_length=3048, warmup_steps=1500),
        Recipe("gold-roberta", *ROBERTA, **GOLD),
        Recipe("gold-deberta", *DEBERTA, **GOLD),
        Recipe("gold-mpnet", *MPNET, **GOLD),
        Recipe("gold-modernbert", *MODERNBERT, max_length=2048, dropout=0.0, **GOLD),
    )
}
TUTORIAL = ("longformer-3048", "roberta-512")
"""The two recipes of the tutorial that this project began with; see the README."""
BLENDS: dict[str, tuple[str, ...]] = {
    "best": ("minilm",),
    "gold": ("gold-roberta", "gold-deberta", "gold-mpnet", "gold-modernbert"),
}
"""Recipes that train one or more recipes, in five folds each, and blend their models.

The linear models that are fitted beside the first run join the blend. `gold` takes encoders that
differ in pre-training, tokenizer and length (512 or 2,048 tokens).
"""
PURPOSES = {
    "quick": "a first score on a CPU: MiniLM, 1,024 tokens",
    "best": "the best score on a CPU: minilm blended with two linear models, spelling cleaned",
    "gold": "the best score on one GPU: four encoders and the linear models, blended",
    "roberta-512": "one GPU, hours: the tutorial's RoBERTa, 512 tokens",
    "longformer-3048": "one GPU, days: the tutorial's Longformer, 3,048 tokens",
    "minilm": "the encoder in best: MiniLM in five folds",
    **dict.fromkeys(BLENDS["gold"], "one of the four encoders in gold"),
}


def get_recipe(name: str, overrides: Overrides = "") -> Recipe:
    """Return the recipe called `name`, changed by `overrides`.

    Args:
        name: a key of `RECIPES`.
        overrides: values to change: text such as `"learning_rate=1e-5 epochs=1"`, or a mapping
            such as `{"epochs": 1}`, or a list of `key=value`.

    Raises:
        InputError: for an unknown name (the message lists similar ones) or a bad value.

    >>> get_recipe("quick", "epochs=1 folds=5").folds
    5
    """
    name = to_text(name, "recipe")
    if name in BLENDS:
        raise InputError(
            f"{name} is a blend: use python -m toxlib run --recipe {name}; notebooks take "
            f"{' or '.join(BLENDS[name])}"
        )
    if name not in RECIPES:
        raise InputError(f"unknown recipe {show(name)}: {_suggest(name, [*RECIPES, *BLENDS])}")
    return change(RECIPES[name], overrides)


def change(recipe: Recipe, overrides: Overrides) -> Recipe:
    """Return the recipe with the values in `overrides` changed; an InputError if one is wrong."""
    changes = read_overrides(overrides)
    for key in changes:
        if key == "name" or key not in FIELDS:
            raise InputError(f"unknown recipe value {show(key)}: {_suggest(key, FIELDS)}")
    if changes.get("checkpoint", recipe.checkpoint) != recipe.checkpoint:
        changes.setdefault("revision", "")  # the recipe's is a commit of the recipe's checkpoint
    try:
        return dataclasses.replace(recipe, **changes)
    except ValidationError as error:
        first = error.errors()[0]
        key = first["loc"][0]
        raise InputError(
            f"{key}={show(first['input'])[1:-1]}: {first['msg'].lower()}; {key} means: "
            f"{FIELDS[key].description}"
        ) from None


def format_recipes() -> str:
    """Return a line per recipe, for a terminal."""
    purposes = PURPOSES | {name: "your own" for name in RECIPES if name not in PURPOSES}
    return "\n".join(f"{name:<16} {purpose}" for name, purpose in purposes.items())


def format_recipe(name: str) -> str:
    """Return every value of a recipe and what it means, for a terminal.

    Values that can be changed on a finished run are marked by a star.
    """
    if name in BLENDS:
        return f"{name} blends {', '.join(BLENDS[name])} and two linear models"
    lines = []
    for key, value in dataclasses.asdict(get_recipe(name)).items():
        star = "" if affects_training(key) else "  *"
        lines.append(f"{key}={value}{_limits(key)}{star}")
        lines.append(textwrap.indent(textwrap.fill(FIELDS[key].description, 90), "    "))
    return "\n".join(
        [*lines, "", "* can be changed on a finished run by starting again from 04_thresholds"]
    )


def _limits(key: str) -> str:
    """Return what a value may be, such as `  [≥ 1 and ≤ 10]`; empty if there is no limit."""
    signs = {"gt": ">", "ge": "≥", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {getattr(limit, name)}"
        for limit in FIELDS[key].metadata
        for name, sign in signs.items()
        if hasattr(limit, name)
    ]
    told = " and ".join(limits) or ", ".join(typing.get_args(FIELDS[key].annotation))
    return f"  [{told}]" if told else ""


def _suggest(name: str, known: Iterable[str]) -> str:
    similar = difflib.get_close_matches(name, known, n=3)
    names = ", ".join(similar or sorted(known))
    return f"did you mean {names}?" if similar else f"choose one of {names}"
