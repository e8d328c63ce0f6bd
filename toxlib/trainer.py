"""The recipe's optimiser step under transformers' Trainer, computed without padding.

Letters: N comments, L labels.
"""

import contextlib
import re
from collections.abc import Iterator

import torch
from transformers import PreTrainedModel, Trainer, TrainerCallback

from toxlib.batching import batch_lengths, micro_batches, take_rows
from toxlib.errors import InputError
from toxlib.progress import progress

LAYER = re.compile(r"\.layers?\.(\d+)\.")


class MicroBatchTrainer(Trainer):
    """Trainer whose optimiser step is the plain mean over the batch, computed without padding.

    A batch is drawn at random, as ever; inside it, comments are sorted by length and cut into
    micro-batches, each weighed by its share of the comments. The gradient is that of the unsplit
    batch, so that grouping by length brings no bias. `training_step` and `prediction_step` are
    the hooks that Trainer documents for this.
    """

    def __init__(
        self,
        *args,
        token_budget: int,
        layer_decay: float = 1.0,
        head_rate: float = 1.0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.token_budget, self.layer_decay, self.head_rate = token_budget, layer_decay, head_rate
        # Ours are means over comments: Trainer must not expect sums (transformers issue 47688).
        self.model_accepts_loss_kwargs = False

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """Trainer's own, with the recipe's learning rates of layers and head."""
        optimizer = super().create_optimizer(model)
        if (self.layer_decay, self.head_rate) != (1, 1):
            scale_rates(self.model, optimizer, self.layer_decay, self.head_rate)
        return optimizer

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """One forward and backward pass per micro-batch; returns the mean loss.

        When memory runs out, the token budget is halved, for good, and the step begun again.
        """
        model.train()
        inputs = self._prepare_inputs(inputs)
        while (loss := self._try_step(model, inputs)) is None:
            self.token_budget //= 2
            model.zero_grad()
            torch.cuda.empty_cache()
        for parameter in model.parameters():
            # Zero in upstream's Longformer, not computed in ours: weight decay still applies.
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return loss

    def _try_step(self, model, inputs) -> torch.Tensor | None:
        """The mean loss; None if memory ran out and smaller micro-batches may help."""
        groups = micro_batches(batch_lengths(inputs), self.token_budget)
        # One context for all, so that weights are cast once per step.
        with self._embedding_gradients(model), self.accelerator.autocast():
            try:
                return self._backward(model, inputs, groups)
            except torch.OutOfMemoryError:
                # Begun again, a step would lose what other steps or processes have added.
                shared = self.args.gradient_accumulation_steps * self.args.world_size > 1
                if shared or all(len(rows) == 1 for rows in groups):
                    raise
        return None

    def _backward(self, model, inputs, groups) -> torch.Tensor:
        total = torch.zeros((), device=self.args.device)
        for number, rows in enumerate(groups, start=1):
            synchronise = number == len(groups)
            wait = contextlib.nullcontext() if synchronise else self.accelerator.no_sync(model)
            with wait:
                loss = self.compute_loss(model, take_rows(inputs, rows)).mean()
                loss = loss * (len(rows) / len(inputs["labels"]))
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _embedding_gradients(self, model) -> contextlib.AbstractContextManager:
        if self.args.device.type != "cpu" or self.args.world_size > 1:
            return contextlib.nullcontext()
        return sparse_embedding_gradients(self.accelerator.unwrap_model(model))

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Loss, logits (N, L) and labels (N, L) of a batch, in the batch's order."""
        inputs = self._prepare_inputs(inputs)
        labels = inputs["labels"]
        logits = torch.empty_like(labels)
        with torch.no_grad(), self.accelerator.autocast():
            for rows in micro_batches(batch_lengths(inputs), self.token_budget):
                part = {k: v for k, v in take_rows(inputs, rows).items() if k != "labels"}
                index = torch.as_tensor(rows, device=logits.device)
                logits[index] = model(**part).logits.to(logits.dtype)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
        return (loss, None, None) if prediction_loss_only else (loss, logits, labels)


@contextlib.contextmanager
def sparse_embedding_gradients(model: PreTrainedModel) -> Iterator[None]:
    """Let backward passes collect the word embeddings' gradient as rows; dense on leaving.

    A dense gradient is as large as the table (154 MB for RoBERTa's) and is zeroed, filled and
    added in each backward pass, however few words a micro-batch has: on a CPU a tenth of the
    time. Optimiser and clipping see a dense gradient, as ever.
    """
    embeddings = model.get_input_embeddings()
    embeddings.sparse = True
    try:
        yield
    finally:
        embeddings.sparse = False
        gradient = embeddings.weight.grad
        if gradient is not None and gradient.is_sparse:
            embeddings.weight.grad = gradient.to_dense()


def scale_rates(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    layer_decay: float = 1.0,
    head_rate: float = 1.0,
) -> None:
    """Split the optimiser's groups by learning rate, each a share of the one they have now.

    The head learns at `head_rate` times it: it starts from random numbers, and of a rare label it
    sees few examples. The encoder's last layer learns at `layer_decay` times it, each layer below
    at `layer_decay` times the rate of the one above it, the embeddings slowest (Howard 2018).

    Raises:
        InputError: if the layers of such an encoder are not known by their names.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    if layer_decay < 1 and not any(map(LAYER.search, names.values())):
        raise InputError(
            f"layer_decay={layer_decay}: {type(model).__name__} does not number its layers; set 1"
        )
    groups, optimizer.param_groups = optimizer.param_groups, []
    for group in groups:
        by_share: dict[float, list] = {}
        for parameter in group["params"]:
            name = names[id(parameter)]
            in_encoder = name.startswith(f"{model.base_model_prefix}.")
            share = layer_decay ** _layers_above(name, model) if in_encoder else head_rate
            by_share.setdefault(share, []).append(parameter)
        for share, parameters in by_share.items():
            optimizer.add_param_group(group | {"params": parameters, "lr": group["lr"] * share})


def _layers_above(name: str, model: PreTrainedModel) -> int:
    """Layers between a parameter of the encoder and the head, its own counted; a pooler has 0."""
    layers = model.config.num_hidden_layers
    if ".embeddings." in name:
        return layers + 1
    number = LAYER.search(name)
    return layers - int(number[1]) if number else 0


class ProgressBar(TrainerCallback):
    """Optimiser steps on toxlib's own bar, the same in a terminal, Jupyter and a headless log."""

    evaluation = None

    def on_train_begin(self, args, state, control, **kwargs):
        self.bar = progress(total=state.max_steps, description="Train", unit="step")

    def on_step_end(self, args, state, control, **kwargs):
        self.bar.update()

    def on_prediction_step(self, args, state, control, eval_dataloader=None, **kwargs):
        if self.evaluation is None:
            batches = len(eval_dataloader)
            self.evaluation = progress(total=batches, description="Evaluate", unit="batch")
        self.evaluation.update()

    def on_evaluate(self, args, state, control, **kwargs):
        self._close_evaluation()

    def on_predict(self, args, state, control, metrics, **kwargs):
        self._close_evaluation()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            self.bar.set_postfix(loss=f"{float(logs['loss']):.4f}", refresh=False)

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()

    def _close_evaluation(self):
        if self.evaluation is not None:
            self.evaluation.close()
            self.evaluation = None
