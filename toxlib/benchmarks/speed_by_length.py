"""Measure how the cost of one comment grows with its length, in our Longformer and transformers'.

A point is one forward and backward pass through two layers of base width. Each one is measured in
a process of its own, `python -m toxlib.benchmarks.speed_by_length NAME TOKENS`, so that
memory which earlier points hold is not counted.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from transformers import LongformerConfig
from transformers.utils import logging

from toxlib.longformer.model import LongformerForMultiLabelSequenceClassification
from toxlib.progress import progress
from toxlib.training.machine import default_device, peak_memory_bytes, status_bytes

LENGTHS = (128, 512, 1024, 3048, 4096, 8192, 16384)
OURS, UPSTREAM = "ours", "transformers"
MAX_SECONDS = 20
"""transformers' Longformer is not measured at lengths that would take longer than this."""


def measure_lengths(lengths: tuple[int, ...] = LENGTHS) -> list[dict]:
    """Measure both models at all lengths; return a row for each.

    A row has `name`, `tokens`, `seconds` and `bytes`, the peak memory beyond the parameters. A
    point that would take too long or too much memory has the reason, `left_out`, instead.
    """
    rows = []
    with progress(total=2 * len(lengths), description="Lengths", unit="point") as bar:
        for name in (OURS, UPSTREAM):
            for tokens in lengths:
                rows.append(_left_out(name, tokens, rows) or _in_fresh_process(name, tokens))
                bar.update()
    return rows


def measure(name: str, tokens: int) -> dict:
    """Measure one forward and backward pass in this process; return a row."""
    logging.set_verbosity_error()
    model = _model(tokens).to(default_device())
    model.longformer.use_upstream = name == UPSTREAM
    _pass_seconds(model, 128)  # the first pass in a process is slower, whatever its length
    model.zero_grad(set_to_none=False)
    before = _reset_peak()
    seconds = [_pass_seconds(model, tokens)]
    while sum(seconds) < 2 and len(seconds) < 5:
        seconds.append(_pass_seconds(model, tokens))
    cost = {"seconds": statistics.median(seconds), "bytes": peak_memory_bytes() - before}
    return {"name": name, "tokens": tokens, **cost}


def _model(tokens: int) -> LongformerForMultiLabelSequenceClassification:
    torch.manual_seed(0)
    config = LongformerConfig(
        num_hidden_layers=2,
        vocab_size=1000,
        max_position_embeddings=max(4098, tokens + 2),
        attention_window=512,
        attention_probs_dropout_prob=0.0,
    )
    return LongformerForMultiLabelSequenceClassification(config).train()


def _pass_seconds(model: LongformerForMultiLabelSequenceClassification, tokens: int) -> float:
    device = model.device
    ids = torch.randint(2, 1000, (1, tokens), device=device)
    start = time.perf_counter()
    model(ids, labels=torch.ones(1, 2, device=device)).loss.backward()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _reset_peak() -> int:
    """Return the bytes held now, and measure the peak from here on."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc_pid_clear_refs(5)
    return status_bytes("VmRSS")


def _in_fresh_process(name: str, tokens: int) -> dict:
    command = [sys.executable, "-m", __name__, name, str(tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _left_out(name: str, tokens: int, rows: list[dict]) -> dict | None:
    """Return a row with `left_out` if transformers' Longformer would cost too much, else None.

    Time and memory are predicted in proportion to the tokens, from its longest measured point.
    """
    past = [row for row in rows if row["name"] == name and "seconds" in row]
    if name == OURS or not past:
        return None
    row, growth = {"name": name, "tokens": tokens}, tokens / past[-1]["tokens"]
    if growth * past[-1]["bytes"] > 0.8 * _available_bytes():
        return row | {"left_out": "would not fit in memory"}
    if growth * past[-1]["seconds"] > MAX_SECONDS:
        return row | {"left_out": f"over {MAX_SECONDS} seconds"}
    return None


def _available_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
