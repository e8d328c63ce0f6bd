"""Reading a share of the rows without a label: which rows an epoch has, and what they weigh."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.data_loader import prepare_data_loader, skip_first_batches
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import Trainer, set_seed

from toxlib.data import tokens
from toxlib.data.examples import Examples
from toxlib.errors import InputError
from toxlib.recipes import get_recipe
from toxlib.training import checkpoints as loading
from toxlib.training import finetune
from toxlib.training.negatives import NegativesSampler
from toxlib.training.trainer import whole_batches

HAS_LABEL = np.arange(50) % 10 == 3
"""5 rows with a label, 45 without."""


def draw(sampler: NegativesSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize(
    ("has_label", "share", "drawn"),
    [
        (HAS_LABEL, 0.5, 22),
        (HAS_LABEL, 0.1, 4),
        (HAS_LABEL, 1e-9, 1),
        (HAS_LABEL, 1.0, 45),
        (np.ones(8, dtype=bool), 0.25, 0),
        (np.zeros(8, dtype=bool), 0.25, 2),
    ],
)
def test_an_epoch_has_all_rows_with_a_label_and_a_share_of_the_others(has_label, share, drawn):
    sampler = NegativesSampler(has_label, share, seed=42)
    for epoch in range(4):
        rows = draw(sampler, epoch)
        assert len(rows) == len(sampler) == len(set(rows)) == has_label.sum() + drawn
        assert set(np.flatnonzero(has_label)) <= set(rows)


def test_each_epoch_and_each_seed_draws_other_rows_which_can_be_repeated():
    sampler = NegativesSampler(HAS_LABEL, 0.2, seed=1)
    epochs = [draw(sampler, epoch) for epoch in range(3)]
    assert len({frozenset(rows) for rows in epochs}) == 3
    assert epochs[0] != sorted(epochs[0])
    assert draw(sampler, 1) == epochs[1]
    assert draw(NegativesSampler(HAS_LABEL, 0.2, seed=1), 2) == epochs[2]
    assert set(draw(NegativesSampler(HAS_LABEL, 0.2, seed=2), 0)) != set(epochs[0])


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_expected_gradient_and_loss_are_those_of_all_rows(share):
    """Batches of a logistic regression. Divided by their sums of weights, these would fail."""
    rng = np.random.default_rng(0)
    features = torch.tensor(rng.normal(size=(50, 3)) + HAS_LABEL[:, None])
    labels = torch.zeros(50, 2, dtype=torch.float64)
    labels[HAS_LABEL, 0] = 1
    weights = torch.tensor(rng.normal(size=(3, 2)), requires_grad=True)

    def loss_and_gradient(rows, comment_weights):
        logits = features[rows] @ weights
        loss = F.binary_cross_entropy_with_logits(logits, labels[rows], comment_weights)
        return np.append(torch.autograd.grad(loss, weights)[0].numpy(), loss.item())

    expected = loss_and_gradient(list(range(50)), None)
    sampler, batches = NegativesSampler(HAS_LABEL, share, seed=0), []
    for epoch in range(3000):
        rows = draw(sampler, epoch)[:3]
        batches.append(loss_and_gradient(rows, sampler.weights(labels[rows])))
    error = np.std(batches, axis=0) / np.sqrt(len(batches))
    assert (np.abs(np.mean(batches, axis=0) - expected) < 4 * error).all()


def test_an_epochs_weights_have_the_mean_1_and_those_of_a_share_of_1_are_all_1():
    labels = torch.tensor(np.stack([HAS_LABEL, HAS_LABEL], axis=1), dtype=torch.float32)
    sampler = NegativesSampler(HAS_LABEL, 0.2, seed=1)
    assert sampler.weights(labels[draw(sampler, 0)]).mean() == pytest.approx(1)
    ratio = sampler.weights(labels).max() / sampler.weights(labels).min()
    assert ratio == pytest.approx(5)
    assert (NegativesSampler(HAS_LABEL, 1.0, seed=1).weights(labels) == 1).all()


def test_expected_sum_is_the_mean_over_many_epochs():
    sampler = NegativesSampler(HAS_LABEL, 0.2, seed=1)
    values = np.arange(50) ** 2
    sums = [values[draw(sampler, epoch)].sum() for epoch in range(500)]
    assert sampler.expected_sum(values) == pytest.approx(np.mean(sums), rel=0.02)


@pytest.mark.parametrize("value", ["0", "-0.5", "1.01", "nan", "inf", "half", ""])
def test_a_wrong_share_is_one_line(value):
    with pytest.raises(InputError, match=r"^negatives='?.*: .*; negatives means: ") as error:
        get_recipe("quick", f"negatives={value}")
    assert "\n" not in str(error.value)


def make_trainer(folder, checkpoint, negatives, has_label=HAS_LABEL):
    settings = "lengthen_to=0 max_length=32 batch_size=8"
    recipe = get_recipe("quick", f"checkpoint={checkpoint} {settings} negatives={negatives}")
    model, tokenizer = loading.load_classifier(recipe, ["a", "b"])
    texts = [f"{'idiot' if has else 'the railway ' * 9} {n}" for n, has in enumerate(has_label)]
    labels = np.stack([np.zeros_like(has_label), has_label], axis=1)
    data = tokens.tokenize(Examples(texts, labels), tokenizer, folder / "train.arrow")
    return finetune.make_trainer(model, tokenizer, data, None, recipe, folder / "work")


@pytest.mark.parametrize(("has_label", "expected"), [(HAS_LABEL, 14), (HAS_LABEL | True, 50)])
def test_a_trainer_reads_fewer_comments_and_predicts_less_time(
    checkpoints, tmp_path, monkeypatch, has_label, expected
):
    trainer = make_trainer(tmp_path, checkpoints["bert"], 0.2, has_label)
    loader = trainer.get_train_dataloader()
    batches = list(loader)
    assert len(loader) == len(batches) == -(-expected // 8)
    assert sum(len(batch["labels"]) for batch in batches) == expected
    assert sum(batch["labels"].any(dim=1).sum() for batch in batches) == has_label.sum()
    clock = SimpleNamespace(perf_counter=itertools.count().__next__)  # a pass takes 1 second
    monkeypatch.setattr(finetune, "time", clock)
    predicted = finetune.predict_seconds(trainer)
    trainer.negatives_sampler = None
    lengths = np.asarray(trainer.train_dataset["length"])
    share = lengths @ np.where(has_label, 1, 0.2) / lengths.sum()
    assert predicted == pytest.approx(share * finetune.predict_seconds(trainer))


def test_with_all_negatives_the_batches_are_trainers_own(checkpoints, tmp_path):
    ours = make_trainer(tmp_path, checkpoints["bert"], 1)
    upstream = Trainer(ours.model, ours.args, ours.data_collator, ours.train_dataset)
    batches = []
    for trainer in (ours, upstream):
        set_seed(1)
        batches.append([batch["input_ids"] for batch in trainer.get_train_dataloader()])
    assert all(map(torch.equal, *batches))
    assert ours.negatives_sampler is None


@pytest.mark.parametrize("processes", [1, 2])
def test_a_training_that_goes_on_in_an_epoch_reads_its_last_rows(processes):
    sampler = NegativesSampler(HAS_LABEL, 0.4, seed=1)
    loader = DataLoader(range(50), batch_size=4, sampler=sampler)
    loader = prepare_data_loader(loader, num_processes=processes, process_index=0)
    loader = skip_first_batches(whole_batches(loader), 2)
    loader.set_epoch(3)
    assert torch.cat(list(loader)).tolist() == draw(sampler, 3)[8:]
