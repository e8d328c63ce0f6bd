import numpy as np
import pytest

from toxlib import ablation, metrics
from toxlib.errors import InputError
from toxlib.recipes import get_recipe


def test_each_change_beside_the_baseline(small_dir, checkpoints, tmp_path, monkeypatch):
    tiny = f"checkpoint={checkpoints['bert']} lengthen=64 max_length=32 epochs=1 batch_size=32"
    monkeypatch.setattr(ablation, "BASELINE", tiny)
    changes = {
        "slower": ("baseline", "learning_rate=1e-5"),
        "slower, cls4": ("slower", "head=cls4"),
    }
    monkeypatch.setattr(ablation, "CHANGES", changes)
    monkeypatch.setattr(ablation, "LONG", 20)
    table = ablation.ablate(small_dir, tmp_path, seeds=2)
    assert list(table.index) == ["baseline", "slower", "slower, cls4"]
    assert list(table["minus"][1:]) == ["baseline", "slower"]
    first = np.load(tmp_path / "slower-0.npz")["probabilities"]
    rows = ablation.read_rows(small_dir)
    differences = []
    for seed in range(2):
        ways = [np.load(tmp_path / f"{name}-{seed}.npz")["probabilities"] for name in changes]
        aucs = [metrics.mean_columnwise_auc(rows.judged_labels, p) for p in ways]
        differences.append(f"{aucs[1] - aucs[0]:+.4f}")
    assert table.loc["slower, cls4", "of the seeds"] == " ".join(differences)
    assert first.shape == rows.judged_labels.shape
    assert len(rows.texts) + len(rows.judged_texts) == 240
    assert not set(rows.texts) & set(rows.judged_texts)
    assert not np.array_equal(first, np.load(tmp_path / "slower-1.npz")["probabilities"])
    monkeypatch.setattr(ablation, "LONG", 10_000)  # no comment is so long
    before = (tmp_path / "slower-0.npz").stat().st_mtime_ns
    ablation.ablate(small_dir, tmp_path, seeds=2)
    assert (tmp_path / "slower-0.npz").stat().st_mtime_ns == before
    monkeypatch.setattr(ablation, "CHANGES", {"slower": ("baseline", "learning_rate=1e-6")})
    with pytest.raises(InputError, match="made from other data or another recipe"):
        ablation.ablate(small_dir, tmp_path, seeds=2)


def test_a_file_for_a_folder_is_refused(small_dir, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: a file; give a folder"):
        ablation.ablate(small_dir, tmp_path / "file")


def test_the_change_called_minilm_is_the_recipe():
    measured, used = ablation._recipe("minilm", 42), get_recipe("minilm")
    for key in ("head", "head_rate", "learning_rate", "layer_decay", "epochs", "max_length"):
        assert getattr(measured, key) == getattr(used, key)
