"""The dense classifier gives the logits of the one without padding, also past the window."""

import pytest
import torch
from tiny import SIZE
from transformers import LongformerConfig

from toxlib.longformer.dense import DenseLongformer
from toxlib.longformer.heads import (
    PooledLongformerConfig,
    PooledLongformerForMultiLabelSequenceClassification,
)
from toxlib.longformer.model import LongformerForMultiLabelSequenceClassification

LENGTHS = (1, 40, 300, 600, 1024)
HEADS = {
    "cls": (LongformerConfig, LongformerForMultiLabelSequenceClassification),
    "cls4": (PooledLongformerConfig, PooledLongformerForMultiLabelSequenceClassification),
}


def _model(head: str):
    """Return a model in fp64 whose windows are smaller than most of the texts."""
    torch.manual_seed(0)
    make_config, make_model = HEADS[head]
    windows = {"attention_window": [64, 128], "max_position_embeddings": 1025, "pad_token_id": 0}
    config = make_config(**SIZE | windows, num_labels=3, initializer_range=0.3)
    return make_model(config).double().eval()


def _batch(lengths) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and a mask, (B, T), of random texts that are padded on the right."""
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return torch.randint(1, SIZE["vocab_size"], mask.shape) * mask, mask


@pytest.mark.parametrize("head", HEADS)
def test_logits_are_those_without_padding(head):
    """fp64 shows that nothing but rounding differs, in a padded batch and text by text."""
    model, (ids, mask) = _model(head), _batch(LENGTHS)
    dense = DenseLongformer(model)
    with torch.inference_mode():
        expected = model(ids, attention_mask=mask).logits
        assert expected.std(dim=0).min() > 0.1
        assert torch.allclose(dense(ids, mask), expected, rtol=0, atol=1e-12)
        for row, length in enumerate(LENGTHS):
            alone = dense(ids[row : row + 1, :length], mask[row : row + 1, :length])
            assert torch.allclose(alone, expected[row : row + 1], rtol=0, atol=1e-12)


def test_logits_depend_on_the_window_and_on_the_global_projections():
    """So the test above would fail if the dense module left out one of them."""
    model, batch = _model("cls"), _batch((300,))
    dense = DenseLongformer(model)
    with torch.inference_mode():
        before = dense(*batch)
        model.config.attention_window = [64, 600]
        assert (dense(*batch) - before).abs().max() < 1e-12  # the last layer reads the first token
        model.config.attention_window = [600, 128]
        assert (dense(*batch) - before).abs().max() > 1e-3
        model.config.attention_window = [64, 128]
        model.longformer.encoder.layer[0].attention.self.value_global.weight.mul_(2)
        assert (dense(*batch) - before).abs().max() > 1e-3


def test_an_empty_text_has_the_score_of_its_first_token():
    model, (ids, mask) = _model("cls"), _batch((5, 3))
    mask[1] = 0
    with torch.inference_mode():
        expected = model(ids, attention_mask=mask).logits
        assert torch.allclose(DenseLongformer(model)(ids, mask), expected, rtol=0, atol=1e-12)
