"""Speed, side by side: python -m toxlib bench.

What the tutorial's recipe costs and what ours costs: one optimiser step on the same 128 comments,
clipping and AdamW included, and scoring them. The ways take turns, and the machine's own limit is
measured before and after each step: shared machines drift.
"""

import importlib.metadata
import os
import platform
import statistics
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

from toxlib.bench_lengths import LENGTHS, measure_lengths
from toxlib.bench_ways import (
    COMMENTS,
    TUTORIAL_LENGTH,
    Bench,
    Way,
    longformer_ways,
    roberta_ways,
    score,
    seconds_of,
)
from toxlib.inference import best_precision, default_device
from toxlib.model import LongformerForMultiLabelSequenceClassification
from toxlib.progress import progress

PRODUCTS = ((2048, 768, 3072), (4096, 768, 3072), (2048, 2048, 2048))
"""Rows, inputs and outputs of the matrix products whose best rate is the machine's limit."""


def run_bench(texts: list[str], folder: Path, quick: bool = False) -> dict:
    """Time everything; ready for JSON.

    Args:
        texts: prepared comments.
        folder: for token files.
        quick: 2 layers, one repetition and few lengths: two minutes in place of twenty.
    """
    bench = Bench(texts, 2 if quick else 12, folder)
    ways = [*longformer_ways(bench), *roberta_ways(bench)]
    result = {"machine": machine(), "layers": 2 if quick else 12, "loading": bench.loading}
    result["ways"] = time_ways(ways, _encoder_weights(bench.longformer), 1 if quick else 3)
    result["bf16_largest_probability_difference"] = bf16_difference(bench)
    del bench, ways  # the lengths' own processes need the memory
    result["lengths"] = measure_lengths((512, 3048, 4096) if quick else LENGTHS)
    return result | {"ratios": ratios(result)}


def time_ways(ways: list[Way], weights: int, most: int) -> list[dict]:
    """Medians over the repetitions of each way, which take turns; at most `most` of each."""
    seconds = {way.name: ([], [], []) for way in ways}
    turns = [w for turn in range(most) for w in ways if turn < w.repetitions]
    bar = progress(turns, total=len(turns), description="Bench", unit="way")
    for way in bar:
        training, scoring, shares = seconds[way.name]
        limit = matmul_limit(way.precision)
        training.append(way.train_seconds())
        limit = statistics.mean([limit, matmul_limit(way.precision)])
        shares.append(6 * way.tokens * weights / training[-1] / limit)
        scoring.append(way.score_seconds())
        told = f"training {training[-1]:.1f} s, scoring {scoring[-1]:.1f} s"
        bar.write(f"{way.name}: {told}, share of the limit {shares[-1]:.3f}")
    return [_row(way, *seconds[way.name]) for way in ways]


def _row(way: Way, training: list[float], scoring: list[float], shares: list[float]) -> dict:
    train, score = statistics.median(training), statistics.median(scoring)
    return {
        "way": way.name,
        "train_seconds": train,
        "train_seconds_all": training,
        "train_comments_per_second": COMMENTS / train,
        "train_tokens_per_second": way.tokens / train,
        "score_comments_per_second": COMMENTS / score,
        "score_tokens_per_second": way.tokens / score,
        "tokens": way.tokens,
        "share_of_limit": statistics.median(shares),
    }


def ratios(result: dict) -> dict[str, float]:
    """The figures that tell the story; those whose parts were not measured are left out."""
    train = {row["way"]: row["train_seconds"] for row in result["ways"]}
    points = {(r["way"], r["tokens"]): r for r in result["lengths"] if "seconds" in r}
    seconds, memory = ({k: r[what] for k, r in points.items()} for what in ("seconds", "bytes"))
    long, longer = ("ours", 4096), ("ours", 16384)
    ours, upstream = ("ours", TUTORIAL_LENGTH), ("transformers", TUTORIAL_LENGTH)
    wanted = {
        "speed, ours / tutorial's recipe": (train, "tutorial's recipe", "ours"),
        "speed, ours in bf16 / tutorial's recipe": (train, "tutorial's recipe", "ours, bf16"),
        "speed, ours / transformers, sorted": (train, "transformers, sorted", "ours"),
        "time, ours cut at 512 / RoBERTa": (train, "ours, cut at 512", "RoBERTa, our batching"),
        "time, 16,384 / 4,096 tokens": (seconds, longer, long),
        "memory, 16,384 / 4,096 tokens": (memory, longer, long),
        "time at 3,048 tokens, ours / transformers": (seconds, ours, upstream),
        "memory at 3,048 tokens, ours / transformers": (memory, ours, upstream),
    }
    return {
        name: values[a] / values[b]
        for name, (values, a, b) in wanted.items()
        if a in values and b in values
    }


def matmul_limit(precision: str) -> float:
    """FLOP/s of this machine's best large matrix product in this precision."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    rates = []
    for rows, inputs, outputs in PRODUCTS:
        x = torch.randn(rows, inputs, device=default_device()).to(dtype)
        weight = torch.randn(outputs, inputs, device=x.device).to(dtype)
        times = [seconds_of([(partial(F.linear, x, weight), 1)]) for _ in range(8)]
        rates.append(2 * rows * inputs * outputs / min(times))
    return max(rates)


def bf16_difference(bench: Bench) -> float:
    """Largest difference between bf16's and fp32's probabilities, over every fourth comment."""
    features = sorted(bench.features(TUTORIAL_LENGTH)[::4], key=lambda f: len(f["input_ids"]))
    batches = [bench.pad([f]) for f in features]
    bench._set_up(bench.longformer, upstream=False)
    exact, rough = (score(bench.longformer, batches, p) for p in ("fp32", "bf16"))
    return float((exact.sigmoid() - rough.sigmoid()).abs().max())


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    names = (
        [x for x in info.read_text().splitlines() if "model name" in x] if info.exists() else []
    )
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
    return {
        "processor": names[0].partition(": ")[2] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "best_precision": best_precision(default_device()),
        "gpu": gpu,
        "python": platform.python_version(),
        **versions,
    }


def format_bench(result: dict) -> str:
    """The tables for a terminal."""
    columns = ("train_seconds", "train_comments_per_second", "train_tokens_per_second")
    columns += ("score_comments_per_second", "share_of_limit")
    lines = [f"{'':<26}" + "".join(f"{c.replace('_', ' '):>28}" for c in columns)]
    for row in result["ways"]:
        lines.append(f"{row['way']:<26}" + "".join(f"{row[c]:>28.3f}" for c in columns))
    lines += ["", *(f"{name:<62}{value:8.3f}" for name, value in result["ratios"].items())]
    largest = result["bf16_largest_probability_difference"]
    lines.append(f"{'largest difference of a bf16 probability':<62}{largest:8.4f}")
    lines += [f"{name:<62}{value:8.0f}" for name, value in result["loading"].items()]
    for row in result["lengths"]:
        told = row.get("left_out") or f"{row['seconds']:.2f} s, {row['bytes'] / 1e9:.2f} GB"
        lines.append(f"{row['way']:<14}{row['tokens']:>7} tokens  {told}")
    return "\n".join(lines)


def _encoder_weights(model: LongformerForMultiLabelSequenceClassification) -> int:
    """Weights that each token meets: no embeddings, and not those of the few global tokens."""
    named = model.longformer.encoder.named_parameters()
    return sum(p.numel() for name, p in named if "_global" not in name)
