"""How families of BERT-like encoders name their modules, and how they differ from BERT.

An adapter is given a transformers encoder and tells `encoders.py` its parts. Letters for axes: U
tokens of a batch without padding, C width. In a block there are S comments of T tokens, with H
heads of D values, and Q queries per comment: T, or 1 in a last layer that computes only first
tokens. R is the number of relative positions.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.models.deberta_v2.modeling_deberta_v2 import scaled_size_sqrt
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

from toxlib.longformer.attention import full_attention, window_attention
from toxlib.longformer.unpad import Block, fp32_on_cpu

Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None, object, float], Tensor]
"""Queries (S, H, Q, D), keys and values (S, H, T, D), padding (S, T), what `prepare` has returned
for the block, and the dropout of attention weights → the attention output, (S, H, Q, D)."""


class Bert:
    """The adapter of BERT, RoBERTa, XLM-RoBERTa, CamemBERT and ELECTRA."""

    needs_upstream: tuple[str, ...] = (
        "inputs_embeds", "output_attentions", "output_hidden_states", "encoder_hidden_states",
        "past_key_values",
    )  # fmt: skip
    """Arguments with which a call runs transformers' own forward pass."""

    def __init__(self, encoder: PreTrainedModel):
        self.encoder, self.config = encoder, encoder.config

    def fits(self) -> bool:
        """Return whether the adapter knows all parts that this encoder has."""
        unknown = "is_decoder", "add_cross_attention"
        return not any(getattr(self.config, name, False) for name in unknown)

    @property
    def layers(self) -> nn.ModuleList:
        """The layers, the first one first."""
        return self.encoder.encoder.layer

    def embed(self, ids: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        """Return the embeddings of tokens, (1, U) → (1, U, C)."""
        values = {"input_ids": ids, "token_type_ids": types, "position_ids": positions}
        embedded = self.encoder.embeddings(**values)
        # ELECTRA's embeddings may be narrower than its layers.
        return getattr(self.encoder, "embeddings_project", nn.Identity())(embedded)

    def prepare(self, block: Block) -> object:
        """Return what the attention in a block needs in all layers."""

    def normalise(self, layer: nn.Module, hidden: Tensor) -> Tensor:
        """Return what the projections read, (U, C) → (U, C)."""
        return hidden

    def projections(self, layer: nn.Module) -> tuple[Callable[[Tensor], Tensor], ...]:
        """Return the projections to queries, keys and values, each (U, C) → (U, C)."""
        module = layer.attention.self
        return module.query, module.key, module.value

    def attention(self, layer: nn.Module) -> Attention:
        """Return the function that computes this layer's attention in a block."""
        return self._attend

    def _attend(self, query, key, value, is_padding, prepared, dropout) -> Tensor:
        return full_attention(query, key, value, is_padding, dropout=dropout)

    def attention_dropout(self, layer: nn.Module) -> float:
        """Return the share of attention weights that are dropped in training."""
        return layer.attention.self.dropout.p

    def add_attention(self, layer: nn.Module, attended: Tensor, hidden: Tensor) -> Tensor:
        """Project the attention output and add it to the hidden states, (U, C) → (U, C)."""
        return layer.attention.output(attended, hidden)

    def feed_forward(self, layer: nn.Module, hidden: Tensor) -> Tensor:
        """Apply the rest of the layer, (U, C) → (U, C)."""
        return layer.output(layer.intermediate(hidden), hidden)

    def finish(self, hidden: Tensor) -> Tensor:
        """Apply what follows the last layer, (U, C) → (U, C)."""
        return hidden


class DistilBert(Bert):
    """The adapter of DistilBERT, which has no token types."""

    @property
    def layers(self) -> nn.ModuleList:
        return self.encoder.transformer.layer

    def embed(self, ids: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        return self.encoder.embeddings(input_ids=ids, position_ids=positions)

    def projections(self, layer: nn.Module) -> tuple[Callable[[Tensor], Tensor], ...]:
        return layer.attention.q_lin, layer.attention.k_lin, layer.attention.v_lin

    def attention_dropout(self, layer: nn.Module) -> float:
        return layer.attention.dropout.p

    def add_attention(self, layer: nn.Module, attended: Tensor, hidden: Tensor) -> Tensor:
        return layer.sa_layer_norm(layer.attention.out_lin(attended) + hidden)

    def feed_forward(self, layer: nn.Module, hidden: Tensor) -> Tensor:
        return layer.output_layer_norm(layer.ffn.ff_chunk(hidden) + hidden)


class MPNet(Bert):
    """The adapter of MPNet, whose scores have a bias for the distance of two tokens."""

    def embed(self, ids: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        return self.encoder.embeddings(input_ids=ids, position_ids=positions)

    def prepare(self, block: Block) -> Tensor:
        """Return the bias of each pair of positions, (1, H, T, T)."""
        like = torch.empty(1, block.length, device=self.encoder.device)
        return self.encoder.encoder.compute_position_bias(like)

    def projections(self, layer: nn.Module) -> tuple[Callable[[Tensor], Tensor], ...]:
        module = layer.attention.attn
        return module.q, module.k, module.v

    def _attend(self, query, key, value, is_padding, prepared, dropout) -> Tensor:
        bias = prepared[:, :, : query.shape[2]].to(query.dtype)
        return full_attention(query, key, value, is_padding, bias, dropout)

    def attention_dropout(self, layer: nn.Module) -> float:
        return layer.attention.attn.dropout.p

    def add_attention(self, layer: nn.Module, attended: Tensor, hidden: Tensor) -> Tensor:
        module = layer.attention
        return module.LayerNorm(module.dropout(module.attn.o(attended)) + hidden)


class DebertaV2(Bert):
    """The adapter of DeBERTa-v2 and v3, whose contents also have scores with relative positions.

    A pair of tokens has the score q·k + q·K(r) + k·Q(r), scaled, where r is the embedding of their
    relative position, and K and Q are projections (He 2021, arXiv 2006.03654, section 3.1).
    """

    def fits(self) -> bool:
        return self.encoder.encoder.conv is None and self.encoder.encoder.relative_attention

    def embed(self, ids: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        values = {"input_ids": ids, "token_type_ids": types, "position_ids": positions}
        return self.encoder.embeddings(**values)

    def prepare(self, block: Block) -> tuple[Tensor, slice]:
        """Return each pair's row of r among the rows that the block needs, and those rows.

        The first is (T, T).
        """
        like = torch.empty(1, block.length, 1, device=self.encoder.device)
        span = self.layers[0].attention.self.pos_ebd_size
        rows = (self.encoder.encoder.get_rel_pos(like)[0] + span).clamp(0, 2 * span - 1)
        first, last = rows.aminmax()
        return rows - first, slice(int(first), int(last) + 1)

    def projections(self, layer: nn.Module) -> tuple[Callable[[Tensor], Tensor], ...]:
        module = layer.attention.self
        return module.query_proj, module.key_proj, module.value_proj

    def attention(self, layer: nn.Module) -> Attention:
        module = layer.attention.self
        keys, queries = "c2p" in module.pos_att_type, "p2c" in module.pos_att_type
        embedded = module.pos_dropout(self.encoder.encoder.get_rel_embedding())  # (R, C)
        shared = module.share_att_key
        to_key = module.key_proj if shared or not keys else module.pos_key_proj
        to_query = module.query_proj if shared or not queries else module.pos_query_proj
        tables = [
            fp32_on_cpu(project(embedded)).unflatten(1, (module.num_attention_heads, -1))
            if wanted
            else None
            for project, wanted in ((to_key, keys), (to_query, queries))
        ]  # (R, H, D)
        return partial(self._attend, *tables)

    @staticmethod
    def _attend(to_keys, to_queries, query, key, value, is_padding, prepared, dropout) -> Tensor:
        pairs, rows = prepared
        pairs = pairs[: query.shape[2]]  # (Q, T)
        scores = []
        if to_keys is not None:
            found = query @ to_keys[rows].permute(1, 2, 0).to(query.dtype)  # (S, H, Q, R)
            scores.append(found.gather(3, pairs.expand(*found.shape[:2], -1, -1)))
        if to_queries is not None:
            found = key @ to_queries[rows].permute(1, 2, 0).to(query.dtype)  # (S, H, T, R)
            turned = found.gather(3, pairs.T.expand(*found.shape[:2], -1, -1))
            scores.append(turned.transpose(2, 3))
        scale = 1 / float(scaled_size_sqrt(query, 1 + len(scores)))
        bias = sum(scores) * scale if scores else None
        return full_attention(query, key, value, is_padding, bias, dropout, scale)


class ModernBert(Bert):
    """The adapter of ModernBERT: rotary positions, windows in most layers, norms in front."""

    needs_upstream = (*Bert.needs_upstream, "position_ids")

    @property
    def layers(self) -> nn.ModuleList:
        return self.encoder.layers

    def embed(self, ids: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        return self.encoder.embeddings(input_ids=ids)

    def prepare(self, block: Block) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the cosines and sines of all positions, (1, T, D) each, by type of layer."""
        positions = torch.arange(block.length, device=self.encoder.device)[None]
        like = torch.empty(0, dtype=self.encoder.dtype, device=self.encoder.device)
        types = set(self.config.layer_types)
        return {name: self.encoder.rotary_emb(like, positions, name) for name in types}

    def normalise(self, layer: nn.Module, hidden: Tensor) -> Tensor:
        return layer.attn_norm(hidden)

    def projections(self, layer: nn.Module) -> tuple[Callable[[Tensor], Tensor], ...]:
        module = layer.attn.Wqkv
        biases = [None] * 3 if module.bias is None else module.bias.chunk(3)
        weights = zip(module.weight.chunk(3), biases, strict=True)
        return tuple(partial(F.linear, weight=weight, bias=bias) for weight, bias in weights)

    def attention(self, layer: nn.Module) -> Attention:
        return partial(self._attend, layer.attention_type)

    def _attend(self, kind, query, key, value, is_padding, prepared, dropout) -> Tensor:
        cos, sin = prepared[kind]
        queries, tokens, reach = query.shape[2], key.shape[2], self.config.sliding_window
        query, _ = apply_rotary_pos_emb(query, query[:0], cos[:, :queries], sin[:, :queries])
        _, key = apply_rotary_pos_emb(key[:0], key, cos, sin)
        if kind == "full_attention" or tokens <= reach + 1:
            return full_attention(query, key, value, is_padding, None, dropout)
        if queries == 1:
            near = slice(reach + 1)
            is_padding = None if is_padding is None else is_padding[:, near]
            key, value = key[:, :, near], value[:, :, near]
            return full_attention(query, key, value, is_padding, None, dropout)
        no_globals = torch.empty(len(query), 0, dtype=torch.long, device=query.device)
        return window_attention(query, key, value, reach, no_globals, is_padding, dropout)

    def attention_dropout(self, layer: nn.Module) -> float:
        return layer.attn.attention_dropout

    def add_attention(self, layer: nn.Module, attended: Tensor, hidden: Tensor) -> Tensor:
        return hidden + layer.attn.out_drop(layer.attn.Wo(attended))

    def feed_forward(self, layer: nn.Module, hidden: Tensor) -> Tensor:
        return hidden + layer.mlp(layer.mlp_norm(hidden))

    def finish(self, hidden: Tensor) -> Tensor:
        return self.encoder.final_norm(hidden)


ADAPTERS = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), Bert),
    "distilbert": DistilBert,
    "mpnet": MPNet,
    "deberta-v2": DebertaV2,
    "modernbert": ModernBert,
}
"""The adapter of each `model_type`."""
