"""Turn a BERT- or RoBERTa-like encoder into a Longformer that takes longer texts.

If its window covers the whole text, a Longformer computes full attention. So with the encoder's
weights in all its projections it gives the same hidden states as the encoder.
"""

import math
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, LongformerConfig, PreTrainedConfig, PreTrainedModel

from toxlib.errors import InputError
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
    checkpoint: str | Path, max_length: int, attention_window: int, revision: str | None = None
) -> UnpaddedLongformerModel:
    """Return a Longformer with the weights of a shorter encoder.

    It gives the encoder's hidden states for texts that fit the encoder and have no more than
    `attention_window / 2 + 1` tokens. In longer texts each token attends only to its window and to
    the global tokens, and the rows of the position table are repeated (Beltagy 2020, section 5).
    Fine-tuning has to adapt the model to both.

    Args:
        checkpoint: a folder or hub name of a BERT, RoBERTa, XLM-RoBERTa, CamemBERT or DistilBERT.
        max_length: number of tokens that the Longformer takes.
        attention_window: number of tokens that local attention spans, an even number.
        revision: commit of a hub checkpoint.

    Raises:
        InputError: if the window is odd or the encoder is of another type. For example, DeBERTa
            and ModernBERT have relative and rotary positions and so no position table to repeat.
    """
    name = {"pretrained_model_name_or_path": checkpoint, "revision": revision or "main"}
    source = AutoConfig.from_pretrained(**name)
    is_absolute = getattr(source, "position_embedding_type", "absolute") == "absolute"
    is_decoder = getattr(source, "is_decoder", False)
    if source.model_type not in CONVERTIBLE or not is_absolute or is_decoder:
        raise InputError(
            f"lengthen_to={max_length}: {checkpoint} has type {source.model_type!r}; choose an "
            f"encoder of type {', '.join(CONVERTIBLE)} with absolute positions, no decoder"
        )
    if attention_window < 2 or attention_window % 2:
        raise InputError(f"attention_window={attention_window}: it must be even, and at least 2")
    encoder = AutoModel.from_pretrained(**name)
    config = _longformer_config(source, max_length, attention_window)
    model = UnpaddedLongformerModel(config, add_pooling_layer=False)
    weights = _longformer_weights(encoder, config)
    # Global attention starts with copies of the local projections.
    model.load_state_dict({n: weights[n.replace("_global.", ".")] for n in model.state_dict()})
    return model.eval()


def _longformer_config(
    source: PreTrainedConfig, max_length: int, attention_window: int
) -> LongformerConfig:
    """Return the encoder's configuration under Longformer's names."""
    padding_id = source.pad_token_id or 0
    names = DISTILBERT_VALUES if source.model_type == "distilbert" else {}
    values = {name: getattr(source, names.get(name, name)) for name in COPIED_VALUES}
    return LongformerConfig(
        **values,
        attention_window=attention_window,
        max_position_embeddings=max_length + padding_id + 1,
        pad_token_id=padding_id,
        type_vocab_size=getattr(source, "type_vocab_size", 1),
        layer_norm_eps=getattr(source, "layer_norm_eps", 1e-12),  # fixed in DistilBERT's code
    )


def _longformer_weights(encoder: PreTrainedModel, config: LongformerConfig) -> dict[str, Tensor]:
    """Return the encoder's weights under Longformer's names, with a longer position table."""
    renamed = {}
    for name, tensor in encoder.state_dict().items():
        for old, new in DISTILBERT_WEIGHTS.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    if encoder.config.model_type == "distilbert":  # it has no token types
        renamed["embeddings.token_type_embeddings.weight"] = torch.zeros(1, config.hidden_size)
    positions = "embeddings.position_embeddings.weight"
    renamed[positions] = _repeat_positions(renamed[positions], encoder.config, config)
    return renamed


def _repeat_positions(table: Tensor, source: PreTrainedConfig, config: LongformerConfig) -> Tensor:
    """Repeat the rows of the encoder's position table, (rows, C), to Longformer's length.

    Longformer and RoBERTa number the first token `pad_token_id + 1`, so the rows before it are
    unused. BERT numbers it 0, so unused rows are added before its table.
    """
    before = config.pad_token_id + 1
    if source.model_type in COUNTS_POSITIONS_FROM_PADDING:
        unused, tokens = table[:before], table[before:]
    else:
        unused, tokens = table.new_zeros(before, table.shape[1]), table
    wanted = config.max_position_embeddings - before
    repeated = tokens.repeat(math.ceil(wanted / len(tokens)), 1)[:wanted]
    return torch.cat([unused, repeated])
