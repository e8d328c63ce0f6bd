"""Prepare the text of comments for models; shorten, mask and escape it for display."""

import re
from collections.abc import Iterable, Sequence

INNER_LETTERS = re.compile(r"(?<=[^\W_]|[\u0300-\u036f])[^\W\d_]")
"""Letters after a letter, a digit or an accent that is written as a character of its own."""


def prepare(texts: Iterable[str]) -> list[str]:
    """Replace each run of white space by one space. Every part of a run uses these texts.

    Copies of the data exist in which newlines were replaced by spaces, with other label rates. A
    model that reads newlines would learn which copy a row is from.
    """
    return [" ".join(text.split()) for text in texts]


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
