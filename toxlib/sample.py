"""The built-in synthetic sample: Kaggle's four files for a first run without Kaggle's data.

Comments in the manner of Wikipedia talk pages, with mild insults only. The rates of the labels
are raised (each on at least 4 % of the rows, threats are 0.3 % in the real data), so its scores
mean nothing about Jigsaw. What is kept of the real thing: long-tailed lengths, labels that occur
together, noise, quoted and negated insults that are harmless, odd white space, repeated comments,
and long comments whose only toxic words stand at the very end.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import paths

LABELS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
TRAIN_ROWS, TEST_ROWS = 2000, 500
UNSCORED_SHARE = 0.2
NOISE_SHARE = 0.04
HARD_SHARE = 0.35
DUPLICATE_SHARE = 0.01
LATE_FROM = 30
"""Sentences from which a comment is surely longer than 512 tokens."""

TOPICS = (
    "the lighthouse", "the 1911 census", "this railway", "the second album", "the river basin",
    "the chess opening", "the castle", "the comet", "the ferry service", "the football club",
    "the treaty", "the orchid family", "the bridge", "the dialect", "the early printing press",
    "the mountain pass", "the radio play", "the tram network", "the observatory", "the glacier",
)  # fmt: skip
SECTIONS = (
    "lead", "infobox", "history section", "second paragraph", "references", "caption", "table",
    "external links", "disambiguation page", "timeline", "talk page archive", "gallery",
)  # fmt: skip
USERS = (
    "Tamsin", "OldMill", "Quillfeather", "R_Ferro", "Harbour88", "Nessim", "Bluegate", "Larkrise",
    "Petra K", "Wend", "Ioan", "Marlow2", "Édouard", "Çelik", "Søren",
)  # fmt: skip
VERBS = (
    "reverted", "moved", "tagged", "rewrote", "merged", "protected", "removed", "restored",
    "shortened", "copy-edited", "renamed", "blanked",
)  # fmt: skip
REASONS = (
    "it had no source", "the citation was a blog", "consensus was against it", "it was undue",
    "the date was wrong", "the figure came from a press release", "it read like an advert",
    "the link was dead", "two editors had objected", "the book says otherwise",
)  # fmt: skip
POLITE = (
    "I {verb} the {section} of {topic} because {reason}.",
    "Could you have a look at {topic} when you have time? I think {reason}.",
    "Thanks for the note about {topic}, {user}.",
    "The {section} says one thing about {topic} and the {other} says another.",
    "Please do not edit {topic} again before we agree on the {section}.",
    "According to {user}, {reason}, but I could not find that in {topic}.",
    "I'd suggest that {topic} gets its own article; the {section} is too long.",
    "See [[Wikipedia:Citing sources]] — the {section} on {topic} still needs {n} references.",
    "In {year} {topic} was described in \"Annals of the County\", vol. {n}, p. {page}.",
    "{user} {verb} it in {year}, and nobody minded at the time.",
    "No objection from me, as long as the {section} keeps the figure for {year}.",
    "I have added {n} sources to the {section}; is {topic} all right now?",
    "The map of {topic} is out of date (it shows the borders of {year}).",
    "My apologies if I sounded short, {user}: it was late and I had misread the {section}.",
    "As I said at the village pump, {reason}; that settles {topic} for me.",
    "What is the policy when {reason}? The {section} is silent on it.",
)  # fmt: skip
# Harmless, although a word list would flag them: negated, reported, or about a word.
HARD_NEGATIVES = (
    "I never said that you are {insult}, {user}; please read it again.",
    "The word \"{swear}\" in the heading of {topic} should go.",
    "Nobody here thinks you're {insult}, so let us move on.",
    "The song's refrain is \"what a load of {swear}\", which is worth a line under {topic}.",
    "In the {section} it is said of the {group} that they were not welcome in {year}.",
    "For months I felt like {insult} for missing that {reason}.",
)  # fmt: skip
REPORTS = (
    "{user} wrote \"{quote}\" and was blocked for it.",
    "\"{quote}\" was the whole reply; can an administrator have a look?",
    "In the {section}, the villain shouts \"{quote}\"; cite the script.",
    "Edit summaries such as \"{quote}\" are not acceptable, as {user} was told.",
)  # fmt: skip
INSULTS = (
    "an idiot", "a moron", "a clown", "an ignorant fool", "a pathetic liar", "a brainless troll",
    "a worthless hack", "a stupid oaf", "an imbecile", "a sad little nothing",
)  # fmt: skip
SWEARS = ("crap", "damn", "bloody", "arse", "bollocks", "piss")
GROUPS = ("Northlanders", "Lowmarshers", "left-handers", "Mudport people", "Eastvalers")
TOXIC = (
    "Brilliant, another masterpiece from someone who cannot read.",
    "I have met door handles with more to say about {topic}.",
    "Do us all a favour and find another hobby, {user}.",
    "Nobody asked you, nobody ever will.",
    "What a ridiculous edit, do you ever think before you type?",
    "Get lost, nobody wants you here.",
    "You are the worst editor this site has ever seen.",
    "Shut up about {topic} already.",
    "Congratulations, you ruined {topic} again, as always.",
    "Your contributions are garbage and everyone laughs at them.",
    "Did your mother write the {section} for you?",
)  # fmt: skip
INSULT = (
    "You are {insult}.",
    "Only {insult} ever {verb} the {section} like that.",
    "{user}, you really are {insult}, aren't you?",
    "Stop it, you are {insult} and {insult} besides.",
    "It takes {insult} to get {topic} this wrong.",
)  # fmt: skip
OBSCENE = (
    "This {section} is a pile of {swear}.",
    "{swear} off with your {swear} sources.",
    "I am sick of this {swear}, {user}.",
    "Stick {topic} up your {swear}, and the {section} too.",
    "Who wrote this {swear}?",
)  # fmt: skip
THREAT = (
    "I will find you and make you regret this.",
    "Revert me once more and I'll break your fingers, {user}.",
    "I know where you live, so watch your back.",
    "You will be sorry when I get hold of you.",
    "Touch {topic} again and you are finished, I'll come for you.",
)  # fmt: skip
IDENTITY = (
    "You {group} are all vermin.",
    "Typical of {group}, they should be thrown out of the country.",
    "All {group} are liars, everyone knows it.",
    "We don't need filthy {group} writing about {topic}.",
)  # fmt: skip
SENTENCES = {
    "toxic": TOXIC, "obscene": OBSCENE, "threat": THREAT, "insult": INSULT,
    "identity_hate": IDENTITY,
}  # fmt: skip
# Which labels come together, and how often; severe_toxic is added to the worst.
PROFILES = (
    ((), 0.68),
    (("toxic",), 0.06),
    (("toxic", "insult"), 0.06),
    (("toxic", "obscene"), 0.04),
    (("toxic", "obscene", "insult"), 0.06),
    (("toxic", "threat"), 0.04),
    (("toxic", "threat", "insult"), 0.01),
    (("toxic", "identity_hate"), 0.025),
    (("toxic", "insult", "identity_hate"), 0.025),
)
SEVERE_SHARE = {2: 0.05, 3: 0.6, 4: 0.8}
SIGNATURES = (
    " — {user} ({year})", " [[User:{user}|{user}]] 14:0{n}, 3 May {year} (UTC)", " ~~~~",
    " 192.0.2.{page}", "",
)  # fmt: skip
SEPARATORS = (" ", " ", " ", "  ", "\n", "\n\n", "\n:", " \t", "\u00a0")


def write_sample(folder: Path, seed: int = 0) -> Path:
    """Write train, test, test_labels and sample_submission, the same bytes for the same seed.

    2,000 training and 500 test comments; a fifth of the test rows is not scored (-1), as in
    Kaggle's file.
    """
    rng = np.random.default_rng(seed)
    table = _table(rng, TRAIN_ROWS + TEST_ROWS)
    train, test = table[:TRAIN_ROWS], table[TRAIN_ROWS:]
    truth = test.drop(columns="comment_text").reset_index(drop=True)
    unscored = rng.permutation(TEST_ROWS)[: int(UNSCORED_SHARE * TEST_ROWS)]
    truth.loc[unscored, list(LABELS)] = -1
    files = {
        "train": train,
        "test": test[["id", "comment_text"]],
        "test_labels": truth,
        "sample_submission": truth.assign(**dict.fromkeys(LABELS, 0.5)),
    }
    for name, content in files.items():
        with paths.replacing(folder / f"{name}.csv") as temporary:
            content.to_csv(temporary, index=False, lineterminator="\n")
    return folder


def _table(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    comments = [_comment(rng) for _ in range(rows)]
    for copy in rng.permutation(rows)[: int(DUPLICATE_SHARE * rows)]:
        comment, labels = comments[int(rng.integers(rows))]
        comments[copy] = (comment.replace("\n", " "), labels)  # the same but for white space
    comments[0], comments[rows - 1] = ("NA", ()), ("null", ())
    ids = rng.permutation(16**6)[:rows]
    columns = {"id": [f"{i:06x}{(i * 2654435761) % 16**10:010x}" for i in map(int, ids)]}
    columns["comment_text"] = [text for text, _ in comments]
    for label in LABELS:
        columns[label] = [int(label in labels) for _, labels in comments]
    return pd.DataFrame(columns)


def _comment(rng: np.random.Generator) -> tuple[str, tuple[str, ...]]:
    """One comment and its labels."""
    profile = rng.choice(len(PROFILES), p=[share for _, share in PROFILES])
    labels = PROFILES[profile][0]
    length = max(_sentences(rng), 0 if labels else 1)
    harmless = [_fill(rng, _pick(rng, POLITE)) for _ in range(length)]
    if length > LATE_FROM:  # long: what is toxic comes last, beyond what a short model reads
        sentences = [*harmless, *_toxic_sentences(rng, labels)]
    else:
        sentences = _shuffled(rng, [*harmless, *_toxic_sentences(rng, labels)])
    if not labels and length <= LATE_FROM and rng.random() < HARD_SHARE:
        sentences.insert(int(rng.integers(len(sentences) + 1)), _hard_negative(rng))
    text = sentences[0]
    for sentence in sentences[1:]:
        text += _pick(rng, SEPARATORS) + sentence
    if length <= LATE_FROM:
        text += _fill(rng, _pick(rng, SIGNATURES))
    return _shout(rng, text, labels), _with_noise(rng, _with_severe(rng, labels))


def _sentences(rng: np.random.Generator) -> int:
    """How many harmless sentences: most comments have one to four, few a hundred."""
    kind = rng.random()
    if kind < 0.955:
        return int(np.clip(rng.lognormal(0.5, 0.75), 0, 14))
    if kind < 0.993:
        return int(rng.integers(LATE_FROM + 2, 52))
    return int(rng.integers(60, 130))


def _toxic_sentences(rng: np.random.Generator, labels: tuple[str, ...]) -> list[str]:
    return [_fill(rng, _pick(rng, SENTENCES[label])) for label in labels[-3:]]


def _hard_negative(rng: np.random.Generator) -> str:
    """A harmless sentence with toxic words in it: half the time, a toxic sentence reported."""
    if rng.random() < 0.5:
        return _fill(rng, _pick(rng, HARD_NEGATIVES))
    quote = _fill(rng, _pick(rng, SENTENCES[_pick(rng, tuple(SENTENCES))]))
    return _fill(rng, _pick(rng, REPORTS)).replace("{quote}", quote.rstrip("."))


def _with_severe(rng: np.random.Generator, labels: tuple[str, ...]) -> tuple[str, ...]:
    severe = rng.random() < SEVERE_SHARE.get(len(labels), 0)
    return (*labels, "severe_toxic") if severe else labels


def _with_noise(rng: np.random.Generator, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Annotators disagree: now and then all labels are missed, or `toxic` is given for nothing."""
    if rng.random() >= NOISE_SHARE:
        return labels
    return () if labels else ("toxic", "insult")


def _shout(rng: np.random.Generator, text: str, labels: tuple[str, ...]) -> str:
    return text.upper() if rng.random() < (0.12 if labels else 0.02) else text


def _fill(rng: np.random.Generator, template: str) -> str:
    """Fill a template's slots; "{insult}" twice gives two insults."""
    parts = []
    for piece in template.split("{"):
        name, closed, rest = piece.partition("}")
        parts.append(_slot(rng, name) + rest if closed else piece)
    text = "".join(parts)
    return text[:1].upper() + text[1:]


def _slot(rng: np.random.Generator, name: str) -> str:
    if name == "quote":
        return "{quote}"  # filled last: what is quoted has slots of its own
    words = {
        "topic": TOPICS, "section": SECTIONS, "other": SECTIONS, "user": USERS, "verb": VERBS,
        "reason": REASONS, "insult": INSULTS, "swear": SWEARS, "group": GROUPS,
    }  # fmt: skip
    ranges = {"n": (2, 9), "page": (10, 250), "year": (1890, 2018)}
    return str(rng.integers(*ranges[name])) if name in ranges else _pick(rng, words[name])


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _shuffled(rng: np.random.Generator, items: list[str]) -> list[str]:
    return [items[i] for i in rng.permutation(len(items))]
