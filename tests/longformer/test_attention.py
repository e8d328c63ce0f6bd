"""Compare our Longformer with transformers': same weights must give same logits and gradients.

The weights are large, so that one token too many or too few in a window changes the result.
"""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LongformerConfig, LongformerForSequenceClassification, LongformerModel

from toxlib.longformer import attention, model
from toxlib.longformer.unpad import make_layout

LENGTHS = (1, 7, 96, 256, 257, 258, 513, 700, 1500, 3048, 4096)
PADDING = 1


def _config(windows: list[int]) -> LongformerConfig:
    return LongformerConfig(
        vocab_size=100,
        hidden_size=24,
        num_hidden_layers=len(windows),
        num_attention_heads=3,
        intermediate_size=32,
        attention_window=windows,
        max_position_embeddings=4098,
        pad_token_id=PADDING,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=4,
        problem_type="multi_label_classification",
    )


def _pair(upstream_class, our_class, windows: list[int], dtype: torch.dtype):
    """Return upstream's model and ours with the same large weights."""
    torch.manual_seed(0)
    theirs = upstream_class(_config(windows)).to(dtype)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.4 if parameter.ndim > 1 else 0.2)
    ours = our_class(_config(windows)).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def _classifiers(windows: list[int], dtype: torch.dtype):
    ours = model.LongformerForMultiLabelSequenceClassification
    return _pair(LongformerForSequenceClassification, ours, windows, dtype)


def _batch(lengths: list[int], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(2, 100, mask.shape).where(mask, PADDING)
    labels = torch.randint(0, 2, (len(lengths), 4)).to(dtype)
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}


def _assert_equal(theirs, ours, batch: dict[str, torch.Tensor], tolerance: float) -> None:
    """Compare logits and all gradients, within `tolerance` times each tensor's largest value."""
    expected, actual = theirs(**batch), ours(**batch)
    scale = expected.logits.abs().max()
    assert (actual.logits - expected.logits).abs().max() <= tolerance * scale
    expected.loss.backward()
    actual.loss.backward()
    gradients = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    # Some gradients are zero except for rounding: softmax ignores the biases of the keys.
    least = 1e-3 * max(g.abs().max() for g in gradients.values())
    for name, parameter in ours.named_parameters():
        expected = gradients.get(name, torch.zeros_like(parameter))
        actual = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        scale = max(expected.abs().max(), least)
        assert (actual - expected).abs().max() <= tolerance * scale, name


@pytest.fixture
def exact_softmax(monkeypatch):
    """Let upstream's softmax compute in the dtype of its input; it rounds to float32 otherwise."""
    monkeypatch.setattr(
        torch.nn.functional, "softmax", lambda x, dim, dtype=None: torch.softmax(x, dim)
    )


@pytest.mark.parametrize("length", LENGTHS)
def test_equal_in_float64(length, exact_softmax):
    windows = [512, 64] if length <= 1500 else [512]
    theirs, ours = _classifiers(windows, torch.float64)
    _assert_equal(theirs, ours, _batch([length], torch.float64), 1e-9)


@pytest.mark.parametrize("length", LENGTHS)
def test_equal_in_float32(length):
    theirs, ours = _classifiers([512], torch.float32)
    _assert_equal(theirs, ours, _batch([length], torch.float32), 1e-5)


@pytest.mark.parametrize(
    "lengths", [[5, 5, 5, 1], [96, 7, 96, 300], [1300, 40, 700, 1300, 257], [4096, 12]]
)
def test_equal_on_ragged_batches(lengths, exact_softmax):
    theirs, ours = _classifiers([256, 32], torch.float64)
    _assert_equal(theirs, ours, _batch(lengths, torch.float64), 1e-9)


@pytest.mark.parametrize("lengths", [[60, 60, 31], [1300, 700]])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
def test_equal_with_any_global_tokens(lengths, share, exact_softmax):
    theirs, ours = _classifiers([64, 32, 64], torch.float64)
    batch = _batch(lengths, torch.float64)
    chosen = torch.rand(batch["input_ids"].shape) < share
    _assert_equal(theirs, ours, batch | {"global_attention_mask": chosen.long()}, 1e-9)


def test_a_wrong_window_changes_the_logits(exact_softmax):
    theirs, _ = _classifiers([64, 64], torch.float64)
    _, ours = _classifiers([62, 64], torch.float64)
    batch = _batch([100], torch.float64)
    expected, actual = theirs(**batch).logits, ours(**batch).logits
    assert (actual - expected).abs().max() > 1e-5 * expected.abs().max()


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=4),
    windows=st.lists(st.sampled_from([4, 8, 16]), min_size=1, max_size=3),
    seed=st.integers(0, 10_000),
    holes=st.booleans(),
    left=st.booleans(),
    multiple=st.sampled_from([1, 8]),
)
def test_equal_for_any_lengths_windows_and_masks(lengths, windows, seed, holes, left, multiple):
    """Compare hidden states at all positions that are not padding, with padding anywhere."""
    upstream = partial(LongformerModel, add_pooling_layer=False)
    theirs, ours = _pair(upstream, model.UnpaddedLongformerModel, windows, torch.float32)
    batch = _batch(lengths, torch.float32)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    generator = torch.Generator().manual_seed(seed)
    if left:
        ids, mask = ids.flip(1), mask.flip(1)
    if holes:
        mask = mask * (torch.rand(mask.shape, generator=generator) < 0.8)
        mask[:, ids.shape[1] // 2] = 1  # upstream needs one token to attend to
    is_global = (torch.rand(mask.shape, generator=generator) < 0.1).long()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "ONE_CHUNK_TOKENS", 24)
        patch.setattr(attention, "CHUNK_TOKENS", 6)
        patch.setattr(model, "layout_for", lambda m, g: make_layout(m, g, multiple))
        (actual,), layout = ours.eval().encode(ids, mask, is_global, first_only=False)
    expected = theirs.eval()(ids, mask, is_global).last_hidden_state
    kept = layout.unpad(mask).bool()
    assert kept.sum() == mask.sum()
    assert torch.allclose(actual[kept], layout.unpad(expected)[kept], atol=2e-4)


def test_memory_grows_linearly_with_length():
    """No tensor has as many values as the square of the length of a long text."""
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    tokens, reach = 32768, 32
    q, k, v = torch.randn(3, 1, 1, tokens, 4, requires_grad=True)
    with Watch():
        index = torch.zeros(1, 1, dtype=torch.long)
        attention.window_attention(q, k, v, reach, index).sum().backward()
    assert largest <= 3 * 4 * tokens


def test_dropout_keeps_the_mean():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 40, 8)
    index = torch.zeros(1, 1, dtype=torch.long)
    exact = attention.window_attention(q, k, v, 4, index)
    drawn = [attention.window_attention(q, k, v, 4, index, dropout=0.2) for _ in range(800)]
    assert not torch.equal(drawn[0], drawn[1])
    assert (torch.stack(drawn).mean(dim=0) - exact).abs().max() < 0.15
