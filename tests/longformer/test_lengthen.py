"""Compare lengthened encoders with the encoders they were made from."""

import pytest
import torch
from tiny import SIZE
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    LongformerForSequenceClassification,
    ModernBertConfig,
    ModernBertModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from toxlib.errors import InputError
from toxlib.longformer.lengthen import lengthen
from toxlib.recipes import get_recipe
from toxlib.training.checkpoints import bundled_checkpoint, load_classifier, save_trained

DISTILBERT = {
    "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 600,
    "activation": "relu", "pad_token_id": 0,
}  # fmt: skip
ENCODERS = {
    "bert": lambda: BertModel(BertConfig(**SIZE, max_position_embeddings=64, pad_token_id=0)),
    "bert, odd": lambda: BertModel(
        BertConfig(
            **SIZE,
            max_position_embeddings=64,
            pad_token_id=3,
            hidden_act="relu",
            layer_norm_eps=1e-3,
        )
    ),
    "roberta": lambda: RobertaModel(
        RobertaConfig(**SIZE, max_position_embeddings=66, pad_token_id=1, type_vocab_size=1)
    ),
    "xlm-roberta": lambda: XLMRobertaModel(
        XLMRobertaConfig(**SIZE, max_position_embeddings=66, pad_token_id=1, type_vocab_size=1)
    ),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(**DISTILBERT, max_position_embeddings=64)
    ),
}


def _encoder(name: str, folder):
    torch.manual_seed(0)
    encoder = ENCODERS[name]().eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    encoder.save_pretrained(folder)
    return encoder


def _batch(padding: int):
    torch.manual_seed(1)
    mask = torch.arange(33) < torch.tensor([33, 5, 20])[:, None]
    return torch.randint(4, 600, mask.shape).where(mask, padding), mask.long()


@pytest.mark.parametrize("name", ENCODERS)
def test_hidden_states_equal_the_encoders(name, tmp_path):
    encoder = _encoder(name, tmp_path)
    ids, mask = _batch(encoder.config.pad_token_id)
    longer = lengthen(tmp_path, 200, attention_window=64)
    expected = encoder(ids, mask).last_hidden_state
    for is_global in (torch.zeros_like(mask), None):  # None makes the first token global
        (actual,), layout = longer.encode(ids, mask, is_global, first_only=False)
        assert torch.allclose(actual, layout.unpad(expected), atol=2e-5)


def test_token_types_are_kept(tmp_path):
    encoder = _encoder("bert", tmp_path)
    ids, mask = _batch(0)
    types = torch.randint(0, 2, ids.shape)
    longer = lengthen(tmp_path, 200, 64)
    (actual,), layout = longer.encode(ids, mask, token_type_ids=types, first_only=False)
    expected = encoder(ids, mask, types).last_hidden_state
    assert torch.allclose(actual, layout.unpad(expected), atol=2e-5)


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_positions_are_repeated_after_the_unused_rows(name, tmp_path):
    encoder = _encoder(name, tmp_path)
    table = lengthen(tmp_path, 150, 64).embeddings.position_embeddings.weight
    source = encoder.embeddings.position_embeddings.weight
    before = encoder.config.pad_token_id + 1
    tokens = source[before:] if name == "roberta" else source
    assert len(table) == before + 150
    expected = source[:before] if name == "roberta" else torch.zeros(before, 32)
    assert torch.equal(table[:before], expected)
    assert torch.equal(table[before : before + 64], tokens)
    assert torch.equal(table[before + 128 :], tokens[:22])


def test_global_projections_start_as_copies(tmp_path):
    _encoder("bert", tmp_path)
    weights = lengthen(tmp_path, 150, 64).state_dict()
    copied = [name for name in weights if "_global" in name]
    assert len(copied) == 2 * 3 * 2
    assert all(torch.equal(weights[n], weights[n.replace("_global", "")]) for n in copied)


@pytest.mark.parametrize(
    "model",
    [
        lambda: DebertaV2Model(DebertaV2Config(**SIZE)),
        lambda: ModernBertModel(
            ModernBertConfig(**SIZE, pad_token_id=0, bos_token_id=1, eos_token_id=2)
        ),
    ],
)
def test_encoders_without_a_position_table_are_refused(model, tmp_path):
    model().save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match=r"lengthen_to=200: .*choose an encoder of type bert, rob"
    ):
        lengthen(tmp_path, 200, 64)


def test_decoders_are_refused(tmp_path):
    BertModel(BertConfig(**SIZE, is_decoder=True)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="no decoder"):
        lengthen(tmp_path, 200, 64)


def test_an_odd_window_and_a_longformer_are_refused(tmp_path, checkpoints):
    _encoder("bert", tmp_path)
    with pytest.raises(InputError, match="must be even"):
        lengthen(tmp_path, 200, 63)
    with pytest.raises(InputError, match="'longformer'"):
        lengthen(checkpoints["longformer"], 2000, 64)


def test_as_a_recipe_value_saved_and_read_by_transformers(checkpoints, tmp_path):
    recipe = get_recipe(
        "quick",
        f"checkpoint={checkpoints['roberta']} lengthen_to=900 max_length=900 attention_window=64",
    )
    classifier, tokenizer = load_classifier(recipe, ["a", "b"])
    text = "thank you " * 600
    batch = tokenizer([text, "idiot"], padding=True, truncation=True, return_tensors="pt")
    assert batch["input_ids"].shape[1] == 900
    save_trained(classifier, tokenizer, tmp_path)
    ours = classifier.eval()(batch["input_ids"], batch["attention_mask"]).logits
    upstream = LongformerForSequenceClassification.from_pretrained(tmp_path).eval()
    theirs = upstream(batch["input_ids"], batch["attention_mask"]).logits
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert AutoTokenizer.from_pretrained(tmp_path).model_max_length == 900


def test_the_bundled_checkpoint_is_unchanged_up_to_512_tokens():
    folder = bundled_checkpoint()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ["the railway bridge is closed " * 120, "You are quite wrong about that."]
    batch = tokenizer(texts, padding=True, truncation=True, max_length=512, return_tensors="pt")
    longer = lengthen(folder, 1024, 1024)
    with torch.no_grad():
        expected = BertModel.from_pretrained(folder).eval()(**batch).last_hidden_state
        inputs = batch["input_ids"], batch["attention_mask"]
        (actual,), layout = longer.encode(*inputs, first_only=False)
    assert (actual - layout.unpad(expected)).abs().max() < 1e-5
