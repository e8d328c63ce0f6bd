"""Several processes under torchrun train the model of one process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from toxlib.data.examples import Examples
from toxlib.recipes import get_recipe
from toxlib.training import machine
from toxlib.training.finetune import finetune
from toxlib.training.machine import this_process

COMMENTS = 49
"""Seven batches of 8 would be 56: the last batch of an epoch has a single comment."""
TEXTS = [f"{'the railway ' * (n % 7) ** 2} you {n} idiot" for n in range(COMMENTS + 21)]
TRUTH = np.array([[n % 2, n % 3 == 0] for n in range(len(TEXTS))], dtype=np.int8)
VALUES = (
    "max_length=64 epochs=2 batch_size=8 dropout=0 attention_dropout=0 attention_window=16 "
    "micro_batch_tokens=80"
)
KINDS = {
    "bert": "lengthen_to=0 precision=fp32",
    # Rounding to bf16 moves gradients near zero, and AdamW makes whole steps of them.
    "bert in bf16": "lengthen_to=0 precision=bf16 learning_rate=1e-4 head_lr_multiplier=1",
    "bert on fewer negatives": "lengthen_to=0 precision=fp32 negatives=0.4",
    "longformer": "lengthen_to=0 precision=fp32",
    "longformer in windows": "lengthen_to=0 precision=fp32 max_length=16 long_texts=windows",
    "roberta": "lengthen_to=64 head=cls4 precision=fp32",
}


def train(kind: str, checkpoint: str, folder: Path) -> None:
    """Train with an evaluation after each epoch; each process keeps its weights and its log."""
    recipe = get_recipe("quick", f"checkpoint={checkpoint} {VALUES} {KINDS[kind]}")
    rows = (slice(0, COMMENTS), slice(COMMENTS, None))
    data = [Examples(TEXTS[part], TRUTH[part]) for part in rows]
    trained = finetune(recipe, ["a", "b"], *data, folder / "work")
    result = {"weights": trained.model.state_dict(), "history": trained.history}
    torch.save(result | {"cost": trained.cost}, folder / f"{this_process().process_index}.pt")


def main() -> None:
    """Train every kind in this process, which torchrun has started."""
    torch.set_num_threads(1)
    for kind, checkpoint in zip(KINDS, sys.argv[2:], strict=True):
        train(kind, checkpoint, Path(sys.argv[1]) / kind.replace(" ", "-"))
    this_process().destroy_process_group()  # otherwise its threads may abort the process's end


@pytest.fixture(scope="module")
def folders(checkpoints, tmp_path_factory):
    """Train every kind in this process, and in 3; return each folder by number of processes.

    Three share a batch of 8 unevenly. What two processes do is tested in tests/runs/test_engines.
    """
    made = {n: tmp_path_factory.mktemp(f"processes-{n}") for n in (1, 3)}
    encoders = [str(checkpoints[kind.partition(" ")[0]]) for kind in KINDS]
    for folder in made.values():
        for kind in KINDS:
            (folder / kind.replace(" ", "-")).mkdir()
    with machine.threads(1):
        for kind, encoder in zip(KINDS, encoders, strict=True):
            train(kind, encoder, made[1] / kind.replace(" ", "-"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=3", __file__, str(made[3]), *encoders]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return made


def load(folder: Path, kind: str, process: int = 0) -> dict:
    return torch.load(folder / kind.replace(" ", "-") / f"{process}.pt")


@pytest.mark.parametrize("kind", KINDS)
def test_several_processes_end_at_the_weights_of_one(folders, kind):
    limit = 1e-3 if "bf16" in kind else 1e-6
    expected = load(folders[1], kind)["weights"]
    for process in range(3):
        actual = load(folders[3], kind, process)["weights"]
        largest = max((actual[name] - value).abs().max() for name, value in expected.items())
        assert largest <= limit


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "bf16" not in kind])
def test_several_processes_log_the_losses_and_scores_of_one(folders, kind):
    expected, actual = (load(folders[n], kind)["history"] for n in (1, 3))
    limits = dict.fromkeys(("loss", "grad_norm", "learning_rate", "eval_loss"), 1e-4)
    # Tiny models score some comments the same to 1e-7, and rounding decides their order. One pair
    # of 110 is 0.0045 of the mean of two AUCs.
    limits["eval_mean_columnwise_auc"] = 0.02
    assert [entry["step"] for entry in actual] == [entry["step"] for entry in expected]
    for entry, other in zip(actual, expected, strict=True):
        for name in set(limits) & set(other):
            assert entry[name] == pytest.approx(other[name], abs=limits[name]), name
    assert sum("eval_loss" in entry for entry in actual) == 2


def test_all_processes_agree_on_what_the_training_cost(folders):
    costs = [load(folders[3], "bert", process)["cost"] for process in (0, 1)]
    assert costs[0]["predicted_seconds"] == costs[1]["predicted_seconds"]
    assert costs[0]["peak_memory_gb"] == costs[1]["peak_memory_gb"]
    assert costs[0]["peak_memory_gb"] > 0.9  # three processes, of which torch takes over 0.3 each


if __name__ == "__main__":
    main()
