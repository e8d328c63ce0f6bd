"""Feed damaged files to the reader of CSVs and to predict; run by hand, not by pytest.

    python tests/data/fuzz_csv_files.py --minutes 20

It uses atheris, which looks for inputs that reach new lines of code, if that is installed; else
random changes with a fixed seed. Each input must be read correctly or end in an InputError of one
line, within `SECONDS` and `MEGABYTES`. An input that does not is kept, and its path is printed.
The limits of the reader are lowered, so that small inputs reach them. `examine` is also used by
`test_csv_files.py`.
"""

import argparse
import contextlib
import csv
import io
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

try:
    import atheris
except ImportError:
    atheris = None
    instrumented = contextlib.nullcontext()
else:
    instrumented = atheris.instrument_imports(include=["toxlib.data"])
with instrumented:
    from toxlib.data import comments, csv_files, kaggle
from toxlib.errors import InputError

SECONDS, MEGABYTES = 10, 3000
TRAIN = b'id,comment_text,toxic,obscene\na,NA,0,1\nb,,1,0\nc,"two\r\nlines, ""quoted""",0,0\n'


def zipped(content: bytes) -> bytes:
    """Return a zip of one CSV."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.csv", content)
    return buffer.getvalue()


TABLES = {
    "train.csv": TRAIN,
    "test.csv": b"id,comment_text\nx,null\ny,hello\n",
    "sample_submission.csv": b"id,toxic,obscene\ny,0.5,0.5\nx,0.5,0.5\n",
    "test_labels.csv": b"id,toxic,obscene\ny,-1,-1\nx,0,1\n",
}
SEEDS = [
    *TABLES.values(),
    TRAIN.replace(b",", b";"),
    b"\xef\xbb\xbfsep=;\r\nid;comment_text;toxic\r\na;caf\xc3\xa9;1\r\n",
    b",id\tcomment_text\n0,a\tb\n",
    b"id,toxic,obscene\nx,0.5,1e-3\ny,1,.25\n",
    b"id,toxic,obscene\nx,-1,-1\ny,TRUE, 0.0\n",
    b"comment_text\nhello\n\n=1+1\n",
    zipped(TRAIN),
]
PIECES = [
    *(b'"', b'""', b",", b";", b"\t", b"\r", b"\n", b"\r\n", b"\n\n", b"\0", b"\xff", b"\xc3"),
    *(
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"sep=;\n",
        b"id",
        b"comment_text",
        b"<html>",
    ),
    *(b"=1+cmd|' /C calc'!A0", b"@", b"-1", b"1.0", b"true", b"nan", b"1e999", b"\x1f\x8b"),
    *(b"x" * 5000, b"," * 200, b"\n" * 50, b'"\n' * 50, b"\xe2\x80\xae\x1b[31m", b"PK\x03\x04"),
]
"""What is put into a file: separators, quotes, bytes that are not UTF-8, labels, formulas."""


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Cut, copy, move or insert some pieces of a file."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        start, end = sorted(rng.randint(0, len(data)) for _ in range(2))
        end = min(end, start + rng.choice([0, 1, 1, 3, 50]))
        inserted = rng.choice([rng.choice(PIECES), data[start:end] * 2, rng.randbytes(2), b""])
        data = data[:start] + inserted + data[end:]
    return data


def examine(path: Path) -> str:
    """Read a CSV; return "read", or the message of the InputError; check both.

    Raises:
        AssertionError: if rows were lost or changed, or a good file was refused.
    """
    content, notes = _content(path), []
    table, message = _try(lambda: pd.concat(csv_files.read_chunks(path, 3, notes)))
    expected, first = _parse(content, _separator(notes)), "has no name" in " ".join(notes)
    if table is None:
        assert expected is None or not re.search("broken quoting|fields where", message), message
        is_utf8 = content.decode("utf-8", "replace").encode() == content
        assert not (content and is_utf8 and "is not UTF-8" in message), message
        return message
    assert [row[first:] for row in expected] == [list(table), *table.to_numpy().tolist()]
    assert list(table.index) == list(range(len(table)))
    return "read"


def _separator(notes: list[str]) -> str:
    """Return the separator that the reader says it has used."""
    told = " ".join(notes)
    return ";" if "semicolons" in told else "\t" if "tabs" in told else ","


def _content(path: Path) -> bytes:
    """Return what a file or a zip holds; b"" if it cannot be unpacked."""
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if csv_files._is_content(name)]
                return archive.read(names[0])
        return path.read_bytes()
    except Exception:
        return b""


def _parse(content: bytes, separator: str) -> list[list[str]] | None:
    """Parse a whole CSV at once; None unless it is well-formed and all rows are equally long."""
    csv.field_size_limit(2**31 - 1)
    try:
        text = content.decode("utf-8-sig")
        first, rest = re.match(r"[\r\n]*([^\r\n]*[\r\n]*)(.*)", text, re.DOTALL).groups()
        text = rest if csv_files.SEPARATOR_LINE.fullmatch(first) else text
        stream = io.StringIO(text, newline="")
        rows = [row for row in csv.reader(stream, delimiter=separator, strict=True) if row]
    except (UnicodeDecodeError, csv.Error):
        return None
    return rows if len({len(row) for row in rows}) == 1 else None


def _try(read: Callable, *arguments: object) -> tuple[object, str]:
    """Return what `read` returns and "", or None and the InputError's message: one line."""
    try:
        return read(*arguments), ""
    except InputError as error:
        message = str(error)
    assert message.isprintable(), message
    return None, message


class Fuzzer:
    """Gives one input after the other to one of the readers; the first byte chooses which."""

    def __init__(self, folder: Path):
        self.folder, self.outcomes = folder, Counter()
        self.targets = [self.plain, self.zipped, self.raw_zip, self.tables, self.scores]
        self.targets.append(self.predict)
        csv_files.MAX_ROW, csv_files.MAX_COLUMNS, csv_files.MAX_CELLS = 4096, 50, 40
        comments.CHUNK_ROWS = 2
        self.scorer = _scorer()
        signal.signal(signal.SIGVTALRM, _late)

    def run(self, data: bytes) -> None:
        """Give one input to its reader; an exception is a find."""
        target = self.targets[data[0] % len(self.targets)] if data else self.plain
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            outcome = target(data[1:])
            assert _memory() < MEGABYTES, "too much memory"
        except BaseException:
            (self.folder / "find").write_bytes(data)
            raise
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        self.outcomes[
            f"{target.__name__}: {'read' if outcome in ('', 'read') else 'refused'}"
        ] += 1

    def plain(self, data: bytes) -> str:
        return examine(self._write("plain.csv", data))

    def zipped(self, data: bytes) -> str:
        content, place = bytearray(zipped(data)), sum(data[:8]) % 400
        if place < len(content):
            content[place] ^= 1 + sum(data[8:16]) % 255
        return examine(self._write("damaged.csv.zip", bytes(content)))

    def raw_zip(self, data: bytes) -> str:
        return examine(self._write("raw.csv.zip", data))

    def tables(self, data: bytes) -> str:
        """Replace the file of the folder that the input resembles most."""
        for name, content in TABLES.items():
            self._write(name, content)
        alike = [sum(map(int.__eq__, content, data)) for content in TABLES.values()]
        path = self._write(list(TABLES)[int(np.argmax(alike))], data)
        tables, message = _try(lambda: kaggle.read_tables(self.folder))
        read = tables and {"train.csv": tables.train, "test.csv": tables.test}.get(path.name)
        if read is not None:
            assert len(read) == len(pd.concat(csv_files.read_chunks(path)))
        return message

    def scores(self, data: bytes) -> str:
        path = self._write("scores.csv", data)
        return min(_try(kaggle.read_scores, path)[1], _try(kaggle.read_labels, path)[1])

    def predict(self, data: bytes) -> str:
        path, output = self._write("in.csv", data), self.folder / "out.csv"
        with contextlib.redirect_stderr(io.StringIO()):
            _, message = _try(self.scorer.predict_file, path, output)
        if not message:
            chunks = comments.iter_comments(path, "id", "comment_text", number_rows=True)
            ids = [value for chunk in chunks for value in chunk["id"]]
            assert list(kaggle.read_scores(output)["id"]) == ids
        return message

    def _write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path


def _scorer():
    """Return a scorer of finished runs that scores every comment alike, without a model."""
    from toxlib.recipes import get_recipe
    from toxlib.scoring import predictor

    class Constant(predictor.Scorer):
        def __init__(self):
            self.recipe, self.label_names, self._models = get_recipe("quick"), ["toxic"], {}

        def _scores(self, texts, bar):
            return pd.DataFrame(np.full((len(texts), 1), 0.5), columns=self.label_names)

    predictor.progress = lambda **_: predictor.tqdm(disable=True)
    return Constant()


def _memory() -> float:
    """Return the most memory that this process has used, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _late(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} seconds")


def main() -> None:
    """Fuzz for some minutes; print what happened, and exit with 1 at a find."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", action="store_true", help="random changes, not atheris")
    arguments = parser.parse_args()
    fuzzer = Fuzzer(Path(tempfile.mkdtemp(prefix="fuzz-")))
    end = time.monotonic() + 60 * arguments.minutes
    with_atheris = atheris is not None and not arguments.random
    how = "atheris" if with_atheris else "random changes"
    print(f"{how}, seed {arguments.seed}; a find is kept in {fuzzer.folder}/find", flush=True)
    run = _run_atheris if with_atheris else _run_randomly
    run(fuzzer, arguments.seed, end)


def _report(fuzzer: Fuzzer) -> None:
    count = sum(fuzzer.outcomes.values())
    print(f"{count} inputs, no find; peak memory {_memory():.0f} MB")
    for outcome, count in sorted(fuzzer.outcomes.items()):
        print(f"  {outcome}: {count}")
    sys.stdout.flush()


def _run_randomly(fuzzer: Fuzzer, seed: int, end: float) -> None:
    rng = random.Random(seed)
    corpus = list(SEEDS)
    while time.monotonic() < end:
        data = mutate(rng.choice(corpus), rng)
        fuzzer.run(rng.randbytes(1) + data)
        if rng.random() < 0.02:  # go on from a changed input, but not for ever
            corpus[rng.randrange(len(corpus))] = rng.choice([data[:20_000], rng.choice(SEEDS)])
    _report(fuzzer)


def _run_atheris(fuzzer: Fuzzer, seed: int, end: float) -> None:
    def one_input(data: bytes) -> None:
        if time.monotonic() > end:
            _report(fuzzer)
            os._exit(0)  # atheris takes SystemExit for a find
        fuzzer.run(data)

    def change(data: bytes, max_size: int, number: int) -> bytes:
        rng = random.Random(number)
        if not data or rng.random() < 0.5:
            return atheris.Mutate(data, max_size)
        changed = rng.choice(SEEDS) if rng.random() < 0.3 else data[1:]
        return (data[:1] + mutate(changed, rng))[:max_size]

    corpus = fuzzer.folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(SEEDS):
        for target in range(len(fuzzer.targets)):
            (corpus / f"{number}-{target}").write_bytes(bytes([target]) + content)
    options = [f"-seed={seed}", f"-timeout={3 * SECONDS}", "-max_len=20000", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one_input, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
