"""Compare ours with other libraries at their defaults: python -m toxlib bench --peers.

Each one trains the bundled MiniLM for one epoch on the same comments and scores the same other
comments. It runs in a process of its own, so that what its packages set up on import does not
change the others.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import files
from toxlib.benchmarks import peer_recipes
from toxlib.benchmarks.peer_recipes import PEERS, Rows
from toxlib.benchmarks.speed import describe_machine
from toxlib.data import kaggle, text
from toxlib.errors import show
from toxlib.progress import progress
from toxlib.runs.run import set_up_display

TRAINED_ON, SCORED = 2000, 1000
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_MODE": "disabled",
    "WANDB_DISABLED": "true",
}
"""Environment variables with which no library downloads or reports anything."""
INSTALL = "pip install -r requirements-peers.txt"
COLUMNS = {
    "train_comments_per_second": "training, comments/s",
    "score_comments_per_second": "scoring, comments/s",
    "auc": "mean AUC",
    "settings": "settings",
}


def bench_peers(data_dir: str = "", output: Path | None = None, quick: bool = False) -> None:
    """Train and score with each library; print the table and keep it in `output`.

    Args:
        data_dir: a folder of Kaggle's files; empty for the sample.
        output: a folder; empty for outputs/bench.
        quick: a tenth of the comments; what each training does once then counts ten times as much.
    """
    set_up_display()
    output = output or files.outputs() / "bench"
    files.check_folder(output)
    folder, is_sample = kaggle.find_or_make_data(data_dir)
    rows = choose_rows(folder, *((200, 100) if quick else (TRAINED_ON, SCORED)))
    result = {"machine": describe_machine(), "is_sample": is_sample, "data_dir": str(folder)}
    result |= {"trained_on": len(rows.train_texts), "scored": len(rows.texts), "rows": []}
    for name in progress(list(PEERS), total=len(PEERS), description="Train", unit="library"):
        result["rows"].append({"name": name} | measure(name, rows, output / "peers"))
        files.write_json(output / "peers.json", result)  # now, because all of them take long
    print(format_peers(result), output / "peers.json", sep="\n")


def choose_rows(folder: Path, trained_on: int, scored: int) -> Rows:
    """Draw comments to train on and others to score; identical comments are drawn once."""
    tables = kaggle.read_tables(folder)
    texts = pd.Series(text.prepare(tables.train["comment_text"]))
    labels = tables.train[tables.label_names].to_numpy()
    different = np.flatnonzero(~texts.duplicated())
    chosen = np.random.default_rng(0).permutation(different)[: trained_on + scored]
    count = len(chosen) * trained_on // (trained_on + scored)  # of a small file, as large a share
    train, other = chosen[:count], chosen[count:]
    return Rows(texts[train].tolist(), labels[train], texts[other].tolist(), labels[other])


def measure(name: str, rows: Rows, folder: Path) -> dict:
    """Run a library in a fresh process; return what it measured, or why it is left out."""
    package = PEERS[name].package
    if not find_spec(package):
        return {"left_out": f"not installed; {INSTALL}"}
    files.remove(folder)
    rows.save(folder)
    command = [sys.executable, "-m", peer_recipes.__name__, name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | OFFLINE)
    files.remove(folder)
    if done.returncode:
        last = show(["no message", *done.stderr.splitlines()][-1])
        return {"left_out": f"failed with exit status {done.returncode}: {last}"}
    return json.loads(done.stdout.splitlines()[-1])


def format_peers(result: dict) -> str:
    """Return the measurements as a table for a terminal."""
    machine = result["machine"]
    comments = "comments of the synthetic sample" if result["is_sample"] else "real comments"
    what = f"One epoch of MiniLM on {result['trained_on']:,} {comments}"
    lines = [
        f"{what}; scores of {result['scored']:,} others; at most 512 tokens",
        f"{machine['processor']}, {machine['threads']} threads, {machine['date']}",
        "",
    ]
    measured = [row for row in result["rows"] if "left_out" not in row]
    if measured:
        table = pd.DataFrame(measured).set_index("name").rename_axis(None)[list(COLUMNS)]
        lines.append(table.rename(columns=COLUMNS).to_string(float_format="{:.4g}".format))
    for reason in dict.fromkeys(row["left_out"] for row in result["rows"] if "left_out" in row):
        names = [row["name"] for row in result["rows"] if row.get("left_out") == reason]
        lines.append(f"{', '.join(names)}: {reason}")
    return "\n".join(lines)
