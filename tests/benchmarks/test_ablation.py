import numpy as np
import pytest

from toxlib.benchmarks import ablation
from toxlib.data.duplicates import near_duplicate_groups
from toxlib.errors import InputError
from toxlib.evaluation import metrics
from toxlib.recipes import RECIPES, get_recipe

SMALL = ablation.Setting(blocks=2, max_length=48)


@pytest.fixture
def tiny(checkpoints, monkeypatch):
    """Shrink every training, and try two changes, the second one on top of the first."""
    values = f"checkpoint={checkpoints['bert']} epochs=1 batch_size=32"
    monkeypatch.setitem(RECIPES, "minilm", get_recipe("minilm", values))
    changes = {
        "slower": ("minilm", "learning_rate=1e-5"),
        "slower, taught": ("slower", "teacher=slower"),
    }
    monkeypatch.setattr(ablation, "CHANGES", changes)


def test_each_change_is_compared_with_its_reference(tiny, small_dir, tmp_path, monkeypatch):
    table = ablation.ablate(small_dir, tmp_path, seeds=2, setting=SMALL)
    assert list(table.index) == ["minilm", "slower", "slower, taught"]
    assert list(table["reference"][1:]) == ["minilm", "slower"]
    labels, differences = ablation.read_rows(small_dir).judged[1], []
    for seed in range(2):
        names = "slower", "slower, taught"
        saved = [np.load(ablation.path_of(tmp_path, n, seed))["judged"] for n in names]
        assert saved[0].shape == labels.shape
        aucs = [metrics.mean_columnwise_auc(labels, p) for p in saved]
        differences.append(aucs[1] - aucs[0])
    assert any(differences)
    assert table.loc["slower, taught", "judged: per seed"] == " ".join(
        f"{d:+.4f}" for d in differences
    )
    estimate = table.loc["slower, taught", "judged: difference"].split()[0]
    assert float(estimate) == pytest.approx(np.mean(differences), abs=6e-5)
    first, second = (np.load(ablation.path_of(tmp_path, "slower", seed)) for seed in range(2))
    assert not np.array_equal(first["judged"], second["judged"])
    before = ablation.path_of(tmp_path, "slower", 0).stat().st_mtime_ns
    ablation.ablate(small_dir, tmp_path, seeds=2, setting=SMALL)
    assert ablation.path_of(tmp_path, "slower", 0).stat().st_mtime_ns == before
    monkeypatch.setattr(ablation, "CHANGES", {"slower": ("minilm", "learning_rate=1e-6")})
    with pytest.raises(InputError, match="made from other data or another recipe"):
        ablation.ablate(small_dir, tmp_path, seeds=2, setting=SMALL)


def test_a_change_is_trained_after_its_references(tiny, small_dir, tmp_path):
    table = ablation.ablate(small_dir, tmp_path, ["slower"], seeds=1, setting=SMALL)
    assert list(table.index) == ["minilm", "slower"]
    table = ablation.ablate(small_dir, tmp_path, ["slower, taught"], seeds=2, setting=SMALL)
    assert table["seeds"].tolist() == [2, 2, 2]
    with pytest.raises(InputError, match="unknown change 'faster': choose one of slower, slower,"):
        ablation.ablate(small_dir, tmp_path, ["faster"])


@pytest.mark.slow
def test_similar_comments_are_in_the_same_block(real_rows):
    rows = ablation.read_rows(real_rows)
    groups = near_duplicate_groups(rows.texts.tolist())
    for group in np.unique(groups[np.bincount(groups)[groups] > 1]):
        assert len(set(rows.block[groups == group])) == 1


def test_the_blocks_have_their_roles_and_no_row_has_two(small_dir):
    rows = ablation.read_rows(small_dir)
    judged, training, hidden = rows.judged[0], rows.training(3)[0], rows.unlabelled(3)
    assert len(rows.training(11)[0]) + len(judged) == 240
    assert not set(judged) & set(rows.training(11)[0])
    assert not set(training) & set(hidden)
    assert set(hidden) < set(rows.training(6)[0])
    assert len(hidden) == pytest.approx(len(training), rel=0.3)


def test_a_file_for_a_folder_is_refused(small_dir, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: a file; give a folder"):
        ablation.ablate(small_dir, tmp_path / "file")


def test_the_reference_is_the_recipe_but_for_the_length():
    measured, used = ablation.recipe_for("minilm", 42), get_recipe("minilm")
    for key in ("head", "head_lr_multiplier", "learning_rate", "layer_decay", "epochs", "seed"):
        assert getattr(measured, key) == getattr(used, key)
