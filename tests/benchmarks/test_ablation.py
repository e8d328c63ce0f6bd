import numpy as np
import pytest

from toxlib.benchmarks import ablation
from toxlib.errors import InputError
from toxlib.evaluation import metrics
from toxlib.recipes import get_recipe


def test_each_change_is_compared_with_its_reference(small_dir, checkpoints, tmp_path, monkeypatch):
    tiny = f"checkpoint={checkpoints['bert']} lengthen_to=64 max_length=32 epochs=1 batch_size=32"
    monkeypatch.setattr(ablation, "BASELINE", tiny)
    changes = {
        "slower": ("baseline", "learning_rate=1e-5"),
        "slower, cls4": ("slower", "head=cls4"),
    }
    monkeypatch.setattr(ablation, "CHANGES", changes)
    monkeypatch.setattr(ablation, "LONG", 20)
    table = ablation.ablate(small_dir, tmp_path, seeds=2)
    assert list(table.index) == ["baseline", "slower", "slower, cls4"]
    assert list(table["reference"][1:]) == ["baseline", "slower"]
    assert "[" in table.loc["slower", "pooled AUC difference over 20 tokens"]
    rows = ablation.read_rows(small_dir)
    labels, differences = rows.held_out_labels, []
    for seed in range(2):
        saved = [np.load(tmp_path / f"{name}-{seed}.npz")["probabilities"] for name in changes]
        assert saved[0].shape == labels.shape
        aucs = [metrics.mean_columnwise_auc(labels, p) for p in saved]
        differences.append(aucs[1] - aucs[0])
    assert table.loc["slower, cls4", "per seed"] == " ".join(f"{d:+.4f}" for d in differences)
    estimate = table.loc["slower, cls4", "AUC difference"].split()[0]
    assert float(estimate) == pytest.approx(np.mean(differences), abs=6e-5)
    first, second = (np.load(tmp_path / f"slower-{seed}.npz") for seed in range(2))
    assert not np.array_equal(first["probabilities"], second["probabilities"])
    monkeypatch.setattr(ablation, "LONG", 10_000)
    before = (tmp_path / "slower-0.npz").stat().st_mtime_ns
    table = ablation.ablate(small_dir, tmp_path, seeds=2)
    assert (tmp_path / "slower-0.npz").stat().st_mtime_ns == before
    column = "pooled AUC difference over 10000 tokens"
    assert table.loc["slower", column] == "no comment is so long"
    monkeypatch.setattr(ablation, "CHANGES", {"slower": ("baseline", "learning_rate=1e-6")})
    with pytest.raises(InputError, match="made from other data or another recipe"):
        ablation.ablate(small_dir, tmp_path, seeds=2)


def test_no_comment_is_on_both_sides(small_dir):
    rows = ablation.read_rows(small_dir)
    texts, labels = rows.training
    assert len(texts) + len(rows.held_out_texts) == 240
    assert len(labels) == len(texts)
    assert not set(texts) & set(rows.held_out_texts)


def test_a_file_for_a_folder_is_refused(small_dir, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: a file; give a folder"):
        ablation.ablate(small_dir, tmp_path / "file")


def test_the_change_called_minilm_is_the_recipe():
    measured, used = ablation.recipe_for("minilm", 42), get_recipe("minilm")
    keys = ("head", "head_lr_multiplier", "learning_rate", "layer_decay", "epochs", "max_length")
    for key in keys:
        assert getattr(measured, key) == getattr(used, key)
