"""The optimiser step of a recipe under transformers' Trainer, computed with little padding."""

import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler
from transformers import EvalPrediction, PreTrainedModel, Trainer
from transformers.trainer_utils import EvalLoopOutput

from toxlib.data.batching import batch_lengths, default_token_budget, micro_batches, take_rows
from toxlib.errors import InputError, show_all
from toxlib.recipe_values import Recipe
from toxlib.training.negatives import NegativesSampler, rows_with_a_label
from toxlib.training.resume import last_whole_checkpoint
from toxlib.training.windows import comment_logits

LAYER = re.compile(r"\.layers?\.(\d+)\.")


class MicroBatchTrainer(Trainer):
    """A Trainer whose gradient is the plain mean over a random batch.

    A batch is drawn at random, as usual. Inside it, comments are sorted by length and cut into
    micro-batches, each weighted by its share of the comments. The gradient is that of the unsplit
    batch, so grouping by length causes no bias.

    Under torchrun every process draws the same batch and takes its share of the comments, so that
    batch, gradient, loss and evaluation are those of one process.

    If the data have the column `weight`, a comment's loss is multiplied by it.

    With the recipe value `negatives` below 1, `NegativesSampler` draws the rows of each epoch and
    weights their losses.
    """

    def __init__(self, *args, recipe: Recipe, **kwargs):
        super().__init__(*args, **kwargs)
        self.recipe = recipe
        self.token_budget = recipe.micro_batch_tokens or default_token_budget(self.model)
        # Our losses are means over comments, so Trainer must not treat them as sums
        # (transformers issue 47688).
        self.model_accepts_loss_kwargs = False
        self.negatives_sampler = None
        if recipe.negatives < 1:
            has_label = rows_with_a_label(self.train_dataset)
            self.negatives_sampler = NegativesSampler(has_label, recipe.negatives, self.args.seed)

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """Create Trainer's own optimiser, with learning rates for each layer and for the head.

        The encoder's last layer learns at `layer_decay` times the recipe's rate, each layer below
        at `layer_decay` times the rate of the layer above it, and the embeddings slowest (Howard &
        Ruder 2018). The head learns at `head_lr_multiplier` times the recipe's rate.
        """
        optimizer = super().create_optimizer(model)
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        decay, name = self.recipe.layer_decay, type(self.model).__name__
        if decay < 1 and not any(map(LAYER.search, names.values())):
            raise InputError(
                f"layer_decay={decay}: {name} does not number its layers; set layer_decay=1"
            )
        groups, optimizer.param_groups = optimizer.param_groups, []
        for group in groups:
            by_factor: dict[float, list] = {}
            for parameter in group["params"]:
                factor = self._rate_factor(names[id(parameter)])
                by_factor.setdefault(factor, []).append(parameter)
            for factor, parameters in by_factor.items():
                rate = group["lr"] * factor
                optimizer.add_param_group(group | {"params": parameters, "lr": rate})
        return optimizer

    def _rate_factor(self, name: str) -> float:
        """Return a parameter's learning rate, divided by the recipe's."""
        if not name.startswith(f"{self.model.base_model_prefix}."):
            return self.recipe.head_lr_multiplier
        layers = self.model.config.num_hidden_layers
        if number := LAYER.search(name):
            return self.recipe.layer_decay ** (layers - int(number[1]))
        is_embedding = "embed" in name or "relative_attention_bias" in name
        return self.recipe.layer_decay ** (layers + 1) if is_embedding else 1.0

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """Run a forward and a backward pass per micro-batch and return the mean loss.

        If memory runs out, the token budget is halved for the rest of the training and the step
        is repeated.
        """
        model.train()
        inputs = self._prepare_inputs(inputs)
        while (loss := self._try_step(model, inputs)) is None:
            self.token_budget //= 2
            model.zero_grad()
            torch.cuda.empty_cache()
        if not loss.isfinite():
            raise InputError(self._not_finite(inputs, loss.item()))
        for parameter in model.parameters():
            # Upstream's Longformer has zero gradients where ours computes none. AdamW skips
            # parameters without a gradient, but their weight decay must still apply.
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return loss

    def _clip_grad_norm(self, model):
        """Clip the gradient's norm, as Trainer does; InputError if it is not finite.

        A step with such a gradient would make all weights NaN. In fp16, the loss scaler skips it.
        """
        norm = super()._clip_grad_norm(model)
        if not self.args.fp16 and norm is not None and not math.isfinite(norm):
            raise InputError(self._not_finite({}, float(norm), "gradient"))
        return norm

    def _not_finite(self, inputs: dict, value: float, what: str = "loss") -> str:
        """Say at which step a loss or gradient was not finite, for which comments, what to do."""
        step, folder = self.state.global_step + 1, Path(self.args.output_dir)
        last, _ = last_whole_checkpoint(folder)
        kept = f"the last whole checkpoint is {last}" if last else "there is no checkpoint yet"
        comments = f" for comments {show_all(self._ids(inputs))}" if inputs else ""
        remedy = "lower learning_rate, or set precision=fp32, and choose another run folder"
        return f"the {what} is {value} at step {step}{comments}; {kept}; {remedy}"

    def _ids(self, inputs: dict) -> list[str]:
        """Return the ids, or else the row numbers, of comments with a loss that is not finite."""
        logits = self._logits(inputs)
        losses = F.binary_cross_entropy_with_logits(logits, inputs["labels"], reduction="none")
        bad = ~losses.isfinite().all(dim=1)
        pairs = zip(inputs["input_ids"][bad], inputs["attention_mask"][bad], strict=True)
        texts = {tuple(ids[mask.bool()].tolist()) for ids, mask in pairs}
        data = self.train_dataset
        rows = [row for row, ids in enumerate(data["input_ids"]) if tuple(ids) in texts]
        names = data["id"] if "id" in data.column_names else range(1, len(data) + 1)
        return [str(names[row]) for row in rows]

    def _try_step(self, model, inputs) -> torch.Tensor | None:
        """Return the mean loss, or None if memory ran out and smaller micro-batches may help."""
        groups = self._groups(inputs)
        # A model that is wrapped for several processes exchanges dense gradients alone.
        is_sparse = self.args.device.type == "cpu" and model is self.model
        gradients = embedding_gradients(self.accelerator.unwrap_model(model), is_sparse)
        # One autocast context for all micro-batches casts the weights once per step.
        with gradients, self.accelerator.autocast():
            try:
                return self._backward(model, inputs, groups)
            except torch.OutOfMemoryError:
                if self.args.world_size > 1:  # the other processes have gone on
                    fault = f"memory ran out with micro_batch_tokens={self.token_budget}"
                    remedy = f"set micro_batch_tokens={self.token_budget // 2} and start again"
                    raise InputError(f"{fault}; {remedy}") from None
                if all(len(rows) == 1 for rows in groups):
                    raise
        return None

    def _backward(self, model, inputs, groups) -> torch.Tensor:
        """Add the gradient of all micro-batches to the gradients, and return the mean loss."""
        total = torch.zeros((), device=self.args.device)
        processes = self.args.world_size
        # A process without a comment takes part in the exchange with a gradient of zero.
        weights = self._shares(inputs, groups) or [0.0]
        groups = groups or [np.zeros(1, dtype=int)]
        for rows, weight in zip(groups, weights, strict=True):
            waits = rows is not groups[-1]  # processes exchange gradients once per step
            with self.accelerator.no_sync(model) if waits else contextlib.nullcontext():
                loss = self.compute_loss(model, take_rows(inputs, rows)) * weight
                # DistributedDataParallel takes the mean over the processes; we need the sum.
                self.accelerator.backward(loss * processes)
            total += loss.detach()
        return self.accelerator.reduce(total, "sum")

    def _shares(self, inputs, groups) -> list[float]:
        """Return each micro-batch's share of what the loss is the mean of: the comments."""
        return [len(rows) / len(inputs["labels"]) for rows in groups]

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the mean loss of comments; if `return_outputs`, with their logits, (B, L)."""
        logits = comment_logits(model, inputs, self.recipe.max_length)
        weights = self._comment_weights(inputs)
        loss = F.binary_cross_entropy_with_logits(logits, inputs["labels"], weights)
        return (loss, logits) if return_outputs else loss

    def _comment_weights(self, inputs) -> torch.Tensor | None:
        """Return what each comment's loss is multiplied by, (B, 1); None if nothing."""
        own = inputs["weight"][:, None] if "weight" in inputs else None
        if self.negatives_sampler is None:
            return own
        drawn = self.negatives_sampler.weights(inputs["labels"])
        return drawn if own is None else own * drawn

    def _set_signature_columns_if_needed(self) -> None:
        """Let Trainer keep the column `weight`, which is not an argument of the model."""
        super()._set_signature_columns_if_needed()
        self._signature_columns = [*dict.fromkeys([*self._signature_columns, "weight"])]

    def _groups(self, inputs) -> list[np.ndarray]:
        """Return the micro-batches of this process's share of a batch."""
        share = self.args.process_index, self.args.world_size
        return micro_batches(batch_lengths(inputs), self.token_budget, *share)

    def _get_train_sampler(self, train_dataset=None) -> Sampler:
        return self.negatives_sampler or super()._get_train_sampler(train_dataset)

    def get_train_dataloader(self) -> DataLoader:
        """Return Trainer's loader of random batches; every process gets the same batches."""
        return whole_batches(super().get_train_dataloader())

    def get_eval_dataloader(self, eval_dataset=None) -> DataLoader:
        """Return Trainer's loader of batches in order; every process gets the same batches."""
        return whole_batches(super().get_eval_dataloader(eval_dataset))

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Score all comments; return logits and labels, (N, L), their loss and metrics.

        Trainer's own loop counts some comments twice if there are several processes, and the last
        batch's loss like that of a full batch.
        """
        self.callback_handler.eval_dataloader = dataloader
        logits, labels = [], []
        for batch in dataloader:
            batch = self._prepare_inputs(batch)
            logits.append(self._logits(batch).cpu())
            labels.append(batch["labels"].cpu())
            event = self.args, self.state, self.control
            self.control = self.callback_handler.on_prediction_step(*event)
        logits, labels = torch.cat(logits), torch.cat(labels)
        metrics = self.compute_metrics(EvalPrediction(logits.numpy(), labels.numpy()))
        metrics["loss"] = F.binary_cross_entropy_with_logits(logits, labels).item()
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        return EvalLoopOutput(logits.numpy(), labels.numpy(), metrics, len(logits))

    def _logits(self, inputs: dict) -> torch.Tensor:
        """Return the logits of a batch, (B, L) in fp32, in the batch's order."""
        model = self.model.to(self.args.device).eval()
        logits = torch.zeros_like(inputs["labels"])
        with torch.no_grad(), self.accelerator.autocast():
            for rows in self._groups(inputs):
                part, length = take_rows(inputs, rows), self.recipe.max_length
                logits[rows] = comment_logits(model, part, length, self.token_budget).float()
        return self.accelerator.reduce(logits, "sum")  # the others' rows are zeros


def whole_batches(loader: DataLoader) -> DataLoader:
    """Undo that accelerate gives each process other batches."""
    sampler = loader.batch_sampler
    if isinstance(sampler, BatchSamplerShard):
        sampler.num_processes, sampler.process_index, sampler.even_batches = 1, 0, False
        # If a training goes on in the middle of an epoch, accelerate looks here for the sampler
        # that has to know the epoch. It fills this in for its own samplers only.
        sampler.sampler = sampler.batch_sampler.sampler
    return loader


@contextlib.contextmanager
def embedding_gradients(model: PreTrainedModel, is_sparse: bool) -> Iterator[None]:
    """Collect the word embeddings' gradient as rows if `is_sparse`; make it dense on exit.

    A dense gradient has the size of the embedding table (154 MB for RoBERTa). Zeroing, filling and
    adding it in each backward pass takes a tenth of the time on a CPU.
    """
    embeddings = model.get_input_embeddings()
    embeddings.sparse = is_sparse
    try:
        yield
    finally:
        embeddings.sparse = False
        gradient = embeddings.weight.grad
        if gradient is not None and gradient.is_sparse:
            embeddings.weight.grad = gradient.to_dense()
