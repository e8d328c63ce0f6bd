"""Write a synthetic sample of Kaggle's four files, for a first run without Kaggle's data.

The comments imitate Wikipedia talk pages, with mild insults only. Like the real data, they have
long-tailed lengths, noisy labels that occur together, harmless comments with toxic words, odd
white space and copies. In long comments the toxic words come last. Each label is on at least 4 %
of the rows (in the real data, threats are on 0.3 %), so the scores say nothing about Jigsaw.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import files

LABELS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
TRAIN_ROWS, TEST_ROWS, UNSCORED_ROWS, COPIED_ROWS = 2000, 500, 100, 25
LONG_FROM = 30  # comments with more harmless sentences are certainly longer than 512 tokens
NUMBERS = {"n": (2, 9), "page": (10, 250), "year": (1890, 2018)}
"""Slots that are filled by a random number: the smallest, and one more than the largest."""
PHRASES = Path(__file__).with_name("sample_phrases.json")
"""Sentences with slots such as {topic}, the words to fill them, and which labels go together."""


def write_sample(folder: Path, seed: int = 0) -> Path:
    """Write Kaggle's four files, always the same bytes for the same seed, and return `folder`."""
    rng = np.random.default_rng(seed)
    table = _Author(rng, files.read_json(PHRASES, "install toxlib again")).table()
    train, test = table[:TRAIN_ROWS], table[TRAIN_ROWS:]
    truth = test.drop(columns="comment_text").reset_index(drop=True)
    truth.loc[rng.permutation(TEST_ROWS)[:UNSCORED_ROWS], list(LABELS)] = -1
    tables = {"train": train, "test": test[["id", "comment_text"]], "test_labels": truth}
    tables["sample_submission"] = truth.assign(**dict.fromkeys(LABELS, 0.5))
    for name, content in tables.items():
        with files.replacing(folder / f"{name}.csv") as temporary:
            content.to_csv(temporary, index=False, lineterminator="\n")
    return folder


@dataclass
class _Author:
    """Makes up comments. Any change in the order of the random draws changes the sample."""

    rng: np.random.Generator
    phrases: dict

    def table(self) -> pd.DataFrame:
        rows = TRAIN_ROWS + TEST_ROWS
        comments = [self.comment() for _ in range(rows)]
        for copy in self.rng.permutation(rows)[:COPIED_ROWS]:
            text, labels = comments[int(self.rng.integers(rows))]
            comments[copy] = (text.replace("\n", " "), labels)  # only white space may differ
        comments[0], comments[rows - 1] = ("NA", []), ("null", [])
        ids = self.rng.permutation(16**6)[:rows]
        columns = {"id": [f"{i:06x}{(i * 2654435761) % 16**10:010x}" for i in map(int, ids)]}
        columns["comment_text"] = [text for text, _ in comments]
        columns |= {name: [int(name in labels) for _, labels in comments] for name in LABELS}
        return pd.DataFrame(columns)

    def comment(self) -> tuple[str, list[str]]:
        """Return a comment and its labels."""
        label_sets, shares = zip(*self.phrases["label sets"].items(), strict=True)
        labels = label_sets[self.rng.choice(len(shares), p=shares)].split()
        count = max(self.sentence_count(), 0 if labels else 1)
        sentences = [self.sentence(self.phrases["polite"]) for _ in range(count)]
        sentences += [self.sentence(self.phrases["toxic"][label]) for label in labels]
        if count <= LONG_FROM:
            sentences = [sentences[i] for i in self.rng.permutation(len(sentences))]
            if not labels and self.rng.random() < 0.35:
                place = int(self.rng.integers(len(sentences) + 1))
                sentences.insert(place, self.hard_negative())
        separators = self.phrases["separators"]
        text = sentences[0] + "".join(self.pick(separators) + s for s in sentences[1:])
        if count <= LONG_FROM:
            text += self.sentence(self.phrases["signatures"])
        if self.rng.random() < (0.12 if labels else 0.02):
            text = text.upper()
        return text, self.annotate(labels)

    def sentence_count(self) -> int:
        """Return how many harmless sentences to write: mostly up to four, rarely a hundred."""
        kind = self.rng.random()
        if kind < 0.955:
            return int(np.clip(self.rng.lognormal(0.5, 0.75), 0, 14))
        shortest, longest = (LONG_FROM + 2, 51) if kind < 0.993 else (60, 129)
        return int(self.rng.integers(shortest, longest + 1))

    def hard_negative(self) -> str:
        """Return a harmless sentence with toxic words, or one that quotes a toxic sentence."""
        if self.rng.random() < 0.5:
            return self.sentence(self.phrases["hard negatives"])
        quote = self.sentence(self.pick(list(self.phrases["toxic"].values())))
        return self.sentence(self.phrases["reports"]).replace("{quote}", quote.rstrip("."))

    def annotate(self, labels: list[str]) -> list[str]:
        """Add severe_toxic to some comments, and make mistakes as annotators do."""
        if self.rng.random() < {2: 0.05, 3: 0.6}.get(len(labels), 0):
            labels = [*labels, "severe_toxic"]
        if self.rng.random() < 0.04:
            return [] if labels else ["toxic", "insult"]
        return labels

    def sentence(self, templates: list[str]) -> str:
        """Pick a template and fill its slots, except {quote}, which `hard_negative` fills."""
        text = re.sub(r"\{(?!quote)(\w+)\}", self.fill, self.pick(templates))
        return text[:1].upper() + text[1:]

    def fill(self, slot: re.Match) -> str:
        if slot[1] in NUMBERS:
            return str(self.rng.integers(*NUMBERS[slot[1]]))
        return self.pick(self.phrases["words"][slot[1]])

    def pick(self, options: list[str]) -> str:
        return options[int(self.rng.integers(len(options)))]
