"""Training, and what it must not depend on: micro-batches, the order of rows, the process."""

import copy
from typing import get_args

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from toxlib.data import tokens
from toxlib.data.examples import Examples
from toxlib.errors import InputError
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.progress import format_seconds
from toxlib.recipe_values import FIELDS
from toxlib.recipes import get_recipe
from toxlib.training import checkpoints as loading
from toxlib.training import finetune
from toxlib.training.inference import predict_probabilities

LABELS = ["a", "b"]
TEXTS = [
    f"{'the railway ' * (n % 7)} {'you idiot' if n % 2 else 'thank you'} {n}" for n in range(128)
]
TRUTH = np.array([[n % 2, n % 3 == 0] for n in range(128)], dtype=np.int8)


def _recipe(folder, overrides=""):
    settings = "lengthen_to=0 max_length=64 epochs=1 batch_size=16 warmup_steps=0"
    settings += " learning_rate=1e-3 layer_decay=1 head_lr_multiplier=1"
    return get_recipe("quick", f"checkpoint={folder} {settings} {overrides}")


def _train(recipe, folder, rows=64, held_out=64):
    training = Examples(TEXTS[:rows], TRUTH[:rows])
    validation = Examples(TEXTS[-held_out:], TRUTH[-held_out:])
    return finetune.finetune(recipe, LABELS, training, validation, folder)


def _predict(trained):
    return predict_probabilities(trained.model, trained.tokenizer, TEXTS[-64:])


@pytest.mark.parametrize("kind", ["bert", "roberta", "longformer"])
def test_same_seed_same_predictions(checkpoints, tmp_path, kind):
    recipe = _recipe(checkpoints[kind], "attention_window=16")
    first = _predict(_train(recipe, tmp_path / "1"))
    second = _predict(_train(recipe, tmp_path / "2"))
    assert np.array_equal(first, second)


def test_the_training_seed_takes_the_place_of_the_seed(checkpoints, tmp_path):
    """Head, batches and dropout all follow from it. For -1, the seed decides, as it always did."""
    seeds = ("", "training_seed=42", "training_seed=1", "seed=1", "seed=5 training_seed=1")
    trained = {}
    for number, values in enumerate(seeds):
        recipe = _recipe(checkpoints["bert"], f"{values} negatives=0.6")
        trained[values] = _predict(_train(recipe, tmp_path / str(number)))
    assert np.array_equal(trained["training_seed=42"], trained[""])
    assert np.array_equal(trained["training_seed=1"], trained["seed=1"])
    assert np.array_equal(trained["seed=5 training_seed=1"], trained["seed=1"])
    assert not np.allclose(trained["training_seed=1"], trained[""], atol=1e-3)


@pytest.mark.parametrize("schedule", get_args(FIELDS["schedule"].annotation))
def test_every_schedule_scales_the_rates_of_all_layers(checkpoints, tmp_path, schedule):
    """32 steps, 8 of them warm-up; the head's rate is logged as well as the encoder's."""
    recipe = _recipe(
        checkpoints["bert"],
        f"schedule={schedule} warmup_steps=8 epochs=2 batch_size=4 head_lr_multiplier=30 "
        "layer_decay=0.5",
    )
    rates = []

    class Record(TrainerCallback):
        def on_step_begin(self, args, state, control, optimizer, **kwargs):
            rates.append(sorted(group["lr"] for group in optimizer.param_groups))

    classifier, tokenizer = loading.load_classifier(recipe, LABELS)
    examples = Examples(TEXTS[:64], TRUTH[:64])
    data = tokens.tokenize(examples, tokenizer, tmp_path / "t.arrow")
    trainer = finetune.make_trainer(classifier, tokenizer, data, None, recipe, tmp_path / "w")
    trainer.add_callback(Record())
    finetune.run_training(trainer)
    assert len(rates) == 32
    lowest, highest = np.array(rates)[:, [0, -1]].T
    assert np.allclose(highest, 30 * 8 * lowest)  # the embeddings lie 3 layers below the head
    assert highest.max() == pytest.approx(30e-3)
    assert (highest[0] == 0) == (schedule != "constant")  # it alone has no warm-up
    is_constant = schedule.startswith("constant")
    assert (highest[-1] == highest.max()) == is_constant


def test_result_is_the_kept_model(checkpoints, tmp_path):
    trained = _train(_recipe(checkpoints["bert"], "epochs=3"), tmp_path)
    predicted = _predict(trained)
    scores = [h["eval_mean_columnwise_auc"] for h in trained.history if "eval_loss" in h]
    assert len(scores) == 3
    assert mean_columnwise_auc(TRUTH[-64:], predicted) == pytest.approx(max(scores), abs=1e-3)
    assert trained.cost["predicted_seconds"] > 0
    loading.save_trained(trained.model, trained.tokenizer, tmp_path / "model")
    again = predict_probabilities(*loading.load_trained(tmp_path / "model"), TEXTS[-64:])
    assert np.allclose(predicted, again, atol=1e-6)


def test_overfits_eight_comments(checkpoints, tmp_path):
    recipe = _recipe(
        checkpoints["bert"],
        "epochs=60 batch_size=8 dropout=0 learning_rate=5e-3 schedule=constant",
    )
    trained = _train(recipe, tmp_path, rows=8)
    losses = [float(h["loss"]) for h in trained.history if "loss" in h]
    assert losses[0] > 0.5
    assert losses[-1] < 0.1


def test_prediction_of_time_changes_nothing(checkpoints, tmp_path):
    recipe = _recipe(checkpoints["bert"])
    classifier, tokenizer = loading.load_classifier(recipe, LABELS)
    data = tokens.tokenize(Examples(TEXTS, TRUTH), tokenizer, tmp_path / "t.arrow")
    trainer = finetune.make_trainer(classifier, tokenizer, data, data, recipe, tmp_path / "w")
    before, state = copy.deepcopy(classifier.state_dict()), torch.get_rng_state()
    assert finetune.predict_seconds(trainer) > 0
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[n], v) for n, v in classifier.state_dict().items())
    assert all(p.grad is None for p in classifier.parameters())


def test_weights_and_biases_offline(checkpoints, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    _train(_recipe(checkpoints["bert"], "report_to=wandb run_name=tiny"), tmp_path)
    wandb.finish()
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_a_tracker_that_is_not_installed_is_one_line(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "get_available_reporting_integrations", lambda: [])
    with pytest.raises(InputError, match="report_to=wandb: unknown or not installed; install it"):
        finetune.training_arguments(_recipe("x", "report_to=wandb"), tmp_path, True, "fp32")


def test_format_seconds():
    assert format_seconds(12.4) == "12 s"
    assert format_seconds(75) == "1 min 15 s"
    assert format_seconds(7500) == "2 h 5 min"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_trains_on_cuda(checkpoints, tmp_path):
    trained = _train(_recipe(checkpoints["bert"]), tmp_path)
    assert np.isfinite(_predict(trained)).all()
