"""Show as HTML which words raise or lower a score.

What is shown can be read without colours: a word that raises the score is underlined, one that
lowers it has a dashed line, and the largest effects are written beside their words.
"""

from html import escape

import pandas as pd

from toxlib.data.text import mask, visible

RAISES, LOWERS = "214, 92, 24", "42, 108, 190"
"""Orange and blue, as red, green and blue, which readers with colour blindness tell apart."""
SHOWN_FROM = 0.2
"""Effects of at least this share of the largest one in the text are marked."""
WRITTEN_FROM = 0.5
"""And those of at least this share are also written as a number."""
LEAST = 0.005
"""An effect below this is never marked: a score that no word moves shows no colours."""
LEGEND = """<p style="opacity: .75">Underlined words raise the score and dashed ones lower it.
A number says by how much the score changes if the word is masked.</p>
"""


def coloured_text(text: str, effects: pd.DataFrame, masked: bool = True) -> str:
    """Return a text as HTML, its words marked by their effects on a score.

    Args:
        effects: `start`, `end` and `effect` of each word, as `Scorer.explain` returns them.
        masked: show only the first letter of each word, as notebooks do.
    """
    shown = mask(text) if masked else text  # it has as many characters
    strongest = max(effects["effect"].abs().max() if len(effects) else 0, LEAST)
    parts, end = [], 0
    for start, stop, effect in effects[["start", "end", "effect"]].itertuples(index=False):
        parts.append(_escape(shown[end:start]))
        parts.append(_marked(_escape(shown[start:stop]), effect, abs(effect) / strongest))
        end = stop
    return "".join([*parts, _escape(shown[end:])])


def coloured_list(
    texts: list[str], explained: list[pd.DataFrame], headings: list[str], masked: bool = True
) -> str:
    """Return several texts as HTML, each below its heading. `LEGEND` says how to read them."""
    blocks = []
    for heading, text, effects in zip(headings, texts, explained, strict=True):
        body = coloured_text(text, effects, masked)
        blocks.append(f"<p><b>{_escape(heading)}</b></p>")
        blocks.append(f'<p style="line-height: 1.8; overflow-wrap: anywhere">{body}</p>')
    return "\n".join(blocks)


def _marked(word: str, effect: float, share: float) -> str:
    """Return a word with a background, a line below it and, if it is strong, its effect."""
    if share < SHOWN_FROM or abs(effect) < LEAST:
        return word
    colour, line = (RAISES, "solid") if effect > 0 else (LOWERS, "dashed")
    style = f"background: rgba({colour}, {0.15 + 0.4 * share:.2f}); "
    style += f"text-decoration: underline {line} 2px; text-underline-offset: 3px"
    number = f"<small> {effect:+.2f}</small>" if share >= WRITTEN_FROM else ""
    return f'<span style="{style}" title="{effect:+.3f}">{word}{number}</span>'


def _escape(text: str) -> str:
    """Escape what HTML would read as markup, and show what cannot be seen."""
    return escape(visible(text.replace("\n", " ")))
