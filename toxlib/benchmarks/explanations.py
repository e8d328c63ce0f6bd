"""How well explanations find the words that people marked as toxic.

The comments are those of SemEval-2021 task 5 (Pavlopoulos et al. 2021), whose toxic characters
were marked by people: a CSV with the columns `text` and `spans`, the positions of the marked
characters separated by blanks. Occlusion is compared with the norm of the gradient at each word's
embeddings, which has no sign.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

from toxlib import files
from toxlib.data.csv_files import read_chunks
from toxlib.data.passages import word_spans
from toxlib.errors import InputError
from toxlib.scoring.predictor import Scorer, load

COMMENTS, COMMENTS_QUICK = 300, 30
LABEL = "toxic"
STEPS = 200
"""Strengths that are tried for the F1."""
Way = Callable[[Scorer, str], pd.DataFrame]
"""Returns the words of a text: `start`, `end`, and `effect`, their strength."""


def bench_explanations(
    run: str, spans: str, output: Path | None = None, quick: bool = False
) -> None:
    """Explain comments with marked characters, and print a table of the ways to explain them.

    The word AUC tells marked words of a comment from its others by their strength, and is averaged
    over the comments. For the F1 of characters, all words above a strength are taken; the strength
    is chosen on one half of the comments and applied to the other half.

    Raises:
        InputError: if the file or the run is not as needed.
    """
    output = output or files.outputs() / "bench"
    files.check_folder(output)
    comments = read_spans(Path(spans))[: COMMENTS_QUICK if quick else COMMENTS]
    scorer = load(run)
    if LABEL not in scorer.label_names:
        raise InputError(f"{run}: it has no label {LABEL}, which these comments are marked for")
    ways = {"occlusion": _occlusion, "gradient norm": _gradient_norm}
    table = pd.DataFrame({name: _judge(way, scorer, comments) for name, way in ways.items()}).T
    with files.replacing(output / "explanations.csv") as temporary:
        table.to_csv(temporary)
    print(table.to_string(), output, sep="\n")


def read_spans(path: Path) -> list[tuple[str, np.ndarray]]:
    """Return the comments that have marked characters, and for each character if it is marked.

    Raises:
        InputError: if the file has other columns, or positions that are not in the text.
    """
    comments = []
    for chunk in read_chunks(path):
        if missing := [name for name in ("text", "spans") if name not in chunk]:
            raise InputError(f"{path}: no column {missing[0]}; give the columns text and spans")
        for row, text, spans in chunk[["text", "spans"]].itertuples():
            marked = np.zeros(len(text), dtype=bool)
            try:
                marked[[int(place) for place in spans.split()]] = True
            except (ValueError, IndexError):
                fault = "not positions of characters in the text, separated by blanks"
                raise InputError(f"{path}: row {row + 1}, column spans: {fault}") from None
            if marked.any():
                comments.append((text, marked))
    return comments


def _occlusion(scorer: Scorer, text: str) -> pd.DataFrame:
    return scorer.explain([text], LABEL)[0]


def _gradient_norm(scorer: Scorer, text: str) -> pd.DataFrame:
    """Return the norm of the logit's gradient at a word's embeddings, summed over its tokens.

    The gradient is taken at the output of the embedding table, on the way that computes no
    padding; a model that is given `inputs_embeds` would compute it, and need 17 GB.
    """
    model, tokenizer = scorer.encoders[0]
    encoded = tokenizer(text, truncation=True, return_offsets_mapping=True, return_tensors="pt")
    places, taken = encoded.pop("offset_mapping")[0].numpy(), []

    def keep(module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        taken.append(output.detach().requires_grad_())
        return taken[0]

    hook = model.get_input_embeddings().register_forward_hook(keep)
    try:
        logits = model(**encoded.to(model.device)).logits
        logits[0, scorer.label_names.index(LABEL)].backward()
    finally:
        hook.remove()
        model.zero_grad()
    norms = taken[0].grad.reshape(-1, taken[0].shape[-1]).norm(dim=1).cpu().numpy()
    words = pd.DataFrame(word_spans(text), columns=["start", "end"])
    inside = (places[:, 0] < words["end"].to_numpy()[:, None]) & (
        places[:, 1] > words["start"].to_numpy()[:, None]
    )
    return words.assign(effect=inside @ norms[: len(places)])


def _judge(way: Way, scorer: Scorer, comments: list[tuple[str, np.ndarray]]) -> dict[str, object]:
    """Explain each comment; return the figures of the table."""
    start = time.process_time()
    explained = [way(scorer, text) for text, _ in comments]
    seconds = (time.process_time() - start) / len(comments)
    aucs, strengths = [], []
    for words, (_, marked) in zip(explained, comments, strict=True):
        truth = [
            marked[a:b].mean() >= 0.5 for a, b in zip(words["start"], words["end"], strict=True)
        ]
        if 0 < sum(truth) < len(truth):
            aucs.append(roc_auc_score(truth, words["effect"]))
        by_character = np.full(len(marked), -np.inf)
        for first, last, effect in words[["start", "end", "effect"]].itertuples(index=False):
            by_character[first:last] = effect
        strengths.append(by_character)
    f1 = _cross_fitted_f1(strengths, [marked for _, marked in comments])
    return {
        "comments": len(comments),
        "word AUC": _interval(aucs),
        "character F1": _interval(f1),
        "CPU-seconds a comment": f"{seconds:.3f}",
    }


def _cross_fitted_f1(strengths: list[np.ndarray], marked: list[np.ndarray]) -> np.ndarray:
    """Return each comment's F1, (N,), at the strength that is best for the other half."""
    known = np.concatenate(strengths)
    steps = np.quantile(known[np.isfinite(known)], np.linspace(0, 1, STEPS))
    scores = np.array(
        [[_f1(s >= step, m) for step in steps] for s, m in zip(strengths, marked, strict=True)]
    )  # (N, steps)
    result, half = np.empty(len(scores)), np.arange(len(scores)) % 2
    for part in (0, 1):
        best = scores[half != part].mean(axis=0).argmax()
        result[half == part] = scores[half == part, best]
    return result


def _f1(found: np.ndarray, marked: np.ndarray) -> float:
    return 2 * (found & marked).sum() / (found.sum() + marked.sum())


def _interval(values: list[float] | np.ndarray) -> str:
    """Return the mean over comments with a 95 % bootstrap interval."""
    low, high = bootstrap(
        (np.asarray(values),), np.mean, method="percentile", random_state=0
    ).confidence_interval
    return f"{np.mean(values):.3f} [{low:.3f}, {high:.3f}]"
