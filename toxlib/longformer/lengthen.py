"""Turn a BERT- or RoBERTa-like encoder into a Longformer that takes longer texts.

A Longformer whose window covers the whole text computes full attention. So with an encoder's
weights in all its projections it gives the same hidden states as the encoder.
"""

import math
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, LongformerConfig, PreTrainedConfig, PreTrainedModel

from toxlib.errors import InputError, show
from toxlib.longformer.model import UnpaddedLongformerModel
from toxlib.longformer.positions import COUNTS_POSITIONS_FROM_PADDING

CONVERTIBLE = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert")
DISTILBERT_WEIGHTS = {
    "transformer.layer": "encoder.layer",
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
COPIED_VALUES = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range",
    "bos_token_id", "eos_token_id",
)  # fmt: skip
DISTILBERT_VALUES = {
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
}


def lengthen(
    checkpoint: str | Path, max_length: int, attention_window: int, revision: str = "main"
) -> UnpaddedLongformerModel:
    """Return a Longformer for `max_length` tokens with the weights of a shorter encoder.

    It gives the encoder's hidden states for texts that fit the encoder and have no more than
    `attention_window / 2 + 1` tokens. In longer texts each token attends only to its window and to
    the global tokens, and the rows of the position table are repeated (Beltagy 2020, section 5).
    Fine-tuning has to adapt the model to both.

    Args:
        checkpoint, revision: a folder, or a hub name and commit, of a `CONVERTIBLE` encoder.

    Raises:
        InputError: if the window is odd or the encoder is of another type. For example, DeBERTa
            and ModernBERT have relative and rotary positions and so no position table to repeat.
    """
    safe = {"revision": revision, "trust_remote_code": False}
    source = AutoConfig.from_pretrained(checkpoint, **safe)
    is_absolute = getattr(source, "position_embedding_type", "absolute") == "absolute"
    is_decoder = getattr(source, "is_decoder", False)
    if source.model_type not in CONVERTIBLE or not is_absolute or is_decoder:
        raise InputError(
            f"lengthen_to={max_length}: {checkpoint} has type {source.model_type!r}; choose an "
            f"encoder of type {', '.join(CONVERTIBLE)} with absolute positions, no decoder"
        )
    if attention_window % 2:
        raise InputError(f"attention_window={attention_window}: it must be even")
    values = {"dtype": torch.float32, "weights_only": True, "output_loading_info": True}
    encoder, info = AutoModel.from_pretrained(checkpoint, **safe, **values)
    if missing := [key for key in sorted(info["missing_keys"]) if not key.startswith("pooler.")]:
        fault = f"{len(missing)} of the encoder's weights are missing, such as {show(missing[0])}"
        raise InputError(f"{checkpoint}: {fault}; choose another checkpoint")
    config = _longformer_config(source, max_length, attention_window)
    model = UnpaddedLongformerModel(config)
    weights = _longformer_weights(encoder, config)
    # Global attention starts with copies of the local projections.
    model.load_state_dict({n: weights[n.replace("_global.", ".")] for n in model.state_dict()})
    return model.eval()


def _longformer_config(source: PreTrainedConfig, tokens: int, window: int) -> LongformerConfig:
    """Return the encoder's configuration under Longformer's names."""
    padding_id = source.pad_token_id or 0
    names = DISTILBERT_VALUES if source.model_type == "distilbert" else {}
    return LongformerConfig(
        **{name: getattr(source, names.get(name, name)) for name in COPIED_VALUES},
        attention_window=window,
        max_position_embeddings=tokens + padding_id + 1,
        pad_token_id=padding_id,
        type_vocab_size=getattr(source, "type_vocab_size", 1),
        layer_norm_eps=getattr(source, "layer_norm_eps", 1e-12),  # hard-coded in DistilBERT
    )


def _longformer_weights(encoder: PreTrainedModel, config: LongformerConfig) -> dict[str, Tensor]:
    """Return the encoder's weights under Longformer's names, with a longer position table.

    Longformer and RoBERTa number the first token `pad_token_id + 1`, so the table's rows before it
    are unused. BERT numbers it 0, so unused rows are added before its table.
    """
    renamed = {}
    for name, tensor in encoder.state_dict().items():
        for old, new in DISTILBERT_WEIGHTS.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    no_types = torch.zeros(1, config.hidden_size)  # DistilBERT has no token types
    renamed.setdefault("embeddings.token_type_embeddings.weight", no_types)
    before = config.pad_token_id + 1
    table = renamed["embeddings.position_embeddings.weight"]  # (rows, C)
    unused, used = table.new_zeros(before, config.hidden_size), table
    if encoder.config.model_type in COUNTS_POSITIONS_FROM_PADDING:
        unused, used = table[:before], table[before:]
    wanted = config.max_position_embeddings - before
    repeated = used.repeat(math.ceil(wanted / len(used)), 1)[:wanted]
    return renamed | {"embeddings.position_embeddings.weight": torch.cat([unused, repeated])}
