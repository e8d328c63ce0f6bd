"""What one forward and backward pass costs by length: two layers of base width, one comment.

Each point is measured in a fresh process (`python -m toxlib.bench_lengths WAY TOKENS`), so that
its peak memory is its own.
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

from toxlib.inference import default_device
from toxlib.model import LongformerForMultiLabelSequenceClassification
from toxlib.progress import progress
from toxlib.training import peak_memory_bytes, status_bytes

LENGTHS = (128, 512, 1024, 3048, 4096, 8192, 16384)
UPSTREAM, OURS = "transformers", "ours"
MAX_SECONDS = 20
"""Upstream's next length is left out if it would take longer than this, or not fit in memory."""


def measure_lengths(lengths: tuple[int, ...] = LENGTHS) -> list[dict]:
    """A row per way and length: way, tokens, seconds, peak memory above the parameters (bytes).

    Where upstream is not carried further, the row holds `left_out` with the reason.
    """
    rows = []
    with progress(total=2 * len(lengths), description="Lengths", unit="point") as bar:
        for way in (OURS, UPSTREAM):
            for tokens in lengths:
                rows.append(_left_out(way, tokens, rows) or _in_fresh_process(way, tokens))
                bar.update()
    return rows


def measure(way: str, tokens: int) -> dict:
    """Time and peak memory of one forward and backward pass, in this process."""
    logging.set_verbosity_error()
    model = _model(tokens).to(default_device())
    model.longformer.use_upstream = way == UPSTREAM
    _pass(model, 128)  # what a process does only once is not the length's cost
    model.zero_grad(set_to_none=False)
    before = _reset_peak()
    seconds = [_pass(model, tokens)]
    while sum(seconds) < 2 and len(seconds) < 5:
        seconds.append(_pass(model, tokens))
    peak = peak_memory_bytes() - before
    median = statistics.median(seconds)
    return {"way": way, "tokens": tokens, "seconds": median, "bytes": peak}


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


def _pass(model: LongformerForMultiLabelSequenceClassification, tokens: int) -> float:
    device = model.device
    ids = torch.randint(2, 1000, (1, tokens), device=device)
    start = time.perf_counter()
    model(ids, labels=torch.ones(1, 2, device=device)).loss.backward()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _reset_peak() -> int:
    """Bytes held now; the peak is counted from here on."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def _in_fresh_process(way: str, tokens: int) -> dict:
    command = [sys.executable, "-m", "toxlib.bench_lengths", way, str(tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _left_out(way: str, tokens: int, rows: list[dict]) -> dict | None:
    """A row without figures where upstream, in proportion to its last point, would not do."""
    past = [row for row in rows if row["way"] == way and "seconds" in row]
    if way == OURS or not past:
        return None
    growth = tokens / past[-1]["tokens"]
    if growth * past[-1]["bytes"] > 0.8 * _available_bytes():
        return {"way": way, "tokens": tokens, "left_out": "would not fit in memory"}
    if growth * past[-1]["seconds"] > MAX_SECONDS:
        return {"way": way, "tokens": tokens, "left_out": f"over {MAX_SECONDS} seconds"}
    return None


def _available_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
