import copy

import numpy as np
import pytest
import torch

from toxlib.data import tokens
from toxlib.data.examples import Examples
from toxlib.errors import InputError
from toxlib.recipes import get_recipe
from toxlib.training import checkpoints as loading
from toxlib.training import inference

PRECISIONS = ("fp32", "bf16")
SHORT = "max_length=64 lengthen_to=0"


def test_results_are_in_the_inputs_order_whatever_the_grouping(checkpoints, monkeypatch):
    recipe = get_recipe("quick", f"checkpoint={checkpoints['bert']} max_length=64")
    classifier, tokenizer = loading.load_classifier(recipe, ["a", "b", "c"])
    texts = ["", "NA", *(f"comment {n} " * (n % 9 + 1) for n in range(40))]
    one_by_one = np.concatenate(
        [inference.predict_probabilities(classifier, tokenizer, [t], "fp32") for t in texts]
    )
    monkeypatch.setattr(inference, "CHUNK", 16)
    grouped = inference.predict_probabilities(classifier, tokenizer, texts, "fp32", 100)
    assert np.allclose(one_by_one, grouped, atol=1e-6)
    assert inference.predict_probabilities(classifier, tokenizer, []).shape == (0, 3)


def test_tokens_are_cut_counted_and_mapped_from_disk(tokenizer, tmp_path):
    texts = ["thanks " * 100, "", "NA"]
    labels = np.array([[1, 0], [0, 1], [0, 0]])
    tokenizer.model_max_length = 16
    data = tokens.tokenize(Examples(texts, labels), tokenizer, tmp_path / "t.arrow")
    assert data["length"] == [len(ids) for ids in data["input_ids"]]
    assert max(data["length"]) == 16
    assert list(data["labels"]) == labels.tolist()
    assert data.cache_files[0]["filename"] == str(tmp_path / "t.arrow")
    assert tokens.token_lengths(texts, tokenizer).max() > 100


def test_texts_are_tokenised_batch_by_batch(tokenizer, tmp_path, monkeypatch):
    class Texts(list):
        def __getitem__(self, rows):
            taken.append(len(range(len(self))[rows]))
            return super().__getitem__(rows)

    taken, texts = [], Texts(f"comment {n}" for n in range(25))
    labels, ids = np.arange(50).reshape(25, 2) % 2, [f"id {n}" for n in range(25)]
    plain = Examples(list(texts), labels, ids)
    whole = tokens.tokenize(plain, tokenizer, tmp_path / "whole.arrow")
    monkeypatch.setattr(tokens, "BATCH", 10)
    data = tokens.tokenize(Examples(texts, labels, ids), tokenizer, tmp_path / "t.arrow")
    assert taken == [10, 10, 5]
    assert list(data) == list(whole)
    assert list(data["id"]) == ids


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "longformer", "cls4"])
def test_scores_rank_in_bf16_as_well(checkpoints, kind):
    """A head in bf16 would give many of these comments the same score."""
    name = "bert" if kind == "cls4" else kind
    values = f"checkpoint={checkpoints[name]} {SHORT}"
    if kind == "cls4":
        values += " head=cls4 lengthen_to=64"
    classifier, tokenizer = loading.load_classifier(get_recipe("quick", values), ["a"])
    texts = [f"the tram number {n} goes to {n * 7 % 500}" for n in range(300)]
    model = classifier, tokenizer
    scores = {p: inference.predict_probabilities(*model, texts, p) for p in PRECISIONS}
    distinct = {precision: len(np.unique(values)) for precision, values in scores.items()}
    assert distinct["fp32"] > 130
    assert distinct["bf16"] >= 0.9 * distinct["fp32"]  # real models reach 0.98; see docs/LOG.md
    assert np.abs(scores["bf16"] - scores["fp32"]).max() < 0.02


def test_a_score_that_is_not_a_number_is_an_error(checkpoints):
    recipe = get_recipe("quick", f"checkpoint={checkpoints['bert']} {SHORT}")
    model, tokenizer = loading.load_classifier(recipe, ["a"])
    token = tokenizer("idiot", add_special_tokens=False)["input_ids"][0]
    model.get_input_embeddings().weight.data[token] = float("nan")
    with pytest.raises(InputError, match="a score of the model is not a number; train it again"):
        inference.predict_probabilities(model, tokenizer, ["thanks", "you idiot"])


def test_a_head_in_fp32_survives_a_copy(checkpoints):
    recipe = get_recipe("quick", f"checkpoint={checkpoints['distilbert']} {SHORT}")
    classifier = copy.deepcopy(loading.load_classifier(recipe, ["a"])[0].eval())
    classifier.classifier.weight.data.fill_(0.0)
    with torch.autocast("cpu", torch.bfloat16):
        logits = classifier(torch.tensor([[5, 6, 7]])).logits
    assert logits.dtype == torch.float32
    assert logits.item() == 0  # the copy's own weights are used
