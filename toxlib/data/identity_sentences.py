"""Sentences that name a group of people, for the question whether the name alone is flagged.

Kaggle's comments do not say which group they speak of. So we write sentences that differ in
nothing but the name: each of our sentences exists for each of our groups (Dixon et al. 2018).
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from toxlib import files
from toxlib.data.csv_files import check_cells, read_chunks
from toxlib.data.tables import LABELS, parse_labels
from toxlib.data.text import prepare
from toxlib.errors import InputError, show, show_all

PHRASES = Path(__file__).with_name("identity_phrases.json")
"""Groups by kind, and sentences with slots: {group}, {Group} and, with its article, {a group}."""
COLUMNS = ("text", "identity", "toxic")
"""The columns of a file with such sentences; `toxic` is 1 if the sentence insults, else 0."""
MOST_SENTENCES = 10_000
"""Of a file with more sentences, so many are drawn at random."""
MOST_GROUPS, LONGEST_NAME = 200, 200
"""In a file; more groups would take hours. A name is counted in characters."""
SLOT = "{group}"


def own_sentences() -> pd.DataFrame:
    """Return our own sentences, one per group and template: 44 groups times 44 templates.

    The columns are those of `COLUMNS`, and `tone` (neutral, positive or insulting), `kind` (of the
    group) and `template`.
    """
    phrases = files.read_json(PHRASES, "install toxlib again")
    return pd.DataFrame(
        {
            "text": _fill(template, group),
            "identity": group,
            "toxic": int(tone == "insulting"),
            "tone": tone,
            "kind": kind,
            "template": template,
        }
        for kind, groups in phrases["groups"].items()
        for group in groups
        for tone, templates in phrases["sentences"].items()
        for template in templates
    )


def read_sentences(path: Path, notes: list[str] | None = None) -> pd.DataFrame:
    """Return the sentences of a CSV file: the columns of `COLUMNS`, and `template`.

    The template is the sentence with a slot in place of the group's name. What was assumed about
    the file is added to `notes`. Further columns are left out.

    Raises:
        InputError: if the file is no such CSV, or has fewer than 2 or more than `MOST_GROUPS`
            groups, or no sentence of one of the two classes.
    """
    notes = [] if notes is None else notes
    table = pd.concat(_checked_chunks(path, notes), ignore_index=True)
    if len(table) > MOST_SENTENCES:
        # Not evenly spaced ones: files of templates repeat the groups at even distances.
        table = table.sample(MOST_SENTENCES, random_state=0).sort_index(ignore_index=True)
        notes.append(
            f"{path.name}: {MOST_SENTENCES:,} of its sentences, drawn at random, are used."
        )
    groups = table["identity"].nunique()
    if not 2 <= groups <= MOST_GROUPS:
        fault = f"column 'identity': {groups} different groups"
        raise InputError(f"{path}: {fault}; give 2 to {MOST_GROUPS}")
    if table["toxic"].nunique() < 2:
        fault = f"{table['toxic'][0]} in every row"
        raise InputError(f"{path}: column 'toxic': {fault}; give sentences of both classes")
    pairs = zip(table["text"], table["identity"], strict=True)
    return table.assign(template=[_template(*pair) for pair in pairs])


def _checked_chunks(path: Path, notes: list[str]) -> Iterator[pd.DataFrame]:
    for chunk in read_chunks(path, notes=notes):
        for name in COLUMNS:
            if name not in chunk:
                fault = f"no column {show(name)}; found {show_all(list(chunk))}"
                raise InputError(f"{path}: {fault}; give the columns text, identity and toxic")
        strings = chunk[["text", "identity"]]
        filled = strings.apply(lambda column: column.str.strip() != "")
        check_cells(path, strings, filled, "is empty; fill it, or remove the row")
        short = chunk[["identity"]].map(len) <= LONGEST_NAME
        fault = f"has more than {LONGEST_NAME} characters; write the name of a group"
        check_cells(path, chunk[["identity"]], short, fault)
        remedy = "write 1 if the text insults, else 0"
        toxic = parse_labels(path, chunk[["toxic"]], LABELS, remedy)
        yield toxic.assign(text=prepare(chunk["text"]), identity=prepare(chunk["identity"]))


def _fill(template: str, group: str) -> str:
    article = "an" if group[0].lower() in "aeiou" else "a"
    slots = {"group": group, "Group": group[0].upper() + group[1:]}
    slots["a group"] = f"{article} {group}"
    return re.sub(r"\{([^}]+)\}", lambda slot: slots[slot[1]], template)


def _template(text: str, group: str) -> str:
    """Replace a group's name by a slot, so that sentences with the same template are equal.

    >>> _template("She is an Asian lawyer.", "asian")
    'she is a {group} lawyer.'
    """
    name = re.compile(rf"\b{re.escape(group.lower())}(?!\w)")
    return name.sub(SLOT, text.lower()).replace(f"an {SLOT}", f"a {SLOT}")
