"""Prepare the text of comments for models; shorten, mask and escape it for display."""

import re
from collections.abc import Iterable, Iterator, Sequence

from toxlib.data.spelling import normalise

INNER_LETTERS = re.compile(r"(?<=[^\W_]|[\u0300-\u036f])[^\W\d_]")
"""Letters after a letter, a digit or an accent that is written as a character of its own."""


def prepare(texts: Iterable[str], clean_spelling: bool = False) -> list[str]:
    """Replace each run of white space by one space. Every part of a run uses these texts.

    With `clean_spelling`, spellings such as "i.d.i.o.t" are undone by `spelling.normalise`.

    Copies of the data exist in which newlines were replaced by spaces, with other label rates. A
    model that reads newlines would learn which copy a row is from.
    """
    folded = (" ".join(text.split()) for text in texts)
    return [normalise(text) for text in folded] if clean_spelling else list(folded)


class PreparedTexts(Sequence):
    """Comments that are prepared when they are read, so that they take no memory of their own.

    It can be used like a list; a slice of it is a list.

    >>> texts = PreparedTexts(["a  b", "c", "d"], rows=[0, 2])
    >>> texts[0], texts[1:], len(texts)
    ('a b', ['d'], 2)
    """

    def __init__(
        self,
        texts: Sequence[str],
        rows: Sequence[int] | None = None,
        clean_spelling: bool = False,
    ):
        """Take the texts at the positions `rows`, (n,), or all texts if it is None."""
        self._texts, self._rows = texts, range(len(texts)) if rows is None else rows
        self._clean = clean_spelling

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return prepare((self._texts[row] for row in self._rows[index]), self._clean)
        return prepare([self._texts[self._rows[index]]], self._clean)[0]

    def __iter__(self) -> Iterator[str]:
        return (prepare([self._texts[row]], self._clean)[0] for row in self._rows)


def evenly_spaced(count: int, most: int) -> slice:
    """Return a slice of `count` rows: all of them, or evenly spaced ones if that is over `most`.

    >>> evenly_spaced(6, most=10), evenly_spaced(25, most=10)
    (slice(None, None, 1), slice(None, None, 3))
    """
    return slice(None, None, max(1, -(-count // most)))


def mask(text: str) -> str:
    """Replace all but the first letter of each word by dots, for pages that are shown at work."""
    return INNER_LETTERS.sub("•", text)


def short_name(name: str) -> str:
    """Return a label's name for display: its first 40 characters, all of which can be seen."""
    return visible(shorten(str(name), 40))


def join_names(names: Sequence[str]) -> str:
    """Return the first ten names of labels for display, separated by commas."""
    return ", ".join(map(short_name, names[:10])) + (", …" if len(names) > 10 else "")


def visible(text: str) -> str:
    r"""Replace characters that cannot be seen by their escapes, such as \x1b and \u202e.

    Texts are hostile: a terminal or a notebook would take escape sequences for colours, and
    bidirectional controls change the order in which the rest of a line is read.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shorten(text: str, width: int) -> str:
    """Return the first `width` characters, the last one an ellipsis if something is left out."""
    return text if len(text) <= width else text[: width - 1] + "…"
