"""Measure what grows with rows, processes and Ray's actors: python -m toxlib bench --scale.

Files are scored by a tiny encoder, so that reading, tokenising and writing are seen and not the
encoder's matrix products. Training is measured with the recipe `quick`.
"""

import csv
import itertools
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import psutil
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from toxlib import files
from toxlib.benchmarks.speed import describe_machine
from toxlib.progress import progress
from toxlib.runs import engines
from toxlib.runs.run import Run, open_run, set_up_display
from toxlib.training.checkpoints import bundled_checkpoint

SIZES, QUICK_SIZES = (20_000, 200_000, 2_000_000), (2_000, 20_000)
TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
}
TRAINED = "epochs=1"
"""The recipe values with which `quick` is trained."""
SECONDS = 0.2  # between two looks at the processes


def bench_scale(data_dir: str = "", output: Path | None = None, quick: bool = False) -> None:
    """Measure scoring by rows and by actors, and training by processes; print and keep it.

    Args:
        data_dir: a folder of Kaggle's files to train on; empty for the sample.
        output: a folder; empty for outputs/bench.
        quick: 2,000 and 20,000 rows, not up to 2 million.
    """
    set_up_display()
    output = output or files.outputs() / "bench"
    files.check_folder(output)
    folder, sizes = output / "scale", QUICK_SIZES if quick else SIZES
    files.remove(folder)
    rows = [_train(folder, data_dir, processes) for processes in (1, 2)]
    run = _tiny_run(folder, data_dir)
    commands = [(f"score {size:,} rows", size, []) for size in sizes]
    if find_spec("ray"):
        engine, size = ["--engine", "ray", "--actors"], sizes[1]
        commands += [(f"score, {n} actor(s) of Ray", size, [*engine, str(n)]) for n in (1, 2)]
    bar = {"total": len(commands), "description": "Score", "unit": "command"}
    for name, size, options in progress(commands, **bar):
        rows.append({"what": name, "rows": size} | _score(run, folder, size, options))
    files.write_json(output / "scale.json", {"machine": describe_machine(), "rows": rows})
    files.remove(folder)
    print(format_scale(rows), output / "scale.json", sep="\n")


def format_scale(rows: list[dict]) -> str:
    """Return the measurements as a table for a terminal."""
    table = pd.DataFrame(rows).set_index("what").rename_axis(None)
    table["rows/s"] = table["rows"] / table["seconds"]
    table["rows/CPU-s"] = table["rows"] / table["cpu_seconds"]
    table["GB"] = table.pop("bytes") / 1e9
    return table.to_string(float_format="{:,.2f}".format)


def measure(command: list[str]) -> dict[str, float]:
    """Run a command; return its seconds, CPU-seconds and peak of memory in bytes.

    The processes that it starts are counted, and the memory that they share once for each.
    """
    start, cpu, peak = time.perf_counter(), {}, 0
    with (
        tempfile.TemporaryFile() as log,
        psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=log) as process,
    ):
        while process.poll() is None:
            peak = max(peak, _look(process, cpu))
            time.sleep(SECONDS)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(log.read().decode(errors="replace")[-2000:])
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "cpu_seconds": sum(cpu.values()), "bytes": peak}


def _look(process: psutil.Process, cpu: dict[int, float]) -> int:
    """Update the CPU-seconds of a process and its descendants; return their memory in bytes."""
    memory = 0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
            cpu[one.pid] = times.user + times.system
            memory += one.memory_info().rss
        except psutil.Error:  # it has ended in the meantime
            continue
    return memory


def _train(folder: Path, data_dir: str, processes: int) -> dict:
    """Train `quick` for one epoch; return a row. The start of the processes is left out."""
    run = _trained(folder / f"quick-{processes}", data_dir, f"{TRAINED} processes={processes}")
    cost = run.predictions().record(0)["cost"]
    threads = engines.threads_per_process(run.recipe)
    return {
        "what": f"train, {processes} process(es) of {threads} thread(s)",
        "rows": int(run.split.trained_on(0).sum()),
        "seconds": cost["training_seconds"],
        "bytes": cost["peak_memory_gb"] * 1e9,
    }


def _tiny_run(folder: Path, data_dir: str) -> Run:
    """Train a tiny BERT with MiniLM's tokenizer."""
    encoder = folder / "encoder"
    tokenizer = AutoTokenizer.from_pretrained(bundled_checkpoint(), trust_remote_code=False)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer), **TINY)).save_pretrained(encoder)
    tokenizer.save_pretrained(encoder)
    values = f"checkpoint={encoder} lengthen_to=0 max_length=512 epochs=1 processes=1"
    return _trained(folder / "tiny", data_dir, values)


def _trained(folder: Path, data_dir: str, values: str) -> Run:
    run = open_run("quick", data_dir, folder, values)
    run.claim()
    how = engines.processes_per_fold(run.recipe), engines.threads_per_process(run.recipe)
    engines.run_fold(str(run.folder), 0, *how, side_by_side=1)
    run.release()
    return run


def _score(run: Run, folder: Path, size: int, options: list[str]) -> dict[str, float]:
    """Score a file of the training comments, repeated; return what it took."""
    source, target = folder / "comments.csv", folder / ("scores" if options else "scores.csv")
    with source.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([run.recipe.id_column, run.recipe.text_column])
        writer.writerows(zip(range(size), itertools.cycle(run.train_texts)))
    command = [sys.executable, "-m", "toxlib", "predict", str(run.folder), str(source)]
    taken = measure([*command, "-o", str(target), *options])
    files.remove(target)
    return taken
