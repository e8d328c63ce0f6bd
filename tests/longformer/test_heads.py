"""The head `cls4`: its logits, saving and loading it, and wrong uses."""

import subprocess
import sys

import pytest
import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from transformers import AutoModelForSequenceClassification

from toxlib.errors import InputError
from toxlib.longformer.heads import PooledLongformerConfig, register_heads
from toxlib.recipes import get_recipe
from toxlib.training.checkpoints import load_classifier, load_trained, save_trained

LABELS = ["toxic", "odd $label$", "threat"]
TEXTS = ["thanks for the note", "you are an idiot " * 20, "a tram"]


@pytest.fixture
def pooled(checkpoints):
    values = f"checkpoint={checkpoints['longformer']} head=cls4 max_length=64 attention_window=16"
    classifier, tokenizer = load_classifier(get_recipe("longformer-3048", values), LABELS)
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    return classifier.eval(), tokenizer, batch


def test_logits_follow_from_upstreams_hidden_states(pooled):
    classifier, _, batch = pooled
    is_global = torch.zeros_like(batch["input_ids"])
    is_global[:, 0] = 1
    states = classifier.longformer(
        **batch, global_attention_mask=is_global, output_hidden_states=True
    ).hidden_states
    features = torch.cat([layer[:, 0] for layer in states[-2:]], dim=-1)  # there are two layers
    assert torch.allclose(classifier(**batch).logits, classifier.classifier(features), atol=1e-6)


def test_logits_do_not_depend_on_padding_and_other_comments(pooled):
    classifier, tokenizer, batch = pooled
    together = classifier(**batch).logits
    for text, logits in zip(TEXTS, together, strict=True):
        alone = tokenizer([text], truncation=True, return_tensors="pt")
        assert torch.allclose(classifier(**alone).logits[0], logits, atol=1e-6)


def test_head_and_embeddings_get_gradients(pooled):
    classifier, _, batch = pooled
    classifier(**batch, labels=torch.ones(3, 3)).loss.backward()
    assert classifier.classifier.dense.weight.grad.abs().sum() > 0
    assert classifier.longformer.embeddings.word_embeddings.weight.grad.abs().sum() > 0


def test_a_saved_model_gives_the_same_logits(pooled, tmp_path):
    classifier, tokenizer, batch = pooled
    save_trained(classifier, tokenizer, tmp_path)
    again, _ = load_trained(tmp_path)
    assert torch.equal(again(**batch).logits, classifier(**batch).logits)
    register_heads()
    automatic = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(automatic(**batch).logits, classifier(**batch).logits)


WITHOUT_TOXLIB = """
import sys
from transformers import AutoModel, LongformerForSequenceClassification, pipeline
for load in (
    lambda folder: pipeline("text-classification", model=folder),
    AutoModel.from_pretrained,
    LongformerForSequenceClassification.from_pretrained,
):
    try:
        load(sys.argv[1])
    except Exception as error:
        print(" ".join(str(error).split()))
    else:
        print("loaded")
"""


def test_without_toxlib_loading_is_an_error(pooled, tmp_path):
    """Use a fresh process. If loading succeeded, the CLS head would give wrong scores."""
    classifier, tokenizer, _ = pooled
    save_trained(classifier, tokenizer, tmp_path)
    command = [sys.executable, "-c", WITHOUT_TOXLIB, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[-3:]
    kind = PooledLongformerConfig.model_type
    for line, expected in zip(lines, (kind, kind, "mismatch"), strict=True):
        assert expected in line


def test_attention_weights_are_refused(pooled):
    classifier, _, batch = pooled
    with pytest.raises(ValueError, match=r"model\.longformer"):
        classifier(**batch, output_attentions=True)


def test_the_error_for_other_encoders_suggests_to_lengthen_them(checkpoints):
    values = f"checkpoint={checkpoints['roberta']} head=cls4"
    with pytest.raises(InputError, match="set lengthen_to=512 too, or head=cls"):
        load_classifier(get_recipe("roberta-512", values), LABELS)
    recipe = get_recipe("roberta-512", f"{values} lengthen_to=512")
    assert isinstance(load_classifier(recipe, LABELS)[0].config, PooledLongformerConfig)


def test_another_head_in_a_saved_configuration_is_an_error():
    with pytest.raises(StrictDataclassFieldValidationError, match=r"expected one of \('cls4',\)"):
        PooledLongformerConfig(head="mean")  # a head of earlier versions
