"""Prepare the text of comments for models, and shorten or mask it for display."""

import re
from collections.abc import Iterable

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


def shorten(text: str, width: int) -> str:
    """Return the first `width` characters, the last one an ellipsis if something is left out."""
    return text if len(text) <= width else text[: width - 1] + "…"
