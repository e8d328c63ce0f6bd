"""Comments as text: white space, cleaning, and showing them without harm."""

import ipaddress
import re
import unicodedata
from collections.abc import Iterable

URL = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)
IPV4 = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
# A candidate only: `ipaddress` decides. The bounds keep hostile text linear.
IPV6 = re.compile(
    r"(?<![\w:.])[\da-f:]{1,38}[\da-f](?!\w|:[\da-f:]|\.\d)", re.ASCII | re.IGNORECASE
)
USER = re.compile(r"\[\[User(?:[ _]talk)?:[^\[\]]{1,200}\]\]|(?<!\w)@\w{2,40}", re.IGNORECASE)
CHARACTER_RUN = re.compile(r"(.)\1{3,}")
WORD_RUN = re.compile(r"\b(\w{1,40})(?:\W{1,3}\1\b){3,}", re.IGNORECASE)
# After a letter, a digit or an accent written as a character of its own.
INNER_LETTERS = re.compile(r"(?<=[^\W_]|[\u0300-\u036f])[^\W\d_]")


def normalize_whitespace(text: str) -> str:
    """Fold every run of white space into one blank, as the tutorial does.

    Newlines would betray where a row was collected from: copies of the data exist in which they
    were flattened, with label rates of their own.
    """
    return " ".join(text.split())


def clean(text: str) -> str:
    """Fold what carries no meaning of its own: a choice, off by default.

    Unicode forms (NFKC); URLs, IP addresses and user names become the words URL, IP and USER;
    a character or word repeated more than three times is kept three times.
    """
    text = unicodedata.normalize("NFKC", text)
    text = IPV4.sub(" IP ", IPV6.sub(_ipv6_token, URL.sub(" URL ", text)))
    text = CHARACTER_RUN.sub(r"\1\1\1", USER.sub(" USER ", text))
    return WORD_RUN.sub(r"\1 \1 \1", normalize_whitespace(text))


def _ipv6_token(candidate: re.Match) -> str:
    """Times such as 10:20:30 and C++ scopes such as a::b are no addresses."""
    found = candidate.group()
    try:
        ipaddress.IPv6Address(found)
    except ValueError:
        return found
    return " IP " if any(character.isdigit() for character in found) else found


def prepare(texts: Iterable[str], thorough: bool) -> list[str]:
    """Comments as every part of a run sees them: `clean` if thorough, else white space only."""
    return [clean(text) if thorough else normalize_whitespace(text) for text in texts]


def mask(text: str) -> str:
    """Keep the first letter of each word and dot the others, for pages shown at work."""
    return INNER_LETTERS.sub("•", text)


def shorten(text: str, width: int) -> str:
    """The first `width` characters, with an ellipsis if something is left out."""
    return text if len(text) <= width else text[: width - 1] + "…"
