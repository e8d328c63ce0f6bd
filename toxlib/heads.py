"""Heads that read more of the encoder than the tutorial's CLS.

transformers' own Longformer classifier would read their weights as if they were of its CLS head.
So they are saved under a `model_type` of their own: without toxlib, loading them is an error and
never other scores.

Letters: B comments, N tokens without padding, C hidden size, L labels.
"""

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, LongformerConfig

from toxlib.dropout import CheapDropout
from toxlib.model import LongformerForMultiLabelSequenceClassification
from toxlib.packing import Packing


@strict
class PooledLongformerConfig(LongformerConfig):
    """A Longformer whose `head` is `cls4` or `mean`."""

    model_type = "toxlib_pooled_longformer"

    head: str = "mean"


class PooledLongformerForMultiLabelSequenceClassification(
    LongformerForMultiLabelSequenceClassification
):
    """Longformer whose logits are read from several layers, or from all tokens.

    `cls4`: the first tokens of the last four layers, concatenated (Devlin 2019, section 5.3:
    nearly as good as fine-tuning for frozen BERT). `mean`: the mean of the last layer's tokens,
    by which sentence encoders such as MiniLM were trained (Reimers 2019).
    """

    config_class = PooledLongformerConfig

    def __init__(self, config: PooledLongformerConfig):
        super().__init__(config)
        self.depth = min(4, config.num_hidden_layers) if config.head == "cls4" else 1
        self.classifier = PooledHead(config, self.depth * config.hidden_size)
        self.post_init()

    def forward(self, input_ids: torch.Tensor | None = None, *args, **kwargs):
        """As the parent, but for attention weights and hidden states: ask `longformer` for them.

        Raises:
            ValueError: for a sequence that is longer than the position table, or a request that
                upstream's code would have to answer, which reads CLS.
        """
        if self.longformer.needs_upstream(input_ids, kwargs):
            raise ValueError(
                "attention weights, hidden states and embedded inputs are had from "
                "model.longformer: upstream's classifier would read another head's logits"
            )
        return super().forward(input_ids, *args, **kwargs)

    def _logits(self, *inputs: torch.Tensor | None) -> torch.Tensor:
        """(B, L)."""
        if self.config.head == "mean":
            (hidden,), packing = self.longformer.encode(*inputs)
            return self.classifier(mean_of_tokens(hidden, packing))
        states, packing = self.longformer.encode(*inputs, first_only=True, depth=self.depth)
        firsts = [*(hidden[packing.first] for hidden in states[:-1]), states[-1]]
        return self.classifier(torch.cat(firsts, dim=-1))


class PooledHead(nn.Module):
    """Dropout → one linear layer, (B, features) → (B, L).

    Called `dense`, for upstream's head has a `dense` of another shape: even its class called by
    name, which only warns of a foreign `model_type`, cannot load the one for the other.
    """

    def __init__(self, config: PooledLongformerConfig, features: int):
        super().__init__()
        self.dropout = CheapDropout(config.hidden_dropout_prob)
        self.dense = nn.Linear(features, config.num_labels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.dense(self.dropout(features))


def mean_of_tokens(hidden: torch.Tensor, packing: Packing) -> torch.Tensor:
    """Each comment's mean over its tokens, padding left out: (N, C) → (B, C)."""
    means = []
    for run, tokens in zip(packing.runs, packing.split(hidden), strict=True):
        if run.is_padding is None:
            means.append(tokens.mean(dim=1))  # (R, tokens, C) → (R, C)
        else:
            kept = (~run.is_padding).to(tokens.dtype)[..., None]
            means.append((tokens * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1))
    return torch.cat(means)[packing.place]


def register() -> None:
    """Make transformers' Auto classes and `pipeline` use our classes.

    For Longformers it changes what the whole process loads, so importing toxlib does not do it:
    the notebooks and the command line do.
    """
    register_heads()
    AutoModelForSequenceClassification.register(
        LongformerConfig, LongformerForMultiLabelSequenceClassification, exist_ok=True
    )


def register_heads() -> None:
    """Make transformers' Auto classes know the `model_type` of the heads of this module."""
    AutoConfig.register(PooledLongformerConfig.model_type, PooledLongformerConfig, exist_ok=True)
    AutoModelForSequenceClassification.register(
        PooledLongformerConfig, PooledLongformerForMultiLabelSequenceClassification, exist_ok=True
    )
