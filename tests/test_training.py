"""Training, and what it must not depend on: micro-batches, the order of rows, the process."""

import copy

import numpy as np
import pytest
import torch

from toxlib import checkpoints as loading
from toxlib import tokens, training
from toxlib.inference import predict_probabilities
from toxlib.metrics import mean_columnwise_auc
from toxlib.recipes import get_recipe

LABELS = ["a", "b"]
TEXTS = [
    f"{'the railway ' * (n % 7)} {'you idiot' if n % 2 else 'thank you'} {n}" for n in range(128)
]
TRUTH = np.array([[n % 2, n % 3 == 0] for n in range(128)], dtype=np.int8)


def _recipe(folder, overrides=""):
    settings = "lengthen=0 max_length=64 epochs=1 batch_size=16 warmup_steps=0 learning_rate=1e-3"
    settings += " layer_decay=1 head_rate=1"
    return get_recipe("quick", f"checkpoint={folder} {settings} {overrides}")


def _train(recipe, folder, rows=64, held_out=64):
    classifier, tokenizer = loading.load_classifier(recipe, LABELS)
    train_set = tokens.tokenize(TEXTS[:rows], tokenizer, folder / "t.arrow", TRUTH[:rows])
    validation = tokens.tokenize(
        TEXTS[-held_out:], tokenizer, folder / "v.arrow", TRUTH[-held_out:]
    )
    result = training.train(classifier, tokenizer, train_set, validation, recipe, folder / "work")
    return classifier, tokenizer, result


def _predict(classifier, tokenizer, _):
    return predict_probabilities(classifier, tokenizer, TEXTS[-64:])


@pytest.mark.parametrize("kind", ["bert", "roberta", "longformer"])
def test_same_seed_same_predictions(checkpoints, tmp_path, kind):
    recipe = _recipe(checkpoints[kind], "attention_window=16")
    first = _predict(*_train(recipe, tmp_path / "1"))
    second = _predict(*_train(recipe, tmp_path / "2"))
    assert np.array_equal(first, second)


def test_result_is_the_kept_model_and_leaves_no_checkpoints(checkpoints, tmp_path):
    recipe = _recipe(checkpoints["bert"], "epochs=3")
    classifier, tokenizer, result = _train(recipe, tmp_path)
    predicted = predict_probabilities(classifier, tokenizer, TEXTS[-64:])
    scores = [h["eval_mean_columnwise_auc"] for h in result.history if "eval_loss" in h]
    assert len(scores) == 3
    assert mean_columnwise_auc(TRUTH[-64:], predicted) == pytest.approx(max(scores), abs=1e-3)
    assert not (tmp_path / "work").exists()
    assert result.predicted_seconds > 0
    loading.save_trained(classifier, tokenizer, tmp_path / "model")
    again = predict_probabilities(*loading.load_trained(tmp_path / "model"), TEXTS[-64:])
    assert np.allclose(predicted, again, atol=1e-6)


def test_overfits_eight_comments(checkpoints, tmp_path):
    recipe = _recipe(
        checkpoints["bert"],
        "epochs=60 batch_size=8 dropout=0 learning_rate=5e-3 schedule=constant",
    )
    result = _train(recipe, tmp_path, rows=8)[2]
    losses = [float(h["loss"]) for h in result.history if "loss" in h]
    assert losses[0] > 0.5
    assert losses[-1] < 0.05


def test_prediction_of_time_changes_nothing(checkpoints, tmp_path):
    recipe = _recipe(checkpoints["bert"])
    classifier, tokenizer = loading.load_classifier(recipe, LABELS)
    data = tokens.tokenize(TEXTS, tokenizer, tmp_path / "t.arrow", TRUTH)
    trainer = training.make_trainer(classifier, tokenizer, data, data, recipe, tmp_path / "w")
    before, state = copy.deepcopy(classifier.state_dict()), torch.get_rng_state()
    assert training.predict_seconds(trainer) > 0
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[n], v) for n, v in classifier.state_dict().items())
    assert all(p.grad is None for p in classifier.parameters())


def test_weights_and_biases_offline(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    _train(_recipe(checkpoints["bert"], "report_to=wandb run_name=tiny"), tmp_path)
    import wandb

    wandb.finish()
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_format_seconds():
    assert training.format_seconds(12.4) == "12 s"
    assert training.format_seconds(75) == "1 min 15 s"
    assert training.format_seconds(7500) == "2 h 5 min"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_trains_on_cuda(checkpoints, tmp_path):
    trained = _train(_recipe(checkpoints["bert"]), tmp_path)
    assert np.isfinite(_predict(*trained)).all()
