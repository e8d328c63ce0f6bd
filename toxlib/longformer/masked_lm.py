"""Masked language models: an encoder without padding, and a head that predicts hidden tokens.

The head reads hidden tokens only, because its logits over the vocabulary are large. Letters for
axes: B comments of T tokens, of which M are hidden; C width; V entries of the vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import (
    AutoModelForMaskedLM,
    LongformerConfig,
    LongformerForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from toxlib.longformer.encoders import unpad_encoder
from toxlib.longformer.model import UnpaddedLongformerModel


def _deberta_head(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    if model.legacy:
        return model.cls(hidden)
    return model.lm_predictions(hidden, model.get_input_embeddings())


def _distilbert_head(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    hidden = model.activation(model.vocab_transform(hidden))
    return model.vocab_projector(model.vocab_layer_norm(hidden))


LM_HEAD = ("roberta", "xlm-roberta", "camembert", "longformer", "mpnet")
HEADS: dict[str, Callable[[PreTrainedModel, Tensor], Tensor]] = {
    **dict.fromkeys(LM_HEAD, lambda model, hidden: model.lm_head(hidden)),
    "bert": lambda model, hidden: model.cls(hidden),
    "distilbert": _distilbert_head,
    "deberta-v2": _deberta_head,
    "modernbert": lambda model, hidden: model.decoder(model.head(hidden)),
    "electra": lambda model, hidden: model.generator_lm_head(model.generator_predictions(hidden)),
}
"""`model_type` → how transformers' model of this type applies its head, (M, C) → (M, V)."""


class UnpaddedLongformerForMaskedLM(LongformerForMaskedLM):
    """transformers' Longformer with a language-model head, on an encoder without padding."""

    computes_padding = False
    supports_gradient_checkpointing = False

    def __init__(self, config: LongformerConfig):
        super().__init__(config)
        self.longformer = UnpaddedLongformerModel(config)
        self.post_init()


def class_for(config: PreTrainedConfig) -> type:
    """Return the class whose `from_pretrained` loads a model for `unpad_masked_lm`."""
    is_longformer = config.model_type == "longformer"
    return UnpaddedLongformerForMaskedLM if is_longformer else AutoModelForMaskedLM


def unpad_masked_lm(model: PreTrainedModel) -> PreTrainedModel:
    """Make the model's encoder compute hardly any padding; return the model."""
    if model.config.model_type == "longformer":
        return model
    return unpad_encoder(model, all_tokens=True)


def predict_hidden(
    model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, is_hidden: Tensor
) -> Tensor:
    """Return the logits of the hidden tokens, (M, V), in the order of the batch, in fp32.

    All arguments but the model are (B, T). A Longformer computes local attention alone, as in its
    pre-training (Beltagy 2020, section 5).
    """
    if model.config.model_type == "longformer":
        values = {"global_attention_mask": torch.zeros_like(input_ids), "first_only": False}
        (states,), layout = model.longformer.encode(input_ids, attention_mask, **values)
        states = layout.pad(states, input_ids.shape)  # (U, C) → (B, T, C)
    else:
        states = model.base_model(input_ids, attention_mask)[0]
    return HEADS[model.config.model_type](model, states[is_hidden]).float()


def copy_to_global_attention(model: PreTrainedModel) -> None:
    """Copy a Longformer's local projections into those of its global attention.

    Masked-language-model training changes the local ones alone, and the global ones have to fit
    the changed layers.
    """
    for layer in model.base_model.encoder.layer:
        module = layer.attention.self
        for name in ("query", "key", "value"):
            local = getattr(module, name).state_dict()
            getattr(module, f"{name}_global").load_state_dict(local)
