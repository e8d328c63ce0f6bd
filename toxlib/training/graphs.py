"""Write trained classifiers as one ONNX graph, convert its weights to int8, and score by it.

A graph has the inputs `input_ids` and `attention_mask`, (B, T) int64 and padded on the right, and
the output `probabilities`, (B, L) float32. B and T are free.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from toxlib.data.batching import CPU_BUDGET_PADDED, micro_batches
from toxlib.errors import InputError
from toxlib.longformer.dense import DenseLongformer
from toxlib.longformer.model import LongformerForMultiLabelSequenceClassification

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INSTALL = "pip install -r requirements-export.txt"
OUTPUT = "probabilities"
LARGEST_FILE = 1_900_000_000
"""A protobuf file ends at 2 GiB. Beyond this many bytes, weights lie in a second file."""


def check_installed() -> None:
    """Raise an InputError if a package is missing that writes or runs graphs."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"export needs {', '.join(missing)}, not installed; run `{INSTALL}`")


class _Probabilities(nn.Module):
    """The sigmoid of the mean logit of several classifiers, as `evaluation.parts.average`."""

    def __init__(self, models: Sequence[PreTrainedModel]):
        super().__init__()
        self.members = nn.ModuleList(map(_without_unpadding, models))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the probabilities, (B, L), of token ids and a mask, (B, T)."""
        logits = [member(input_ids, attention_mask) for member in self.members]
        return torch.stack(logits).mean(dim=0).sigmoid()


class _Logits(nn.Module):
    """The logits of a classifier of transformers."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


def _without_unpadding(model: PreTrainedModel) -> nn.Module:
    """Return a module with a model's weights whose steps do not depend on the texts."""
    if isinstance(model, LongformerForMultiLabelSequenceClassification):
        return DenseLongformer(model)
    plain = AutoModelForSequenceClassification.from_config(model.config)
    plain.load_state_dict(model.state_dict())
    return _Logits(plain.eval())


def write_graph(models: Sequence[PreTrainedModel], path: Path) -> None:
    """Write a graph that gives the averaged probabilities of one or more trained classifiers."""
    module = _Probabilities(models).eval()
    size = sum(p.numel() * p.element_size() for p in module.parameters())
    # Two tensors: if both inputs were the same one, the graph would read one of them only.
    example = torch.ones(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.long)
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with _quietly():
        torch.onnx.export(
            module,
            example,
            path,
            dynamo=True,
            input_names=["input_ids", "attention_mask"],
            output_names=[OUTPUT],
            dynamic_shapes=(free, free),
            external_data=size > LARGEST_FILE,
            verbose=False,
        )


def quantize(path: Path, target: Path) -> None:
    """Write a copy of a graph with its weights in int8, each column with a scale of its own."""
    from onnxruntime.quantization import quantize_dynamic

    with _quietly():
        quantize_dynamic(path, target, per_channel=True)


def graph_probabilities(
    path: Path, tokenizer: Tokenizer, texts: Sequence[str], bar: tqdm
) -> np.ndarray:
    """Return the probability of each text and label, (N, L) float32, in the order of `texts`.

    `tokenizer` cuts and pads the texts, which are prepared by `data.text.prepare`. `bar` is a
    progress bar to advance.
    """
    from onnxruntime import InferenceSession

    session, scores = InferenceSession(path), {}
    lengths = [sum(encoded.attention_mask) for encoded in tokenizer.encode_batch(texts)]
    for rows in micro_batches(lengths, CPU_BUDGET_PADDED):
        batch = tokenizer.encode_batch([texts[row] for row in rows])
        ids, mask = ([e.ids for e in batch], [e.attention_mask for e in batch])
        inputs = {"input_ids": np.array(ids), "attention_mask": np.array(mask)}
        scores |= dict(zip(rows.tolist(), session.run([OUTPUT], inputs)[0], strict=True))
        bar.update(len(rows))
    return np.stack([scores[row] for row in range(len(texts))])


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's many warnings, which no user can act on, from the console."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
