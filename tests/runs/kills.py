"""Kill a run at random instants, start it again, and compare its files with an unkilled run's.

    python tests/runs/kills.py DATA_DIR CHECKPOINT OUTPUT --kills 10 --kind folds
    python tests/runs/kills.py DATA_DIR CHECKPOINT OUTPUT --kills 0 --pairs 20

The second command starts two runs on one folder. Each line of OUTPUT/results.jsonl describes one
kill or pair. The tests use the functions as well.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

TINY = ["max_length=48", "epochs=6", "batch_size=16", "learning_rate=1e-3", "checkpoint_steps=3"]
KINDS = {
    "single": ("quick", []),
    "folds": ("minilm", ["folds=2", "jobs=2", "lengthen_to=48"]),
    "processes": ("quick", ["processes=2", "lengthen_to=0"]),
    "blend": ("best", ["folds=2", "jobs=2", "lengthen_to=48"]),
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
EXPECTED = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
RESULTS = ("submission.csv", "split.csv", "thresholds.json", "calibration.json", "weights.json")
MARK = "TOXLIB_KILL_TEST"


def command(kind: str, data_dir: Path, checkpoint: Path, folder: Path) -> list[str]:
    """Return the command of a tiny run."""
    recipe, values = KINDS[kind]
    values = [f"checkpoint={checkpoint}", *TINY, *values]
    start = [sys.executable, "-m", "toxlib", "run", "--recipe", recipe]
    start += [] if kind == "single" else ["--from", "03"]  # 01 and 02 once are enough
    return [*start, "--data-dir", str(data_dir), "--run-dir", str(folder), "--set", *values]


def start(arguments: list[str], log: Path) -> subprocess.Popen:
    """Start a run whose processes can be found by their environment."""
    # With one thread, folds would be trained one after the other.
    environment = os.environ | {MARK: str(log), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
    how = {"env": environment, "start_new_session": True, "preexec_fn": _heed_interrupts}
    with log.open("a") as file:
        return subprocess.Popen(arguments, stdout=file, stderr=file, **how)


def _heed_interrupts() -> None:
    """Undo that SIGINT is ignored, which programs started in the background inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def alive(log: Path) -> list[int]:
    """Return the processes that `start` has started, and theirs, which are still running."""
    mark, found = f"{MARK}={log}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = mark in (process / "environ").read_bytes().split(b"\0")
            if is_ours and "Z" not in (process / "stat").read_text().rpartition(")")[2].split()[0]:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def digests(folder: Path) -> dict[str, str]:
    """Return the digests of the results of a run, by relative path."""
    paths = [p for name in (*RESULTS, "*_predictions.csv") for p in folder.rglob(name)]
    weights = list(folder.rglob("model.safetensors"))
    return {
        str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in paths + weights
    }


def kill_and_compare(
    arguments: list[str], folder: Path, expected: dict, number: int, after: float, wait: bool
) -> dict:
    """Run, kill after some seconds, run again to the end, and say what came of it.

    If `wait`, the seconds begin at the first checkpoint, so that the kill is in the training.
    """
    log = folder.with_name(f"{folder.name}.log")
    process = start(arguments, log)
    while wait and not any(folder.rglob("checkpoint-*/whole.json")) and process.poll() is None:
        time.sleep(0.05)
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    killed = process.wait(timeout=60)
    deadline = time.monotonic() + 10
    while alive(log) and time.monotonic() < deadline:
        time.sleep(0.2)
    left = alive(log)
    said = log.read_text(errors="replace")
    again = start(arguments, log).wait(timeout=900)
    found = digests(folder)
    return {
        "in_training": wait,
        "signal": int(number),
        "after": round(after, 1),
        "exit": killed,
        "exit_as_expected": killed in (0, EXPECTED[number]),
        "alive_after_10_s": len(left),
        "traceback": "Traceback" in said,
        "exit_of_second": again,
        "different": sorted(n for n in {*expected, *found} if expected.get(n) != found.get(n)),
        "went_on": "Going on from step" in log.read_text(errors="replace"),
    }


def start_twice(arguments: list[str], folder: Path, expected: dict, gap: float) -> dict:
    """Start the same run twice, `gap` seconds apart, and say what came of it."""
    logs = [folder.with_name(f"{folder.name}-{name}.log") for name in "ab"]
    first = start(arguments, logs[0])
    time.sleep(gap)
    second = start(arguments, logs[1])
    exits = [process.wait(timeout=900) for process in (first, second)]
    found = digests(folder)
    refused = logs[exits.index(2)].read_text().strip().splitlines() if 2 in exits else []
    return {
        "gap": round(gap, 2),
        "exits": sorted(exits),
        "lines_of_the_refused": len(refused),
        "says_who": "in use by process" in " ".join(refused),
        "different": sorted(n for n in {*expected, *found} if expected.get(n) != found.get(n)),
    }


def main() -> None:
    """Make the unkilled run, then kill others at instants spread over its time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--kind", choices=KINDS, default="single")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=0, help="starts of two runs on one folder")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    reference, begin = given.output / f"{given.kind}-reference", time.monotonic()
    run = command(given.kind, given.data_dir, given.checkpoint, reference)
    assert start(run, given.output / f"{given.kind}-reference.log").wait() == 0
    seconds, expected = time.monotonic() - begin, digests(reference)
    draw = random.Random(given.seed)
    for number in range(given.kills + given.pairs):
        folder = given.output / f"{given.kind}-{given.seed}-{number}"
        run = command(given.kind, given.data_dir, given.checkpoint, folder)
        if number < given.kills:
            wait = number % 2 == 1
            after = draw.uniform(0, 3) if wait else draw.uniform(2, 0.9 * seconds)
            result = kill_and_compare(run, folder, expected, SIGNALS[number % 3], after, wait)
        else:
            result = start_twice(run, folder, expected, draw.uniform(0, 3))
        line = json.dumps({"kind": given.kind, "number": number, **result})
        print(line, flush=True)
        with (given.output / "results.jsonl").open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
