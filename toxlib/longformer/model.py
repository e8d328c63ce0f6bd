"""The classifier: a Longformer with one logit per label that computes almost nothing for padding.

Its parameters have the names and shapes of transformers' Longformer, so each class loads what the
other has saved. `unpad.py` removes the padding and `attention.py` computes the attention.
"""

from collections import deque
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import LongformerConfig, LongformerForSequenceClassification, LongformerModel
from transformers.models.longformer.modeling_longformer import (
    LongformerLayer,
    LongformerSequenceClassifierOutput,
    create_position_ids_from_input_ids,
)
from transformers.utils import can_return_tuple

from toxlib.longformer import attention
from toxlib.longformer.dropout import use_cheap_dropout
from toxlib.longformer.positions import longest_sequence
from toxlib.longformer.unpad import Layout, attend_in_blocks, fp32_on_cpu, layout_for


class UnpaddedLongformerModel(LongformerModel):
    """transformers' `LongformerModel` with a method `encode` that computes hardly any padding.

    Set `use_upstream = True` to let classifiers run transformers' `forward`, for comparison.
    """

    supports_gradient_checkpointing = False  # `encode` would ignore it
    use_upstream = False

    def __init__(self, config: LongformerConfig):
        super().__init__(config, add_pooling_layer=False)
        use_cheap_dropout(self)

    def encode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        first_only: bool = True,
        depth: int = 1,
    ) -> tuple[list[Tensor], Layout]:
        """Return the hidden states of the last `depth` layers without padding, and their layout.

        Args:
            input_ids, …: (B, T). If `global_attention_mask` is None, each comment's first token
                is global.
            first_only: the last layer returns each comment's first token only, (B, C). If no
                other token is global, only these rows are computed. Other layers return (U, C).
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        if position_ids is None:
            padding_id = self.embeddings.padding_idx
            position_ids = create_position_ids_from_input_ids(input_ids, padding_id)
        layout = layout_for(mask, global_attention_mask)
        # (B, T) → (U, C)
        hidden = self.embeddings(*map(layout.unpad, (input_ids, types, position_ids)))
        states = deque(maxlen=depth)
        layers, windows = self.encoder.layer, self.config.attention_window
        for layer, window in zip(layers, windows, strict=True):
            is_last = layer is layers[-1]
            hidden = _compute_layer(layer, hidden, layout, window // 2, first_only and is_last)
            states.append(hidden)
        return list(states), layout


class LongformerForMultiLabelSequenceClassification(LongformerForSequenceClassification):
    """Longformer with a classification head: CLS → dropout → dense → tanh → dropout → logits.

    It differs from transformers' `LongformerForSequenceClassification` (upstream) in four ways:

    * It computes hardly any padding. If a call asks for attention weights or hidden states, or
      gives embeddings, upstream's code runs.
    * It reads the first token that is not padding; upstream reads position 0 in any case.
    * The loss is always binary cross-entropy with logits. Upstream takes integer labels for class
      numbers unless `problem_type` is set.
    * When gradients are accumulated, the loss is divided by the steps once, not twice
      (`accepts_loss_kwargs`, transformers issue 47688).

    >>> import torch
    >>> from toxlib import LongformerForMultiLabelSequenceClassification
    >>> from transformers import LongformerConfig
    >>> config = LongformerConfig(vocab_size=10, num_hidden_layers=1, num_labels=3)
    >>> model = LongformerForMultiLabelSequenceClassification(config)
    >>> input_ids = torch.tensor([[5, 6, 7], [8, 9, config.pad_token_id]])
    >>> labels = torch.tensor([[0, 1, 1], [0, 0, 0]])  # any number of labels per comment
    >>> output = model(input_ids, attention_mask=input_ids != config.pad_token_id, labels=labels)
    >>> output.logits.shape, output.loss.shape
    (torch.Size([2, 3]), torch.Size([]))
    """

    accepts_loss_kwargs = False
    computes_padding = False
    supports_gradient_checkpointing = False

    def __init__(self, config: LongformerConfig):
        config.problem_type = "multi_label_classification"
        super().__init__(config)
        self.longformer = UnpaddedLongformerModel(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs,
    ) -> LongformerSequenceClassifierOutput | tuple:
        """Return the logits (B, L) and, if `labels` (B, L) of 0 and 1 are given, the loss.

        Raises:
            ValueError: if a sequence is longer than the position table.
        """
        longest = longest_sequence(self.config)
        if input_ids is not None and input_ids.shape[1] > longest:
            raise ValueError(
                f"a text of {input_ids.shape[1]} tokens does not fit the model's {longest} "
                "positions; truncate it, or use a model with more positions"
            )
        labels = None if labels is None else labels.to(self.dtype)
        inputs = (input_ids, attention_mask, global_attention_mask, token_type_ids, position_ids)
        if self.needs_upstream(input_ids, kwargs):
            return super().forward(*inputs, labels=labels, **kwargs)
        logits, loss = self._logits(*inputs), None
        if labels is not None:
            loss = F.binary_cross_entropy_with_logits(logits.to(labels.dtype), labels)
        return LongformerSequenceClassifierOutput(loss=loss, logits=logits)

    def needs_upstream(self, input_ids: Tensor | None, kwargs: dict) -> bool:
        """Return whether a call with these arguments runs transformers' own code."""
        outputs = ("output_attentions", "output_hidden_states")
        wants_more = any(kwargs.get(name) or getattr(self.config, name) for name in outputs)
        return self.longformer.use_upstream or wants_more or input_ids is None

    def _logits(self, *inputs: Tensor | None) -> Tensor:
        """Return the logits, (B, L), from the first token of each comment."""
        (first,), _ = self.longformer.encode(*inputs)
        return self.classifier(
            first[:, None]
        )  # upstream's head takes (B, T, C) and reads its token 0


def _compute_layer(
    layer: LongformerLayer, hidden: Tensor, layout: Layout, reach: int, first_only: bool
) -> Tensor:
    """Compute one layer without padding: (U, C) → (U, C), or → (B, C) if `first_only`."""
    if first_only and layout.only_first_is_global:
        output = _global_attention(layer, hidden, layout)[layout.batch_order]
        hidden = hidden[layout.first]
    else:
        output = _local_attention(layer, hidden, layout, reach)
        if len(layout.global_positions):
            of_globals = _global_attention(layer, hidden, layout)
            output = output.index_copy(0, layout.global_positions, of_globals.to(output.dtype))
        if first_only:
            output, hidden = output[layout.first], hidden[layout.first]
    return layer.ff_chunk(layer.attention.output(output, hidden))


def _local_attention(layer: LongformerLayer, hidden: Tensor, layout: Layout, reach: int) -> Tensor:
    """Compute the attention of the tokens that are not global: (U, C) → (U, C)."""
    module = layer.attention.self
    values = {"reach": reach, "dropout": module.dropout if module.training else 0.0}
    functions = [
        partial(
            attention.window_attention,
            global_index=block.global_index,
            is_padding=block.is_padding,
            **values,
        )
        for block in layout.blocks
    ]
    projected = [project(hidden) for project in (module.query, module.key, module.value)]
    return attend_in_blocks(functions, layout, module.num_heads, *projected)


def _global_attention(layer: LongformerLayer, hidden: Tensor, layout: Layout) -> Tensor:
    """Compute the attention of the global tokens: (U, C) → (P, C)."""
    module, value = layer.attention.self, layer.attention.self.value_global
    dropout = module.dropout if module.training else 0.0
    query = module.query_global(hidden[layout.global_positions])  # (P, C)
    with torch.autocast("cpu", enabled=False):
        query = fp32_on_cpu(query).unflatten(-1, (module.num_heads, -1))  # (P, H, D)
        probes = layout.split_globals(attention.make_probes(query, module.key_global.weight))
        states = layout.split(fp32_on_cpu(hidden))
        gathered = [
            attention.gather_by_probes(*inputs, block.is_padding, dropout)
            for block, *inputs in zip(layout.blocks, probes, states, strict=True)
        ]
        states, sums = (torch.cat(parts) for parts in zip(*gathered, strict=True))
        return attention.project_gathered(states, sums, value.weight, value.bias)
