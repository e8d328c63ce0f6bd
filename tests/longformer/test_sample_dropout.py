"""Several dropout draws of the head per comment."""

import copy
import pickle

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from toxlib.errors import InputError
from toxlib.longformer.heads import sample_dropout
from toxlib.recipes import get_recipe
from toxlib.training.checkpoints import load_classifier

TEXTS = ["thanks for the note", "you are an idiot " * 5, "a tram"]
KINDS = ["bert", "roberta", "distilbert", "longformer", "longformer head=cls4"]


def make(checkpoints, kind):
    """Return a classifier whose encoder drops nothing and whose head drops half, and a batch."""
    name, _, head = kind.partition(" ")
    values = f"checkpoint={checkpoints[name]} max_length=64 attention_window=16 {head}"
    recipe = get_recipe("longformer-3048", f"{values} dropout=0 attention_dropout=0")
    classifier, tokenizer = load_classifier(recipe, ["a", "b"])
    for child in classifier.children():
        for module in child.modules():
            if child is not classifier.base_model and isinstance(module, nn.Dropout):
                module.p = 0.5
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    return classifier, batch


@pytest.mark.parametrize("kind", KINDS)
def test_in_training_each_comment_has_several_draws_and_in_prediction_one(checkpoints, kind):
    classifier, batch = make(checkpoints, kind)
    expected = classifier.eval()(**batch).logits
    sample_dropout(classifier, 5)
    assert torch.equal(classifier(**batch).logits, expected)
    logits = classifier.train()(**batch).logits
    assert logits.shape == (3, 5, 2)
    assert (logits[:, 0] != logits[:, 1]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_all_draws_of_a_comment_are_of_that_comment(checkpoints, kind):
    classifier, batch = make(checkpoints, kind)
    for module in classifier.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    expected = classifier.train()(**batch).logits
    sample_dropout(classifier, 4)
    logits = classifier(**batch).logits
    assert torch.allclose(logits, expected[:, None].expand(-1, 4, -1), atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "longformer head=cls4"])
def test_the_expected_logits_are_those_without_dropout(checkpoints, kind):
    """These heads are linear after their dropout."""
    classifier, batch = make(checkpoints, kind)
    expected = classifier.eval()(**batch).logits
    sample_dropout(classifier, 4000)
    torch.manual_seed(0)
    draws = classifier.train()(**batch).logits
    error = draws.std(dim=1) / 4000**0.5
    assert ((draws.mean(dim=1) - expected).abs() < 4 * error).all()


def test_the_encoder_runs_once(checkpoints):
    classifier, batch = make(checkpoints, "longformer head=cls4")
    sample_dropout(classifier, 8)
    sizes = []
    layer = classifier.longformer.encoder.layer[0].output.dense
    layer.register_forward_hook(lambda module, args, output: sizes.append(len(output)))
    classifier.train()(**batch)
    assert sum(sizes) == batch["attention_mask"].sum()


def test_the_classifier_can_be_copied_and_pickled(checkpoints):
    classifier, batch = make(checkpoints, "longformer head=cls4")
    sample_dropout(classifier, 3)
    for copied in (copy.deepcopy(classifier), pickle.loads(pickle.dumps(classifier))):
        assert copied.train()(**batch).logits.shape == (3, 3, 2)


def test_a_head_without_dropout_is_one_line():
    classifier = BertForSequenceClassification(BertConfig(vocab_size=9, num_hidden_layers=1))
    classifier.dropout = nn.Identity()
    with pytest.raises(InputError, match=r"^dropout_samples=4: the head of BertFor.* set dropout"):
        sample_dropout(classifier, 4)
