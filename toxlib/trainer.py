"""The recipe's optimiser step under transformers' Trainer, computed without padding.

Letters: N comments, L labels.
"""

import contextlib
import re
from collections.abc import Iterator

import torch
from transformers import PreTrainedModel, Trainer, TrainerCallback

from toxlib.batching import batch_lengths, micro_batches, take_rows
from toxlib.progress import progress


class MicroBatchTrainer(Trainer):
    """Trainer whose optimiser step is the plain mean over the batch, computed without padding.

    A batch is drawn at random, as ever; inside it, comments are sorted by length and cut into
    micro-batches, each weighed by its share of the comments. The gradient is that of the unsplit
    batch, so that grouping by length brings no bias. `training_step` and `prediction_step` are
    the hooks that Trainer documents for this.
    """

    def __init__(self, *args, token_budget: int, layer_decay: float = 1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.token_budget, self.layer_decay = token_budget, layer_decay
        # Ours are means over comments: Trainer must not expect sums (transformers issue 47688).
        self.model_accepts_loss_kwargs = False

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """Trainer's own, each layer's learning rate scaled by `layer_decay` (Howard 2018)."""
        optimizer = super().create_optimizer(model)
        if self.layer_decay < 1:
            scale_by_depth(self.model, optimizer, self.layer_decay)
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


def scale_by_depth(model: PreTrainedModel, optimizer: torch.optim.Optimizer, decay: float) -> None:
    """Split the optimiser's groups by layer; each layer learns at `decay` times the next's rate.

    The head learns at the full rate, the last layer at `decay` times it, the embeddings slowest.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups, optimizer.param_groups = optimizer.param_groups, []
    for group in groups:
        by_depth: dict[int, list] = {}
        for parameter in group["params"]:
            depth = _layers_above(names[id(parameter)], model.config.num_hidden_layers)
            by_depth.setdefault(depth, []).append(parameter)
        for depth, parameters in sorted(by_depth.items()):
            rate = group["lr"] * decay**depth
            optimizer.add_param_group(group | {"params": parameters, "lr": rate})


def _layers_above(name: str, layers: int) -> int:
    """Layers between a parameter and the logits, its own counted; 0 for the head's."""
    if ".embeddings." in name:
        return layers + 1
    number = re.search(r"\.layer\.(\d+)\.", name)
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
