"""Encoders without padding give what transformers' own code gives, in logits and gradients."""

import copy

import pytest
import torch
from tiny import SIZE
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.models.modernbert import modeling_modernbert

from toxlib.longformer import encoders, families
from toxlib.longformer.dropout import CheapDropout
from toxlib.longformer.encoders import unpad_encoder

LENGTHS = (37, 5, 37, 1, 20, 36)
NO_DROPOUT = dict.fromkeys(
    ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout",
     "pooler_dropout", "cls_dropout", "seq_classif_dropout"), 0.0
)  # fmt: skip
DEBERTA = {
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
}
ROBERTA_LIKE = {"pad_token_id": 1, "max_position_embeddings": 66}
IDS = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
MODERNBERT = {"local_attention": 16, "pad_token_id": 0} | dict.fromkeys(IDS, 1)
FAMILIES = {
    "bert": ("bert", {}),
    "roberta": ("roberta", ROBERTA_LIKE),
    "xlm-roberta": ("xlm-roberta", ROBERTA_LIKE),
    "camembert": ("camembert", ROBERTA_LIKE),
    "electra": ("electra", {}),
    "electra with narrow embeddings": ("electra", {"embedding_size": 16}),
    "distilbert": ("distilbert", {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2}),
    "mpnet": ("mpnet", ROBERTA_LIKE),
    "deberta-v3": ("deberta-v2", DEBERTA | {"share_att_key": True}),
    "deberta-v2 with projections": ("deberta-v2", DEBERTA | {"share_att_key": False}),
    "deberta-v2 with c2p only": ("deberta-v2", DEBERTA | {"pos_att_type": ["c2p"]}),
    "modernbert, last layer full": ("modernbert", MODERNBERT | {"global_attn_every_n_layers": 1}),
    "modernbert, last layer a window": ("modernbert", MODERNBERT),
    "modernbert with mean pooling": ("modernbert", MODERNBERT | {"classifier_pooling": "mean"}),
}


def _classifier(family, **values):
    kind, own = FAMILIES[family]
    values = {"problem_type": "multi_label_classification"} | SIZE | NO_DROPOUT | own | values
    torch.manual_seed(0)
    # In ModernBERT's eager attention, a query whose window holds nothing but padding gives NaN.
    attention = "sdpa" if kind == "modernbert" else "eager"
    config = AutoConfig.for_model(kind, num_labels=3, attn_implementation=attention, **values)
    classifier = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():  # the first weights are so small that mistakes would not show
        for parameter in classifier.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return classifier


def _batch(family, left=False):
    longest, padding = max(LENGTHS), FAMILIES[family][1].get("pad_token_id", 0)
    mask = torch.tensor([[column < length for column in range(longest)] for length in LENGTHS])
    mask = mask.flip(1) if left else mask
    ids = torch.randint(5, SIZE["vocab_size"], mask.shape).where(mask, padding)
    labels = torch.randint(2, (len(LENGTHS), 3)).float()
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}


def _rotate(q, k, cos, sin, unsqueeze_dim=1):
    """Rotate queries and keys as ModernBERT does, but in their own precision."""
    half = modeling_modernbert.rotate_half
    return tuple(x * cos[:, None] + half(x) * sin[:, None] for x in (q, k))


def _results(classifier, batch):
    """Return logits, loss and the gradients of all parameters."""
    classifier.zero_grad()
    output = classifier(**batch)
    output.loss.backward()
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in classifier.named_parameters()
    }
    return {"logits": output.logits.detach(), "loss": output.loss.detach()} | gradients


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradients_are_upstreams(family, dtype, tolerance, monkeypatch):
    for module in (families, modeling_modernbert):  # upstream rounds to fp32 here
        monkeypatch.setattr(module, "apply_rotary_pos_emb", _rotate)
    upstream = _classifier(family).to(dtype).train()
    ours = unpad_encoder(copy.deepcopy(upstream))
    assert not ours.computes_padding
    batch = _batch(family) | {"labels": _batch(family)["labels"].to(dtype)}
    expected, found = _results(upstream, batch), _results(ours, batch)
    for name, values in expected.items():
        scale = max(1.0, float(values.abs().max()))
        assert (found[name] - values).abs().max() <= tolerance * scale, name
    largest = {name: float(values.abs().max()) for name, values in expected.items()}
    used = [name for name, value in largest.items() if value > 1e-6]
    assert len(used) > 0.8 * len(largest)  # the comparison is not one of zeros


@pytest.mark.parametrize("family", FAMILIES)
def test_no_layer_sees_padding(family, monkeypatch):
    ours, batch = unpad_encoder(_classifier(family)), _batch(family)
    seen = []
    for module in ours.base_model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.register_forward_hook(lambda m, i, output: seen.append(output.shape))
    ours.eval()(**batch)
    table = (2 * DEBERTA["position_buckets"], SIZE["hidden_size"])  # DeBERTa's relative positions
    rows = [shape[:-1].numel() for shape in seen if shape != table]
    assert rows
    assert max(rows) == sum(LENGTHS)


@pytest.mark.parametrize("family", FAMILIES)
def test_special_calls_run_upstreams_code(family, monkeypatch):
    ours, batch = unpad_encoder(_classifier(family)).eval(), _batch(family)
    expected = ours(**batch).logits
    monkeypatch.setattr(encoders, "layout_for", None)  # our own code would fail now
    output = ours(**batch, output_hidden_states=True)
    assert len(output.hidden_states) == SIZE["num_hidden_layers"] + 1
    assert torch.allclose(output.logits, expected, atol=1e-5)
    ours.base_model.use_upstream = True
    assert torch.allclose(ours(**batch).logits, expected, atol=1e-5)


@pytest.mark.parametrize(
    "family", ["roberta", "mpnet", "deberta-v3", "modernbert, last layer full"]
)
def test_padding_before_the_text_changes_nothing(family):
    ours = unpad_encoder(_classifier(family)).eval()
    right = _batch(family)
    left = {k: v.clone() for k, v in right.items()}
    for row, length in enumerate(LENGTHS):
        for name in ("input_ids", "attention_mask"):
            left[name][row] = right[name][row].roll(max(LENGTHS) - length)
    assert torch.allclose(ours(**left).logits, ours(**right).logits, atol=1e-5)


def test_gaps_inside_a_text_and_token_types_are_read_as_upstream_reads_them():
    upstream = _classifier("bert").eval()
    ours, batch = unpad_encoder(copy.deepcopy(upstream)), _batch("bert")
    batch["attention_mask"][0, 7:20] = batch["attention_mask"][4, 3] = 0
    batch["token_type_ids"] = torch.randint(2, batch["input_ids"].shape)
    batch["position_ids"] = torch.arange(max(LENGTHS)).flip(0).expand_as(batch["input_ids"])
    assert torch.allclose(ours(**batch).logits, upstream(**batch).logits, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_and_arguments_by_place_are_read_as_upstream_reads_them(family):
    upstream = _classifier(family).eval()
    ours, batch = unpad_encoder(copy.deepcopy(upstream)), _batch(family)
    del batch["labels"]
    batch["position_ids"] = torch.arange(max(LENGTHS)).flip(0).expand_as(batch["input_ids"]) + 2
    assert torch.allclose(ours(**batch).logits, upstream(**batch).logits, atol=1e-5)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    if family in ("bert", "electra"):
        types = torch.zeros_like(ids)
        states = [model.base_model(ids, mask, types)[0][:, 0] for model in (ours, upstream)]
        assert torch.allclose(*states, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_in_bf16_gives_logits_in_bf16(family):
    ours, batch = unpad_encoder(_classifier(family)).eval(), _batch(family)
    del batch["labels"]
    expected = ours(**batch).logits
    found = ours.to(torch.bfloat16)(**batch).logits
    assert found.dtype == torch.bfloat16
    assert (found - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("bert", {"is_decoder": True}),
        ("deberta-v3", {"conv_kernel_size": 3}),
    ],
)
def test_an_encoder_with_unknown_parts_stays_as_it_is(family, values):
    model = unpad_encoder(_classifier(family, **values))
    assert getattr(model, "computes_padding", True)
    assert "forward" not in vars(model.base_model)


def test_dropout_is_cheap_and_drops():
    ours, batch = unpad_encoder(_classifier("bert", hidden_dropout_prob=0.5)), _batch("bert")
    assert any(isinstance(module, CheapDropout) for module in ours.modules())
    assert not torch.equal(ours.train()(**batch).logits, ours(**batch).logits)
    assert torch.equal(ours.eval()(**batch).logits, ours(**batch).logits)


def test_copies_share_nothing(tmp_path):
    ours, batch = unpad_encoder(_classifier("roberta")).eval(), _batch("roberta")
    before = ours(**batch).logits
    other = copy.deepcopy(ours)
    with torch.no_grad():
        other.base_model.embeddings.word_embeddings.weight.zero_()
    assert torch.equal(ours(**batch).logits, before)
    assert not torch.allclose(other(**batch).logits, before)
    ours.save_pretrained(tmp_path)
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.allclose(stock(**batch).logits, before, atol=1e-6)


def test_activation_checkpointing_is_refused_because_it_would_have_no_effect():
    with pytest.raises(ValueError, match="does not support activation checkpointing"):
        unpad_encoder(_classifier("bert")).activation_checkpointing_enable()
