"""Translate comments with a MarianMT model, in pieces of a few sentences.

These models are trained on single sentences. They leave out parts of long texts, and read at most
512 tokens; so a comment is cut at the ends of its sentences, and its translation is joined again.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from toxlib import files
from toxlib.data.batching import micro_batches
from toxlib.data.text import prepare
from toxlib.errors import InputError, show, show_all
from toxlib.recipe_values import Recipe
from toxlib.training import checkpoints, model_files
from toxlib.training.machine import default_device

PIECE = 128
"""The most tokens in a piece: a few sentences."""
BUDGET = {"cpu": 2048, "cuda": 32768}
"""Padded tokens that are translated at once."""
SENTENCE_END = re.compile(r"(?<=[.!?…]) ")


@dataclass(frozen=True)
class Translator:
    """A MarianMT model that translates into one language; made by `load_translator`."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    digest: str
    """What a translation depends on besides the text."""
    prefix: str = ""
    """What tells a model of several languages which one is wanted, such as `>>fr<< `."""

    @property
    def most_tokens(self) -> int:
        """The most tokens of a piece that the model reads with its end token and `prefix`."""
        return min(PIECE, self.model.config.max_position_embeddings - 2)

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Translate prepared texts; an empty text stays empty.

        The most likely next token is taken each time (no beam search): several times as fast, and
        copies need not be the best translations.
        """
        pieces = [list(split_text(text, self._count, self.most_tokens)) for text in texts]
        flat = [piece for of_text in pieces for piece, _ in of_text]
        lengths = [tokens for of_text in pieces for _, tokens in of_text]
        translated = [""] * len(flat)
        for rows in micro_batches(lengths, BUDGET[default_device().type]):
            for row, text in zip(rows, self._translate([flat[i] for i in rows]), strict=True):
                translated[row] = text
        parts = iter(translated)
        return prepare(" ".join(next(parts) for _ in of_text) for of_text in pieces)

    def _count(self, text: str) -> int:
        return len(self.tokenizer.tokenize(text))

    def _translate(self, pieces: list[str]) -> list[str]:
        positions = self.model.config.max_position_embeddings
        how = {"padding": True, "truncation": True, "max_length": positions}
        batch = self.tokenizer([self.prefix + p for p in pieces], return_tensors="pt", **how)
        # Without a limit, a model may repeat a nonsense text until its positions end.
        most = min(positions - 1, 2 * batch["input_ids"].shape[1] + 10)
        greedy = {"num_beams": 1, "do_sample": False, "max_new_tokens": most}
        with torch.inference_mode():
            ids = self.model.generate(**batch.to(self.model.device), **greedy)
        how = {"skip_special_tokens": True, "use_source_tokenizer": False}
        return self.tokenizer.batch_decode(ids, **how)


def load_translator(checkpoint: str, revision: str, language: str) -> Translator:
    """Load a MarianMT model: a folder, or a name on the hub with its revision (a commit).

    `language` is the code of the language to translate into. It only matters to a model of several
    languages.

    Raises:
        InputError: if a package is missing, if the checkpoint cannot be loaded or is of another
            type, or if it does not translate into this language.
    """
    if find_spec("sentencepiece") is None:
        install = checkpoints.INSTALL_SENTENCEPIECE
        raise InputError(f"augment needs sentencepiece, not installed; run `{install}`")
    from transformers import MarianMTModel, MarianTokenizer  # the latter needs the package

    source = Recipe("translator", checkpoint=checkpoint, revision=revision)
    name = f"checkpoint {checkpoint!r}"
    config = checkpoints.load(AutoConfig.from_pretrained, source, trust_remote_code=False)
    if config.model_type != "marian":
        remedy = "give a MarianMT checkpoint, such as Helsinki-NLP/opus-mt-en-de"
        raise InputError(f"{name} is of type {config.model_type!r}; {remedy}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # recommends a package that transformers does not use
        tokenizer = checkpoints.load(MarianTokenizer.from_pretrained, source)
    remedy = "copy vocab.json, source.spm and target.spm of the checkpoint into it"
    model_files.check_tokenizer(tokenizer, config, name, remedy)
    how = {"dtype": torch.float32, **checkpoints.SAFE, **checkpoints.TOLD}
    model, info = checkpoints.load(MarianMTModel.from_pretrained, source, **how)
    if missing := model_files.not_loaded(info):
        fault = f"{len(missing)} of its weights are missing or of other shapes, such as"
        raise InputError(f"{name}: {fault} {show(missing[0])}; choose another checkpoint")
    prefix = _prefix(tokenizer, language, name)
    digest = _digest(checkpoint, revision, prefix)
    return Translator(model.eval().to(default_device()), tokenizer, digest, prefix)


def split_text(text: str, count: Callable[[str], int], most: int) -> Iterator[tuple[str, int]]:
    """Yield the pieces of a text, of at most `most` tokens, and how many tokens each has.

    A piece holds as many whole sentences as fit. A longer sentence is cut between words, and a
    longer word in halves. `count` returns the tokens of a part of the text.

    >>> [piece for piece, _ in split_text("One. Two? Three four five six.", len, 12)]
    ['One. Two?', 'Three four', 'five six.']
    """
    piece, tokens = "", 0
    for part, more in _parts(SENTENCE_END.split(text), count, most):
        if piece and tokens + more > most:
            yield piece, tokens
            piece, tokens = "", 0
        piece, tokens = f"{piece} {part}".strip(), tokens + more
    if piece:
        yield piece, tokens


def _parts(parts: list[str], count: Callable[[str], int], most: int) -> Iterator[tuple[str, int]]:
    """Yield parts, or if one has more than `most` tokens its words, or the halves of its word."""
    for part in parts:
        tokens, words = count(part), part.split(" ")
        if tokens <= most or len(part) == 1:
            yield part, tokens
        elif len(words) > 1:
            yield from _parts(words, count, most)
        else:
            middle = len(part) // 2
            yield from _parts([part[:middle], part[middle:]], count, most)


def _prefix(tokenizer: PreTrainedTokenizerBase, language: str, name: str) -> str:
    codes = [code.strip("<>") for code in tokenizer.supported_language_codes]
    if codes and language not in codes:
        fault = f"it translates into {show_all(codes)}, not into {show(language)}"
        raise InputError(f"{name}: {fault}; choose another checkpoint")
    return f">>{language}<< " if codes else ""


def _digest(checkpoint: str, revision: str, prefix: str) -> str:
    folder = Path(checkpoint).expanduser()
    paths = sorted(path for path in folder.glob("*") if path.is_file())
    content = [[path.name, files.sha256(path)] for path in paths] or [checkpoint, revision]
    return hashlib.sha256(json.dumps([content, prefix, PIECE]).encode()).hexdigest()
