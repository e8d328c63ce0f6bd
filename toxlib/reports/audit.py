"""The identity audit of a run: what it does with sentences that name a group of people.

07_audit writes identity.json. It holds for the thresholds that it names: once 04 has chosen other
ones, it is out of date, and neither the report nor `read_identity` takes it.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from toxlib import files
from toxlib.data.text import short_name, visible
from toxlib.errors import InputError
from toxlib.evaluation.identity import RATE, identity_report, in_words, margins, over_the_mean
from toxlib.scoring.predictor import FITTED_BY, THRESHOLDS

AUDIT = "07_audit"
IDENTITY = "identity.json"
OWN_SENTENCES = "toxlib's sentences"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class IdentityAudit:
    """What identity.json says about one source of sentences."""

    sentences: int
    mean_false_positive_rate: float
    over_twice_the_mean: list[str]
    in_words: list[str]
    groups: dict[str, dict[str, float | None]]


def audit_sentences(
    sentences: pd.DataFrame, probabilities: pd.DataFrame, thresholds: np.ndarray
) -> pd.DataFrame:
    """Return `identity_report`'s table, a row per group, for scored sentences.

    `sentences` has the columns identity, toxic and template; see `toxlib.data.identity_sentences`.
    `probabilities`, (N, L), and `thresholds`, (L,), are those of `toxlib.load(run)`.
    """
    scores = margins(probabilities.to_numpy(), thresholds)
    columns = (sentences[name].to_numpy() for name in ("identity", "template"))
    return identity_report(sentences["toxic"].to_numpy(), scores, *columns)


def told(table: pd.DataFrame) -> list[str]:
    """Return an audit in words, with the names of groups as they can be displayed."""
    return in_words(table.rename(index=short_name))


def write_identity(folder: Path, audits: dict[str, pd.DataFrame]) -> None:
    """Write identity.json: the thresholds, and for each source of sentences its audit."""
    sources = {}
    for name, table in audits.items():
        high = over_the_mean(table).index.tolist()
        groups = files.as_json(table.to_dict("index"))
        count, mean = int(table["sentences"].sum()), float(table[RATE].mean())
        sources[name] = asdict(IdentityAudit(count, mean, high, told(table), groups))
    content = {"thresholds": _thresholds(folder), "sources": sources}
    files.write_json(folder / IDENTITY, content)


def read_identity(folder: Path) -> dict[str, IdentityAudit]:
    """Return the audits in a run folder's identity.json, by source of sentences.

    Raises:
        InputError: if the file is missing or damaged, or was made with other thresholds.
    """
    path, remedy = folder / IDENTITY, f"run `python -m toxlib audit {folder}`"
    content = files.read_json(path, remedy)
    with files.damage_told(path, f"delete it and {remedy}"):  # a ValidationError is a ValueError
        audits = {name: IdentityAudit(**found) for name, found in content["sources"].items()}
    if content.get("thresholds") != _thresholds(folder):
        raise InputError(f"{path}: made with other thresholds than the run's; {remedy} again")
    return audits


def findings(folder: Path) -> list[str]:
    """Return what the identity audit found, in words; nothing if it is missing or out of date."""
    try:
        audits = read_identity(folder)
    except InputError:
        return []
    lines = [line for name, found in audits.items() for line in (f"{name}:", *found.in_words)]
    return [visible(line) for line in lines]


def _thresholds(folder: Path) -> dict:
    return files.read_json(folder / THRESHOLDS, FITTED_BY[THRESHOLDS])
