"""Measure which rule combines the windows of long comments best, on Jigsaw's real rows.

    python tests/training/measure_windows.py DATA FOLDER base truncate max mean lse lse-n
    python tests/training/measure_windows.py DATA FOLDER     compare what FOLDER has

The comments over 512 tokens are halved; each half is scored by models that are trained on the
other. The arm "base" trains `quick` with 512 tokens on that half and on `SHORT` shorter comments.
Each other arm trains base's model for one more epoch, on the long comments and as many shorter
ones: "truncate" cuts them, and a rule of `RULES` reads them in windows.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from toxlib.data import kaggle, splits, text, tokens
from toxlib.data.duplicates import duplicate_groups
from toxlib.data.examples import Examples
from toxlib.evaluation.intervals import paired_bootstrap
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.recipe_values import Recipe
from toxlib.recipes import get_recipe
from toxlib.training import checkpoints, machine, precision, windows
from toxlib.training.finetune import Finetuned, finetune

SHORT = 900
BASE = "max_length=512 lengthen_to=512"
MORE = "max_length=512 lengthen_to=0 epochs=1 learning_rate=1e-4 head_lr_multiplier=5"
RULES = {
    "max": lambda x: x.amax(dim=0),
    "mean": lambda x: x.mean(dim=0),
    "lse": lambda x: x.logsumexp(dim=0),
    "lse-n": lambda x: x.logsumexp(dim=0) - np.log(len(x)),  # minus log of the number of windows
    "first": lambda x: x[0],  # the comment cut at 512 tokens
}
METRICS = ("pooled_auc", "auc", "log_loss")


def read_rows(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return comments, labels, which are long, and the half of each comment (2: in neither)."""
    tables = kaggle.read_tables(folder)
    texts = np.array(text.prepare(tables.train["comment_text"]), dtype=object)
    labels = tables.train[tables.label_names].to_numpy()
    tokenizer = checkpoints.load_tokenizer(get_recipe("quick"))
    is_long = tokens.token_lengths(list(texts), tokenizer) > 512
    half, groups = np.full(len(texts), 2), duplicate_groups(texts)
    half[is_long] = splits.draw_validation(labels[is_long], groups[is_long], 0.5, 42)
    drawn = np.random.default_rng(42).permutation(np.flatnonzero(~is_long))
    half[drawn[:SHORT]], half[drawn[SHORT : 2 * SHORT]] = 0, 1
    return texts, labels, is_long, half


def train(arm: str, rows: tuple, fold: int, folder: Path) -> None:
    """Train one arm on one half, and keep the logits of each window of the other half."""
    texts, labels, is_long, half = rows
    base, chosen, values = folder / f"base-{fold}", half == 1 - fold, BASE
    if arm != "base":
        short = np.flatnonzero(chosen & ~is_long)
        chosen[short[np.sum(chosen & is_long) :]] = False
        values = f"{MORE} checkpoint={base}"
    if arm in RULES:
        values += " long_texts=windows"
        windows.combine = lambda x, counts: torch.stack([RULES[arm](w) for w in x.split(counts)])
    recipe = get_recipe("quick", f"{values} seed={fold}")
    start = time.process_time()
    names, work = [str(j) for j in range(labels.shape[1])], folder / f"work-{arm}-{fold}"
    examples = Examples(texts[chosen].tolist(), labels[chosen])
    trained = finetune(recipe, names, examples, None, work)
    if arm == "base":
        checkpoints.save_trained(trained.model, trained.tokenizer, base)
    seconds, held_out = time.process_time() - start, (half == fold) & is_long
    scored = window_logits(trained, texts[held_out].tolist(), recipe)
    np.savez(folder / f"{arm}-{fold}.npz", **scored, labels=labels[held_out], seconds=seconds)
    print(arm, fold, chosen.sum(), "comments", f"{seconds:.0f} CPU-seconds", flush=True)


def window_logits(trained: Finetuned, texts: list[str], recipe: Recipe) -> dict[str, np.ndarray]:
    """Return the logits of each window, (W, L), and the number of windows of each comment."""
    model, logits, counts = trained.model.eval(), [], []
    chosen = precision.resolve(recipe.precision, model.config.hidden_size)
    with torch.inference_mode(), machine.autocast(model.device, chosen):
        for ids in tokens.encode(texts, trained.tokenizer, "windows"):
            batch = trained.tokenizer.pad({"input_ids": [ids]}, return_tensors="pt")
            cut, count = windows.split_windows(batch, recipe.max_length)
            logits.append(model(**cut).logits.float())
            counts += count
    return {"logits": torch.cat(logits).numpy(), "counts": np.array(counts)}


def scores(saved: list, rule: str) -> np.ndarray:
    """Return the scores of the comments of some halves by a rule, (N, L)."""
    results = []
    for half in saved:
        parts = torch.tensor(half["logits"]).split(half["counts"].tolist())
        results.append(torch.stack([RULES[rule](part) for part in parts]))
    return torch.cat(results).sigmoid().numpy()


def compare(folder: Path) -> None:
    """Print each arm and rule's AUC, and its differences from truncation, on the same comments."""
    saved = {path.stem: np.load(path) for path in sorted(folder.glob("*.npz"))}
    for arm in dict.fromkeys(name[:-2] for name in saved):
        reference = "base" if arm == "base" else "truncate"
        folds = [fold for fold in "01" if {f"{arm}-{fold}", f"{reference}-{fold}"} <= set(saved)]
        first, own = ([saved[f"{name}-{fold}"] for fold in folds] for name in (reference, arm))
        labels, cut = np.concatenate([half["labels"] for half in own]), scores(first, "first")
        for rule in [arm] if arm in RULES else RULES:
            read = scores(own, rule)
            gains = (f"{m} {paired_bootstrap(labels, read, cut, m)}" for m in METRICS)
            auc = f"{len(labels)} comments, AUC {mean_columnwise_auc(labels, read):.4f}"
            print(f"{arm} scored by {rule}: {auc}; minus {reference} cut:", *gains)


if __name__ == "__main__":
    data, folder, arms = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    folder.mkdir(parents=True, exist_ok=True)
    rows = read_rows(data) if arms else ()
    for fold in (0, 1):
        for arm in arms:
            train(arm, rows, fold, folder)
    compare(folder)
