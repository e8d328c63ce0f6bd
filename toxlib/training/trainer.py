"""The optimiser step of a recipe under transformers' Trainer, computed with little padding."""

import contextlib
import re
from collections.abc import Iterator

import torch
from transformers import PreTrainedModel, Trainer, TrainerCallback

from toxlib.data.batching import batch_lengths, micro_batches, take_rows
from toxlib.errors import InputError
from toxlib.progress import progress

LAYER = re.compile(r"\.layers?\.(\d+)\.")


class MicroBatchTrainer(Trainer):
    """A Trainer whose optimiser step is the plain mean over a random batch.

    A batch is drawn at random, as usual. Inside it, comments are sorted by length and cut into
    micro-batches, each weighted by its share of the comments. The gradient is that of the unsplit
    batch, so grouping by length causes no bias. `training_step` and `prediction_step` are the
    hooks that Trainer documents for such a change.

    Args:
        token_budget: the most padded tokens in a micro-batch.
        layer_decay, head_lr_multiplier: learning rates, as in `toxlib.recipes.Recipe`.
    """

    def __init__(
        self,
        *args,
        token_budget: int,
        layer_decay: float = 1.0,
        head_lr_multiplier: float = 1.0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.token_budget = token_budget
        self.layer_decay, self.head_lr_multiplier = layer_decay, head_lr_multiplier
        # Our losses are means over comments, so Trainer must not treat them as sums
        # (transformers issue 47688).
        self.model_accepts_loss_kwargs = False

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """Create Trainer's own optimiser with the recipe's learning rates for layers and head."""
        optimizer = super().create_optimizer(model)
        if (self.layer_decay, self.head_lr_multiplier) != (1, 1):
            scale_learning_rates(self.model, optimizer, self.layer_decay, self.head_lr_multiplier)
        return optimizer

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
        for parameter in model.parameters():
            # Upstream's Longformer has zero gradients where ours computes none. AdamW skips
            # parameters without a gradient, but their weight decay must still apply.
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return loss

    def _try_step(self, model, inputs) -> torch.Tensor | None:
        """Return the mean loss, or None if memory ran out and smaller micro-batches may help."""
        groups = micro_batches(batch_lengths(inputs), self.token_budget)
        # One autocast context for all micro-batches casts the weights once per step.
        with self._embedding_gradients(model), self.accelerator.autocast():
            try:
                return self._backward(model, inputs, groups)
            except torch.OutOfMemoryError:
                # Repeating a step would lose gradients from accumulation or other processes.
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
        """Return the loss, logits (B, L) and labels (B, L) of a batch, in the batch's order."""
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
    """Collect the word embeddings' gradient as rows in backward passes; make it dense on exit.

    A dense gradient has the size of the embedding table (154 MB for RoBERTa) and is zeroed,
    filled and added in each backward pass, even if a micro-batch holds few words. On a CPU that
    takes a tenth of the time. The optimiser and gradient clipping see a dense gradient as usual.
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


def scale_learning_rates(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    layer_decay: float = 1.0,
    head_lr_multiplier: float = 1.0,
) -> None:
    """Give layers and head their own learning rates by splitting the optimiser's groups.

    The encoder's last layer learns at `layer_decay` times the optimiser's rate, each layer below
    at `layer_decay` times the rate of the layer above it, and the embeddings slowest (Howard &
    Ruder 2018). The head learns at `head_lr_multiplier` times the optimiser's rate: it starts
    from random numbers and sees few examples of a rare label.

    Raises:
        InputError: if the encoder's parameter names do not number its layers.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    if layer_decay < 1 and not any(map(LAYER.search, names.values())):
        raise InputError(
            f"layer_decay={layer_decay}: {type(model).__name__} does not number its layers; set 1"
        )
    groups, optimizer.param_groups = optimizer.param_groups, []
    for group in groups:
        by_factor: dict[float, list] = {}
        for parameter in group["params"]:
            name = names[id(parameter)]
            in_encoder = name.startswith(f"{model.base_model_prefix}.")
            factor = layer_decay ** _depth(name, model) if in_encoder else head_lr_multiplier
            by_factor.setdefault(factor, []).append(parameter)
        for factor, parameters in by_factor.items():
            optimizer.add_param_group(group | {"params": parameters, "lr": group["lr"] * factor})


def _depth(name: str, model: PreTrainedModel) -> int:
    """Count layers from the head down to a parameter: 1 for the last layer, 0 for a pooler."""
    layers = model.config.num_hidden_layers
    if ".embeddings." in name:
        return layers + 1
    number = LAYER.search(name)
    return layers - int(number[1]) if number else 0


class ProgressBar(TrainerCallback):
    """Show training on toxlib's bar, which looks alike in a terminal, Jupyter and a log."""

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
        if self.evaluation is not None:
            self.evaluation.close()
            self.evaluation = None

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            self.bar.set_postfix(loss=f"{float(logs['loss']):.4f}", refresh=False)

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()
