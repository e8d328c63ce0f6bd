"""Score a file by Ray, kill an actor, a node or the command, and compare with `predict` alone.

    python tests/runs/ray_kills.py RUN FILE OUTPUT [--cases plain actor node driver]

RUN is a finished run with precision=fp32. Two nodes with a core each are started on this machine.
Each line that is printed describes a case, and is added to OUTPUT/results.jsonl. CPU-seconds are
those of all processes that the case has started, by samples of /proc, and those of Ray itself.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

MARK = "TOXLIB_RAY_KILL_TEST"
CASES = ("plain", "actor", "node", "driver")
TICKS = os.sysconf("SC_CLK_TCK")


def processes() -> dict[int, tuple[str, float]]:
    """Return the processes started by this script: id → command and CPU-seconds."""
    mark, found = f"{MARK}={os.getpid()}".encode(), {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                numbers = (process / "stat").read_text().rpartition(")")[2].split()
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(process.name)] = command, sum(map(int, numbers[11:13])) / TICKS
        except OSError:
            continue
    return found


class Watch:
    """Add up the CPU-seconds of processes that come and go."""

    def __init__(self):
        self.before, self.seconds = {p: s for p, (_, s) in processes().items()}, {}

    def look(self) -> dict[int, tuple[str, float]]:
        found = processes()
        self.seconds |= {p: s - self.before.get(p, 0) for p, (_, s) in found.items()}
        return found

    def total(self) -> float:
        return round(sum(self.seconds.values()), 1)


def start(arguments: list[str], log: Path) -> subprocess.Popen:
    """Start `predict`."""
    command = [sys.executable, "-m", "toxlib", "predict", *arguments]
    with log.open("a") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)


def wait(process: subprocess.Popen, watch: Watch, until=lambda: False, seconds: int = 900) -> None:
    """Wait until a process ends or something has happened."""
    end = time.monotonic() + seconds
    while process.poll() is None and not until() and time.monotonic() < end:
        watch.look()
        time.sleep(0.2)


def shards(folder: Path) -> dict[str, int]:
    """Return the time of change of each finished shard."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*.parquet")}


def run_case(case: str, arguments: list[str], folder: Path, cluster) -> dict:
    """Score by Ray, kill what the case says once two shards are finished, and see it through."""
    log, watch = folder.with_name(f"{folder.name}.log"), Watch()
    second = cluster.add_node(num_cpus=1)
    begin, result = time.monotonic(), {"case": case}
    process = start([*arguments, "-o", str(folder), "--engine", "ray"], log)
    if case != "plain":
        wait(process, watch, lambda: len(shards(folder)) >= 2)
        kept = shards(folder)
        actors = [p for p, (name, _) in watch.look().items() if "Scoring" in name]
        if case == "actor":
            os.kill(actors[0], signal.SIGKILL)
        elif case == "node":
            cluster.remove_node(second, allow_graceful=False)
        else:
            process.kill()
            process.wait()
            process = start([*arguments, "-o", str(folder), "--engine", "ray"], log)
        result |= {"finished_at_kill": len(kept), "actors": len(actors)}
    wait(process, watch)
    if case != "plain":
        now = shards(folder)
        result["rewritten"] = sum(now.get(name) != changed for name, changed in kept.items())
    if case != "node":
        cluster.remove_node(second)
    said = log.read_text(errors="replace").strip().splitlines()
    result |= {"exit": process.poll(), "said": said[-1][-200:]}
    return result | {"seconds": round(time.monotonic() - begin), "cpu_seconds": watch.total()}


def compare(expected: Path, folder: Path) -> dict:
    """Say how the rows of a folder differ from those of a CSV."""
    alone = pd.read_csv(expected, dtype={"id": str}).set_index("id")
    found = pd.read_parquet(folder).set_index("id")
    same = sorted(alone.index) == sorted(found.index)
    difference = float(np.abs(alone - found.loc[alone.index]).max().max()) if same else None
    return {"rows": len(found), "same_ids": same, "largest_difference": difference}


def main() -> None:
    """Score alone, then start two nodes and go through the cases."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    os.environ |= {MARK: str(os.getpid()), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0"}
    arguments, alone = [str(given.run), str(given.file)], given.output / "alone.csv"
    watch, begin = Watch(), time.monotonic()
    process = start([*arguments, "-o", str(alone)], given.output / "alone.log")
    wait(process, watch)
    report = {"case": "alone", "exit": process.poll(), "cpu_seconds": watch.total()}
    results = [report | {"seconds": round(time.monotonic() - begin)}]
    print(json.dumps(results[0]), flush=True)

    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        for case in given.cases:
            folder = given.output / case
            result = run_case(case, arguments, folder, cluster) | compare(alone, folder)
            print(json.dumps(result), flush=True)
            with (given.output / "results.jsonl").open("a") as file:
                file.write(json.dumps(result) + "\n")
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
