"""A run's encoder is adapted once, without labels, and its finished models need it no more."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import toxlib
from toxlib.runs import adapting, engines
from toxlib.training import adaptation


def _open(data_dir, folder, checkpoint, overrides=""):
    values = f"checkpoint={checkpoint} lengthen_to=32 head=cls4 max_length=32 batch_size=32"
    values += f" epochs=1 learning_rate=1e-3 attention_dropout=0 adapt_epochs=1 {overrides}"
    return toxlib.open_run("quick", str(data_dir), str(folder), values)


def _weights(folder):
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def run(small_dir, checkpoints, tmp_path_factory):
    """Train a run with two folds, each in a process of its own, on an adapted encoder."""
    folder = tmp_path_factory.mktemp("adapting") / "run"
    run = _open(small_dir, folder, checkpoints["bert"], "folds=2 jobs=2")
    run.claim()
    engines.train_folds(run)
    return run


def test_all_folds_start_from_one_adapted_encoder(run, checkpoints):
    (adapted,) = [p for p in run.path(adapting.ADAPTED).iterdir() if p.name[0] != "."]
    assert adapting.adapted_recipe(run).checkpoint == str(adapted)
    position = "embeddings.position_embeddings.weight"
    before = _weights(checkpoints["bert"])[position][:32]
    start = _weights(adapted)[f"bert.{position}"][:32]
    ends = [
        _weights(run.fold_folder(fold) / "model")[f"longformer.{position}"][-32:]
        for fold in (0, 1)
    ]
    assert not torch.equal(before, start)
    # One epoch with layer-wise rates moves the embeddings less than their adaptation has.
    for end in ends:
        assert (end - start).abs().mean() < (end - before).abs().mean()


def test_a_finished_run_needs_no_adapted_encoder(run, tmp_path):
    moved = shutil.copytree(run.folder, tmp_path / "moved")
    shutil.rmtree(moved / adapting.ADAPTED)
    scores = toxlib.load(moved).predict(["you idiot", "thank you"])
    assert np.allclose(scores, toxlib.load(run.folder).predict(["you idiot", "thank you"]))
    reopened = toxlib.reopen(moved)
    reopened.claim()
    assert len(engines.train_folds(reopened)) == 2
    assert not (moved / adapting.ADAPTED).exists()


def test_a_run_that_goes_on_does_not_adapt_again(run, tmp_path, monkeypatch):
    monkeypatch.setattr(adaptation, "_train", None)
    moved = shutil.copytree(run.folder, tmp_path / "moved")
    reopened = toxlib.reopen(moved, "jobs=1")
    reopened.claim()
    before = _weights(reopened.fold_folder(1) / "model")
    shutil.rmtree(reopened.fold_folder(1))
    engines.train_folds(reopened)
    after = _weights(reopened.fold_folder(1) / "model")
    assert before.keys() == after.keys()


def test_labels_do_not_change_the_adapted_encoder(run, small_dir, checkpoints, tmp_path):
    data = shutil.copytree(small_dir, tmp_path / "permuted")
    table = pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False)
    rows = np.random.default_rng(0).permutation(len(table))
    table[run.label_names] = table[run.label_names].to_numpy()[rows]
    table.to_csv(data / "train.csv", index=False)
    other = _open(data, tmp_path / "other", checkpoints["bert"], "folds=2 jobs=2")
    other.claim()
    assert (other.tables.labels != run.tables.labels).any()
    first, second = (Path(adapting.adapted_recipe(r).checkpoint) for r in (run, other))
    name = "model.safetensors"
    assert first.name == second.name
    assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_result_says_how_well_words_are_predicted(run):
    result = adapting.adaptation_result(adapting.adapted_recipe(run))
    assert set(result["before"]) == set(result["after"]) == {"loss", "accuracy"}
    assert result["seconds"] > 0


def test_without_adaptation_nothing_is_made(small_dir, checkpoints, tmp_path):
    run = _open(small_dir, tmp_path / "run", checkpoints["bert"], "adapt_epochs=0")
    run.claim()
    assert adapting.adapted_recipe(run) == run.training_recipe
    assert not run.path(adapting.ADAPTED).exists()
