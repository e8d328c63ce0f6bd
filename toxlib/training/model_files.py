"""Check the files of a checkpoint or a trained model before and while they are loaded.

transformers only warns about missing weights, makes an empty tokenizer if there are no tokenizer
files, and asks at a prompt whether to run a checkpoint's own code. Here each of these is an
InputError of one line that ends with what to do.
"""

import zipfile
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import (
    CONFIG_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from toxlib import files
from toxlib.errors import InputError, show
from toxlib.longformer.positions import COUNTS_POSITIONS_FROM_PADDING

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The files, or with `.index.json` the lists of files, that weights are loaded from."""
FEWEST_PIECES = 10
"""A tokenizer with fewer pieces beside its special tokens has no vocabulary of its own."""


def check_model_folder(folder: Path, remedy: str) -> None:
    """Check configuration, weights and tokenizer files of a folder without loading the weights.

    Raises:
        InputError: names the file that is missing, damaged or not allowed.
    """
    config = _read_object(folder / "config.json", remedy)
    check_no_code(config, f"{folder / 'config.json'}")
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        fault = "it names no model_type" if kind is None else f"unknown model_type {show(kind)}"
        raise InputError(f"{folder / 'config.json'}: {fault}; {remedy}")
    check_weights(folder, remedy)
    if (path := folder / "tokenizer.json").exists() and "model" not in _read_object(path, remedy):
        raise InputError(f"{path}: it has no vocabulary; {remedy}")
    if (path := folder / "tokenizer_config.json").exists():
        check_no_code(_read_object(path, remedy), f"{path}")


def check_no_code(config: dict, name: str) -> None:
    """Raise an InputError if a configuration asks for code of the checkpoint's own."""
    if config.get("auto_map"):
        fault = "the checkpoint brings its own code (auto_map), which toxlib does not run"
        raise InputError(f"{name}: {fault}; choose a checkpoint of a type in transformers")


def check_weights(folder: Path, remedy: str) -> None:
    """Check that a folder's weights are there, whole, and in a format that cannot run code."""
    names = [name + end for name in WEIGHTS for end in ("", ".index.json")]
    found = next((name for name in names if (folder / name).exists()), None)
    if found is None:
        raise InputError(f"{folder / WEIGHTS[0]}: no such file; {remedy}")
    paths = [folder / found]
    if found.endswith(".index.json"):
        parts = _read_object(folder / found, remedy).get("weight_map")
        if not isinstance(parts, dict) or not parts:
            raise InputError(f"{folder / found}: it lists no weights; {remedy}")
        paths = [folder / Path(str(part)).name for part in dict.fromkeys(parts.values())]
    for path in paths:
        _check_weight_file(path, remedy)


def check_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    config: PreTrainedConfig,
    name: str,
    remedy: str,
    is_lengthened: bool = False,
) -> None:
    """Check that a tokenizer fits a model. If it has no padding token, it gets its end token.

    `is_lengthened` says that the model will become a Longformer, which counts positions from the
    padding id.

    Raises:
        InputError: if the tokenizer has no vocabulary of its own, ids beyond the model's
            embeddings, no padding token, or another one than the model counts positions from.
    """
    vocabulary = tokenizer.get_vocab()
    if len(set(vocabulary) - set(tokenizer.all_special_tokens)) < FEWEST_PIECES:
        raise InputError(f"{name}: there is no tokenizer, or an empty one; {remedy}")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            fault = "the tokenizer has no padding token"
            raise InputError(f"{name}: {fault}; set pad_token in tokenizer_config.json")
        tokenizer.pad_token = tokenizer.eos_token
    rows = getattr(config.get_text_config(), "vocab_size", None)
    highest = max(vocabulary.values())
    if rows is not None and highest >= rows:
        fault = f"the tokenizer has ids up to {highest}, and the model has {rows} embeddings"
        raise InputError(f"{name}: {fault}; {remedy}")
    padding = getattr(config, "pad_token_id", None)
    if rows is not None and padding is not None and padding >= rows:
        fault = f"config.json says pad_token_id={padding}, and the model has {rows} embeddings"
        raise InputError(f"{name}: {fault}; {remedy}")
    counts = is_lengthened or config.model_type in COUNTS_POSITIONS_FROM_PADDING
    if counts and tokenizer.pad_token_id != config.pad_token_id:
        ids = f"{tokenizer.pad_token_id}, and the model's is {config.pad_token_id}"
        raise InputError(f"{name}: the tokenizer's padding id is {ids}; {remedy}")


def check_encoder_loaded(model: PreTrainedModel, info: dict, name: str) -> None:
    """Raise an InputError if weights of the encoder are missing; the head is new in any case.

    Many encoders are published without their pooler, which is new then, too.
    """
    start = f"{model.base_model_prefix}."
    missing = [key for key in not_loaded(info) if key.startswith(start) and ".pooler." not in key]
    if missing:
        fault = f"{len(missing)} of the encoder's weights are missing or of other shapes, such as"
        raise InputError(f"{name}: {fault} {show(missing[0])}; choose another checkpoint")


def not_loaded(info: dict) -> list[str]:
    """Return the weights that are missing or of other shapes, by transformers' loading info."""
    return sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})


def first_line(error: Exception) -> str:
    """Return an error of a library in one line, with nothing in it that a terminal obeys."""
    lines = str(error).strip().splitlines() or [""]
    text = "".join(character if character.isprintable() else "?" for character in lines[0])
    return f"{type(error).__name__}: {text}"[:300].rstrip(": ")


def _check_weight_file(path: Path, remedy: str) -> None:
    if path.is_dir():
        raise InputError(f"{path}: a folder, not a file; {remedy}")
    if not path.exists():
        raise InputError(f"{path}: no such file; {remedy}")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as opened:  # compares header and length
                opened.keys()
        else:  # old files are no zip archives and cannot be mapped
            is_zip = zipfile.is_zipfile(path)
            torch.load(path, map_location="meta", weights_only=True, mmap=is_zip)
    except Exception as error:  # many kinds, from several libraries
        reason = "damaged" if path.suffix == ".safetensors" else "damaged, or not only weights"
        raise InputError(f"{path}: {reason}; {remedy}") from error


def _read_object(path: Path, remedy: str) -> dict:
    try:
        return files.read_json(path, "")
    except (InputError, OSError):
        fault = "no such file"
        if path.exists():
            fault = "a folder, not a file" if path.is_dir() else "damaged, it is not a JSON object"
        raise InputError(f"{path}: {fault}; {remedy}") from None
