"""Words as people write them to get past a filter: vary the spelling of a text, or clean it.

`vary` makes such spellings for training and for measuring, and `normalise` undoes what can be
undone without a list of words. Neither knows labels or swear words: any word may be varied. Both
are for Latin, Greek and Cyrillic letters, and leave other scripts as they are.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from random import Random

SHARE = 0.3
"""The share of a text's words that is varied."""
SEPARATORS = (" ", ".", "-")
LEET = {"a": "4@", "e": "3", "i": "1!", "l": "1", "o": "0", "s": "5$", "t": "7"}
"""The digits and signs that people write for a letter."""
LETTERS = str.maketrans("@4310$5", "aaeioss")
"""The letter that a digit or sign is read as. 1 is read as i; ! needs more care, see `BANG`."""
LETTER = r"(?![\W\d_])[A-Za-zÀ-ɏͰ-ԯ]"
WORD = re.compile(f"(?:{LETTER}){{3,}}")
SPACED = re.compile(
    rf"(?<![\w.*@$'’-]){LETTER}([ .\-_*]){LETTER}(?:\1{LETTER})+(?![^\W_]|[*@$]\w)"
)
"""Three or more letters, each on its own, with the same separator between all of them."""
REPEATED = re.compile(rf"({LETTER})\1{{2,}}", re.IGNORECASE)
HIDDEN = re.compile("[a-z][@$01345]{1,2}[a-z]", re.IGNORECASE)
"""Digits or signs between letters."""
DOLLAR = re.compile(r"^\$(?=[a-z]{2})|(?<=[a-z])\$+$")
"""A $ at the edge of a word in small letters, as in "$tupid" and "a$$", not in "US$" or "$5"."""
BANG = re.compile(
    "(?<![a-z])([^aeiouy\\W\\d_]+)!(?=[a-z@$])|(?<=[a-z])!(?=[^aeiouy\\W\\d_]+$)", re.I
)
"""A ! with no vowel on one side, as in "sh!t" and "fuck!ng", not in "Stop!You"."""
PART = re.compile(r"[\w@$!]+")
CODE = re.compile(r"[IVXLCDM]+|(?i:[a-f]*[0-9][0-9a-f]{3,}|(.)\1*)")
"""What is no word: a Roman or hexadecimal number, or one letter repeated, such as www."""
ADDRESS = re.compile(r"://|www\.|\w@[\w-]+\.\w", re.IGNORECASE)


def vary(text: str, rng: Random, share: float = SHARE, kinds: Sequence[str] = ()) -> str:
    """Vary the spelling of a share of a text's words, of at least one, each by one of the kinds.

    `kinds` are keys of `KINDS`; if empty, all of them. Words are three or more letters in a row.
    The result is at most three times as long as the text, and follows from the arguments and the
    state of `rng`.

    >>> vary("What an idiot!", Random(0), share=1, kinds=["spaced"])
    'W.h.a.t an i.d.i.o.t!'
    """
    spans = [word.span() for word in WORD.finditer(text)]
    count = min(len(spans), max(1, round(share * len(spans))))
    parts, end = [], 0
    for start, stop in sorted(rng.sample(spans, count)):
        kind = KINDS[rng.choice(tuple(kinds) or (*KINDS,))]
        parts += [text[end:start], kind(text[start:stop], rng)]
        end = stop
    return "".join([*parts, text[end:]])


def vary_rows(
    texts: Iterable[str], rows: Iterable[int], seed: int, kinds: Sequence[str] = ()
) -> list[str]:
    """Vary each of n texts by the seed and the number of its row, whatever other texts there are.

    >>> vary_rows(["a fool", "an idiot"], [3, 7], seed=1)[1:] == vary_rows(["an idiot"], [7], 1)
    True
    """
    numbered = zip(texts, rows, strict=True)
    return [vary(text, Random(f"vary {seed} {row}"), kinds=kinds) for text, row in numbered]


def draw_rows(rows: Iterable[int], share: float, seed: int) -> list[int]:
    """Draw a share of the rows; whether a row is drawn does not depend on the other rows."""
    if not share:
        return []
    return [row for row in rows if Random(f"draw {seed} {row}").random() < share]


def normalise(text: str) -> str:
    """Undo such spellings where that needs no list of words; leave other text as it is.

    Single letters with the same separator between them are joined, three or more equal letters
    become one, and digits and signs between letters become letters. Stars stay: which letters they
    hide is unknown, and that something is hidden tells a model much. Addresses, numbers and codes
    stay as well. Time is linear in the length of the text, and the result is never longer.

    >>> normalise("an i.d.i.o.t, stuuupid 1d10t! sh*t, 3D, 1980s, www.x.com")
    'an idiot, stupid idiot! sh*t, 3D, 1980s, www.x.com'
    """
    joined = SPACED.sub(lambda run: run[0].replace(run[1], ""), text)
    return re.sub(r"\S+", _normalise_word, joined)


def _normalise_word(found: re.Match) -> str:
    """Normalise what stands between white space, such as "(a$$hole!!)"."""
    word = found[0]
    if (word.isalpha() and not REPEATED.search(word)) or ADDRESS.search(word):
        return word
    return PART.sub(_normalise_part, word)


def _normalise_part(found: re.Match) -> str:
    part = found[0].rstrip("!")
    if CODE.fullmatch(part):
        return found[0]
    restored = BANG.sub(r"\1i", DOLLAR.sub(lambda run: "s" * len(run[0]), part))
    stem = restored.rstrip("0123456789")  # the digits at the end are a number
    letters = re.sub(r"[@$01345!]", "", stem)
    is_word = letters.isalpha() and (letters.isupper() or letters[1:].islower())
    if is_word and HIDDEN.search(stem):
        restored = stem.translate(LETTERS) + restored[len(stem) :]
    restored = REPEATED.sub(r"\1", restored)
    return (restored.upper() if part.isupper() else restored) + found[0][len(part) :]


def _space(word: str, rng: Random) -> str:
    """Put the same separator between all letters: "i d i o t", "i.d.i.o.t"."""
    return rng.choice(SEPARATORS).join(word)


def _star(word: str, rng: Random) -> str:
    """Replace one or all of the inner letters by stars: "id*ot", "i***t"."""
    if rng.random() < 0.5:
        return word[0] + "*" * (len(word) - 2) + word[-1]
    place = rng.randrange(1, len(word) - 1)
    return word[:place] + "*" + word[place + 1 :]


def _leet(word: str, rng: Random) -> str:
    """Write a digit or sign for some of the letters in `LEET`, if the word has one: "1d10t"."""
    places = [place for place, letter in enumerate(word) if letter.lower() in LEET]
    letters = list(word)
    for place in rng.sample(places, rng.randint(1, len(places))) if places else []:
        letters[place] = rng.choice(LEET[word[place].lower()])
    return "".join(letters)


def _repeat(word: str, rng: Random) -> str:
    """Write one letter three to six times: "idiooot"."""
    place = rng.randrange(len(word))
    return word[:place] + word[place] * rng.randint(3, 6) + word[place + 1 :]


KINDS: dict[str, Callable[[str, Random], str]] = {
    "spaced": _space,
    "starred": _star,
    "leet": _leet,
    "repeated": _repeat,
}
"""The ways to vary a word, by name."""
