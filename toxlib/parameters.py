"""What a notebook, papermill or the command line hands over, turned into text and recipe values.

A parameter may arrive as another type than the one that its cell shows: papermill makes a number
of `-p run_dir 7`. We convert what can only mean one thing and name the rest in one line.
"""

import re
from collections.abc import Mapping, Sequence
from numbers import Number
from pathlib import Path, PurePath

from toxlib.errors import InputError, show

Overrides = str | Mapping[str, object] | Sequence[str] | None
"""Recipe values to change: `"epochs=1 folds=5"`, `{"epochs": 1}` or `["epochs=1", "folds=5"]`."""

NEXT = r"(?=\s+\w+=|\s*$)"  # a value ends before the next key=, or at the end of the text
ITEM = re.compile(
    rf"\s*(?:(\w+)=(['\"])(.*?)\2{NEXT}|(['\"])(\w+)=(.*?)\4{NEXT}|(.+?){NEXT})", re.DOTALL
)
FOLDER = re.compile(r"(?<!\S)'([^']*)'(?!\S)|(?<!\S)\"([^\"]*)\"(?!\S)|(\S+)")


def to_text(value: object, parameter: str) -> str:
    """Return a parameter as text: of None the empty text, of a number or a path its text.

    Raises:
        InputError: for any other type (the message calls the value `parameter`), and for text
            that no path and no file can hold.
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | Number | PurePath):
        fault = f"{parameter} is of the type {type(value).__name__}: {show(value)}"
        raise InputError(f"{fault}; write it as text")
    text = str(value)
    if "\0" in text or any("\ud800" <= c <= "\udbff" for c in text):
        fault = "it has a character that no path can hold"
        raise InputError(f"{parameter}={show(text)}: {fault}; remove it")
    return text


def to_path(value: object, parameter: str) -> str:
    """Return a folder as text, with `~` replaced by the home folder; empty if none is given."""
    text = to_text(value, parameter)
    try:
        return text and str(Path(text).expanduser())
    except RuntimeError:
        fault = f"{parameter}={show(text)}: there is no such home folder"
        raise InputError(f"{fault}; write the path in full") from None


def read_overrides(overrides: Overrides) -> dict[str, str]:
    """Return the recipe values in `overrides` by name, as text that `Recipe` will validate.

    A text is split at blanks before a `key=`, so that values may contain blanks; quotes around a
    value are taken off. Items of a list are taken as they are. Nothing else is special, so that
    apostrophes and backslashes stay what they are.

    >>> read_overrides("checkpoint=/content/drive/My Drive/bert epochs=1")
    {'checkpoint': '/content/drive/My Drive/bert', 'epochs': '1'}
    """
    if isinstance(overrides, Mapping):
        return {str(key): _value_to_text(value, key) for key, value in overrides.items()}
    if _is_list(overrides):
        items = [to_text(item, "a value in overrides") for item in overrides]
    else:
        text = to_text(overrides, "overrides").strip()
        items = [_unquote(found) for found in ITEM.finditer(text)]
    changes = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals:
            raise InputError(f"override {show(item)} has no '=': write key=value")
        changes[key] = text
    return changes


def read_folders(folders: str | Sequence[str] | None, parameter: str) -> list[str]:
    """Return the folders in a list, or in a text that separates them by blanks.

    In a text, quotes around a folder keep its blanks.

    >>> read_folders("outputs/a 'My Drive/b'", "runs")
    ['outputs/a', 'My Drive/b']
    """
    if _is_list(folders):
        found = [to_text(folder, f"a folder in {parameter}") for folder in folders]
    else:
        parts = FOLDER.findall(to_text(folders, parameter))
        found = ["".join(part) for part in parts]
    if "" in found:
        raise InputError(f"{parameter}: the name of a folder is empty; give its path")
    return found


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _value_to_text(value: object, key: object) -> str:
    return str(value) if isinstance(value, bool) else to_text(value, show(key)[1:-1])


def _unquote(found: re.Match) -> str:
    """Return key=value without the quotes around the value, or around both."""
    key, _, value, _, quoted_key, quoted_value, plain = found.groups()
    if plain is not None:
        return plain
    return f"{key}={value}" if key else f"{quoted_key}={quoted_value}"


def looks_like_a_path(name: str) -> bool:
    """Return whether a checkpoint is a local path rather than a name on the hub.

    >>> looks_like_a_path("C:/bert"), looks_like_a_path("a/b/c"), looks_like_a_path("org/name")
    (True, True, False)
    """
    is_marked = re.match(r"[/.~]|[A-Za-z]:", name) or "\\" in name or name.count("/") > 1
    return bool(is_marked) or Path(name).exists()
