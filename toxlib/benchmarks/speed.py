"""Compare the speed of the tutorial's recipe, of RoBERTa and of ours: python -m toxlib bench.

Every recipe takes one optimiser step on the same 128 comments, clipping and AdamW included, and
scores them. Other programs can slow a shared machine down for a while. So the recipes take turns,
and the machine's rate of matrix products is measured before and after each step.
"""

import importlib.metadata
import os
import platform
import statistics
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

from toxlib import files, plots
from toxlib.benchmarks.speed_by_length import LENGTHS, OURS, UPSTREAM, measure_lengths
from toxlib.benchmarks.speed_recipes import (
    COMMENTS,
    TUTORIAL_LENGTH,
    SharedModels,
    SpeedRecipe,
    longformer_recipes,
    roberta_recipes,
    score,
)
from toxlib.data import kaggle, text
from toxlib.progress import progress
from toxlib.runs.run import set_up_display
from toxlib.training.machine import matmul_rate
from toxlib.training.precision import resolve


def bench(data_dir: str = "", output: Path | None = None, quick: bool = False) -> None:
    """Measure speed on Kaggle's or the sample's comments; print it and keep it in `output`."""
    set_up_display()
    output = output or files.outputs() / "bench"
    files.check_folder(output)
    folder, _ = kaggle.find_or_make_data(data_dir)
    texts = text.prepare(kaggle.read_tables(folder).train["comment_text"])
    result = measure_speed(texts, output, quick)
    files.write_json(output / "bench.json", result | {"data_dir": str(folder)})
    plot_speed(result["recipes"]).savefig(output / "speed.png", dpi=120)
    plot_lengths(result["lengths"]).savefig(output / "lengths.png", dpi=120)
    print(format_speed(result), output, sep="\n")


def measure_speed(texts: list[str], folder: Path, quick: bool = False) -> dict:
    """Measure all recipes, and our Longformer and transformers' by length; ready for JSON.

    Args:
        texts: prepared comments.
        folder: a folder for tokens and for Trainer.
        quick: 2 layers, one repetition and few lengths, which takes two minutes, not twenty.
    """
    layers = 2 if quick else 12
    shared = SharedModels(texts, layers, folder)
    recipes = [*longformer_recipes(shared), *roberta_recipes(shared)]
    result = {"machine": describe_machine(), "layers": layers, "loading": shared.loading}
    result["recipes"] = time_recipes(recipes, _weights_per_token(shared), 1 if quick else 3)
    result["bf16_largest_probability_difference"] = bf16_difference(shared)
    del shared, recipes  # the processes that measure lengths need the memory
    result["lengths"] = measure_lengths((512, 3048, 4096) if quick else LENGTHS)
    return result | {"ratios": ratios(result)}


def time_recipes(recipes: list[SpeedRecipe], weights: int, most: int) -> list[dict]:
    """Measure each recipe `repetitions` times, but at most `most` times; return the medians.

    `weights` is the number of weights that each token is multiplied by. A training step takes 6
    operations per token and weight: 2 in the forward and 4 in the backward pass. `share_of_limit`
    is their rate, divided by the machine's rate of matrix products.
    """
    measured = {recipe.name: [] for recipe in recipes}
    turns = [r for turn in range(most) for r in recipes if turn < r.repetitions]
    bar = progress(turns, total=len(turns), description="Measure speed", unit="recipe")
    for recipe in bar:
        before = matmul_rate(recipe.precision)
        training = recipe.train_seconds()
        limit = statistics.mean([before, matmul_rate(recipe.precision)])
        share = 6 * recipe.tokens * weights / training / limit
        scoring = recipe.score_seconds()
        measured[recipe.name].append((training, scoring, share))
        seconds = f"training {training:.1f} s, scoring {scoring:.1f} s"
        bar.write(f"{recipe.name}: {seconds}, share of the limit {share:.3f}")
    return [_row(recipe, *zip(*measured[recipe.name], strict=True)) for recipe in recipes]


def _row(
    recipe: SpeedRecipe, training: tuple[float], scoring: tuple[float], shares: tuple[float]
) -> dict:
    train_seconds, score_seconds = statistics.median(training), statistics.median(scoring)
    return {
        "name": recipe.name,
        "train_seconds": train_seconds,
        "train_seconds_all": list(training),
        "train_comments_per_second": COMMENTS / train_seconds,
        "train_tokens_per_second": recipe.tokens / train_seconds,
        "score_comments_per_second": COMMENTS / score_seconds,
        "score_tokens_per_second": recipe.tokens / score_seconds,
        "tokens": recipe.tokens,
        "share_of_limit": statistics.median(shares),
    }


def ratios(result: dict) -> dict[str, float]:
    """Return the ratios that sum up the comparison, without those that were not measured."""
    train = {row["name"]: row["train_seconds"] for row in result["recipes"]}
    points = {(r["name"], r["tokens"]): r for r in result["lengths"] if "seconds" in r}
    seconds, memory = ({k: r[what] for k, r in points.items()} for what in ("seconds", "bytes"))
    long, longer = (OURS, 4096), (OURS, 16384)
    ours, upstream = (OURS, TUTORIAL_LENGTH), (UPSTREAM, TUTORIAL_LENGTH)
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


def bf16_difference(shared: SharedModels) -> float:
    """Return the largest change of a probability by bf16 on every fourth comment."""
    features = sorted(shared.features(TUTORIAL_LENGTH)[::4], key=lambda f: len(f["input_ids"]))
    batches = [shared.pad([feature]) for feature in features]
    shared.longformer.longformer.use_upstream = False
    exact, rough = (score(shared.longformer, batches, p).sigmoid() for p in ("fp32", "bf16"))
    return float((exact - rough).abs().max())


def describe_machine() -> dict[str, object]:
    """Return what decides the speed: processor, GPU, threads, precision and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(": ")[2] for line in lines if "model name" in line)
    return {
        "processor": next(names, platform.processor()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "best_precision": resolve("auto", 768),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "transformers")},
    }


def format_speed(result: dict) -> str:
    """Return the result's tables for a terminal."""
    table = pd.DataFrame(result["recipes"]).set_index("name").rename_axis(None)
    table = table.drop(columns=["train_seconds_all", "score_tokens_per_second", "tokens"])
    table.columns = table.columns.str.replace("_", " ")
    largest = result["bf16_largest_probability_difference"]
    figures = result["ratios"] | {"largest difference of a bf16 probability": largest}
    figures |= result["loading"]
    lines = [table.to_string(float_format="{:.3f}".format), ""]
    lines += [f"{name:<50}{value:12,.4f}" for name, value in figures.items()]
    for row in result["lengths"]:
        cost = row.get("left_out") or f"{row['seconds']:.2f} s, {row['bytes'] / 1e9:.2f} GB"
        lines.append(f"{row['name']:<14}{row['tokens']:>7} tokens  {cost}")
    return "\n".join(lines)


def plot_speed(rows: list[dict]) -> Figure:
    """Draw comments per second in training, a bar for each recipe."""
    figure, (axes,) = plots.make_panels(1, 1, (8, 0.45 * len(rows) + 1))
    names, rates = [r["name"] for r in rows], [r["train_comments_per_second"] for r in rows]
    colours = [plots.ORANGE if name.startswith("ours") else plots.BLUE for name in names]
    axes.bar_label(axes.barh(names, rates, color=colours), fmt=" %.3g", fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(xscale="log", xlabel="comments per second", title="Training, base size")
    return figure


def plot_lengths(rows: list[dict]) -> Figure:
    """Draw time and memory of one forward and backward pass by length, on log scales."""
    figure, panels = plots.make_panels(1, 2, (10, 3.8))
    units = (("seconds", 1, "seconds"), ("bytes", 1e9, "GB above the parameters"))
    for axes, (what, unit, label) in zip(panels, units, strict=True):
        for name, colour in (("ours", plots.ORANGE), ("transformers", plots.BLUE)):
            points = [r for r in rows if r["name"] == name and what in r]
            values = [r[what] / unit for r in points]
            axes.plot([r["tokens"] for r in points], values, "o-", color=colour, label=name)
        axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel=label)
        axes.legend()
    left_out = [
        f"{r['name']}, {r['tokens']:,} tokens: {r['left_out']}" for r in rows if "left_out" in r
    ]
    title = "One forward and backward pass of two base-size layers"
    figure.suptitle("\n".join([title, *left_out]), fontsize=10)
    return figure


def _weights_per_token(shared: SharedModels) -> int:
    """Count the weights that each token is multiplied by.

    Embeddings are looked up, and only the few global tokens use the global projections.
    """
    named = shared.longformer.longformer.encoder.named_parameters()
    return sum(p.numel() for name, p in named if "_global" not in name)
