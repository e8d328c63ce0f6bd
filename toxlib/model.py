"""The classifier: Longformer with one logit per label, computed without padding.

Parameters and their names are those of transformers' Longformer, so that every checkpoint of the
one loads in the other. What differs is how the hidden states are computed: see `attention` and
`packing`.

Letters: B comments, T padded tokens, N tokens without padding, C hidden size, L labels.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator

import torch
from torch.nn import functional as F
from transformers import (
    LongformerConfig,
    LongformerForSequenceClassification,
    LongformerModel,
)
from transformers.models.longformer.modeling_longformer import (
    LongformerBaseModelOutputWithPooling,
    LongformerLayer,
    LongformerSelfAttention,
    LongformerSequenceClassifierOutput,
    create_position_ids_from_input_ids,
)

from toxlib.attention import (
    gather_by_probes,
    make_probes,
    project_gathered,
    window_attention,
)
from toxlib.dropout import use_cheap_dropout
from toxlib.packing import Packing, pack
from toxlib.positions import check_sequence_length

CUDA_MULTIPLE = 64
"""On CUDA lengths are rounded up to it: many small kernels would cost more than the padding."""


class PackedLongformerModel(LongformerModel):
    """transformers' `LongformerModel`, computed without padding.

    Set `use_upstream = True` to compute as transformers does, for comparison. Attention weights,
    all hidden states, and embeddings given in place of tokens are had from upstream's code, too.
    """

    use_upstream = False

    def __init__(self, config: LongformerConfig, add_pooling_layer: bool = True):
        super().__init__(config, add_pooling_layer)
        use_cheap_dropout(self)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        global_attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> LongformerBaseModelOutputWithPooling | tuple:
        """As upstream; hidden states (B, T, C) are zero at padding."""
        if self.needs_upstream(input_ids, kwargs):
            return super().forward(
                input_ids,
                attention_mask=attention_mask,
                global_attention_mask=global_attention_mask,
                token_type_ids=token_type_ids,
                position_ids=position_ids,
                return_dict=return_dict,
                **kwargs,
            )
        if global_attention_mask is None:  # upstream's default here: none is global
            global_attention_mask = torch.zeros_like(input_ids)
        states, packing = self.encode(
            input_ids, attention_mask, global_attention_mask, token_type_ids, position_ids
        )
        hidden = packing.unpack(states[-1], *input_ids.shape)
        pooled = None if self.pooler is None else self.pooler(hidden)
        output = LongformerBaseModelOutputWithPooling(hidden, pooled)
        return output if return_dict in (None, True) else output.to_tuple()

    def needs_upstream(self, input_ids: torch.Tensor | None, wanted: dict) -> bool:
        """Whether a call asks for what only upstream's code gives."""
        more = ("output_attentions", "output_hidden_states")
        asked = any(wanted.get(name) or getattr(self.config, name) for name in more)
        return self.use_upstream or asked or input_ids is None

    def encode(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        global_attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        first_only: bool = False,
        depth: int = 1,
    ) -> tuple[list[torch.Tensor], Packing]:
        """Hidden states of the last layers, packed, and how they are packed.

        Args:
            input_ids and the masks: (B, T); `global_attention_mask` None: each comment's first
                token is global.
            first_only: of the last layer give the first token of each comment only, in the
                batch's order; where no other token is global, nothing else is computed there.
            depth: how many layers' states to give.

        Returns:
            (N, C) for each of them, (B, C) for the last if `first_only`; and the packing.

        Raises:
            ValueError: for a sequence that is longer than the position table.
        """
        check_sequence_length(input_ids.shape[1], self.config)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        multiple = CUDA_MULTIPLE if input_ids.device.type == "cuda" else 1
        packing = pack(attention_mask, global_attention_mask, multiple)
        hidden = self._embed(input_ids, token_type_ids, position_ids, packing)
        states = deque(maxlen=depth)
        layers, reaches = self.encoder.layer, [w // 2 for w in self.config.attention_window]
        for layer, reach in zip(layers, reaches, strict=True):
            last = first_only and layer is layers[-1]
            if self.training and getattr(layer, "gradient_checkpointing", False):
                run = layer._gradient_checkpointing_func
                hidden = run(_compute_layer, layer, hidden, packing, reach, last)
            else:
                hidden = _compute_layer(layer, hidden, packing, reach, last)
            states.append(hidden)
        return list(states), packing

    def _embed(
        self,
        input_ids: torch.Tensor,
        token_type_ids: torch.Tensor | None,
        position_ids: torch.Tensor | None,
        packing: Packing,
    ) -> torch.Tensor:
        if position_ids is None:
            padding = self.embeddings.padding_idx
            position_ids = create_position_ids_from_input_ids(input_ids, padding)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        ids, types, positions = (
            packing.pack(x) for x in (input_ids, token_type_ids, position_ids)
        )
        return self.embeddings(ids, types, positions)


class LongformerForMultiLabelSequenceClassification(LongformerForSequenceClassification):
    """Longformer with the tutorial's head: CLS → dropout → dense → tanh → dropout → logits.

    transformers' own `LongformerForSequenceClassification` has the same parameters and attends
    globally from the first token too, so that either class reads what the other has saved.
    What differs: nothing is computed for padding; the loss is always binary cross-entropy with
    logits (upstream takes integer labels for classes unless `problem_type` is set); and it is not
    divided a second time when gradients are accumulated (`accepts_loss_kwargs`, transformers
    issue 47688).
    """

    accepts_loss_kwargs = False
    computes_padding = False

    def __init__(self, config: LongformerConfig):
        config.problem_type = "multi_label_classification"
        super().__init__(config)
        self.longformer = PackedLongformerModel(config, add_pooling_layer=False)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        global_attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> LongformerSequenceClassifierOutput | tuple:
        """As upstream; `labels` (B, L) may be integers: 0 or 1 for each label.

        The first token that is no padding is the one that is global and is read, wherever the
        tokenizer pads; upstream reads a padding token where padding comes first.

        Raises:
            ValueError: for a sequence that is longer than the position table.
        """
        labels = None if labels is None else labels.to(self.dtype)
        if self.longformer.needs_upstream(input_ids, kwargs):
            if input_ids is not None:
                check_sequence_length(input_ids.shape[1], self.config)
            return super().forward(
                input_ids,
                attention_mask,
                global_attention_mask,
                token_type_ids,
                position_ids,
                labels=labels,
                return_dict=return_dict,
                **kwargs,
            )
        inputs = (
            input_ids, attention_mask, global_attention_mask, token_type_ids, position_ids
        )  # fmt: skip
        logits = self._logits(*inputs)
        loss = None
        if labels is not None:
            loss = F.binary_cross_entropy_with_logits(logits.to(labels.dtype), labels)
        output = LongformerSequenceClassifierOutput(loss=loss, logits=logits)
        return output if return_dict in (None, True) else output.to_tuple()

    def _logits(self, *inputs: torch.Tensor | None) -> torch.Tensor:
        """(B, L), by upstream's head, which takes (B, T, C) and reads T = 0."""
        (first,), _ = self.longformer.encode(*inputs, first_only=True)
        return self.classifier(first[:, None])


def _compute_layer(
    layer: LongformerLayer, hidden: torch.Tensor, packing: Packing, reach: int, first_only: bool
) -> torch.Tensor:
    """One layer on packed hidden states: (N, C) → (N, C), or (B, C) if `first_only`."""
    attention = layer.attention.self
    if first_only and packing.only_first_is_global:
        context = _global_context(attention, hidden, packing)[packing.place]
        hidden = hidden[packing.first]
    else:
        context = _local_context(attention, hidden, packing, reach)
        if len(packing.global_positions):
            of_globals = _global_context(attention, hidden, packing)
            context = context.index_copy(0, packing.global_positions, of_globals)
        if first_only:
            context, hidden = context[packing.first], hidden[packing.first]
    return layer.ff_chunk(layer.attention.output(context, hidden))


def _local_context(
    attention: LongformerSelfAttention, hidden: torch.Tensor, packing: Packing, reach: int
) -> torch.Tensor:
    """What all tokens gather from window and global tokens: (N, C) → (N, C)."""
    dropout = attention.dropout if attention.training else 0.0
    projections = (attention.query, attention.key, attention.value)
    heads = (project(hidden).unflatten(-1, (attention.num_heads, -1)) for project in projections)
    with _attention_precision(hidden.device) as prepare:
        runs = zip(packing.runs, *(packing.split(prepare(x)) for x in heads), strict=True)
        contexts = [
            # (R, tokens, H, D) → (R, H, tokens, D) → (R*tokens, C)
            window_attention(
                *(x.transpose(1, 2) for x in (query, key, value)),
                reach,
                run.global_index,
                run.is_padding,
                dropout,
            )
            .transpose(1, 2)
            .reshape(-1, hidden.shape[1])
            for run, query, key, value in runs
        ]
    return torch.cat(contexts)


def _global_context(
    attention: LongformerSelfAttention, hidden: torch.Tensor, packing: Packing
) -> torch.Tensor:
    """What the global tokens gather from all tokens of their comment: (N, C) → (P, C)."""
    dropout = attention.dropout if attention.training else 0.0
    query = attention.query_global(hidden[packing.global_positions])
    value = attention.value_global
    with _attention_precision(hidden.device) as prepare:
        query = prepare(query).unflatten(-1, (attention.num_heads, -1))  # (P, C) → (P, H, D)
        probes = packing.split_globals(make_probes(query, attention.key_global.weight))
        gathered = [
            gather_by_probes(p, states, run.is_padding, dropout)
            for run, p, states in zip(
                packing.runs, probes, packing.split(prepare(hidden)), strict=True
            )
        ]
        states = torch.cat([states.flatten(0, 1) for states, _ in gathered])
        mass = torch.cat([mass.flatten(0, 1) for _, mass in gathered])
        return project_gathered(states, mass, value.weight, value.bias)


@contextlib.contextmanager
def _attention_precision(
    device: torch.device,
) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """Attention on a CPU is computed in fp32, whatever autocast says; yields what prepares inputs.

    There bf16 takes twice as long, backward, as fp32 (measured).
    """
    if device.type != "cpu":
        yield lambda x: x
        return
    with torch.autocast("cpu", enabled=False):
        yield lambda x: x.float() if x.dtype == torch.bfloat16 else x
