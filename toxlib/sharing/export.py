"""Export a finished run as a folder that needs neither toxlib nor torch to score texts.

The folder holds the graph of the run's encoder, or of the encoders of all folds, with its
tokenizer, the names of the labels, and an example program. It is written whole or not at all.
"""

import tempfile
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from toxlib import files
from toxlib.data import text
from toxlib.errors import InputError
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.evaluation.parts import average
from toxlib.progress import progress
from toxlib.runs.record import read_record
from toxlib.runs.run import (
    DEFAULT_RECIPE,
    Run,
    fold_folders,
    reopen,
    run_folder,
    set_up_display,
)
from toxlib.training import graphs
from toxlib.training.checkpoints import load_trained
from toxlib.training.inference import predict_probabilities

GRAPH, INT8_GRAPH = "model.onnx", "model.int8.onnx"
CHANGES = "int8.json"
MEASURED_ROWS = 1000
"""The most validation rows on which it is measured what int8 changes."""
CHECKED_TEXT = "Thank you for the note about the tram. What a stupid idea!"
LARGEST_DIFFERENCE = 1e-4
"""Between a score of a fresh graph and of `predict`: rounding in fp32, and nothing else."""
EXAMPLE = '''\
"""Score texts by the graph in this folder: python example.py "a text" "another text"."""

import json
import sys
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession
from tokenizers import Tokenizer

folder, texts = Path(__file__).parent, sys.argv[1:] or ["Thank you for the note."]
labels = json.loads((folder / "labels.json").read_text("utf-8"))["labels"]
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))  # cuts and pads, too
session = InferenceSession(folder / "model.onnx")
encoded = tokenizer.encode_batch([" ".join(text.split()) for text in texts])
inputs = {"input_ids": [e.ids for e in encoded]}
inputs["attention_mask"] = [e.attention_mask for e in encoded]
(scores,) = session.run(None, {name: np.array(rows) for name, rows in inputs.items()})
for text, row in zip(texts, scores.tolist()):
    print(json.dumps({"text": text, "scores": dict(zip(labels, row))}))
'''
"""The program that shows how to score with the folder; `GRAPH` is the name in it."""

Encoder = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def export(run_dir: Path, output: Path, int8: bool = False) -> list[str]:
    """Write the graph of a finished run into the new folder `output`; return lines about it.

    The graph's scores are those of `predict` in fp32. With `int8`, the weights are in int8, and
    what this changes is measured on the run's validation rows.

    Raises:
        InputError: if the run is not finished, is a blend, reads long texts in windows, or cleans
            their spelling; if `output` is a file or holds files; if a package is missing; if the
            graph's scores are not those of the run; or, with `int8`, if the validation rows cannot
            be read.
    """
    graphs.check_installed()
    set_up_display()
    folder = run_folder(run_dir, DEFAULT_RECIPE)
    folds = _exportable(folder)
    run = _with_validation_rows(folder) if int8 else None
    with files.new_folder(output) as target:
        encoders = [load_trained(fold / "model") for fold in folds]
        tokenizer = _plain_tokenizer(folder, encoders[0][1])
        graphs.write_graph([model for model, _ in encoders], target / GRAPH)
        _check_scores(folder, encoders, target / GRAPH, tokenizer)
        tokenizer.save(str(target / "tokenizer.json"))
        labels = list(encoders[0][0].config.id2label.values())
        length = encoders[0][1].model_max_length
        files.write_json(target / "labels.json", {"labels": labels, "max_length": length})
        lines = [_quantize(run, encoders, target, tokenizer)] if int8 else []
        name = INT8_GRAPH if int8 else GRAPH
        (target / "example.py").write_text(EXAMPLE.replace(GRAPH, name), "utf-8")
    return [*lines, str(output / name)]


def _exportable(folder: Path) -> list[Path]:
    """Return the folders of a run's folds; an InputError if no graph can give its scores."""
    record = read_record(folder)
    recipe, members = record["recipe"], record["members"].values()
    if members:
        runs = dict.fromkeys(str((folder / member["run"]).resolve()) for member in members)
        fault = "a blend, whose weights and linear models do not fit into a graph"
        raise InputError(f"{folder}: {fault}; export a run that it blends ({', '.join(runs)})")
    if recipe.long_texts == "windows":
        fault = "a run with long_texts=windows, and a graph reads only one window of a text"
        raise InputError(f"{folder}: {fault}; score with `python -m toxlib predict`")
    if recipe.clean_spelling:
        fault = "a run with clean_spelling=true, and a graph does not clean texts"
        raise InputError(f"{folder}: {fault}; score with `python -m toxlib predict`")
    return fold_folders(folder, recipe)


def _with_validation_rows(folder: Path) -> Run:
    """Reopen a run to measure what int8 changes; an InputError if its data cannot be read."""
    try:
        run = reopen(folder)
        run.split  # noqa: B018  (reads split.csv)
        return run
    except InputError as error:
        fault = "--int8 is measured on the run's validation rows, which cannot be read"
        raise InputError(f"{fault} ({error}); mend that, or leave out --int8") from None


def _plain_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """Return a tokenizer that cuts and pads by itself, for programs without transformers."""
    if not tokenizer.is_fast:
        fault = "its tokenizer is a slow one, which needs transformers"
        raise InputError(f"{folder}: {fault}; train with a checkpoint that has a tokenizer.json")
    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.enable_truncation(tokenizer.model_max_length)
    plain.enable_padding(pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    return plain


def _check_scores(
    folder: Path, encoders: list[Encoder], graph: Path, tokenizer: Tokenizer
) -> None:
    """Raise an InputError if a graph does not score texts of all lengths as the run does."""
    repeated = (1, 8, encoders[0][1].model_max_length)
    texts, quiet = [" ".join([CHECKED_TEXT] * n) for n in repeated], tqdm(disable=True)
    how = {"precision": "fp32", "bar": quiet}
    expected = average([predict_probabilities(*encoder, texts, **how) for encoder in encoders])
    scores = graphs.graph_probabilities(graph, tokenizer, texts, quiet)
    difference = np.abs(scores - expected).max()
    if not difference < LARGEST_DIFFERENCE:
        kind = encoders[0][0].config.model_type
        fault = f"the graph of this {kind!r} gives other scores (by up to {difference:.4f})"
        raise InputError(f"{folder}: {fault}; score with `python -m toxlib predict`")


def _quantize(run: Run, encoders: list[Encoder], target: Path, tokenizer: Tokenizer) -> str:
    """Replace the graph in `target` by one in int8, and write what that changes beside it.

    Return a line that says it.
    """
    graphs.quantize(target / GRAPH, target / INT8_GRAPH)
    with tempfile.TemporaryDirectory() as work:
        pairs = [(target / GRAPH, target / INT8_GRAPH)]
        if len(encoders) > 1:
            pairs = [
                _fold_pair(model, Path(work) / str(n)) for n, (model, _) in enumerate(encoders)
            ]
        changes = _measure_changes(run, pairs, tokenizer)
    for path in target.glob(f"{GRAPH}*"):
        path.unlink()
    files.write_json(target / CHANGES, changes)
    return (
        f"int8: on {changes['rows']} validation rows, scores change by "
        f"{changes['mean_change']:.4f} on average and by {changes['largest_change']:.4f} at most; "
        f"mean column-wise AUC {changes['auc_fp32']:.4f} before, {changes['auc_int8']:.4f} after"
    )


def _fold_pair(model: PreTrainedModel, folder: Path) -> tuple[Path, Path]:
    """Write the graphs of one fold's model, in fp32 and int8."""
    folder.mkdir()
    graphs.write_graph([model], folder / GRAPH)
    graphs.quantize(folder / GRAPH, folder / INT8_GRAPH)
    return folder / GRAPH, folder / INT8_GRAPH


def _measure_changes(run: Run, pairs: list[tuple[Path, Path]], tokenizer: Tokenizer) -> dict:
    """Measure what int8 changes, by the graphs of each fold's model in fp32 and in int8.

    Each fold's graphs score the rows that it holds out: the other models were trained on them.
    """
    labels, scores, texts = [], [], []
    for fold in run.split.folds:
        rows = run.split.held_out(fold)
        chosen = text.evenly_spaced(rows.sum(), MEASURED_ROWS // len(pairs))
        labels.append(run.tables.labels[rows][chosen])
        texts.append(run.texts(rows)[chosen])
    total = 2 * sum(map(len, texts))
    with progress(total=total, description="Measure int8") as bar:
        for pair, of_fold in zip(pairs, texts, strict=True):
            of_pair = [graphs.graph_probabilities(g, tokenizer, of_fold, bar) for g in pair]
            scores.append(np.stack(of_pair))  # (2, n, L)
    labels, (fp32, int8) = np.concatenate(labels), np.concatenate(scores, axis=1)
    return {
        "rows": len(labels),
        "mean_change": float(np.abs(int8 - fp32).mean()),
        "largest_change": float(np.abs(int8 - fp32).max()),
        "auc_fp32": mean_columnwise_auc(labels, fp32),
        "auc_int8": mean_columnwise_auc(labels, int8),
    }
