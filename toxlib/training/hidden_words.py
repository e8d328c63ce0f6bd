"""Load a checkpoint's masked language model, and train it to predict hidden words of comments."""

from pathlib import Path

import datasets
import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoConfig,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
)

from toxlib.data.batching import take_rows
from toxlib.data.masking import NO_WORD, NOT_HIDDEN, check_masking, hide_words
from toxlib.errors import InputError
from toxlib.longformer import masked_lm
from toxlib.longformer.positions import longest_sequence
from toxlib.recipe_values import Recipe
from toxlib.training import checkpoints, model_files
from toxlib.training.finetune import training_arguments
from toxlib.training.precision import resolve
from toxlib.training.progress_bar import ProgressBar
from toxlib.training.trainer import MicroBatchTrainer

SCORED_TOGETHER = 64
"""Comments per batch when hidden words are scored."""


def load(recipe: Recipe) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, bool]:
    """Load the recipe's encoder with its language-model head, and the tokenizer.

    The encoder is not lengthened, and the tokenizer cuts where the encoder's positions end. The
    third value is whether the head is new, because the checkpoint has lost it: a dense layer, an
    activation, a layer norm, and logits by the word embeddings.

    Raises:
        InputError: if the checkpoint cannot be loaded, its type has no such head here, or its
            tokenizer cannot hide words.
    """
    config, tokenizer = load_config(recipe), load_tokenizer(recipe)
    create = masked_lm.class_for(config).from_pretrained
    values = {"config": config, "dtype": torch.float32}
    model, info = checkpoints.load(
        create, recipe, **values, **checkpoints.SAFE, **checkpoints.TOLD
    )
    model_files.check_encoder_loaded(model, info, f"checkpoint {recipe.checkpoint!r}")
    start = f"{model.base_model_prefix}."
    head_is_new = any(not key.startswith(start) for key in model_files.not_loaded(info))
    if any("pooler." in key for key in info["unexpected_keys"]):
        # A classifier may read the pooler, and masked language models have none: keep it as it is.
        encoder = checkpoints.load(AutoModel.from_pretrained, recipe, **checkpoints.SAFE)
        if hasattr(encoder, "pooler"):  # DeBERTa's is a part of its classifier
            model.base_model.pooler = encoder.pooler.float().requires_grad_(False)
    return masked_lm.unpad_masked_lm(model), tokenizer, head_is_new


def load_config(recipe: Recipe) -> PreTrainedConfig:
    """Return the configuration of the recipe's encoder, which is not lengthened."""
    config = checkpoints.load(AutoConfig.from_pretrained, recipe, trust_remote_code=False)
    if config.model_type not in masked_lm.HEADS:
        known = ", ".join(sorted(masked_lm.HEADS))
        fault = f"adapt_epochs: {recipe.checkpoint} is of type {config.model_type!r}"
        raise InputError(f"{fault}; set adapt_epochs=0, or choose an encoder of type {known}")
    checkpoints.set_encoder_values(config, recipe)
    return config


def load_tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    """Return the tokenizer, which cuts at `max_length` or where the encoder's positions end."""
    tokenizer = checkpoints.load_tokenizer(recipe)
    check_masking(tokenizer, f"checkpoint {recipe.checkpoint!r}")
    longest = longest_sequence(load_config(recipe)) or recipe.max_length
    tokenizer.model_max_length = min(recipe.max_length, longest)
    return tokenizer


class HiddenWordsTrainer(MicroBatchTrainer):
    """Train a masked language model; the gradient is the mean over a batch's hidden tokens.

    Every step hides other words. They follow from the seed and the step alone, so that a training
    that goes on after a kill hides the same words.
    """

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """Hide words of a batch, and go forward and backward; return the mean loss."""
        rng = np.random.default_rng([self.args.seed, self.state.global_step])
        return super().training_step(model, self._hide(inputs, rng))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the mean cross-entropy of the hidden tokens; if wanted, with their logits."""
        is_hidden = inputs["targets"] != NOT_HIDDEN
        batch = inputs["input_ids"], inputs["attention_mask"]
        logits = masked_lm.predict_hidden(model, *batch, is_hidden)
        loss = F.cross_entropy(logits, inputs["targets"][is_hidden])
        return (loss, logits) if return_outputs else loss

    def score(self) -> dict[str, float]:
        """Return the loss per hidden token of the held-out comments, and the share predicted.

        The same words are hidden at each call.
        """
        model, rng = self.model.to(self.args.device).eval(), np.random.default_rng(self.args.seed)
        loss, right, count = 0.0, 0, 0
        for start in range(0, len(self.eval_dataset), SCORED_TOGETHER):
            stop = min(start + SCORED_TOGETHER, len(self.eval_dataset))
            rows = self.data_collator(list(self.eval_dataset.select(range(start, stop))))
            batch = self._prepare_inputs(self._hide(rows, rng))
            with torch.no_grad(), self.accelerator.autocast():
                for group in self._groups(batch):
                    part = take_rows(batch, group)
                    mean, logits = self.compute_loss(model, part, return_outputs=True)
                    targets = part["targets"][part["targets"] != NOT_HIDDEN]
                    loss, count = loss + mean.item() * len(targets), count + len(targets)
                    right += (logits.argmax(dim=1) == targets).sum().item()
        return {"loss": loss / count, "accuracy": right / count}

    def _hide(self, inputs: dict, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return a batch with hidden words, and with targets instead of word numbers."""
        arrays = inputs["input_ids"].cpu().numpy(), inputs["words"].cpu().numpy()
        read, targets = map(torch.as_tensor, hide_words(*arrays, self.processing_class, rng))
        mask = inputs["attention_mask"]
        return {"input_ids": read, "attention_mask": mask, "targets": targets}

    def _shares(self, inputs, groups) -> list[float]:
        """Return each micro-batch's share of the batch's hidden tokens."""
        counts = (inputs["targets"] != NOT_HIDDEN).sum(dim=1).cpu().numpy()
        return [counts[rows].sum() / counts.sum() for rows in groups]

    def _not_finite(self, inputs: dict, value: float, what: str = "loss") -> str:
        fault = f"adapting the encoder: the {what} is {value} at step {self.state.global_step + 1}"
        remedy = f"set adapt_learning_rate below {self.args.learning_rate:g}, or precision=fp32"
        if self.args.max_steps > 0:  # the head is trained alone, at a rate that cannot be set
            remedy = "set precision=fp32, or choose another checkpoint"
        return f"{fault}; {remedy}, and choose another run folder"


def make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: tuple[datasets.Dataset, datasets.Dataset],
    recipe: Recipe,
    work_dir: Path,
    max_steps: int = -1,
) -> HiddenWordsTrainer:
    """Return a Trainer on data sets of `tokenize_words`: those to train on, and held-out ones.

    The recipe's `epochs`, `batch_size`, `learning_rate` and so on are those of this training.
    """
    precision = resolve(recipe.precision, model.config.hidden_size)
    arguments = training_arguments(recipe, work_dir, choose_epoch=False, precision=precision)
    arguments.remove_unused_columns = False  # the model's signature has no `words`
    arguments.max_steps = max_steps

    def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
        ids, words = ([torch.tensor(row[name]) for row in rows] for name in ("input_ids", "words"))
        words = pad_sequence(words, batch_first=True, padding_value=NO_WORD)
        mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        ids = pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_token_id)
        return {"input_ids": ids, "attention_mask": mask, "words": words}

    trainer = HiddenWordsTrainer(
        recipe=recipe,
        model=model,
        args=arguments,
        train_dataset=data[0],
        eval_dataset=data[1],
        processing_class=tokenizer,
        data_collator=collate,
        callbacks=[ProgressBar()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
