"""Turn a BERT- or RoBERTa-like encoder into a Longformer that reads further.

As long as the window covers the text, a Longformer computes full attention, so that with the
encoder's own weights in all its projections it gives the encoder's own hidden states.

Letters: M position rows of the encoder that stand for tokens, C hidden size.
"""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, LongformerConfig, PreTrainedConfig

from toxlib.errors import InputError
from toxlib.model import PackedLongformerModel
from toxlib.positions import COUNTS_POSITIONS_FROM_PADDING

CONVERTIBLE = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert")
DISTILBERT_NAMES = {
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


def lengthen(
    checkpoint: str | Path,
    max_length: int,
    attention_window: int,
    revision: str | None = None,
) -> PackedLongformerModel:
    """A Longformer with the weights of a shorter encoder.

    Its hidden states are the encoder's own for texts of at most `attention_window / 2 + 1` tokens
    that also fit the encoder. Beyond, tokens attend to their window and the global tokens, and the
    position table is repeated (Beltagy 2020, section 5); fine-tuning has to do the rest. The
    projections of global tokens begin as copies of the local ones.

    Args:
        checkpoint: a folder or hub name of a BERT, RoBERTa, XLM-RoBERTa, CamemBERT or DistilBERT.
        max_length: tokens that the result reads.
        attention_window: tokens that local attention spans, an even number.
        revision: commit of a hub checkpoint.

    Raises:
        InputError: for an encoder of another kind, such as one with relative or rotary positions
            (DeBERTa, ModernBERT), which has no position table to repeat; or an odd window.
    """
    name = {"pretrained_model_name_or_path": checkpoint, "revision": revision or "main"}
    source = AutoConfig.from_pretrained(**name)
    _check(source, checkpoint, attention_window)
    encoder = AutoModel.from_pretrained(**name)
    config = _longformer_config(source, max_length, attention_window)
    model = PackedLongformerModel(config, add_pooling_layer=False)
    model.load_state_dict(_converted(encoder.state_dict(), source, config))
    return model.eval()


def _check(source: PreTrainedConfig, checkpoint: str | Path, attention_window: int) -> None:
    absolute = getattr(source, "position_embedding_type", "absolute") == "absolute"
    if source.model_type not in CONVERTIBLE or not absolute:
        raise InputError(
            f"lengthen: {checkpoint} is of type {source.model_type!r} or has no table of absolute "
            f"positions; choose an encoder of type {', '.join(CONVERTIBLE)}"
        )
    if getattr(source, "is_decoder", False):
        raise InputError(f"lengthen: {checkpoint} is a decoder; choose an encoder")
    if attention_window < 2 or attention_window % 2:
        raise InputError(f"attention_window={attention_window}: it must be even, and at least 2")


def _longformer_config(
    source: PreTrainedConfig, max_length: int, attention_window: int
) -> LongformerConfig:
    """The encoder's configuration in Longformer's terms; DistilBERT has names of its own."""
    padding = source.pad_token_id or 0
    dropout = source.dropout if source.model_type == "distilbert" else source.hidden_dropout_prob
    attention_dropout = (
        source.attention_dropout
        if source.model_type == "distilbert"
        else source.attention_probs_dropout_prob
    )
    return LongformerConfig(
        attention_window=attention_window,
        vocab_size=source.vocab_size,
        hidden_size=source.hidden_size,
        num_hidden_layers=source.num_hidden_layers,
        num_attention_heads=source.num_attention_heads,
        intermediate_size=getattr(source, "intermediate_size", None) or source.hidden_dim,
        hidden_act=getattr(source, "hidden_act", None) or source.activation,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=attention_dropout,
        max_position_embeddings=max_length + padding + 1,
        type_vocab_size=getattr(source, "type_vocab_size", 1),
        initializer_range=source.initializer_range,
        layer_norm_eps=getattr(source, "layer_norm_eps", 1e-12),  # DistilBERT's is fixed
        pad_token_id=padding,
        bos_token_id=source.bos_token_id,
        eos_token_id=source.eos_token_id,
    )


def _converted(
    weights: dict[str, torch.Tensor], source: PreTrainedConfig, config: LongformerConfig
) -> dict[str, torch.Tensor]:
    named = {_longformer_name(name): tensor for name, tensor in weights.items()}
    named = {n: t for n, t in named.items() if n.startswith(("embeddings.", "encoder."))}
    for buffer in ("embeddings.position_ids", "embeddings.token_type_ids"):
        named.pop(buffer, None)
    for name in list(named):
        for projection in ("query", "key", "value"):
            local = f"attention.self.{projection}."
            named[name.replace(local, f"attention.self.{projection}_global.")] = named[name]
    if source.model_type == "distilbert":  # it knows no token types
        named["embeddings.token_type_embeddings.weight"] = torch.zeros(1, config.hidden_size)
    table = named["embeddings.position_embeddings.weight"]
    named["embeddings.position_embeddings.weight"] = _repeated_positions(table, source, config)
    return named


def _longformer_name(name: str) -> str:
    for old, new in DISTILBERT_NAMES.items():
        name = name.replace(old, new)
    return name


def _repeated_positions(
    table: torch.Tensor, source: PreTrainedConfig, config: LongformerConfig
) -> torch.Tensor:
    """The rows of the encoder's tokens, (M, C), repeated behind the rows that stand for none.

    Longformer and RoBERTa count tokens from the padding id + 1; the rows before belong to no
    token. BERT counts from row 0, so that its table moves down.
    """
    before = config.pad_token_id + 1
    counts_from_padding = source.model_type in COUNTS_POSITIONS_FROM_PADDING
    unused = table[:before] if counts_from_padding else table.new_zeros(before, table.shape[1])
    tokens = table[before:] if counts_from_padding else table  # (M, C)
    wanted = config.max_position_embeddings - before
    repeated = tokens.repeat(-(-wanted // len(tokens)), 1)[:wanted]
    return torch.cat([unused, repeated])
