"""Folds trained in several processes, side by side, or by Ray are those of one process."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

import toxlib
from toxlib import files
from toxlib.errors import InputError
from toxlib.recipes import get_recipe
from toxlib.runs import engines, folds
from toxlib.runs.lock import lock

PREDICTIONS = ("validation_predictions.csv", "test_predictions.csv")
VALUES = (
    "lengthen_to=0 max_length=48 epochs=2 batch_size=32 learning_rate=1e-3 precision=fp32 "
    "dropout=0 attention_dropout=0 checkpoint_steps=2"
)


@pytest.fixture
def train(checkpoints, small_dir, tmp_path):
    """Return a function that trains the folds of a run into a folder."""

    def train(name, values):
        values = f"checkpoint={checkpoints['bert']} {VALUES} {values}"
        run = toxlib.open_run("quick", small_dir, tmp_path / name, values)
        run.claim()
        try:
            engines.train_folds(run)
        finally:
            run.release()
        return run

    return train


def weights(run, fold=0) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(run.fold_folder(fold) / "model" / "model.safetensors")


def largest_difference(run, other) -> float:
    a, b = weights(run), weights(other)
    return max((a[name] - b[name]).abs().max().item() for name in a)


def names(run) -> list[str]:
    return sorted(str(p.relative_to(run.folder)) for p in run.folder.rglob("*") if p.is_file())


def processes_of(folder: Path) -> list[int]:
    """Return the processes that train a fold of the run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        is_launcher = b"torch.distributed.run" in arguments
        if str(folder).encode() in arguments and not is_launcher:
            found.append(int(process.name))
    return found


def kill_one(folder: Path, checkpoint: str) -> threading.Thread:
    """Kill the last process that trains a fold, once there is a checkpoint."""

    def wait_and_kill() -> None:
        while not list(folder.rglob(checkpoint)):
            time.sleep(0.01)
        os.kill(max(processes_of(folder)), signal.SIGKILL)

    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    return thread


def test_two_processes_that_were_killed_go_on_to_the_run_of_one(train, tmp_path, capfd):
    alone = train("alone", "processes=1")
    killer = kill_one(tmp_path / "killed", "checkpoint-4/whole.json")
    with pytest.raises(InputError, match="killed, fold 0: a process that trained it was killed"):
        train("killed", "processes=2")
    killer.join(10)
    assert processes_of(tmp_path / "killed") == []
    assert not (tmp_path / "killed" / "model").exists()
    run = toxlib.reopen(tmp_path / "killed")
    assert list(folds.work_folder(run, 0, 2).glob("checkpoints/*/whole.json"))  # as 03 does it
    capfd.readouterr()
    again = train("killed", "processes=2")
    assert "Going on from step" in capfd.readouterr().err
    assert names(again) == names(alone)
    assert largest_difference(again, alone) <= 1e-6
    difference = again.predictions().test() - alone.predictions().test()
    assert abs(difference).max() <= 1e-5
    record = again.predictions().record(0)
    assert record["cost"]["processes"] == 2
    assert sum("eval_loss" in entry for entry in record["history"]) == 2


@pytest.mark.slow
def test_folds_by_ray_are_those_side_by_side(train):
    pytest.importorskip("ray")
    by_jobs, by_ray = (train(name, f"folds=2 jobs=2 engine={name}") for name in ("local", "ray"))
    assert names(by_jobs) == names(by_ray)
    for name in PREDICTIONS:
        assert by_jobs.path(name).read_bytes() == by_ray.path(name).read_bytes()


@pytest.mark.slow
def test_an_error_in_the_main_process_is_one_line(train, tmp_path, monkeypatch):
    """The other process, which waits for it, fails too; what it says is not the cause."""
    start = engines.run_fold

    def start_with_a_folder_in_the_way(folder, *arguments):
        work = folds.work_folder(toxlib.reopen(folder), 0, 2)
        (work / "train.arrow").mkdir()
        start(folder, *arguments)

    monkeypatch.setattr(engines, "run_fold", start_with_a_folder_in_the_way)
    with pytest.raises(InputError, match=r"work/train\.arrow: a folder where a file is written"):
        train("run", "processes=2")


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (-9, InputError, "was killed, most likely for lack of memory"),
        (1, RuntimeError, "its process ended with status 1: No module named toxlib$"),
    ],
)
def test_a_process_without_an_error_was_killed_or_did_not_start(tmp_path, status, kind, told):
    (tmp_path / "log").write_text("Traceback\nNo module named toxlib\n")
    error = engines._error_of("run, fold 1", tmp_path / "none", tmp_path / "log", status)
    with pytest.raises(kind, match=told):
        raise error


def test_a_fault_in_the_code_is_one_line_after_its_traceback(tmp_path, capsys):
    (tmp_path / "log").write_text("")
    content = {"is_input_error": False, "line": "ValueError: x", "traceback": "Traceback …"}
    files.write_json(tmp_path / "error.json", content)
    error = engines._error_of("run, fold 1", tmp_path / "error.json", tmp_path / "log", 1)
    assert type(error) is RuntimeError
    assert str(error) == "run, fold 1: ValueError: x"
    assert capsys.readouterr().err == "Traceback …\n"


@pytest.mark.parametrize(
    ("gpus", "threads", "values", "folds", "processes"),
    [
        (0, 8, "folds=5", 1, 1),
        (0, 8, "folds=5 jobs=4", 4, 1),
        (0, 8, "processes=2", 1, 2),
        (0, 8, "folds=5 jobs=8 processes=4", 2, 4),
        (0, 1, "processes=2", 1, 2),
        (1, 8, "folds=5 jobs=4", 1, 1),
        (4, 8, "folds=5", 1, 4),
        (4, 8, "folds=5 jobs=4", 4, 1),
        (4, 8, "folds=5 jobs=2", 2, 2),
        (4, 8, "folds=5 jobs=4 processes=2", 2, 2),
        (4, 8, "folds=5 jobs=4 processes=1", 4, 1),
    ],
)
def test_devices_are_shared_out(monkeypatch, gpus, threads, values, folds, processes):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    recipe = get_recipe("quick", values)
    assert engines.folds_side_by_side(recipe) == folds
    assert engines.processes_per_fold(recipe) == processes
    assert engines.threads_per_process(recipe) == max(1, threads // (folds * processes))
    taken = [gpu for gpus in engines._share_gpus(folds, processes) for gpu in gpus.split(",")]
    assert len(set(taken)) == (folds * processes if gpus else 1)


def test_gpus_that_the_user_has_chosen_are_kept(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,6,7")
    assert engines._share_gpus(2, 2) == ["3,5", "6,7"]


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=r"processes=3: this machine has 2 GPU\(s\)"):
        engines.processes_per_fold(get_recipe("quick", "processes=3"))


def test_a_fold_that_no_node_can_hold_is_refused():
    engines._check_room({"CPU": 4, "GPU": 1}, [{"CPU": 2}, {"CPU": 8, "GPU": 1}])
    with pytest.raises(InputError, match=r"no node of the cluster has 4 CPU\(s\) and 1 GPU\(s\)"):
        engines._check_room({"CPU": 4, "GPU": 1}, [{"CPU": 8}, {"CPU": 2, "GPU": 1}])


def test_a_run_under_torchrun_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with pytest.raises(InputError, match=r"started by torchrun .* set processes=N"):
        lock(tmp_path / "run")
    assert not (tmp_path / "run").exists()
