"""The loss: R-Drop's divergence, dropout samples, and what stays as it was without them."""

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence
from torch.nn import functional as F

from toxlib.data import tokens
from toxlib.data.examples import Examples
from toxlib.recipes import get_recipe
from toxlib.training import checkpoints as loading
from toxlib.training import finetune
from toxlib.training.losses import divergence, multilabel_loss

TEXTS = [f"{'the railway ' * (n % 7)} {'you idiot' if n % 2 else 'thanks'} {n}" for n in range(32)]
TRUTH = np.array([[n % 2, n % 3 == 0] for n in range(32)], dtype=np.int8)


def numbers(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_divergence_is_the_mean_of_both_directions():
    a, b = numbers(2, 50, 4)
    p, q = Bernoulli(logits=a), Bernoulli(logits=b)
    expected = (kl_divergence(p, q) + kl_divergence(q, p)) / 2
    assert torch.allclose(divergence(a, b), expected)
    assert torch.equal(divergence(a, a), torch.zeros_like(a))


def test_the_divergence_is_finite_for_certain_labels():
    a, b = torch.tensor([300.0]), torch.tensor([-300.0])
    assert divergence(a, b).item() == pytest.approx(300)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_r_drop_is_the_mean_loss_of_both_passes_and_their_divergence(is_weighted):
    logits, labels = numbers(10, 3), (numbers(5, 3) > 0).double()
    weights = numbers(5, 1).abs() if is_weighted else None
    first, second = logits[:5], logits[5:]
    factor = weights if is_weighted else torch.ones(5, 1)
    cross_entropy = [
        (factor * -Bernoulli(logits=part).log_prob(labels)).mean() for part in (first, second)
    ]
    expected = sum(cross_entropy) / 2 + 0.7 * (factor * divergence(first, second)).mean()
    loss = multilabel_loss(logits, labels, weights, r_drop=0.7)
    assert loss.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("r_drop", [0.0, 0.7])
def test_the_losses_of_dropout_samples_are_averaged(is_weighted, r_drop):
    """With R-Drop, each sample of the first pass meets one of the second."""
    logits, labels = numbers(10, 4, 3), (numbers(5, 3) > 0).double()
    logits = logits if r_drop else logits[:5]
    weights = numbers(5, 1).abs() if is_weighted else None
    each = [multilabel_loss(logits[:, k], labels, weights, r_drop) for k in range(4)]
    loss = multilabel_loss(logits, labels, weights, r_drop)
    assert loss.item() == pytest.approx(torch.stack(each).mean().item())


def make_trainer(checkpoint, folder, overrides):
    """A trainer, its classifier in training and a batch of 32 comments."""
    settings = f"checkpoint={checkpoint} max_length=64 attention_window=16 precision=fp32"
    recipe = get_recipe("quick", f"{settings} lengthen_to=0 {overrides}")
    classifier, tokenizer = loading.load_classifier(recipe, ["a", "b"])
    data = tokens.tokenize(Examples(TEXTS, TRUTH), tokenizer, folder / "t.arrow")
    trainer = finetune.make_trainer(classifier, tokenizer, data, None, recipe, folder / "w")
    batch = trainer.data_collator(list(data.select_columns(["input_ids", "labels"])))
    return trainer, classifier.train(), batch


def loss_of(trainer, classifier, batch) -> float:
    torch.manual_seed(0)
    return trainer.compute_loss(classifier, batch).item()


@pytest.mark.parametrize("kind", ["bert, large weights", "longformer"])
@pytest.mark.parametrize("samples", [1, 3])
def test_without_dropout_r_drop_and_samples_change_no_loss(checkpoints, tmp_path, kind, samples):
    values = "dropout=0 attention_dropout=0"
    plain = make_trainer(checkpoints[kind], tmp_path / "1", values)
    values += f" r_drop=5 dropout_samples={samples}"
    twice = make_trainer(checkpoints[kind], tmp_path / "2", values)
    assert loss_of(*twice) == pytest.approx(loss_of(*plain), rel=1e-6)


def test_with_dropout_r_drop_adds_the_disagreement_of_both_passes(checkpoints, tmp_path):
    losses = []
    for number, weight in enumerate((1, 2, 3)):
        values = f"dropout=0.3 r_drop={weight}"
        made = make_trainer(checkpoints["bert, large weights"], tmp_path / str(number), values)
        losses.append(loss_of(*made))
    assert losses[1] > losses[0] + 1e-3
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)


def test_r_drop_halves_the_comments_per_forward_pass(checkpoints, tmp_path, monkeypatch):
    """So `micro_batch_tokens` stays the most tokens that the model reads at once."""
    values = "r_drop=1 micro_batch_tokens=100"
    trainer, classifier, batch = make_trainer(checkpoints["bert"], tmp_path, values)
    sizes, forward = [], classifier.forward
    longest = int(batch["attention_mask"].sum(dim=1).max())

    def record(**inputs):
        sizes.append(inputs["input_ids"].numel())
        return forward(**inputs)

    monkeypatch.setattr(classifier, "forward", record)
    trainer.training_step(classifier, batch)
    assert sum(sizes) >= 2 * batch["attention_mask"].sum()
    assert max(sizes) <= max(100, 2 * longest)


def test_without_them_the_loss_is_torchs_own_bit_for_bit(checkpoints, tmp_path):
    trainer, classifier, batch = make_trainer(checkpoints["bert"], tmp_path, "dropout_samples=1")
    torch.manual_seed(0)
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    logits = classifier(**inputs).logits
    expected = F.binary_cross_entropy_with_logits(logits, batch["labels"])
    assert loss_of(trainer, classifier, batch) == expected.item()


@pytest.mark.parametrize("values", ["", "long_texts=windows max_length=8", "r_drop=1"])
def test_dropout_samples_train_with_windows_and_r_drop(checkpoints, tmp_path, values):
    values = f"dropout_samples=3 {values}"
    trainer, classifier, batch = make_trainer(checkpoints["bert"], tmp_path, values)
    loss, logits = trainer.compute_loss(classifier, batch, return_outputs=True)
    assert logits.shape == (64 if "r_drop" in values else 32, 3, 2)
    assert loss.isfinite()
    assert trainer._logits(batch).shape == (32, 2)  # in prediction, the head runs once
