"""One writer per run folder, nothing left running, and one line for whatever stops a run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from kills import SIGNALS, alive, command, start

import toxlib
from toxlib import files
from toxlib.__main__ import main
from toxlib.errors import InputError, NotebookError
from toxlib.pipeline import execute
from toxlib.runs.lock import LOCK, lock, locked, unlock

HOLD = "import sys, time; from pathlib import Path; from toxlib.runs.lock import lock;"
HOLD += "lock(Path(sys.argv[1])); print('locked', flush=True); time.sleep(60)"


@pytest.fixture
def holder(tmp_path):
    """Start a process that has locked the folder `run`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_run_on_a_folder_exits_with_one_line(holder, small_dir, tmp_path, capsys):
    arguments = ["run", "--data-dir", str(small_dir), "--run-dir", str(tmp_path / "run")]
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"run: in use by process {holder.pid} on " in message
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


def test_the_lock_of_a_dead_process_does_not_count(holder, tmp_path):
    holder.kill()
    holder.wait()
    lock(tmp_path / "run")
    assert f"process {os.getpid()} " in (tmp_path / "run" / LOCK).read_text()
    unlock(tmp_path / "run")


def test_a_claim_holds_the_folder_until_it_is_released(small_dir, tmp_path):
    run = toxlib.open_run("quick", str(small_dir), str(tmp_path / "run"))
    run.claim()
    arguments = [sys.executable, "-c", HOLD, str(run.folder)]
    refused = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert f"in use by process {os.getpid()}" in refused.stderr
    run.release()
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        process.kill()


def test_children_share_the_lock(tmp_path):
    code = "import sys; from pathlib import Path; from toxlib.runs.lock import lock;"
    code += "lock(Path(sys.argv[1]))"
    with locked(tmp_path / "run"):
        assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")]).returncode == 0


@pytest.fixture
def execute_code(tmp_path, monkeypatch):
    """Return a function that executes one cell of code as the notebook `n`."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(files, "REPOSITORY", tmp_path)

    def run(code, folder=tmp_path / "out"):
        folder.mkdir(exist_ok=True)
        metadata = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
        cells = [nbformat.v4.new_code_cell(code)]
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
        nbformat.write(notebook, tmp_path / "notebooks" / "n.ipynb")
        return execute("n", folder, {})

    return run


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("import os; os.kill(os.getpid(), 9)", InputError, "most likely because memory ran out"),
        ("import os; os._exit(3)", InputError, "n: the notebook's process has ended; what is"),
        ("open('/no/such/folder/x', 'w')", InputError, "No such file or directory: '/no/such"),
        ("raise OSError(28, 'No space left on device', 'x')", InputError, "No space left on dev"),
        ("1 / 0", NotebookError, "n, cell 1: ZeroDivisionError: division by zero"),
    ],
)
def test_what_ends_a_notebook_is_one_line(execute_code, code, error, message):
    with pytest.raises(error, match=message) as caught:
        execute_code(code)
    assert str(caught.value).count("\n") == (error is NotebookError)  # it names the notebook too


def test_a_full_disk_is_one_line(execute_code, monkeypatch):
    monkeypatch.setattr("toxlib.pipeline.FULL", 1e18)
    with pytest.raises(InputError, match="out: the disk is full; free some space; what is fin"):
        execute_code("raise RuntimeError('PytorchStreamWriter failed writing file')")


def test_too_little_room_is_told_before_the_first_notebook(
    checkpoints, small_dir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("toxlib.pipeline.FREE_FOR_OTHERS", 1e18)
    arguments = ["run", "--data-dir", str(small_dir), "--run-dir", str(tmp_path / "run")]
    values = [f"checkpoint={checkpoints['bert']}", "lengthen_to=0", "max_length=48"]
    assert main([*arguments, "--set", *values]) == 2
    message = capsys.readouterr().err
    assert "GB are free, and the run needs up to 1000000000.0 GB" in message
    assert not (tmp_path / "run").exists()


def test_a_folder_with_braces_in_its_name(execute_code, tmp_path):
    execute_code("1", tmp_path / "a {run} {")
    assert (tmp_path / "a {run} {" / "n.ipynb").exists()


def test_what_the_system_refuses_is_one_line(monkeypatch, capsys):
    def refuse(*_):
        raise OSError(30, "Read-only file system", "/mnt/x")

    monkeypatch.setattr("toxlib.data.kaggle.find_data_dir", refuse)
    assert main(["data"]) == 2
    assert capsys.readouterr().err == "error: /mnt/x: Read-only file system\n"
    monkeypatch.setattr("toxlib.pipeline.run_pipeline", refuse)
    assert main(["run"]) == 2
    expected = "error: /mnt/x: Read-only file system; what is finished is kept, and the same"
    assert capsys.readouterr().err.startswith(expected)


def train_two_folds(checkpoints, small_dir, tmp_path):
    """Start a run, and return its process and its log once two folds train side by side."""
    run, log = tmp_path / "run", tmp_path / "log"
    arguments = command("folds", small_dir, checkpoints["bert"], run)
    process = start([*arguments, "epochs=30", "folds=3"], log)
    while not list(run.glob("fold-1/work/checkpoints")):
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    return process, log


@pytest.mark.slow
def test_a_killed_worker_is_one_line(checkpoints, small_dir, tmp_path):
    process, log = train_two_folds(checkpoints, small_dir, tmp_path)
    workers = [
        pid for pid in alive(log) if b"fold_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(workers[0], signal.SIGKILL)
    assert process.wait(60) == 2
    message = "a process that trained it was killed, most likely for lack of memory"
    assert message in log.read_text().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_all_processes(number, checkpoints, small_dir, tmp_path):
    """Two folds train side by side when the signal comes."""
    process, log = train_two_folds(checkpoints, small_dir, tmp_path)
    assert len(alive(log)) > 3
    process.send_signal(number)
    assert (
        process.wait(30) == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    )
    deadline = time.monotonic() + 10
    while alive(log) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert alive(log) == []
    after = log.read_text().replace("\r", "\n")
    assert "Traceback" not in after
    if number != signal.SIGKILL:
        assert after.rstrip().endswith("the same command goes on from there")
