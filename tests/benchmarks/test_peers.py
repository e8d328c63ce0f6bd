"""The comparison with other libraries, on a tiny encoder, with those that are always installed."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from toxlib.__main__ import main
from toxlib.benchmarks import peer_recipes, peers


@pytest.fixture
def rows(small_dir):
    return peers.choose_rows(small_dir, 40, 20)


def test_rows_are_trained_on_or_scored_and_survive_their_file(rows, small_dir, tmp_path):
    assert (len(rows.train_texts), len(rows.texts)) == (40, 20)
    assert len({*rows.train_texts, *rows.texts}) == 60
    rows.save(tmp_path)
    loaded = peer_recipes.Rows.load(tmp_path)
    assert loaded.texts == rows.texts
    assert np.array_equal(loaded.train_labels, rows.train_labels)
    few = peers.choose_rows(small_dir, 2000, 1000)  # more than the file has
    assert len(few.train_texts) == pytest.approx(2 * len(few.texts), abs=2)


@pytest.mark.parametrize(
    "name", [name for name, peer in peer_recipes.PEERS.items() if peer.package == "transformers"]
)
def test_each_way_trains_and_scores(name, rows, checkpoints, tmp_path, monkeypatch):
    checkpoint = checkpoints["bert, large weights"]
    monkeypatch.setattr(peer_recipes, "bundled_checkpoint", lambda: checkpoint)
    monkeypatch.chdir(tmp_path)  # `run_peer` changes the current folder
    rows.save(tmp_path)
    measured = peer_recipes.run_peer(name, tmp_path)
    assert measured["train_comments_per_second"] > 0
    assert measured["score_comments_per_second"] > 0
    assert 0 < measured["auc"] < 1


def test_the_table_says_what_is_missing_or_failed(small_dir, tmp_path, monkeypatch, capsys):
    measured = {
        "train_comments_per_second": 12.0,
        "score_comments_per_second": 30.0,
        "auc": 0.9,
        "settings": "batch 8",
    }
    ours = peer_recipes.PEERS["ours"]
    known = {
        "ours": ours,
        "one": replace(ours, package="not_there"),
        "two": replace(ours, package="nor_there"),
        "broken": ours,  # no such name in the fresh process
    }
    monkeypatch.setattr(peers, "PEERS", known)
    measure = peers.measure
    monkeypatch.setattr(
        peers, "measure", lambda name, *how: measured if name == "ours" else measure(name, *how)
    )
    assert (
        main(["bench", "--peers", "--quick", "--data-dir", str(small_dir), "-o", str(tmp_path)])
        == 0
    )
    printed = capsys.readouterr().out
    assert "one, two: not installed; pip install -r requirements-peers.txt" in printed
    assert "broken: failed with exit status 1: \"KeyError: 'broken'\"" in printed
    assert "real comments" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["peers.json"]


def test_a_library_does_not_report_or_download(rows, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        peers.subprocess, "run", lambda command, **how: seen.append((command, how))
    )
    with pytest.raises(AttributeError):
        peers.measure("ours", rows, tmp_path / "peers")
    command, how = seen[0]
    assert command[:3] == [sys.executable, "-m", "toxlib.benchmarks.peer_recipes"]
    assert how["env"]["HF_HUB_OFFLINE"] == "1"
    assert how["env"]["WANDB_MODE"] == "disabled"
