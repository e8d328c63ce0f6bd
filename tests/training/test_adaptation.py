"""Encoders learn to predict hidden words: losses, heads, caching, and going on after a kill."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import SIZE
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    BertTokenizerFast,
    LongformerForMaskedLM,
    TrainerCallback,
)

from toxlib.data.masking import NOT_HIDDEN
from toxlib.errors import InputError
from toxlib.longformer.masked_lm import HEADS
from toxlib.recipes import get_recipe
from toxlib.training import adaptation, hidden_words
from toxlib.training import checkpoints as loading

TEXTS = [
    f"{'the railway ' * (n % 7)} {'you idiot' if n % 2 else 'thank you'} {n}" for n in range(96)
]
FAMILIES = {
    "bert": {},
    "roberta": {"max_position_embeddings": 66},
    "longformer": {"max_position_embeddings": 66, "attention_window": 16},
    "mpnet": {"max_position_embeddings": 66},
    "electra": {"embedding_size": 16},
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "deberta-v2, new head": {"relative_attention": True, "legacy": False, "type_vocab_size": 0},
    "modernbert": {"local_attention": 16, "cls_token_id": 2, "sep_token_id": 3},
}
TINY = "lengthen_to=0 head=cls max_length=32 batch_size=8 dropout=0 attention_dropout=0"


def _recipe(checkpoint, overrides="") -> adaptation.Recipe:
    values = f"checkpoint={checkpoint} {TINY} precision=fp32 attention_window=16"
    return get_recipe("quick", f"{values} adapt_epochs=1 adapt_learning_rate=1e-3 {overrides}")


@pytest.fixture(scope="module", params=FAMILIES)
def with_head(request, tokenizer, tmp_path_factory) -> Path:
    """Save a tiny masked language model of the family, with its head and large weights."""
    kind = request.param.partition(",")[0]
    torch.manual_seed(0)
    values = SIZE | {"pad_token_id": 0} | FAMILIES[request.param]
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(kind, **values))
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * 0.2)
    folder = tmp_path_factory.mktemp("with-head")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _trainer(recipe, folder, held_out=16):
    model, tokenizer, head_is_new = hidden_words.load(recipe)
    folder.mkdir(exist_ok=True)
    data = adaptation.tokenize_words(TEXTS, tokenizer, folder / "a.arrow")
    parts = data.select(range(96 - held_out)), data.select(range(96 - held_out, 96))
    return hidden_words.make_trainer(model, tokenizer, parts, recipe, folder), head_is_new


def test_loss_and_gradients_are_those_of_the_padded_model(with_head, tmp_path):
    trainer, head_is_new = _trainer(_recipe(with_head), tmp_path)
    assert not head_is_new
    rows = list(trainer.train_dataset.select(range(48)))
    batch = trainer._hide(trainer.data_collator(rows), np.random.default_rng(0))
    trainer.token_budget = 64  # several micro-batches, of other numbers of hidden tokens
    assert len(trainer._groups(batch)) > 3
    trainer._hide = lambda batch, rng: batch
    loss = trainer.training_step(trainer.model, batch)

    kind = trainer.model.config.model_type
    eager = "sdpa" if kind in ("modernbert", "distilbert") else "eager"
    create = LongformerForMaskedLM if kind == "longformer" else AutoModelForMaskedLM
    how = {"config": trainer.model.config} if kind == "longformer" else {}
    padded = create.from_pretrained(with_head, attn_implementation=eager, **how).eval()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    expected = F.cross_entropy(
        padded(**inputs).logits.flatten(0, 1), batch["targets"].flatten(), ignore_index=NOT_HIDDEN
    )
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = {n: p.grad for n, p in padded.named_parameters() if p.grad is not None}
    scale = max(gradient.abs().max() for gradient in gradients.values())
    found = dict(trainer.model.named_parameters())
    for name, gradient in gradients.items():
        assert (found[name].grad - gradient).abs().max() <= 1e-5 * scale, name


def test_every_known_head_is_tested():
    like_roberta = {"xlm-roberta", "camembert"}
    assert {name.partition(",")[0] for name in FAMILIES} | like_roberta == set(HEADS)


def test_the_loss_falls_and_the_result_is_a_checkpoint(checkpoints, tmp_path):
    recipe = _recipe(checkpoints["bert"], "adapt_epochs=20 adapt_learning_rate=5e-3")
    folder = adaptation.adapt(recipe, TEXTS, tmp_path)
    result = json.loads((folder / adaptation.RESULT).read_text())
    assert result["head_is_new"]
    assert result["after"]["loss"] < result["before"]["loss"] - 1
    assert result["after"]["accuracy"] > result["before"]["accuracy"]
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == [folder.name]
    for overrides in ("", "lengthen_to=64"):
        model, _ = loading.load_classifier(_recipe(folder, overrides), ["a", "b"])
        known = load_file(folder / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
        assert torch.equal(model.get_input_embeddings().weight, known)


def test_the_pooler_is_kept_for_the_classifier(checkpoints, tmp_path):
    recipe = _recipe(checkpoints["bert"])
    before, _ = loading.load_classifier(recipe, ["a"])
    folder = adaptation.adapt(recipe, TEXTS, tmp_path)
    after, _ = loading.load_classifier(_recipe(folder), ["a"])
    for ours, theirs in zip(
        before.bert.pooler.parameters(), after.bert.pooler.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_a_new_head_is_trained_alone_first(checkpoints, tmp_path):
    recipe = _recipe(checkpoints["bert"], "learning_rate=1e-3")
    trainer, head_is_new = _trainer(recipe, tmp_path)
    assert head_is_new
    model = trainer.model
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    data, tokenizer = (trainer.train_dataset, trainer.eval_dataset), trainer.processing_class
    adaptation._train_head(model, tokenizer, data, recipe, tmp_path / "head")
    for name, weight in model.state_dict().items():
        if name.startswith("bert.") or name.endswith("decoder.weight"):
            assert torch.equal(weight, before[name]), name
        elif "pooler" not in name:
            assert not torch.equal(weight, before[name]), name
    assert learning == {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_global_attention_is_copied_from_the_local_one(checkpoints, tmp_path):
    folder = adaptation.adapt(_recipe(checkpoints["longformer"]), TEXTS, tmp_path)
    before = load_file(checkpoints["longformer"] / "model.safetensors")
    after = load_file(folder / "model.safetensors")
    names = [name for name in after if "_global." in name]
    assert len(names) == 2 * 3 * 2
    for name in names:
        local = name.replace("_global.", ".")
        assert torch.equal(after[name], after[local])
        assert not torch.equal(after[local], before[local.removeprefix("longformer.")])
    loading.load_classifier(_recipe(folder), ["a"])


@pytest.fixture
def trained(monkeypatch) -> list[Path]:
    """Count the trainings, which do nothing but write their folder."""
    done = []

    def train(recipe, texts, work, adapted, source):
        done.append(adapted)
        adapted.mkdir()

    monkeypatch.setattr(adaptation, "_train", train)
    return done


def test_what_is_done_is_not_done_again(checkpoints, tmp_path, trained):
    recipe = _recipe(checkpoints["bert"])
    first = adaptation.adapt(recipe, TEXTS, tmp_path)
    others = "learning_rate=1e-5 epochs=3 folds=5 lengthen_to=64 checkpoint_steps=7 negatives=0.5"
    assert adaptation.adapt(_recipe(checkpoints["bert"], others), TEXTS, tmp_path) == first
    assert len(trained) == 1


@pytest.mark.parametrize(
    "other",
    ["adapt_epochs=2", "adapt_learning_rate=1e-4", "seed=1", "max_length=16", "dropout=0.1"],
)
def test_another_value_is_another_folder(checkpoints, tmp_path, trained, other):
    first = adaptation.adapt(_recipe(checkpoints["bert"]), TEXTS, tmp_path)
    assert adaptation.adapt(_recipe(checkpoints["bert"], other), TEXTS, tmp_path) != first


def test_other_texts_or_weights_are_another_folder(checkpoints, tmp_path, trained):
    recipe = _recipe(checkpoints["bert"])
    found = {
        adaptation.adapt(recipe, TEXTS, tmp_path),
        adaptation.adapt(recipe, TEXTS[1:], tmp_path),
        adaptation.adapt(recipe, ["".join(TEXTS[:2]), *TEXTS[2:]], tmp_path),
        adaptation.adapt(_recipe(checkpoints["bert, large weights"]), TEXTS, tmp_path),
    }
    assert len(found) == 4


def test_without_adaptation_the_recipe_stays_as_it_is(checkpoints, tmp_path):
    recipe = _recipe(checkpoints["bert"], "adapt_epochs=0")
    assert adaptation.adapted_recipe(recipe, TEXTS, tmp_path / "x") == recipe
    assert not (tmp_path / "x").exists()


class Killed(Exception):
    """Stands for a kill."""


class KillAt(TrainerCallback):
    step, is_head = None, False

    def on_step_begin(self, args, state, control, **kwargs):
        is_head = Path(args.output_dir).parent.name == "head"
        if (state.global_step, is_head) == (self.step, self.is_head):
            raise Killed


@pytest.mark.parametrize("head_steps", [6, 300])
@pytest.mark.parametrize(("step", "is_head"), [(5, True), (2, False), (16, False)])
def test_a_killed_adaptation_ends_at_the_same_weights(
    checkpoints, tmp_path, monkeypatch, step, is_head, head_steps
):
    """The head is trained for 6 or 12 steps, and then everything for 24."""
    monkeypatch.setattr(adaptation, "HEAD_STEPS", head_steps)
    recipe = _recipe(checkpoints["bert"], "adapt_epochs=2 checkpoint_steps=3 dropout=0.1")
    whole = adaptation.adapt(recipe, TEXTS, tmp_path / "whole")
    kill, make = KillAt(), hidden_words.make_trainer
    kill.step, kill.is_head = step, is_head

    def make_with_kill(*args):
        trainer = make(*args)
        trainer.add_callback(kill)
        return trainer

    monkeypatch.setattr(hidden_words, "make_trainer", make_with_kill)
    with pytest.raises(Killed):
        adaptation.adapt(recipe, TEXTS, tmp_path / "killed")
    kill.step = None
    again = adaptation.adapt(recipe, TEXTS, tmp_path / "killed")
    name = "model.safetensors"
    assert (again / name).read_bytes() == (whole / name).read_bytes()
    first, second = (json.loads((f / adaptation.RESULT).read_text()) for f in (whole, again))
    assert [first[k] for k in ("before", "after")] == [second[k] for k in ("before", "after")]


def test_bad_input_is_one_line(checkpoints, tokenizer, tmp_path):
    for name in ("no-mask", "albert"):
        shutil.copytree(checkpoints["bert"], tmp_path / name)
    without = BertTokenizerFast(tokenizer_object=tokenizer._tokenizer)
    without.mask_token = None
    without.save_pretrained(tmp_path / "no-mask")
    with pytest.raises(InputError, match=r"no-mask.*: adapt_epochs needs a mask token"):
        adaptation.adapt(_recipe(tmp_path / "no-mask"), TEXTS, tmp_path)
    path = tmp_path / "albert" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "albert"}))
    with pytest.raises(InputError, match=r"albert is of type 'albert'; set adapt_epochs=0, or"):
        adaptation.adapt(_recipe(tmp_path / "albert"), TEXTS, tmp_path)
    with pytest.raises(InputError, match="fewer than 2 comments have a word"):
        adaptation.adapt(_recipe(checkpoints["bert"]), ["", "one"], tmp_path)


def test_a_loss_that_is_not_finite_says_what_to_do(checkpoints, tmp_path):
    trainer, _ = _trainer(_recipe(checkpoints["bert"]), tmp_path)
    trainer.model.get_input_embeddings().weight.data[:] = float("nan")
    with pytest.raises(InputError, match=r"is nan at step 1; set adapt_learning_rate below"):
        adaptation.run_training(trainer)
