"""A classification head that reads the first token in the last four layers.

transformers' own Longformer classifier would load these weights into another head and give wrong
scores. So the model is saved under its own `model_type`, and loading it without toxlib fails.
"""

from collections import OrderedDict
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    LongformerConfig,
    PreTrainedModel,
)

from toxlib.longformer.dropout import CheapDropout
from toxlib.longformer.model import LongformerForMultiLabelSequenceClassification


@strict
class PooledLongformerConfig(LongformerConfig):
    """The configuration of a Longformer with the head `cls4`."""

    model_type = "toxlib_pooled_longformer"

    head: Literal["cls4"] = "cls4"


class PooledLongformerForMultiLabelSequenceClassification(
    LongformerForMultiLabelSequenceClassification
):
    """Longformer with a head on the first token's hidden states of the last four layers.

    With a frozen BERT, these are nearly as good as fine-tuning (Devlin 2019, section 5.3).
    """

    config_class = PooledLongformerConfig

    def __init__(self, config: PooledLongformerConfig):
        super().__init__(config)
        self.depth = min(4, config.num_hidden_layers)
        dropout = CheapDropout(config.hidden_dropout_prob)
        dense = nn.Linear(self.depth * config.hidden_size, config.num_labels)
        # `dense` has another shape in upstream's head. So even upstream's class, which only warns
        # about an unknown `model_type`, refuses these weights.
        self.classifier = nn.Sequential(OrderedDict(dropout=dropout, dense=dense))
        self.post_init()

    def forward(self, input_ids: Tensor | None = None, *args, **kwargs):
        """Return what the parent class returns; a ValueError if that needs upstream's head."""
        if self.needs_upstream(input_ids, kwargs):
            raise ValueError(
                "this head cannot return attention weights or hidden states, nor take embeddings; "
                "call model.longformer instead"
            )
        return super().forward(input_ids, *args, **kwargs)

    def _logits(self, *inputs: Tensor | None) -> Tensor:
        """Return the logits, (B, L)."""
        states, layout = self.longformer.encode(*inputs, depth=self.depth)
        firsts = [hidden[layout.first] for hidden in states[:-1]]  # the last has no other tokens
        return self.classifier(torch.cat([*firsts, states[-1]], dim=-1))


def compute_in_fp32(model: PreTrainedModel) -> PreTrainedModel:
    """Make a classifier's head compute in fp32 even where autocast is on; return the classifier.

    Logits in bf16 have three digits, so that many comments would get the same score, and AUC would
    count their ties as half right. The head is every module outside the encoder. The hooks are
    plain functions, so that the model can be copied, pickled and replicated. Call this once.
    """
    for child in model.children():
        if child is not model.base_model:
            child.register_forward_pre_hook(_leave_autocast, with_kwargs=True)
            child.register_forward_hook(_return_to_autocast, always_call=True)
    return model


def _leave_autocast(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Switch autocast off, and convert inputs in 16 bits to the precision of the weights."""
    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float32)
    device = next(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)).device.type
    module.autocast_before = device, torch.is_autocast_enabled(device)
    torch.set_autocast_enabled(device, False)

    def convert(x: object) -> object:
        is_half = isinstance(x, Tensor) and x.dtype in (torch.bfloat16, torch.float16)
        return x.to(dtype) if is_half else x

    return tuple(map(convert, args)), {name: convert(x) for name, x in kwargs.items()}


def _return_to_autocast(module: nn.Module, *_) -> None:
    torch.set_autocast_enabled(*module.autocast_before)


def register() -> None:
    """Make transformers' Auto classes and `pipeline` use toxlib's classes for Longformers.

    Call it before you load a finished model with them. `import toxlib` does not call it, because
    it affects every Longformer that the process loads afterwards.

    >>> import toxlib
    >>> from transformers import AutoModelForSequenceClassification, LongformerConfig
    >>> toxlib.register()
    >>> config = LongformerConfig(vocab_size=10, num_hidden_layers=1)
    >>> type(AutoModelForSequenceClassification.from_config(config)).__name__
    'LongformerForMultiLabelSequenceClassification'
    """
    register_heads()
    AutoModelForSequenceClassification.register(
        LongformerConfig, LongformerForMultiLabelSequenceClassification, exist_ok=True
    )


def register_heads() -> None:
    """Add the `model_type` of this module's head to transformers' Auto classes."""
    AutoConfig.register(PooledLongformerConfig.model_type, PooledLongformerConfig, exist_ok=True)
    AutoModelForSequenceClassification.register(
        PooledLongformerConfig, PooledLongformerForMultiLabelSequenceClassification, exist_ok=True
    )
