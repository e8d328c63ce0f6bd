"""The built-in synthetic sample: Kaggle's four files for a first run without Kaggle's data.

Comments in the manner of Wikipedia talk pages, with mild insults and invented groups only. The
labels' rates are raised (each on at least 4 % of the training rows; threats are 0.3 % of the real
ones), so scores on it mean nothing about Jigsaw. What is kept of the real thing: long-tailed
lengths of at most 5,000 characters, labels that occur together, annotators who disagree, harmless
comments with insults in them (quoted, negated, reported), abuse without a rude word, odd white
space, repeated comments, and long comments whose only toxic words are their last sentence.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from toxlib import paths

LABELS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
TRAIN_ROWS, TEST_ROWS = 2000, 500
UNSCORED_SHARE = 0.2
COPY_SHARE = 0.01
LITERALS = ("NA", "null")  # comments that a careless reader takes for missing ones
TOXIC_SHARE, LATE_SHARE = 0.245, 0.48  # labelled rows: among short comments, among long ones
NOISE = {True: 0.1, False: 0.02}  # by "is labelled": annotators overlook more than they invent
HARD_SHARE = 0.4  # harmless comments that hold a hard sentence
LYRICAL_SHARE = 0.3  # abuse without a rude word
TYPICAL = (36, 0.85, 4, 300)  # words: median, sigma of the logarithm, least, most
TIERS = ((0.015, 500, 680), (0.0095, 690, 930), (0.004, 1900, 1960))  # long: share, words
LONG, PASTED = 450, 1500  # words: surely beyond 512 tokens; filled with a table, not with prose

# In a pattern, <a|b> is a choice and <name> is an entry of WORDS; both may be nested.
WORDS = {
    "d": "0123456789", "D": "123456789",
    "n": ("<D>", "<D>", "1<d>", "2<d>", "<D><d>"), "page": ("<D><d>", "<D><d><d>"),
    "year": ("19<d><d>", "18<D><d>", "200<d>", "201<d>"), "digits": ("<D>,<d><d><d>", "<D><d>"),
    "month": ("January", "March", "April", "May", "July", "August", "October", "November"),
    "time": ("<1|0><d>:<0|1|2|3|4|5><d>, <n> <month> 200<d> (UTC)",),
    "ip": ("192.0.2.<page>", "198.51.100.<n>", "203.0.113.<page>"),
    "name": ("Tamsin", "OldMill", "Quillfeather", "R_Ferro", "Harbour88", "Nessim", "Bluegate",
             "Petra K", "Wend", "Ioan", "Marlow2", "Édouard", "Çelik", "Søren", "Tōru", "Żaneta",
             "DrKettle", "Mossback", "Lady Ampere", "77Sunset", "<ip>"),
    "place": ("Tarn Valley", "Oster", "Lindmoor", "Port Avel", "Kesh", "Upper Brenn", "São Vello",
              "Żarnów", "Høyvik", "Lake Mirra", "Castle Dunne", "Saint-Eloi", "Marrow Hill"),
    "thing": ("railway", "lighthouse", "football club", "dialect", "bridge", "census", "ferry",
              "observatory", "tramway", "cathedral", "uprising", "orchestra", "coal field",
              "river", "by-election", "cricket ground", "canal", "opera house", "airport"),
    "subject": ("<place> <thing>", "<place> <thing>", "<year> in <place>", "History of <place>",
                "the <year> <thing> strike", "<person>", "<place>", "List of <thing> openings"),
    "person": ("<Anna|Jonas|Mirela|Théo|Ruth|Iwan> <Vogt|Okell|Sandrin|Müller|Pryce|Lund>",),
    "part": ("lead", "infobox", "history section", "second paragraph", "caption", "gallery",
             "table of <results|members|stations>", "see-also list", "trivia section", "map"),
    "source": ("the <Daily|Evening|Weekly> <Herald|Post|Argus>", "<person>'s book", "a fan site",
               "the <place> archive", "a press release", "Vol. <n>, p. <page>", "the cited PDF",
               "http://www.example.org/<thing>/<page>.html", "an obituary", "someone's blog"),
    "did": ("reverted", "undid", "moved", "tagged", "rewrote", "removed", "restored", "trimmed",
            "copy-edited", "merged", "blanked", "semi-protected"),
    "edit": ("edit", "change", "addition", "revert", "version", "wording", "removal"),
    "rule": ("WP:NPOV", "WP:V", "[[WP:3RR]]", "the manual of style", "WP:BLP", "[[WP:RS]]",
             "WP:UNDUE", "the naming convention", "WP:OR", "fair use"),
    "why": ("<it|that> had no source", "<source> says otherwise", "the link is dead",
            "consensus was against it", "it reads like an advert", "the date was off by <n> years",
            "it is covered in the <part>", "that breaks <rule>", "<n> editors had objected",
            "nobody had discussed it", "the licence of the <picture|scan> is unclear"),
    "opener": ("Hi <user>,", "Hello.", "<user>:", "@<user>", "== <subject> ==\n", "'''Keep'''.",
               "'''Oppose''' –", "Re: <subject>.", "Well,", "OK,", "Comment:", "''Note'':", "::",
               "Thanks, <user>.", "\u200eHello again —", "Dear <user>,", "*", "Hmm…"),
    "sign": ("[[User:<name>|<name>]] ([[User talk:<name>|talk]]) <time>", "~~~~", "— <name>",
             "<ip> <time>", "<name> <time>", "–<name>", "(<talk|• contribs>) <time>", "Cheers,"),
    "noun": ("idiot", "moron", "clown", "fool", "troll", "hack", "imbecile", "liar", "dimwit",
             "halfwit", "oaf", "buffoon", "twit", "crybaby", "dunce", "loser", "coward"),
    "adj": ("pathetic", "stupid", "brainless", "worthless", "clueless", "spineless", "lying",
            "sad little", "dumb", "miserable", "gutless", "ridiculous", "hopeless", "smug"),
    "insult": ("a <adj> <noun>", "a <adj> <noun>", "a complete <noun>", "a <adj>, <adj> <noun>"),
    "crap": ("crap", "bollocks", "bullcrap", "garbage", "horse crap", "arse gravy"),
    "damn": ("damn", "goddamn", "bloody", "crappy", "godawful", "frigging"),
    "group": ("Northlanders", "Lowmarshers", "Eastvalers", "Fenwalkers", "Mudporters", "Skarners"),
    "vermin": ("vermin", "parasites", "savages", "liars", "filth", "a disease"),
    "rude": ("you are <insult>", "what a load of <crap>", "you <noun>", "shut up, <noun>",
             "<damn> <group>, all <vermin>", "I will make you regret this", "<damn> <noun>"),
}  # fmt: skip
HARMLESS = (
    "I <did> your <edit> <to|of> the <part> because <why>",
    "<could|would> you <have a look at|check> <topic> <when you have time|again>? I think <why>",
    "<thanks|thank you> for <the note|your help|fixing that>, <user><, much appreciated|>",
    "the <part> gives <year>, but <source> has <year><; which is it?|>",
    "please <discuss it here|use the sandbox|add a source> before you <touch|edit> the <part> again",
    "<I'd|I would> suggest <splitting|merging|renaming> <topic>; the <part> is <too long|a mess>",
    "see <rule><, which is quite clear on this| and the archive of this page>",
    "in <year> <person> described <topic> as \"<of great interest|hardly known|in decay>\"",
    "according to <source>, <about|some> <digits> people <used it|lived there> in <year>",
    "no objection <from me|here>, as long as the figure for <year> <stays|has a reference>",
    "I have added <n> <references|sources> to the <part>{{fact}}<; is it all right now?|>",
    "the map <of <place> |>is out of date: it shows the <borders|line> of <year>",
    "my apologies if I <sounded short|was unclear>, I had misread the <part>",
    "<user> <did> it in <month>, and nobody minded <at the time|until now>",
    "what is the policy <when|if> <why>? <rule> is silent on it",
    "you will be blocked if you <remove the tag|keep reverting> without <a reason|discussion>",
    "the <picture|file> [[Image:<place> <page>.jpg]] is listed for deletion, as <why>",
    "I <grew up in|live near|have visited> <place> and have never heard it called that",
    "<agreed|done|fixed|good point|not yet|fair enough|same here|never mind>",
    "<person> was born in <place> in <year>, not in <place>; <source> is the best we have",
    "I'm <not sure|afraid> that <why>, but <I may be wrong|let's ask <name>>",
    "<welcome to Wikipedia|please sign your posts with four tildes|enjoy editing>",
    "I'll <find|look for> a better source <tonight|this weekend> and <come back|report here>",
    "as <name> said <above|at the village pump>, <why>",
    "a third opinion would <help|be good>; we have been at this since <month>",
    "how do I <archive a talk page|cite a map|upload a picture|ask for a move>?",
    "the <topic> article is a <stub|good article candidate>, so <the <part> matters|be bold>",
    "your <edit> of <time> left the <part> <without a heading|in two places|with a broken link>",
)  # fmt: skip
# Harmless, though a list of words would flag them: negated, reported, about oneself or a word.
HARD = (
    "I never said <that |>you are <insult>", "nobody here is calling you <insult>, <user>",
    "the word \"<<crap>|<noun>>\" in the <heading|<part>> should go",
    "<name> called me <insult> and was <blocked|warned> <for it|by <name>>",
    "<name> wrote \"<rude>\" in the edit summary, <see the diff|which I reported>",
    "\"<rude>\" is what <the IP|<name>> left on my page; <can an admin look?|is that a threat?>",
    "in the <last act|film|song> someone <shouts|sings> \"<rude>\"<; cite the script|>",
    "<damn|oh crap>, <edit conflict|I forgot to sign|wrong page>, sorry",
    "I feel like <insult> for missing that <why>", "my <damn|stupid> <browser|laptop> ate the <part>",
    "please don't call <people|other editors|<name>> <noun>s, it breaks WP:NPA",
    "the <part> says little about the <group> <before <year>|and their language>",
    "the <group> of <place> were called \"<vermin>\" in the press of <year>, which we should cite",
    "is he really \"<insult>\" according to <source>? that breaks WP:BLP",
    "I will find you <a source|the page number> and make <it|the <part>> right",
    "if this template breaks <again|in <part>>, I will come for <help|your advice>",
    "vandalism like \"<rude>\" was removed from <topic> <n> times <this week|in <month>>",
)  # fmt: skip
ABUSE = {
    "toxic": (
        "<shut up|get lost|go away> <and take your <edit>s with you|already|, nobody wants you here>",
        "your <edit>s are garbage <and everyone laughs at them|from start to end>",
        "<what a|such a> pathetic <edit>", "stop wasting <our|everyone's> time, you are a joke",
        "this whole <page|talk page|debate> is stupid and so are the people <in|behind> it",
    ),
    "obscene": (
        "<this|your <part>|the <part>> is <pure|a pile of|absolute> <crap>", "<what|who wrote> this <crap>",
        "I am sick of <this|your> <damn> <crap>", "stick your <damn> <edit> up your arse",
        "<bugger|sod> off with your <damn> <part>", "who gives a crap <about <topic>|what you think>",
    ),
    "threat": (
        "I will find you and make you <regret|pay for> this", "I know where you live, <so |>watch your back",
        "revert me <again|once more> and I'll break your <fingers|nose>",
        "you will be sorry when I <get hold of|catch> you", "<one more|touch my> <edit> and you are finished",
        "<someone|I> should <come for you|burn your house down>", "sleep with one eye open, I am coming",
    ),
    "insult": (
        "you are <insult>", "<only|it takes> <insult> <could|to> <write|get> <topic> this wrong",
        "<user> is <insult> <and always was|and a <noun>>", "listen, you <adj> <noun>",
        "I never called you a <noun>, because a <noun> could at least read <rule>",
        "they told me not to call you <insult>, but look at this <edit>", "what <insult> you are",
        "<adj> <noun>s like you <ruin|spoil> <topic|this place>",
    ),
    "identity_hate": (
        "<you|all> <group> are <all |><vermin>", "typical <group>, <throw|kick> them all out of <place>",
        "we don't need <filthy|dirty|stupid> <group> <writing about <topic>|here>",
        "<group> should not be allowed to <edit|breed|vote>", "another <noun> from <place>, like all <group>",
    ),
}  # fmt: skip
LYRICAL = {
    "toxic": (
        "<brilliant|wonderful>, another masterpiece from someone who has never opened a book",
        "do us all a favour and find <another|a quieter> hobby", "nobody asked you, and nobody ever will",
        "<congratulations|well done>, you have ruined <topic> <again|for everyone>",
        "oh look, <user> is back to <teach us all|save the world>, how lucky we are",
        "have you ever tried thinking before you <type|press save>?",
        "the project was a better place before you <found the edit button|learned to type>",
    ),
    "insult": (
        "my <toaster|goldfish|doormat> has a better grasp of <rule> than you",
        "I have met door handles with more to say about <topic>", "there is less in your head than in the <part>",
        "your parents must be so <proud|ashamed>", "<reading|spelling> was never your strong side, was it",
        "did <a toddler|your cat> write the <part> for you?",
    ),
    "threat": (
        "I have your address and a free weekend", "accidents happen to people who <revert|cross> me",
        "we shall see how brave you are when I stand at your door",
    ),
}  # fmt: skip
PASTE = (
    "\n|-\n| <year> || <n> || <n> || <n> || <D> || <n>", "\n| <n> || <n> || – || <D>/<n> || <n>",
    "\n* <D><d>:<D><d> <ip> (+<n>) <D>–<d>", "\n# <D>. <n>, <n>, <n>; <year>: <n>–<d> (<n>)",
)  # fmt: skip
ENDS = (".", ".", ".", ".", "!", "...", "", "!!")
SPACES = (" ", " ", " ", " ", " ", "  ", "\n", "\n\n", "\n:", " \t", "\u00a0", "\u2003", "\n* ")
# Which labels come together: relative weights. Others are as a rule also toxic, severe always.
PROFILES = (
    (55, ("toxic",)),
    (38, ("toxic", "insult")),
    (26, ("toxic", "obscene")),
    (34, ("toxic", "obscene", "insult")),
    (33, ("toxic", "severe_toxic", "obscene", "insult")),
    (5, ("toxic", "severe_toxic", "obscene")),
    (8, ("toxic", "severe_toxic", "obscene", "insult", "threat")),
    (9, ("toxic", "severe_toxic", "obscene", "insult", "identity_hate")),
    (25, ("toxic", "threat")),
    (12, ("toxic", "insult", "threat")),
    (7, ("toxic", "obscene", "insult", "threat")),
    (17, ("toxic", "identity_hate")),
    (15, ("toxic", "insult", "identity_hate")),
    (11, ("toxic", "obscene", "insult", "identity_hate")),
    (5, ("insult",)),
    (5, ("obscene",)),
    (2, ("obscene", "insult")),
    (2, ("threat",)),
    (2, ("identity_hate",)),
)
SLOT = re.compile(r"<([^<>]*)>")
WORD = re.compile(r"\w+|[^\w\s]")


def write_sample(folder: Path, seed: int = 0) -> Path:
    """Write train, test, test_labels and sample_submission, the same bytes for the same seed.

    2,000 training and 500 test comments; a fifth of the test rows is not scored (-1), as in
    Kaggle's file. Each file appears whole or not at all.
    """
    rng = np.random.default_rng(seed)
    train, test = _table(rng, TRAIN_ROWS), _table(rng, TEST_ROWS)
    truth = test.drop(columns="comment_text")
    unscored = rng.permutation(TEST_ROWS)[: round(UNSCORED_SHARE * TEST_ROWS)]
    truth.loc[unscored, list(LABELS)] = -1
    files = {
        "train": train,
        "test": test[["id", "comment_text"]],
        "test_labels": truth,
        "sample_submission": truth.assign(**dict.fromkeys(LABELS, 0.5)),
    }
    for name, content in files.items():
        with paths.replacing(folder / f"{name}.csv") as temporary:
            content.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")
    return folder


def _table(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    copies = round(COPY_SHARE * rows)
    comments = [(literal, ()) for literal in LITERALS]
    for labels, length in _plan(rng, rows - copies - len(LITERALS)):
        comments.append((_comment(rng, labels, length), _as_annotated(rng, labels)))
    comments += [_copied(rng, comments, i % 2) for i in range(copies)]
    comments = [comments[i] for i in rng.permutation(rows)]
    known = {}  # patterns may coincide by chance: the same comment then has the same labels
    comments = [(text, known.setdefault(" ".join(text.split()), ls)) for text, ls in comments]
    # 64 random bits: no id comes twice.
    columns = {"id": [f"{i:016x}" for i in rng.integers(2**64, size=rows, dtype=np.uint64)]}
    columns["comment_text"] = [text for text, _ in comments]
    columns |= {label: [int(label in labels) for _, labels in comments] for label in LABELS}
    return pd.DataFrame(columns)


def _plan(rng: np.random.Generator, rows: int) -> list[tuple[tuple[str, ...], float]]:
    """Labels and length (words) of each comment; a label says nothing about the length."""
    tiers = _deal(rng, [1 - sum(share for share, *_ in TIERS), *(t[0] for t in TIERS)], rows)
    weights = np.array([weight for weight, _ in PROFILES]) / sum(w for w, _ in PROFILES)
    profiles = np.zeros(rows, dtype=int)
    for chosen, share in ((tiers == 0, TOXIC_SHARE), (tiers > 0, LATE_SHARE)):
        profiles[chosen] = _deal(rng, [1 - share, *(share * weights)], chosen.sum())
    labels = [(), *(labels for _, labels in PROFILES)]
    return [(labels[p], _length(rng, tier)) for p, tier in zip(profiles, tiers, strict=True)]


def _deal(rng: np.random.Generator, shares: list[float], rows: int) -> np.ndarray:
    """Which share each row falls to; the counts are exact to one row, whatever the seed."""
    marks = (np.arange(rows) + rng.random()) / rows
    return rng.permutation(np.searchsorted(np.cumsum(shares)[:-1], marks, side="right"))


def _length(rng: np.random.Generator, tier: int) -> float:
    if tier:
        return rng.uniform(*TIERS[tier - 1][1:])
    median, sigma, least, most = TYPICAL
    return float(np.clip(median * rng.lognormal(0, sigma), least, most))


def _comment(rng: np.random.Generator, labels: tuple[str, ...], length: float) -> str:
    """A comment on one subject, to one user. A long one is toxic in its last sentence only."""
    subject, is_long = _fill(rng, "<subject>", WORDS), length > LONG
    words = {**WORDS, "user": (_fill(rng, "<name>", WORDS),)}
    words["topic"] = (subject, subject, f"[[{subject}]]", "this article")
    clauses = _abuse(rng, labels, lyrical=not is_long) if labels else _hard(rng)
    if is_long and clauses:
        clauses = [", and ".join(clauses)]
    special = [_sentence(rng, clause, words) for clause in clauses]
    sentences = [*_harmless(rng, length - _count(special), words), *special]
    return _laid_out(rng, sentences if is_long else _shuffled(rng, sentences), labels, words)


def _harmless(rng: np.random.Generator, length: float, words: dict) -> list[str]:
    """Harmless sentences of `length` words in all; where 5,000 letters would not do, a table."""
    sentences = []
    while length > _count(sentences) + 4:
        pasted = length > PASTED and len(sentences) > 3
        sentences.append(
            _fill(rng, _pick(rng, PASTE), words)
            if pasted
            else _sentence(rng, _pick(rng, HARMLESS), words)
        )
    return sentences


def _abuse(rng: np.random.Generator, labels: tuple[str, ...], lyrical: bool) -> list[str]:
    """Patterns of abuse, one for each label, two more if it is severe."""
    kinds = [label for label in labels if label in ABUSE]
    if len(kinds) > 1 and kinds[0] == "toxic" and rng.random() < 0.7:
        del kinds[0]  # what makes it obscene, a threat ... makes it toxic as well
    if "severe_toxic" in labels:
        kinds += ["obscene", "insult"]
    return [_pick(rng, _patterns(rng, kind, lyrical)) for kind in kinds]


def _patterns(rng: np.random.Generator, kind: str, lyrical: bool) -> tuple[str, ...]:
    lyrical = lyrical and kind in LYRICAL and rng.random() < LYRICAL_SHARE
    return LYRICAL[kind] if lyrical else ABUSE[kind]


def _hard(rng: np.random.Generator) -> list[str]:
    return [_pick(rng, HARD)] if rng.random() < HARD_SHARE else []


def _laid_out(
    rng: np.random.Generator, sentences: list[str], labels: tuple[str, ...], words: dict
) -> str:
    """One text, with opening, signature, odd white space and a voice."""
    text = _fill(rng, "<opener> ", words) if rng.random() < 0.25 else ""
    text += sentences[0]
    for sentence in sentences[1:]:
        text += (_pick(rng, SPACES) if sentence[0] != "\n" else "") + sentence
    text += _fill(rng, _pick(rng, SPACES) + "<sign>", words) if rng.random() < 0.35 else ""
    if '"' in text and rng.random() < 0.5:
        text = f'"\n{text}\n"'  # so Kaggle's files show comments with quotes in them
    shouting = 0.25 if "severe_toxic" in labels else 0.05 if labels else 0.01
    voice = rng.random()
    return text.upper() if voice < shouting else text.lower() if voice > 0.88 else text


def _sentence(rng: np.random.Generator, pattern: str, words: dict) -> str:
    text = _fill(rng, pattern, words)
    end = "" if text[-1] in ".!?" else _pick(rng, ENDS)
    return text[0].upper() + text[1:] + end


def _fill(rng: np.random.Generator, pattern: str, words: dict) -> str:
    """Choose for every slot, the innermost first."""

    def choose(slot: re.Match) -> str:
        return _pick(rng, slot[1].split("|") if "|" in slot[1] else words[slot[1]])

    while "<" in pattern:
        pattern = SLOT.sub(choose, pattern)
    return pattern


def _as_annotated(rng: np.random.Generator, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels as a hurried annotator gives them: one or all overlooked, or some invented."""
    if rng.random() >= NOISE[bool(labels)]:
        return labels
    if not labels:
        return _pick(rng, (("toxic",), ("toxic", "insult")))
    lost = {_pick(rng, labels)} if rng.random() < 0.5 else set(labels)
    if "toxic" in lost:
        lost.add("severe_toxic")
    return tuple(label for label in labels if label not in lost)


def _copied(
    rng: np.random.Generator, comments: list[tuple[str, tuple[str, ...]]], flattened: int
) -> tuple[str, tuple[str, ...]]:
    """A comment once more, as it is or with its newlines flattened, as copies of the data are."""
    text, labels = _pick(rng, [comment for comment in comments if "\n" in comment[0]])
    return (" ".join(text.split()) if flattened else text), labels


def _count(sentences: list[str]) -> int:
    """Words and punctuation marks: a little fewer than WordPiece tokens."""
    return sum(len(WORD.findall(sentence)) for sentence in sentences)


def _pick(rng: np.random.Generator, options: Sequence):
    return options[int(rng.integers(len(options)))]


def _shuffled(rng: np.random.Generator, items: list[str]) -> list[str]:
    return [items[i] for i in rng.permutation(len(items))]
