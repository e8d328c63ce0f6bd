"""Write Markdown in which names and texts from the data are shown and never obeyed."""

import re
from collections.abc import Iterable, Sequence

from toxlib.data.text import shorten, visible

SPECIAL = re.compile(r"[\\`*_\[\]<>#|~$&@]|:(?=//)|(?<=[wW]{3})\.")
"""What could begin a tag, an entity, a link, a formula, an emphasis or a cell of a table."""


def code(value: object, width: int = 40) -> str:
    r"""Return a name as a code span, of which no reader takes a part for Markdown or HTML.

    The name is shortened to `width` characters. A bar, which would end the cell of a table even in
    a code span, is shown as \x7c.

    >>> code("severe_toxic"), code("<b>`")
    ('`severe_toxic`', '`` <b>` ``')
    """
    shown = visible(shorten(str(value), width)).replace("|", r"\x7c")
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " * (len(fence) > 1)
    return f"{fence}{space}{shown}{space}{fence}"


def codes(values: Iterable[object], most: int = 20) -> str:
    """Return names as code spans that are separated by commas, and how many are left out."""
    names = list(values)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(code, names[:most])) + more


def plain(text: str) -> str:
    """Return a sentence in which no character has a meaning in Markdown or HTML.

    >>> plain("<b> of *all*")
    '&#60;b&#62; of &#42;all&#42;'
    """
    return SPECIAL.sub(lambda found: f"&#{ord(found[0])};", visible(text))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Return a table of Markdown cells, of which the first `words` columns are no numbers."""
    ruler = ["---" if number < words else "---:" for number in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ruler, *rows))
