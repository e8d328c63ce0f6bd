"""Why a score: how much it changes when a word is masked (occlusion, Zeiler & Fergus 2014).

A word's effect is the score of the text minus the score of the text with this word masked. So a
word with a positive effect raises the score. All words of a short text are masked, one at a time.
In a long text that would take too long, so passages are masked first, and only those that matter
most are split further: passages into sentences, sentences into words.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import pandas as pd

from toxlib.data.passages import sentence_numbers, word_spans

MASKED = "\ue000"
"""What stands for a masked word: a character without a meaning (Unicode's private use area)."""
MOST_PIECES = 6
"""The most pieces that a passage is split into."""
MOST_WORDS = 40
"""The most words that a sentence is split into at once."""
LEAST_EFFECT = 0.002
"""A passage whose effect is smaller is not split."""
TOGETHER = 64
"""The texts that are explained at the same time, so that their masked copies share batches."""
LEAST_COPIES, MOST_TOKENS = 20, 20_000
"""A text gets as many masked copies as hold `MOST_TOKENS` tokens together, and at least
`LEAST_COPIES`."""


@dataclass(frozen=True, eq=False)
class Piece:
    """The words `first` to `last` - 1 of a text, and their effects if they are masked together."""

    first: int
    last: int
    effects: np.ndarray | None = None
    """(L,): what this changes in the score of each label."""

    @property
    def size(self) -> float:
        """The largest of its effects, whatever their signs."""
        return float(np.abs(self.effects).max())


def explain(
    texts: Sequence[str],
    score: Callable[[list[str]], np.ndarray],
    tokens: Sequence[int],
    label_names: Sequence[str],
) -> Iterator[pd.DataFrame]:
    """Yield the effects of each text's words on the scores of L labels.

    Args:
        texts: N texts.
        score: returns the scores, (n, L), of n texts, in some of which words are `MASKED`.
        tokens: how many tokens a model reads of each text, (N,). They decide how many masked
            copies of it are scored.

    Yields:
        A table per text, with a row per word, or per passage whose words were only masked
        together: `start` and `end`, its characters in the text; `word`, these characters; and for
        each label how far its score falls if they are masked.
    """
    for start in range(0, len(texts), TOGETHER):
        rows = range(start, min(start + TOGETHER, len(texts)))
        explained = [
            Occlusion(texts[i], max(LEAST_COPIES, MOST_TOKENS // max(1, tokens[i]))) for i in rows
        ]
        plain = score([one.text for one in explained])
        while any(copies := [one.copies() for one in explained]):
            scores = score(list(chain(*copies)))
            borders = np.cumsum([len(of_one) for of_one in copies])[:-1]
            for one, before, after in zip(
                explained, plain, np.split(scores, borders), strict=True
            ):
                one.take(before - after)
        yield from (one.table(label_names) for one in explained)


class Occlusion:
    """One text's explanation as it grows: ask for masked copies, score them, give the scores."""

    def __init__(self, text: str, most_copies: int):
        """Begin; `most_copies` is how many masked copies of the text may be scored."""
        self.text = text.replace(MASKED, "\ue001")
        self.spans = word_spans(text)
        self.sentences = sentence_numbers(text, self.spans)
        self.pieces: list[Piece] = []  # whose effect is known, and which are not split
        self.copies_left = most_copies
        self.pending = [Piece(i, i + 1) for i in range(len(self.spans))]
        if len(self.spans) > most_copies:
            self.pending = self._split(Piece(0, len(self.spans)), min(MOST_WORDS, most_copies))

    def copies(self) -> list[str]:
        """Return the masked copies of the text to score next; none if the explanation is done."""
        return [self._masked(piece) for piece in self.pending]

    def take(self, effects: np.ndarray) -> None:
        """Take the effects, (n, L), of the n copies, and choose which passage to split next."""
        scored = zip(self.pending, effects, strict=True)
        self.pieces += [Piece(piece.first, piece.last, effect) for piece, effect in scored]
        self.copies_left -= len(self.pending)
        self.pending = []
        for piece in sorted(self.pieces, key=lambda piece: -piece.size):
            parts = self._split(piece)
            if parts and piece.size >= LEAST_EFFECT and len(parts) <= self.copies_left:
                self.pieces.remove(piece)
                self.pending = parts
                return

    def table(self, label_names: Sequence[str]) -> pd.DataFrame:
        """Return a row per word or unsplit passage; see `explain`."""
        pieces = sorted(self.pieces, key=lambda piece: piece.first)
        spans = [(self.spans[p.first][0], self.spans[p.last - 1][1]) for p in pieces]
        table = pd.DataFrame(spans, columns=["start", "end"], dtype=int)
        table["word"] = [self.text[slice(*span)] for span in spans]
        effects = np.array([piece.effects for piece in pieces]).reshape(-1, len(label_names))
        # Unlike `join`, `concat` takes a label that is called like another column.
        return pd.concat([table, pd.DataFrame(effects, columns=label_names)], axis=1)

    def _masked(self, piece: Piece) -> str:
        """Return the text with each word of the piece replaced by `MASKED`."""
        parts, end = [], 0
        for start, stop in self.spans[piece.first : piece.last]:
            parts += [self.text[end:start], MASKED]
            end = stop
        return "".join([*parts, self.text[end:]])

    def _split(self, piece: Piece, most_words: int = MOST_WORDS) -> list[Piece]:
        """Split into sentences if there are several, else into words; none if it is one word."""
        if piece.last - piece.first < 2:
            return []
        sentences = self.sentences[piece.first : piece.last]
        starts = [i for i in range(1, len(sentences)) if sentences[i] != sentences[i - 1]]
        most = MOST_PIECES
        if not starts:
            starts, most = list(range(1, len(sentences))), most_words
        if len(starts) >= most:  # evenly spaced ones are the borders of the pieces
            chosen = np.linspace(0, len(starts) - 1, most - 1).round().astype(int)
            starts = [starts[i] for i in chosen]
        borders = [piece.first, *(piece.first + start for start in starts), piece.last]
        return [Piece(a, b) for a, b in pairwise(borders)]
