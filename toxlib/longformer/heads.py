"""Classification heads that use more of the encoder than the first token of the last layer.

transformers' own Longformer classifier would load their weights into its head and give wrong
scores. To make loading them without toxlib an error, they are saved under their own `model_type`.
"""

from collections import OrderedDict

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, LongformerConfig

from toxlib.longformer.dropout import CheapDropout
from toxlib.longformer.model import LongformerForMultiLabelSequenceClassification
from toxlib.longformer.unpad import Layout


@strict
class PooledLongformerConfig(LongformerConfig):
    """The configuration of a Longformer with the head `cls4` or `mean`."""

    model_type = "toxlib_pooled_longformer"

    head: str = "mean"


class PooledLongformerForMultiLabelSequenceClassification(
    LongformerForMultiLabelSequenceClassification
):
    """Longformer that computes its logits from several layers or from all tokens.

    `cls4` concatenates the first token's hidden states of the last four layers (Devlin 2019,
    section 5.3: for frozen BERT this is nearly as good as fine-tuning). `mean` averages the last
    layer over all tokens, as sentence encoders such as MiniLM do (Reimers 2019).
    """

    config_class = PooledLongformerConfig

    def __init__(self, config: PooledLongformerConfig):
        super().__init__(config)
        self.depth = min(4, config.num_hidden_layers) if config.head == "cls4" else 1
        dropout = CheapDropout(config.hidden_dropout_prob)
        dense = nn.Linear(self.depth * config.hidden_size, config.num_labels)
        # `dense` has another shape in upstream's head. So even upstream's class, which only warns
        # about an unknown `model_type`, refuses these weights.
        self.classifier = nn.Sequential(OrderedDict(dropout=dropout, dense=dense))
        self.post_init()

    def forward(self, input_ids: Tensor | None = None, *args, **kwargs):
        """Return the same as the parent class, except attention weights and hidden states.

        Raises:
            ValueError: if a sequence is longer than the position table, or if the call needs
                upstream's code, which has another head.
        """
        if self.longformer.needs_upstream(input_ids, kwargs):
            raise ValueError(
                "this head cannot return attention weights or hidden states, nor take embeddings; "
                "call model.longformer instead"
            )
        return super().forward(input_ids, *args, **kwargs)

    def _logits(self, *inputs: Tensor | None) -> Tensor:
        """Return the logits, (B, L)."""
        if self.config.head == "mean":
            (hidden,), layout = self.longformer.encode(*inputs)
            return self.classifier(mean_of_tokens(hidden, layout))
        states, layout = self.longformer.encode(*inputs, first_only=True, depth=self.depth)
        firsts = [*(hidden[layout.first] for hidden in states[:-1]), states[-1]]
        return self.classifier(torch.cat(firsts, dim=-1))


def mean_of_tokens(hidden: Tensor, layout: Layout) -> Tensor:
    """Average each comment's tokens, without padding: (U, C) → (B, C)."""
    means = []
    for block, tokens in zip(layout.blocks, layout.split(hidden), strict=True):
        if block.is_padding is None:
            means.append(tokens.mean(dim=1))  # (S, length, C) → (S, C)
        else:
            kept = (~block.is_padding).to(tokens.dtype)[..., None]
            means.append((tokens * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1))
    return torch.cat(means)[layout.batch_order]


def register() -> None:
    """Make transformers' Auto classes and `pipeline` use toxlib's classes for Longformers.

    This affects every Longformer that the process loads afterwards. So `import toxlib` does not
    do it; the notebooks and the command line call this function.

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
    """Add the `model_type` of this module's heads to transformers' Auto classes."""
    AutoConfig.register(PooledLongformerConfig.model_type, PooledLongformerConfig, exist_ok=True)
    AutoModelForSequenceClassification.register(
        PooledLongformerConfig, PooledLongformerForMultiLabelSequenceClassification, exist_ok=True
    )
