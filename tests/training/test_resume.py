"""A training that is killed goes on from its last whole checkpoint to the very same weights."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from toxlib.data import tokens
from toxlib.data.examples import Examples
from toxlib.errors import InputError
from toxlib.recipes import get_recipe
from toxlib.training import checkpoints as loading
from toxlib.training import finetune
from toxlib.training.resume import claim_work_folder, last_whole_checkpoint

LABELS = ["a", "b"]
TEXTS = [
    f"{'the railway ' * (n % 7)} {'you idiot' if n % 2 else 'thank you'} {n}" for n in range(96)
]
TRUTH = np.array([[n % 2, n % 3 == 0] for n in range(96)], dtype=np.int8)
IDS = [f"id-{n}" for n in range(96)]


class Killed(Exception):
    """Stands for a kill."""


class KillAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Killed


class KillInEvaluation(TrainerCallback):
    """Kills when the epoch that ends at a step has been scored, and not yet been saved."""

    def __init__(self, step):
        self.step = step

    def on_evaluate(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Killed


@pytest.fixture
def recipe(checkpoints):
    settings = "lengthen_to=0 max_length=32 epochs=2 batch_size=8 checkpoint_steps=3"
    return get_recipe("quick", f"checkpoint={checkpoints['bert']} {settings}")


def trainer(recipe, folder, choose_epoch=True, callback=None):
    """Return a Trainer on 64 comments, 8 steps per epoch, that is scored on 32 others."""
    model, tokenizer = loading.load_classifier(recipe, LABELS)
    parts = {"train": slice(0, 64), "validation": slice(64, 96)}
    data = {
        n: tokens.tokenize(Examples(TEXTS[s], TRUTH[s], IDS[s]), tokenizer, folder / f"{n}.arrow")
        for n, s in parts.items()
    }
    validation = data["validation"] if choose_epoch else None
    made = finetune.make_trainer(model, tokenizer, data["train"], validation, recipe, folder)
    if callback:
        made.add_callback(callback)
    return made


def weights(trained):
    return {name: value.clone() for name, value in trained.model.state_dict().items()}


def assert_same(a, b):
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("precision", "choose_epoch", "step"),
    [
        *(("fp32", choose_epoch, step) for choose_epoch in (True, False) for step in (2, 7, 14)),
        ("bf16", True, 7),
        ("bf16", False, 14),
    ],
)
def test_a_killed_training_ends_at_the_same_weights(
    recipe, tmp_path, precision, choose_epoch, step
):
    recipe = dataclasses.replace(recipe, precision=precision)
    _kill_and_go_on(recipe, tmp_path, choose_epoch, step, steps=16)


@pytest.mark.parametrize("step", [4, 7, 10])
def test_a_killed_training_on_fewer_negatives_ends_at_the_same_weights(recipe, tmp_path, step):
    """43 comments have a label; an epoch reads 10 of the other 21, so that it has 7 steps."""
    recipe = dataclasses.replace(recipe, negatives=0.5)
    _kill_and_go_on(recipe, tmp_path, choose_epoch=True, step=step, steps=14)


def _kill_and_go_on(recipe, tmp_path, choose_epoch, step, steps):
    """Compare a training of so many steps with one that is killed and goes on."""
    whole = weights(finetune.run_training(trainer(recipe, tmp_path / "whole", choose_epoch)))
    with pytest.raises(Killed):
        finetune.run_training(trainer(recipe, tmp_path / "k", choose_epoch, KillAt(step)))
    last, _ = last_whole_checkpoint(tmp_path / "k" / "checkpoints")
    reached = int(last.name.partition("-")[2]) if last else 0
    assert step - reached <= 3
    again = finetune.run_training(trainer(recipe, tmp_path / "k", choose_epoch))
    assert_same(whole, weights(again))
    logged = [entry["step"] for entry in again.history if "loss" in entry]
    assert logged == sorted(set(logged))
    assert logged[-1] == steps


@pytest.mark.parametrize("step", [8, 16])
def test_a_training_that_is_killed_in_an_evaluation_scores_the_epoch_again(recipe, tmp_path, step):
    """The last step of each epoch is one of the steps that would have a checkpoint anyway."""
    recipe = dataclasses.replace(recipe, checkpoint_steps=4)
    whole = finetune.run_training(trainer(recipe, tmp_path / "whole"))
    with pytest.raises(Killed):
        finetune.run_training(trainer(recipe, tmp_path / "k", callback=KillInEvaluation(step)))
    last, _ = last_whole_checkpoint(tmp_path / "k" / "checkpoints")
    assert last.name == f"checkpoint-{step - 4}"
    again = finetune.run_training(trainer(recipe, tmp_path / "k"))
    assert_same(weights(whole), weights(again))
    scored = [[e["step"] for e in t.history if "eval_loss" in e] for t in (whole, again)]
    assert scored == [[8, 16]] * 2
    last, content = last_whole_checkpoint(tmp_path / "k" / "checkpoints")
    assert last.name == "checkpoint-16"
    assert content["best"] in ("checkpoint-8", "checkpoint-16")


def test_the_last_two_checkpoints_and_the_best_are_kept(recipe, tmp_path, monkeypatch):
    """A new best one is marked before the best one so far is deleted."""
    scores = iter([0.1, 0.5, 0.9])
    monkeypatch.setattr(
        finetune, "_validation_metrics", lambda _: {"mean_columnwise_auc": next(scores)}
    )
    recipe = dataclasses.replace(recipe, epochs=3, checkpoint_steps=3)
    folder, before = tmp_path / "checkpoints", []

    class Look(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            before.append(sorted(int(path.name[11:]) for path in folder.iterdir()))

    made = trainer(recipe, tmp_path, callback=Look())  # it looks before the new one is marked
    finetune.run_training(made)
    assert before == [
        [3], [3, 6], [3, 6, 8], [6, 8, 9], [8, 9, 12], [8, 9, 12, 15],
        [8, 12, 15, 16], [8, 15, 16, 18], [16, 18, 21], [16, 18, 21, 24],
    ]  # fmt: skip
    assert sorted(path.name[11:] for path in folder.iterdir()) == ["16", "21", "24"]


def test_a_smaller_budget_that_is_set_after_a_kill_is_taken(recipe, tmp_path):
    with pytest.raises(Killed):
        finetune.run_training(trainer(recipe, tmp_path, callback=KillAt(7)))
    again = trainer(dataclasses.replace(recipe, micro_batch_tokens=40), tmp_path)
    finetune.run_training(again)
    assert again.token_budget == 40
    assert last_whole_checkpoint(tmp_path / "checkpoints")[1]["token_budget"] == 40


def test_a_folder_that_was_moved_keeps_its_best_epoch(recipe, tmp_path, monkeypatch):
    """The training was killed after its last checkpoint, before the caller saved the model."""
    scores = iter([0.9, 0.1])
    monkeypatch.setattr(
        finetune, "_validation_metrics", lambda _: {"mean_columnwise_auc": next(scores)}
    )
    whole = weights(finetune.run_training(trainer(recipe, tmp_path / "before")))
    shutil.move(tmp_path / "before", tmp_path / "after")
    assert_same(whole, weights(finetune.run_training(trainer(recipe, tmp_path / "after"))))


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "whole.json"]
)
@pytest.mark.parametrize("damage", ["cut", "delete"])
def test_a_damaged_checkpoint_is_passed_over(recipe, tmp_path, name, damage):
    whole = weights(finetune.run_training(trainer(recipe, tmp_path / "whole")))
    with pytest.raises(Killed):
        finetune.run_training(trainer(recipe, tmp_path / "k", callback=KillAt(14)))
    folder = tmp_path / "k" / "checkpoints"
    last, _ = last_whole_checkpoint(folder)
    path = last / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    before, _ = last_whole_checkpoint(folder)
    assert int(before.name[11:]) < int(last.name[11:])
    with pytest.raises(Killed):
        finetune.run_training(trainer(recipe, tmp_path / "k", callback=KillAt(13)))
    assert last_whole_checkpoint(folder)[0] == last  # it was written again
    assert_same(whole, weights(finetune.run_training(trainer(recipe, tmp_path / "k"))))


def test_a_damaged_checkpoint_that_is_not_written_again_is_deleted(recipe, tmp_path):
    with pytest.raises(Killed):
        finetune.run_training(trainer(recipe, tmp_path, callback=KillAt(7)))
    folder = tmp_path / "checkpoints"
    (folder / "checkpoint-6" / "optimizer.pt").unlink()
    every = dataclasses.replace(recipe, checkpoint_steps=1)
    with pytest.raises(Killed):
        finetune.run_training(trainer(every, tmp_path, callback=KillAt(5)))
    assert {path.name for path in folder.iterdir()} == {"checkpoint-4", "checkpoint-5"}


def test_without_a_whole_checkpoint_training_begins_anew(recipe, tmp_path):
    whole = weights(finetune.run_training(trainer(recipe, tmp_path / "whole")))
    with pytest.raises(Killed):
        finetune.run_training(trainer(recipe, tmp_path / "k", callback=KillAt(5)))
    for path in (tmp_path / "k" / "checkpoints").glob("*/trainer_state.json"):
        path.write_text("{}")
    assert_same(whole, weights(finetune.run_training(trainer(recipe, tmp_path / "k"))))


class LoseBest(TrainerCallback):
    """Deletes the best epoch's checkpoint before the training ends."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 15 and state.best_model_checkpoint:
            shutil.rmtree(state.best_model_checkpoint)


def test_a_lost_best_epoch_is_an_error(recipe, tmp_path, monkeypatch):
    best_first = iter([0.9, 0.1])
    monkeypatch.setattr(
        finetune, "_validation_metrics", lambda _: {"mean_columnwise_auc": next(best_first)}
    )
    with pytest.raises(InputError, match="checkpoint-8: the best epoch's checkpoint is gone"):
        finetune.run_training(trainer(recipe, tmp_path, callback=LoseBest()))


def test_a_loss_that_is_not_finite_stops_and_names_the_comments(recipe, tmp_path):
    made = trainer(recipe, tmp_path)
    token = made.processing_class("idiot", add_special_tokens=False)["input_ids"][0]
    made.model.get_input_embeddings().weight.data[token] = float("nan")
    with pytest.raises(InputError, match="the loss is nan at step 1 for comments 'id-1'") as error:
        finetune.run_training(made)
    assert "lower learning_rate" in str(error.value)
    assert "'id-2'" not in str(error.value)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_are_nan(recipe, tmp_path):
    made = trainer(recipe, tmp_path)
    made.model.classifier.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(InputError, match=r"the gradient is (inf|nan) at step 1; "):
        finetune.run_training(made)
    assert all(torch.isfinite(value).all() for value in made.model.state_dict().values())


def test_work_of_another_training_is_removed(tmp_path):
    folder = claim_work_folder(tmp_path / "work", {"seed": 1, "rows": (1, 2)})
    (folder / "tokens").write_text("x")
    claim_work_folder(folder, {"seed": 1, "rows": (1, 2)})
    assert (folder / "tokens").exists()
    claim_work_folder(folder, {"seed": 2, "rows": (1, 2)})
    assert not (folder / "tokens").exists()
