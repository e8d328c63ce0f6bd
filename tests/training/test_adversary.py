"""Adversarial steps: the gradient they leave, and that the weights return to where they were."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from toxlib.data import tokens
from toxlib.data.examples import Examples
from toxlib.recipes import get_recipe
from toxlib.training import checkpoints as loading
from toxlib.training import finetune
from toxlib.training.adversary import SIZES, moved_weights

LABELS = ["a", "b"]
TEXTS = [f"{'the railway ' * (n % 7)} {'you idiot' if n % 2 else 'thanks'} {n}" for n in range(48)]
TRUTH = np.array([[n % 3 == 1, n % 3 == 0] for n in range(48)], dtype=np.int8)
EXACT = "lengthen_to=0 max_length=64 dropout=0 attention_dropout=0 attention_window=16"


@pytest.fixture
def make(checkpoints, tmp_path):
    """Return a function that makes a trainer, its classifier and a batch of 48 comments."""

    def made(kind, overrides):
        recipe = get_recipe("quick", f"checkpoint={checkpoints[kind]} {EXACT} {overrides}")
        classifier, tokenizer = loading.load_classifier(recipe, LABELS)
        data = tokens.tokenize(Examples(TEXTS, TRUTH), tokenizer, tmp_path / "t.arrow")
        trainer = finetune.make_trainer(classifier, tokenizer, data, None, recipe, tmp_path / "w")
        batch = trainer.data_collator(list(data.select_columns(["input_ids", "labels"])))
        return trainer, classifier.train(), batch

    return made


def gradients(classifier, batch, weights=None) -> dict[str, torch.Tensor]:
    """Return the dense gradients of the unsplit batch by plain torch."""
    classifier.zero_grad()
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    logits = classifier(**inputs).logits
    F.binary_cross_entropy_with_logits(logits, batch["labels"], weights).backward()
    found = {n: p.grad.clone() for n, p in classifier.named_parameters() if p.grad is not None}
    classifier.zero_grad()
    return found


def expected_step(classifier, batch, adversary, size, weights=None) -> dict[str, torch.Tensor]:
    """Return the sum of both gradients, computed on a moved copy of all weights."""
    first = gradients(classifier, batch, weights)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    for name, weight in classifier.named_parameters():
        gradient = first.get(name)
        is_word = name.endswith("word_embeddings.weight")
        is_matrix = name.startswith(classifier.base_model_prefix) and weight.dim() == 2
        if adversary == "fgm" and is_word:
            weight.data += size * gradient / gradient.norm()
        if adversary == "awp" and is_matrix and gradient is not None and gradient.norm() > 0:
            read = (gradient != 0).any(dim=1)
            weight.data += size * weight.data[read].norm() * gradient / gradient.norm()
    second = gradients(classifier, batch, weights)
    classifier.load_state_dict(before)
    return {name: first[name] + second[name] for name in first}


def assert_same(classifier, expected: dict) -> None:
    scale = max(gradient.abs().max() for gradient in expected.values())
    actual = dict(classifier.named_parameters())
    for name, gradient in expected.items():
        assert (actual[name].grad - gradient).abs().max() <= 2e-5 * scale, name


@pytest.mark.parametrize("kind", ["bert", "longformer"])
@pytest.mark.parametrize(("adversary", "size"), [("fgm", 3), ("awp", 0.2)])
@pytest.mark.parametrize("budget", [100, 10_000])
def test_a_step_has_the_gradients_of_plain_torch_for_any_micro_batches(
    make, kind, adversary, size, budget
):
    values = f"precision=fp32 adversary={adversary} adversarial_size={size}"
    trainer, classifier, batch = make(kind, f"{values} micro_batch_tokens={budget}")
    once = gradients(classifier, batch)
    expected = expected_step(classifier, batch, adversary, size)
    moved = max((expected[name] - 2 * once[name]).abs().max() for name in once)
    assert moved > 1e-2 * max(value.abs().max() for value in expected.values())  # it matters
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    assert len(trainer._groups(batch)) == (1 if budget > 1000 else pytest.approx(10, abs=5))
    trainer.training_step(classifier, batch)
    assert_same(classifier, expected)
    assert all(torch.equal(before[n], v) for n, v in classifier.state_dict().items())


@pytest.mark.parametrize("adversary", ["fgm", "awp"])
def test_with_fewer_negatives_both_passes_have_the_weighted_loss(make, adversary):
    """A third of the comments have no label."""
    size = {"fgm": 2, "awp": 0.1}[adversary]
    values = f"precision=fp32 negatives=0.5 adversary={adversary} adversarial_size={size}"
    trainer, classifier, batch = make("bert", f"{values} micro_batch_tokens=150")
    weights = trainer.negatives_sampler.weights(batch["labels"])
    assert weights.max() / weights.min() == pytest.approx(2)
    expected = expected_step(classifier, batch, adversary, size, weights)
    trainer.training_step(classifier, batch)
    assert_same(classifier, expected)


def test_in_bf16_the_second_pass_reads_the_moved_weights(make, monkeypatch):
    """Autocast keeps 16-bit copies of weights, and those of the first pass would be wrong."""
    trainer, classifier, batch = make(
        "bert, large weights", "precision=bf16 adversary=awp adversarial_size=0.3"
    )
    losses, compute_loss = [], trainer.compute_loss

    def record(*args, **kwargs):
        losses.append(compute_loss(*args, **kwargs))
        return losses[-1]

    monkeypatch.setattr(trainer, "compute_loss", record)
    trainer.training_step(classifier, batch)
    classifier.zero_grad()
    with trainer.accelerator.autocast():
        record(classifier, batch).backward()
    with moved_weights(classifier, "awp", 0.3), trainer.accelerator.autocast():
        record(classifier, batch)
    first, second, again, moved = (loss.item() for loss in losses)
    assert first == pytest.approx(again, abs=1e-3)
    assert second > first + 0.05
    assert second == pytest.approx(moved, abs=1e-2 * (second - first))


def test_if_memory_runs_out_in_the_second_pass_the_step_is_begun_again(make, monkeypatch):
    values = "precision=fp32 adversary=awp adversarial_size=0.1 micro_batch_tokens=600"
    trainer, classifier, batch = make("bert", values)
    expected = expected_step(classifier, batch, "awp", 0.1)
    compute_loss, calls, groups = trainer.compute_loss, [], len(trainer._groups(batch))

    def limited(model, inputs, **kwargs):
        calls.append(len(inputs["labels"]))
        if len(calls) == groups + 1:
            raise torch.OutOfMemoryError
        return compute_loss(model, inputs, **kwargs)

    monkeypatch.setattr(trainer, "compute_loss", limited)
    trainer.training_step(classifier, batch)
    assert trainer.token_budget == 300
    assert_same(classifier, expected)


@pytest.mark.parametrize("adversary", ["fgm", "awp"])
def test_weights_return_after_an_error(make, adversary):
    _, classifier, batch = make("bert", "precision=fp32")
    classifier(**batch).loss.backward()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}

    def fail():
        with moved_weights(classifier, adversary, 0.5):
            assert any(not torch.equal(before[n], v) for n, v in classifier.state_dict().items())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all(torch.equal(before[n], v) for n, v in classifier.state_dict().items())


@pytest.mark.parametrize("adversary", ["fgm", "awp"])
def test_the_usual_size_is_taken_for_0(make, adversary):
    _, classifier, batch = make("bert", "precision=fp32")
    classifier(**batch).loss.backward()
    embeddings = classifier.get_input_embeddings().weight
    before, read = embeddings.detach().clone(), (embeddings.grad != 0).any(dim=1)
    with moved_weights(classifier, adversary, 0):
        length = (embeddings - before).norm().item()
    norm = before[read].norm().item() if adversary == "awp" else 1
    assert length == pytest.approx(SIZES[adversary] * norm, rel=1e-4)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
@pytest.mark.parametrize("adversary", ["fgm", "awp"])
def test_a_gradient_without_direction_moves_nothing(make, adversary, value):
    _, classifier, _ = make("bert", "precision=fp32")
    for parameter in classifier.parameters():
        parameter.grad = torch.full_like(parameter, value)
    before = {name: v.clone() for name, v in classifier.state_dict().items()}
    with moved_weights(classifier, adversary, 1):
        assert all(torch.equal(before[n], v) for n, v in classifier.state_dict().items())
