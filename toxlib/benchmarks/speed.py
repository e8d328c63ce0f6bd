"""Compare the speed of the tutorial's recipe, of RoBERTa and of ours: python -m toxlib bench.

Every recipe takes one optimiser step on the same 128 comments, clipping and AdamW included, and
scores them. Other programs can slow a shared machine down for a while. So the recipes take turns,
and the machine's rate of matrix products is measured before and after each step.
"""

import datetime
import importlib.metadata
import os
import platform
import statistics
from pathlib import Path

import torch

from toxlib import files
from toxlib.benchmarks import speed_recipes as ways
from toxlib.benchmarks.speed_by_length import LENGTHS, OURS, UPSTREAM, measure_lengths
from toxlib.benchmarks.speed_models import COMMENTS, TUTORIAL_LENGTH, SharedModels
from toxlib.benchmarks.speed_recipes import SpeedRecipe
from toxlib.benchmarks.speed_report import format_speed, plot_lengths, plot_speed
from toxlib.data import kaggle, text
from toxlib.progress import progress
from toxlib.runs.run import set_up_display
from toxlib.training.machine import device_name, matmul_rate
from toxlib.training.precision import resolve


def bench(data_dir: str = "", output: Path | None = None, quick: bool = False) -> None:
    """Measure speed on Kaggle's or the sample's comments; print it and keep it in `output`."""
    set_up_display()
    output = output or files.outputs() / "bench"
    files.check_folder(output)
    folder, is_sample = kaggle.find_or_make_data(data_dir)
    texts = text.prepare(kaggle.read_tables(folder).train["comment_text"])
    result = measure_speed(texts, output, quick)
    comments = "comments of the synthetic sample" if is_sample else "real comments"
    result |= {"comments": f"{COMMENTS} {comments}", "data_dir": str(folder)}
    files.write_json(output / "bench.json", result)
    plot_speed(result).savefig(output / "speed.png", dpi=120)
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
    recipes = [*ways.longformer_recipes(shared), *ways.roberta_recipes(shared)]
    result = {"machine": describe_machine(), "layers": layers, "figures": shared.figures}
    result["recipes"] = time_recipes(recipes, _weights_per_token(shared), 1 if quick else 3)
    if "bf16" in ways.precisions():
        result["figures"]["largest difference of a bf16 probability"] = bf16_difference(shared)
    del shared, recipes  # the processes that measure lengths need the memory
    result["lengths"] = measure_lengths((512, 3048, 4096) if quick else LENGTHS)
    return result | {"ratios": ratios(result)}


def time_recipes(recipes: list[SpeedRecipe], weights: int, most: int) -> list[dict]:
    """Measure each recipe `repetitions` times, but at most `most` times; return the medians.

    `weights` is the number of weights that each token is multiplied by. A training step takes 6
    operations per token and weight: 2 in the forward and 4 in the backward pass. `share_of_limit`
    is their rate, divided by the machine's rate of matrix products.
    """
    measured: list[list] = [[] for _ in recipes]
    turns = [
        (recipe, found)
        for turn in range(most)
        for recipe, found in zip(recipes, measured, strict=True)
        if turn < recipe.repetitions
    ]
    bar = progress(turns, total=len(turns), description="Measure speed", unit="recipe")
    for recipe, found in bar:
        before = matmul_rate(recipe.precision)
        training = recipe.train_seconds()
        limit = statistics.mean([before, matmul_rate(recipe.precision)])
        share = 6 * recipe.tokens * weights / training / limit
        scoring = recipe.score_seconds()
        found.append((training, scoring, share))
        seconds = f"training {training:.1f} s, scoring {scoring:.1f} s"
        bar.write(f"{recipe.name}, {recipe.precision}: {seconds}, {share:.2f} of the limit")
    return [
        _row(recipe, *zip(*found, strict=True))
        for recipe, found in zip(recipes, measured, strict=True)
    ]


def _row(
    recipe: SpeedRecipe, training: tuple[float], scoring: tuple[float], shares: tuple[float]
) -> dict:
    train_seconds, score_seconds = statistics.median(training), statistics.median(scoring)
    return {
        "panel": recipe.panel,
        "name": recipe.name,
        "precision": recipe.precision,
        "train_seconds": train_seconds,
        "train_seconds_all": list(training),
        "train_comments_per_second": COMMENTS / train_seconds,
        "score_comments_per_second": COMMENTS / score_seconds,
        "tokens": recipe.tokens,
        "share_of_limit": statistics.median(shares),
    }


def ratios(result: dict) -> dict[str, float]:
    """Return the ratios that sum up the comparison, without those that were not measured."""
    points = {(r["name"], r["tokens"]): r for r in result["lengths"] if "seconds" in r}
    seconds, memory = ({k: r[what] for k, r in points.items()} for what in ("seconds", "bytes"))
    long, longer = (OURS, 4096), (OURS, 16384)
    ours, upstream = (OURS, TUTORIAL_LENGTH), (UPSTREAM, TUTORIAL_LENGTH)
    wanted = {
        "time, 16,384 / 4,096 tokens": (seconds, longer, long),
        "memory, 16,384 / 4,096 tokens": (memory, longer, long),
        "time at 3,048 tokens, ours / transformers": (seconds, ours, upstream),
        "memory at 3,048 tokens, ours / transformers": (memory, ours, upstream),
    }
    by_length = {
        name: values[a] / values[b]
        for name, (values, a, b) in wanted.items()
        if a in values and b in values
    }
    auto = result["machine"]["auto_precision"]
    return speed_ups(result["recipes"]) | auto_ratios(result["recipes"], auto) | by_length


def speed_ups(rows: list[dict]) -> dict[str, float]:
    """Return our speed in training, divided by that of each other way in the same comparison.

    A way that was not measured in the same precision is compared in fp32.
    """
    key = "train_comments_per_second"
    found = {(r["panel"], r["name"], r["precision"]): r[key] for r in rows}
    result = {}
    for (panel, name, precision), rate in found.items():
        others = {other for where, other, _ in found if where == panel}
        for other in sorted(n for n in others if name == ways.OURS and not n.startswith(name)):
            same = precision if (panel, other, precision) in found else "fp32"
            what = f"{_short(panel)}, ours in {precision} / {other} in {same}"
            result[what] = rate / found[panel, other, same]
    return result


def auto_ratios(rows: list[dict], auto: str) -> dict[str, float]:
    """Return our speed in the precision that `precision=auto` takes, divided by the best speed."""
    result = {}
    for panel in dict.fromkeys(row["panel"] for row in rows):
        ours = [row for row in rows if row["panel"] == panel and row["name"] == ways.OURS]
        for what, key in (("training", "train"), ("scoring", "score")):
            rates = {row["precision"]: row[f"{key}_comments_per_second"] for row in ours}
            name = f"{_short(panel)}, {what}, {auto} (auto) / the fastest of {', '.join(rates)}"
            result[name] = rates[auto] / max(rates.values())
    return result


def _short(panel: str) -> str:
    return panel.partition(",")[0]


def bf16_difference(shared: SharedModels) -> float:
    """Return the largest change of a probability by bf16 on every fourth comment."""
    features = shared.features(TUTORIAL_LENGTH)[::4]
    features = sorted(features, key=lambda feature: len(feature["input_ids"]))
    batches = [shared.pad([feature]) for feature in features]
    shared.longformer.longformer.use_upstream = False
    exact, rough = (ways.score(shared.longformer, batches, p).sigmoid() for p in ("fp32", "bf16"))
    return float((exact - rough).abs().max())


def describe_machine() -> dict[str, object]:
    """Return what decides the speed: processor, threads, precision and versions; and the date."""
    return {
        "processor": device_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "auto_precision": resolve("auto", ways.WIDTH),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "transformers")},
        "date": datetime.date.today().isoformat(),
    }


def _weights_per_token(shared: SharedModels) -> int:
    """Count the weights that each token is multiplied by.

    Embeddings are looked up, and only the few global tokens use the global projections.
    """
    named = shared.longformer.longformer.encoder.named_parameters()
    return sum(p.numel() for name, p in named if "_global" not in name)
