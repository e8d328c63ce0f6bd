import numpy as np
import pytest

from toxlib import ablation
from toxlib.errors import InputError


def test_each_change_beside_the_baseline(small_dir, checkpoints, tmp_path, monkeypatch):
    tiny = f"checkpoint={checkpoints['bert']} lengthen=64 max_length=32 epochs=1 batch_size=32"
    monkeypatch.setattr(ablation, "BASELINE", tiny)
    monkeypatch.setattr(ablation, "CHANGES", {"baseline": "", "slower": "learning_rate=1e-5"})
    monkeypatch.setattr(ablation, "LONG", 20)
    table = ablation.ablate(small_dir, tmp_path, seeds=2)
    assert list(table.index) == ["baseline", "slower"]
    assert table.loc["baseline", "AUC minus baseline"] == 0
    first = np.load(tmp_path / "slower-0.npz")["probabilities"]
    rows = ablation.read_rows(small_dir)
    assert first.shape == rows.judged_labels.shape
    assert len(rows.texts) + len(rows.judged_texts) == 240
    assert not set(rows.texts) & set(rows.judged_texts)
    assert not np.array_equal(first, np.load(tmp_path / "slower-1.npz")["probabilities"])
    monkeypatch.setattr(ablation, "LONG", 10_000)  # no comment is so long
    before = (tmp_path / "slower-0.npz").stat().st_mtime_ns
    ablation.ablate(small_dir, tmp_path, seeds=2)
    assert (tmp_path / "slower-0.npz").stat().st_mtime_ns == before
    monkeypatch.setattr(ablation, "CHANGES", {"baseline": "", "slower": "learning_rate=1e-6"})
    with pytest.raises(InputError, match="made from other data or another recipe"):
        ablation.ablate(small_dir, tmp_path, seeds=2)
