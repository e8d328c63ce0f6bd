"""Where the words and the sentences of a text are."""

import bisect
import re

Span = tuple[int, int]
"""The position of the first character of a piece of text, and of the one after its last."""

CHUNK = re.compile(r"\S{1,40}")
"""What stands between white space. More than 40 characters are cut, so that a page of Chinese, or
one letter repeated a thousand times, is not one word."""
OPENING, CLOSING = "\"'([{<“‘«", ".,;:!?\"')]}>…”’»"
"""Punctuation that does not belong to the word after it, or before it."""
SENTENCE_END = re.compile(rf"[.!?…]+[{re.escape(CLOSING)}]*\s|\n|[。！？]")


def word_spans(text: str) -> list[Span]:
    """Return the words of a text, in order, without the punctuation around them.

    Signs that stand alone, such as ":-)", count as a word.

    >>> word_spans('"Go away", he said.')
    [(1, 3), (4, 8), (11, 13), (14, 18)]
    """
    spans = []
    for found in CHUNK.finditer(text):
        start, end = found.span()
        word = found[0].lstrip(OPENING).rstrip(CLOSING)
        if any(map(str.isalnum, word)):
            start += len(found[0]) - len(found[0].lstrip(OPENING))
            end = start + len(word)
        spans.append((start, end))
    return spans


def sentence_numbers(text: str, spans: list[Span]) -> list[int]:
    """Return the number of the sentence that each of the spans begins in; the first one is 0.

    >>> sentence_numbers("Go away! You fool.", [(0, 2), (3, 7), (9, 12)])
    [0, 0, 1]
    """
    ends = [found.end() for found in SENTENCE_END.finditer(text)]
    return [bisect.bisect_right(ends, start) for start, _ in spans]
