"""The optimiser step: micro-batches, memory that runs out, learning rates."""

import numpy as np
import pytest
import torch

from toxlib.data import tokens
from toxlib.data.examples import Examples
from toxlib.recipes import get_recipe
from toxlib.training import checkpoints as loading
from toxlib.training import finetune
from toxlib.training.trainer import embedding_gradients

LABELS = ["a", "b"]
TEXTS = [
    f"{'the railway ' * (n % 7)} {'you idiot' if n % 2 else 'thank you'} {n}" for n in range(128)
]
TRUTH = np.array([[n % 2, n % 3 == 0] for n in range(128)], dtype=np.int8)
EXACT = (
    "lengthen_to=0 max_length=64 batch_size=128 dropout=0 attention_dropout=0 attention_window=16"
)


def _trainer(folder, checkpoint, overrides=""):
    """A trainer, its classifier and a batch of 128 comments."""
    recipe = get_recipe("quick", f"checkpoint={checkpoint} precision=fp32 {EXACT} {overrides}")
    classifier, tokenizer = loading.load_classifier(recipe, LABELS)
    data = tokens.tokenize(Examples(TEXTS, TRUTH), tokenizer, folder / "t.arrow")
    trainer = finetune.make_trainer(classifier, tokenizer, data, data, recipe, folder / "w")
    batch = trainer.data_collator(list(data.select_columns(["input_ids", "labels"])))
    return trainer, classifier.train(), batch


def _gradients(model) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def _unsplit(classifier, batch) -> tuple[float, dict[str, torch.Tensor]]:
    classifier.zero_grad()
    loss = classifier(**batch).loss
    loss.backward()
    expected = _gradients(classifier)
    classifier.zero_grad()
    return loss.item(), expected


def _assert_same(actual: dict, expected: dict) -> None:
    scale = max(g.abs().max() for g in expected.values())
    for name, gradient in expected.items():
        assert (actual[name] - gradient).abs().max() <= 1e-5 * scale, name


@pytest.mark.parametrize("kind", ["bert", "longformer"])
def test_micro_batches_have_the_loss_and_gradients_of_the_unsplit_batch(
    checkpoints, tmp_path, kind
):
    """64 times 2 comments against 128 at once: transformers issue 47688 made them 64 x apart."""
    trainer, classifier, batch = _trainer(tmp_path, checkpoints[kind])
    whole, expected = _unsplit(classifier, batch)
    trainer.token_budget = 2 * int(batch["attention_mask"].sum(dim=1).max())
    loss = trainer.training_step(classifier, batch)
    assert loss.item() == pytest.approx(whole, rel=1e-5)
    _assert_same(_gradients(classifier), expected)


def test_the_step_is_upstreams_step(checkpoints, tmp_path):
    """After clipping and AdamW all weights agree, those that nothing reads included."""
    weights = []
    for upstream in (True, False):
        trainer, classifier, batch = _trainer(tmp_path, checkpoints["longformer"])
        classifier.longformer.use_upstream = upstream
        optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-3, weight_decay=0.1, eps=1e-4)
        trainer.training_step(classifier, batch)
        torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        optimizer.step()
        weights.append(classifier.state_dict())
    for name, expected in weights[0].items():
        assert torch.allclose(weights[1][name], expected, atol=1e-5), name


def test_sparse_embedding_gradients_end_as_the_dense_ones(checkpoints, tmp_path):
    _, classifier, batch = _trainer(tmp_path, checkpoints["bert"])
    _, expected = _unsplit(classifier, batch)
    with embedding_gradients(classifier, is_sparse=True):
        classifier(**batch).loss.backward()
        assert classifier.get_input_embeddings().weight.grad.is_sparse
    assert not classifier.get_input_embeddings().weight.grad.is_sparse
    assert not classifier.get_input_embeddings().sparse
    _assert_same(_gradients(classifier), expected)


def _short_of_memory(trainer, monkeypatch, rows: int) -> None:
    """Let every micro-batch of more than `rows` comments run out of memory."""
    compute_loss = trainer.compute_loss

    def limited(model, inputs, **kwargs):
        loss = compute_loss(model, inputs, **kwargs)
        if len(inputs["labels"]) > rows:
            loss.backward()  # a part of the step was done already
            raise torch.OutOfMemoryError
        return loss

    monkeypatch.setattr(trainer, "compute_loss", limited)


def test_when_memory_runs_out_the_budget_is_halved_and_the_step_begun_again(
    checkpoints, tmp_path, monkeypatch
):
    trainer, classifier, batch = _trainer(tmp_path, checkpoints["longformer"])
    whole, expected = _unsplit(classifier, batch)
    _short_of_memory(trainer, monkeypatch, rows=20)
    trainer.token_budget = 1600
    assert trainer.training_step(classifier, batch).item() == pytest.approx(whole, rel=1e-5)
    assert trainer.token_budget < 800
    _assert_same(_gradients(classifier), expected)


def test_memory_too_short_for_one_comment_is_an_error(checkpoints, tmp_path, monkeypatch):
    trainer, classifier, batch = _trainer(tmp_path, checkpoints["bert"])
    _short_of_memory(trainer, monkeypatch, rows=0)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.training_step(classifier, batch)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "longformer", "mpnet", "deberta-v3"])
def test_each_layer_learns_at_a_share_of_the_next_ones_rate(checkpoints, tmp_path, kind):
    trainer, classifier, _ = _trainer(
        tmp_path, checkpoints[kind], "learning_rate=1e-3 layer_decay=0.5 head_lr_multiplier=10"
    )
    optimizer = trainer.create_optimizer()
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    expected = {"embeddings": 1.25e-4, "layer.0.": 2.5e-4, "layer.1.": 5e-4}
    expected |= {"relative_attention_bias": 1.25e-4}  # of MPNet, shared by all layers
    expected |= {"deberta.encoder.LayerNorm": 1e-3, "deberta.pooler": 1e-3}
    expected |= {"bert.pooler": 1e-3, "pooler": 1e-2, "classifier": 1e-2}
    for name, parameter in classifier.named_parameters():
        place = next(place for place in expected if place in f"{name}.")
        assert rates[id(parameter)] == pytest.approx(expected[place]), name
