"""Adapt an encoder to the comments before it is fine-tuned: it learns to predict hidden words.

    texts, no labels → hide whole words → train encoder and head to predict them → a checkpoint

The result is a checkpoint folder like any other: `checkpoint=FOLDER` fine-tunes it, and
`lengthen_to` lengthens it. Gururangan et al. (2020, arXiv 2004.10964) show what this is worth.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import datasets
from filelock import FileLock
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from toxlib import files
from toxlib.data.masking import tokenize_words
from toxlib.errors import InputError
from toxlib.longformer.masked_lm import copy_to_global_attention
from toxlib.recipe_values import BUNDLED_MINILM, Recipe
from toxlib.training import checkpoints, hidden_words, resume
from toxlib.training.finetune import run_training
from toxlib.training.machine import free_memory

RESULT = "adaptation.json"
"""In an adapted checkpoint's folder: what it follows from, and how well it predicts words."""
USED = (
    "checkpoint", "revision", "attention_window", "batch_size", "micro_batch_tokens", "dropout",
    "attention_dropout", "precision", "checkpoint_steps", "seed",
)  # fmt: skip
"""The recipe values that are used here as they are. Those of fine-tuning alone have no effect."""
HEAD_STEPS = 300
"""Steps, at most an epoch, that train a new head alone, before the encoder learns from it."""
HEAD_RATE = 1e-3
HELD_OUT = 300
"""Comments, at most a hundredth of all, that are kept out to score hidden words."""


def adapt(recipe: Recipe, texts: Sequence[str], folder: Path) -> Path:
    """Train the recipe's encoder to predict hidden words of the texts; return its new folder.

    The new folder lies in `folder`. Its name is a digest of all that it follows from: checkpoint,
    texts, recipe values. If it is there already, it is returned at once; other processes that want
    the same wait for it. It is written whole or not at all, and an adaptation that was killed goes
    on from its last checkpoint. The last comments are held out to score hidden words.

    Args:
        recipe: makes `adapt_epochs` passes over the texts, at least one, with the learning rate
            `adapt_learning_rate`; `USED` names the other values that count, besides `max_length`.
        texts: N comments, those of the test set too, as the model will read them (`text.prepare`).

    Raises:
        InputError: if the checkpoint cannot be loaded or cannot learn to predict words.
    """
    check(recipe)
    source = _source(recipe, texts)
    digest = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()
    adapted = folder / digest[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{adapted.name}.lock"):
        if not adapted.exists():
            work = resume.claim_work_folder(folder / f"{adapted.name}.work", source)
            _train(_training_recipe(recipe), texts, work, adapted, source)
            files.remove(work)
            free_memory()
    return adapted


def adapted_recipe(recipe: Recipe, texts: Sequence[str], folder: Path) -> Recipe:
    """Return the recipe with its encoder adapted, or as it is if `adapt_epochs` is 0."""
    if recipe.adapt_epochs == 0:
        return recipe
    path = adapt(recipe, texts, folder)
    return dataclasses.replace(recipe, checkpoint=str(path), revision="")


def check(recipe: Recipe) -> None:
    """Check that `adapt` can use the recipe's checkpoint; InputErrors are the same."""
    hidden_words.load_tokenizer(recipe)


def _training_recipe(recipe: Recipe) -> Recipe:
    """Return the values of the training: epochs, learning rate and so on."""
    values = {name: getattr(recipe, name) for name in USED}
    rate = recipe.adapt_learning_rate or recipe.learning_rate
    values |= {"epochs": recipe.adapt_epochs, "learning_rate": rate}
    length = hidden_words.load_tokenizer(recipe).model_max_length
    return Recipe("adaptation", max_length=length, warmup_steps=0.06, **values)


def _source(recipe: Recipe, texts: Sequence[str]) -> dict:
    """Return what the adapted encoder follows from."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(json.dumps(text).encode() + b"\n")
    values = dataclasses.asdict(_training_recipe(recipe))
    not_used = {"checkpoint", "micro_batch_tokens", "checkpoint_steps"}
    named = {*USED, "epochs", "learning_rate", "max_length", "warmup_steps"} - not_used
    source = {name: values[name] for name in sorted(named)}
    return source | {"encoder": _encoder_digest(recipe), "texts": digest.hexdigest()}


def _encoder_digest(recipe: Recipe) -> str | dict[str, str]:
    """Return the digests of a local checkpoint's files, or the checkpoint's name on the hub."""
    if recipe.checkpoint == BUNDLED_MINILM:
        return checkpoints.BUNDLED_SHA256
    path = Path(checkpoints.local_or_hub_name(recipe))
    if not path.is_dir():
        return recipe.checkpoint
    return {file.name: files.sha256(file) for file in sorted(path.iterdir()) if file.is_file()}


def _train(recipe: Recipe, texts: Sequence[str], work: Path, adapted: Path, source: dict) -> None:
    """Train a new head alone and then everything; save the model and how well it predicts."""
    set_seed(recipe.seed)
    model, tokenizer, head_is_new = hidden_words.load(recipe)
    data = _split(tokenize_words(texts, tokenizer, work / "texts.arrow"))
    print(f"Adapt the encoder to {len(data[0])} comments", flush=True)
    trainer = hidden_words.make_trainer(model, tokenizer, data, recipe, work)
    path, seconds = work / "before.json", 0.0
    if not resume.last_whole_checkpoint(work / "checkpoints")[0]:
        if head_is_new:
            seconds = _train_head(model, tokenizer, data, recipe, work / "head")
        files.write_json(path, {"before": trainer.score(), "seconds": seconds})
    cost = run_training(trainer).cost
    if model.config.model_type == "longformer":
        copy_to_global_attention(model)
    result = files.read_json(path, f"delete {work}")
    result["seconds"] += cost["training_seconds"]
    result |= {"after": trainer.score(), "head_is_new": head_is_new, "source": source}
    with files.new_folder(adapted) as new:
        checkpoints.save_trained(model, tokenizer, new)
        files.write_json(new / RESULT, result)


def _train_head(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: tuple[datasets.Dataset, datasets.Dataset],
    recipe: Recipe,
    work: Path,
) -> float:
    """Train the head alone, so that its first, random gradients do not change the encoder.

    Returns the seconds of this training.
    """
    learning = [weight for weight in model.base_model.parameters() if weight.requires_grad]
    epoch = -(-len(data[0]) // recipe.batch_size)
    how = dataclasses.replace(recipe, learning_rate=HEAD_RATE)
    for weight in learning:
        weight.requires_grad_(False)
    steps = min(HEAD_STEPS, epoch)
    trainer = hidden_words.make_trainer(model, tokenizer, data, how, work, steps)
    seconds = run_training(trainer).cost["training_seconds"]
    for weight in learning:
        weight.requires_grad_(True)
    return seconds


def _split(data: datasets.Dataset) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Return the comments to train on, and the last ones, which are held out."""
    if len(data) < 2:
        raise InputError("adapt_epochs: fewer than 2 comments have a word; set adapt_epochs=0")
    first = len(data) - min(HELD_OUT, max(1, len(data) // 100))
    return data.select(range(first)), data.select(range(first, len(data)))
