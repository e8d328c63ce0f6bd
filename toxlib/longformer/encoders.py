"""Run transformers' BERT-like encoders without padding.

`unpad_encoder` gives the encoder inside a classifier another forward pass. The modules, their
parameters and the saved files stay transformers' own, and the results are the same.
`families.py` says how each family of encoders names its modules.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.longformer.modeling_longformer import create_position_ids_from_input_ids

from toxlib.longformer.dropout import use_cheap_dropout
from toxlib.longformer.families import ADAPTERS, Bert
from toxlib.longformer.positions import COUNTS_POSITIONS_FROM_PADDING
from toxlib.longformer.unpad import Layout, attend_in_blocks, layout_for


def unpad_encoder(model: PreTrainedModel, all_tokens: bool = False) -> PreTrainedModel:
    """Make a classifier's encoder compute hardly any padding; return the classifier.

    The encoder returns the hidden states that the classifier reads, or those of `all_tokens`,
    which a language-model head reads. Nothing changes for an encoder that has no adapter. A call
    that asks for attention weights or hidden states, or gives embeddings, runs transformers' own
    forward pass. All calls do if you set `model.base_model.use_upstream = True`, for comparison.

    >>> from transformers import RobertaConfig, RobertaForSequenceClassification
    >>> config = RobertaConfig(vocab_size=10, num_hidden_layers=1, num_labels=3)
    >>> model = unpad_encoder(RobertaForSequenceClassification(config))
    >>> ids = torch.tensor([[0, 5, 2], [0, 2, config.pad_token_id]])
    >>> model(input_ids=ids, attention_mask=ids != config.pad_token_id).logits.shape
    torch.Size([2, 3])
    """
    encoder, kind = model.base_model, model.config.model_type
    if kind not in ADAPTERS or not ADAPTERS[kind](encoder).fits():
        return model
    use_cheap_dropout(encoder)
    encoder.use_upstream = False
    pooling = getattr(model.config, "classifier_pooling", "cls")
    encoder.returns_first_only = pooling == "cls" and not all_tokens
    encoder.forward = partial(_forward, encoder.forward, ADAPTERS[kind](encoder))
    model.computes_padding = False
    # The unpadded forward pass would ignore it.
    encoder.supports_gradient_checkpointing = model.supports_gradient_checkpointing = False
    return model


def _forward(
    upstream: Callable,
    adapter: Bert,
    input_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    *others: object,
    **values: object,
) -> BaseModelOutputWithPooling:
    """Return the last hidden states that the classifier or language-model head reads.

    They are those of each comment's first token, (B, 1, C); or of all tokens, (B, T, C), for a
    classifier that takes the mean, or a language-model head. Upstream's are returned if a call
    needs upstream's code.
    """
    encoder = adapter.encoder
    if encoder.use_upstream or input_ids is None or others or _needs_upstream(adapter, values):
        return upstream(input_ids, attention_mask, *others, **values)
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    types, positions = values.get("token_type_ids"), values.get("position_ids")
    types = torch.zeros_like(input_ids) if types is None else types
    positions = _number_tokens(encoder, input_ids) if positions is None else positions
    layout = layout_for(mask)
    # (B, T) → (1, U) → (U, C)
    tokens = (layout.unpad(x.expand_as(input_ids))[None] for x in (input_ids, types, positions))
    hidden = adapter.embed(*tokens)[0]
    first_only = encoder.returns_first_only
    hidden = _run_layers(adapter, hidden, layout, first_only)
    hidden = hidden[layout.batch_order, None] if first_only else layout.pad(hidden, mask.shape)
    pooler = getattr(encoder, "pooler", None)
    return BaseModelOutputWithPooling(hidden, pooler and pooler(hidden))


def _needs_upstream(adapter: Bert, values: dict[str, object]) -> bool:
    given = [values.get(name) for name in adapter.needs_upstream]
    config = adapter.config
    is_given = any(value is not None and value is not False for value in given)
    return is_given or config.output_attentions or config.output_hidden_states


def _run_layers(adapter: Bert, hidden: Tensor, layout: Layout, first_only: bool) -> Tensor:
    """Apply all layers, (U, C) → (U, C), or → (B, C) in the blocks' order if `first_only`."""
    heads, prepared = adapter.config.num_attention_heads, [*map(adapter.prepare, layout.blocks)]
    for layer in adapter.layers:
        attend = adapter.attention(layer)
        dropout = adapter.attention_dropout(layer) if adapter.encoder.training else 0.0
        functions = [
            partial(attend, is_padding=block.is_padding, prepared=values, dropout=dropout)
            for block, values in zip(layout.blocks, prepared, strict=True)
        ]
        states = adapter.normalise(layer, hidden)
        to_query, to_key, to_value = adapter.projections(layer)
        key, value = to_key(states), to_value(states)
        if first_only and layer is adapter.layers[-1]:
            hidden, states = hidden[layout.global_positions], states[layout.global_positions]
        attended = attend_in_blocks(functions, layout, heads, to_query(states), key, value)
        hidden = adapter.feed_forward(layer, adapter.add_attention(layer, attended, hidden))
    return adapter.finish(hidden)


def _number_tokens(encoder: PreTrainedModel, input_ids: Tensor) -> Tensor:
    """Return the positions that the encoder gives to the tokens of a padded batch, (B, T)."""
    if encoder.config.model_type in COUNTS_POSITIONS_FROM_PADDING:
        return create_position_ids_from_input_ids(input_ids, encoder.embeddings.padding_idx)
    return torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
