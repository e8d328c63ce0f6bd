import numpy as np

from toxlib.data import tokens
from toxlib.recipes import get_recipe
from toxlib.training import checkpoints as loading
from toxlib.training import inference


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
    data = tokens.tokenize(texts, tokenizer, tmp_path / "t.arrow", labels)
    assert data["length"] == [len(ids) for ids in data["input_ids"]]
    assert max(data["length"]) == 16
    assert list(data["labels"]) == labels.tolist()
    assert data.cache_files[0]["filename"] == str(tmp_path / "t.arrow")
    assert tokens.token_lengths(texts, tokenizer).max() > 100
