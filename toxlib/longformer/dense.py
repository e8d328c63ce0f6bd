"""The classifier as a fixed graph: padding is computed, and attention is one masked square.

`model.py` computes hardly any padding, which takes steps that depend on the texts. A program that
runs a fixed graph, such as ONNX Runtime, cannot take them. The module here has no such step. It
computes the same logits from the same weights, with time and memory that grow with the square of
the length.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.longformer.modeling_longformer import (
    LongformerLayer,
    create_position_ids_from_input_ids,
)

from toxlib.longformer import attention
from toxlib.longformer.heads import PooledLongformerForMultiLabelSequenceClassification
from toxlib.longformer.model import LongformerForMultiLabelSequenceClassification


class DenseLongformer(nn.Module):
    """The logits of a trained classifier, for batches that are padded on the right.

    It shares the weights of `model`, is for prediction alone (it has no dropout), and makes the
    first token of each text global, as the classifier does.

    >>> import torch
    >>> from toxlib import LongformerForMultiLabelSequenceClassification
    >>> from toxlib.longformer.dense import DenseLongformer
    >>> from transformers import LongformerConfig
    >>> config = LongformerConfig(vocab_size=10, num_hidden_layers=1, num_labels=3)
    >>> model = LongformerForMultiLabelSequenceClassification(config).eval()
    >>> batch = torch.tensor([[5, 6, 7], [8, 9, 1]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    >>> torch.allclose(DenseLongformer(model)(*batch), model(*batch).logits, atol=1e-6)
    True
    """

    def __init__(self, model: LongformerForMultiLabelSequenceClassification):
        super().__init__()
        self.model = model.eval()
        is_pooled = isinstance(model, PooledLongformerForMultiLabelSequenceClassification)
        self.depth = model.depth if is_pooled else 0
        """How many layers' first tokens the head reads side by side; 0 for upstream's head."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits, (B, L), of token ids and a mask, (B, T), that is 0 for padding."""
        encoder = self.model.longformer
        token = torch.arange(input_ids.shape[1], device=input_ids.device)
        # As in `unpad.make_layout`, the first token is read even if a text is empty.
        is_padding = (attention_mask == 0) & (token > 0)  # (B, T)
        positions = create_position_ids_from_input_ids(input_ids, encoder.embeddings.padding_idx)
        hidden = encoder.embeddings(input_ids, torch.zeros_like(input_ids), positions)  # (B, T, C)
        distance = (token[:, None] - token).abs()  # (T, T)
        firsts, layers, windows = [], encoder.encoder.layer, encoder.config.attention_window
        for layer, window in zip(layers, windows, strict=True):
            first = _global_attention(layer, hidden, is_padding)[:, None]
            if layer is layers[-1]:
                output, hidden = first, hidden[:, :1]  # nothing reads the other tokens
            else:
                near = (distance <= window // 2) | (token == 0)  # the first token is global
                allowed = near & ~is_padding[:, None]  # (B, T, T)
                others = _local_attention(layer, hidden, allowed)[:, 1:]
                output = torch.cat([first, others], dim=1)
            hidden = layer.ff_chunk(layer.attention.output(output, hidden))
            firsts.append(hidden[:, 0])
        # Upstream's head takes (B, T, C) and reads its token 0.
        read = torch.cat(firsts[-self.depth :], dim=-1) if self.depth else firsts[-1][:, None]
        return self.model.classifier(read)


def _local_attention(layer: LongformerLayer, hidden: Tensor, allowed: Tensor) -> Tensor:
    """Compute the attention of the tokens that are not global: (B, T, C) → (B, T, C)."""
    module = layer.attention.self
    projected = [p(hidden) for p in (module.query, module.key, module.value)]
    # (B, T, C) → (B, T, H, D) → (B, H, T, D)
    heads = [x.unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for x in projected]
    output = F.scaled_dot_product_attention(*heads, attn_mask=allowed[:, None])
    return output.transpose(1, 2).flatten(2)


def _global_attention(layer: LongformerLayer, hidden: Tensor, is_padding: Tensor) -> Tensor:
    """Compute the attention of each text's first token: (B, T, C) → (B, C)."""
    module, value = layer.attention.self, layer.attention.self.value_global
    query = module.query_global(hidden[:, 0]).unflatten(-1, (module.num_heads, -1))  # (B, H, D)
    probes = attention.make_probes(query, module.key_global.weight)[:, None]  # (B, 1, H, C)
    gathered = attention.gather_by_probes(probes, hidden, is_padding)
    return attention.project_gathered(*gathered, value.weight, value.bias)
