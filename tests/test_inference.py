import numpy as np
import torch

from toxlib import checkpoints as loading
from toxlib import inference, tokens
from toxlib.recipes import get_recipe


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


def test_precision_follows_the_device():
    supported = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert inference.best_precision(torch.device("cpu")) == ("bf16" if supported else "fp32")
    with inference.autocast(torch.device("cpu"), "bf16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


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
