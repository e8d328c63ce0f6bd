"""Runs of each kind, made in this process."""

from pathlib import Path

import pytest
from made_runs import finish_blend, finish_run


@pytest.fixture(scope="session")
def made(tmp_path_factory, hostile_dir, tiny_overrides) -> dict[str, Path]:
    """Make a single run, two runs of two folds and their blend, by kind.

    The members of the blend lie outside its folder, in folders of the same name.
    """
    base = tmp_path_factory.mktemp("made-runs")
    small = [*tiny_overrides, "lengthen_to=48", "attention_window=64", "precision=fp32"]
    kinds = {"single": (base / "single", "folds=1"), "folds": (base / "a" / "same", "folds=2")}
    kinds["other folds"] = base / "b" / "same", "folds=2 head=cls4 training_seed=1"
    runs = {
        kind: finish_run(folder, hostile_dir, [*small, *values.split()])
        for kind, (folder, values) in kinds.items()
    }
    members = [runs["folds"], runs.pop("other folds")]
    return runs | {"blend": finish_blend(base / "blend", members)}
