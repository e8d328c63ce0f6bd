import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    LongformerForSequenceClassification,
    pipeline,
)

from toxlib.errors import InputError
from toxlib.longformer import model
from toxlib.longformer.heads import register
from toxlib.recipes import get_recipe
from toxlib.training import checkpoints as checkpoint_files
from toxlib.training.checkpoints import load_classifier, load_trained, save_trained

LABELS = ["toxic", "odd $label$", "threat"]
TEXTS = ["thanks for the note", "you are an idiot " * 30, ""]


def _classifier(checkpoints, kind="longformer", overrides="max_length=128 attention_window=16"):
    recipe = get_recipe("longformer-3048", f"checkpoint={checkpoints[kind]} {overrides}")
    return load_classifier(recipe, LABELS)


@pytest.mark.parametrize("kind", ["longformer", "bert", "roberta"])
def test_any_encoder_gets_one_logit_per_label(checkpoints, kind):
    classifier, tokenizer = _classifier(checkpoints, kind)
    config = classifier.config
    assert config.problem_type == "multi_label_classification"
    assert config.id2label == dict(enumerate(LABELS))
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0.1
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    assert batch["input_ids"].shape[1] <= 128
    classifier.eval()
    labels = torch.tensor([[0.0, 1, 0], [1, 1, 0], [0, 0, 0]])
    output = classifier(**batch, labels=labels)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(output.logits, labels)
    assert output.logits.shape == (3, 3)
    assert torch.allclose(output.loss, expected)


def test_our_longformer_is_upstreams_and_takes_integer_labels(checkpoints, tmp_path):
    classifier, tokenizer = _classifier(checkpoints)
    assert isinstance(classifier, model.LongformerForMultiLabelSequenceClassification)
    save_trained(classifier, tokenizer, tmp_path)
    upstream = LongformerForSequenceClassification.from_pretrained(tmp_path).eval()
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    labels = torch.tensor([[0, 1, 0], [1, 1, 0], [0, 0, 0]])
    ours = classifier.eval()(**batch, labels=labels)
    assert torch.allclose(ours.logits, upstream(**batch).logits, atol=1e-6)
    assert torch.allclose(ours.loss, classifier(**batch, labels=labels.float()).loss)
    again, _ = load_trained(tmp_path)
    assert torch.equal(again(**batch).logits, ours.logits)
    assert next(tmp_path.glob("*.safetensors"))


def test_pipeline_without_toxlib_gives_the_same_scores(checkpoints, tmp_path):
    classifier, tokenizer = _classifier(checkpoints)
    save_trained(classifier, tokenizer, tmp_path)
    batch = tokenizer(TEXTS[1:2], truncation=True, return_tensors="pt")
    with torch.no_grad():
        expected = classifier.eval()(**batch).logits.sigmoid()[0].tolist()
    script = (
        "import sys; from transformers import pipeline\n"
        f"p = pipeline('text-classification', model={str(tmp_path)!r}, top_k=None)\n"
        f"s = {{r['label']: r['score'] for r in p([{TEXTS[1]!r}], truncation=True)[0]}}\n"
        f"print([s[n] for n in {LABELS!r}], type(p.model).__name__, 'toxlib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    scores, name, imported = done.stdout.strip().rsplit(" ", 2)
    assert np.allclose(eval(scores), expected, atol=1e-6)
    assert (name, imported) == ("LongformerForSequenceClassification", "False")


def test_register_makes_auto_classes_use_ours(checkpoints, tmp_path):
    classifier, tokenizer = _classifier(checkpoints)
    save_trained(classifier, tokenizer, tmp_path)
    register()
    ours = model.LongformerForMultiLabelSequenceClassification
    assert isinstance(AutoModelForSequenceClassification.from_pretrained(tmp_path), ours)
    scorer = pipeline("text-classification", model=str(tmp_path), top_k=None)
    assert isinstance(scorer.model, ours)
    assert len(scorer(["hello"])[0]) == 3


def test_a_switch_selects_upstreams_implementation(checkpoints, monkeypatch):
    classifier, tokenizer = _classifier(checkpoints)
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    ours = classifier.eval()(**batch).logits
    monkeypatch.setattr(model, "layout_for", None)  # our own code would fail now
    classifier.longformer.use_upstream = True
    assert torch.allclose(classifier(**batch).logits, ours, atol=1e-6)


def test_attention_weights_come_from_upstream(checkpoints):
    classifier, tokenizer = _classifier(checkpoints)
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    output = classifier.eval()(**batch, output_attentions=True, output_hidden_states=True)
    assert len(output.attentions) == len(output.hidden_states) - 1 == 2
    assert torch.allclose(output.logits, classifier(**batch).logits, atol=1e-6)


def test_padding_before_the_text_changes_nothing(checkpoints):
    classifier, tokenizer = _classifier(checkpoints)
    classifier.eval()
    right = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    tokenizer.padding_side = "left"
    left = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    assert not torch.equal(left["input_ids"], right["input_ids"])
    assert torch.allclose(classifier(**left).logits, classifier(**right).logits, atol=1e-6)


@pytest.mark.parametrize("part", ["classifier", "encoder"])
def test_activation_checkpointing_is_refused_because_it_would_have_no_effect(checkpoints, part):
    classifier, _ = _classifier(checkpoints)
    module = classifier if part == "classifier" else classifier.longformer
    with pytest.raises(ValueError, match="does not support activation checkpointing"):
        module.activation_checkpointing_enable()


def test_the_recipes_seed_decides_the_heads_initial_weights(checkpoints):
    first, again = _classifier(checkpoints)[0], _classifier(checkpoints)[0]
    other = _classifier(checkpoints, overrides="max_length=128 attention_window=16 seed=7")[0]
    weights = [m.classifier.out_proj.weight for m in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_tokenizer_is_saved_with_the_recipes_length(checkpoints, tmp_path):
    classifier, tokenizer = _classifier(checkpoints)
    save_trained(classifier, tokenizer, tmp_path)
    assert load_trained(tmp_path)[1].model_max_length == 128


def test_text_past_the_position_table_is_a_clear_error(checkpoints):
    classifier, _ = _classifier(checkpoints)
    with pytest.raises(ValueError, match="700 tokens does not fit the model's 599 positions"):
        classifier(input_ids=torch.ones((1, 700), dtype=torch.long))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("max_length=600", "has 599 positions"),
        ("checkpoint=/nowhere/at/all", "could not be loaded"),
        ("checkpoint=allenai/longformer-base-4096", "without internet, set checkpoint=FOLDER"),
    ],
)
def test_unusable_checkpoints_are_refused(checkpoints, overrides, expected):
    with pytest.raises(InputError, match=expected) as error:
        _classifier(checkpoints, overrides=overrides)
    assert "\n" not in str(error.value)


def test_the_bundled_checkpoint_is_verified(monkeypatch):
    assert (checkpoint_files.bundled_checkpoint() / "config.json").is_file()
    monkeypatch.setattr(checkpoint_files, "BUNDLED_SHA256", {"vocab.txt": "0" * 64})
    with pytest.raises(InputError, match="reinstall"):
        checkpoint_files.bundled_checkpoint()


def test_importing_toxlib_does_not_import_torch():
    script = "import sys, toxlib; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_toxlib_changes_no_setting():
    script = (
        "import logging, torch\n"
        "before = (torch.get_num_threads(), torch.get_default_dtype())\n"
        "import toxlib\n"
        "from transformers import AutoModelForSequenceClassification as A, LongformerConfig as C\n"
        "assert A._model_mapping[C].__name__ == 'LongformerForSequenceClassification'\n"
        "assert not logging.getLogger('toxlib').handlers\n"
        "assert before == (torch.get_num_threads(), torch.get_default_dtype())\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
