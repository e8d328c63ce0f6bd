"""A folder of scores in Parquet shards, so that a run that was stopped goes on where it was.

    part-00000-000000002049.parquet     scores of a piece of the first file, from its row 2,049 on
    _job/predictions.json               the run, the files and the options it belongs to
    _job/faults.txt                     rows and files that were left out, if there are any

Programs that read a folder of Parquet files pass over what begins with an underscore.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from toxlib import files
from toxlib.data.comments import Checked, iter_comments
from toxlib.data.csv_files import ignore
from toxlib.errors import InputError, show
from toxlib.evaluation.cascade import Cascade

JOB = "_job"
CLAIM, FAULTS = f"{JOB}/predictions.json", f"{JOB}/faults.txt"
FILE_COLUMN = "input_file"
MISMATCHES = {
    "options": "with other options",
    "files": "of other files, or files that have changed since",
    "run": "by another run, or one that has changed since",
}
"""Entry of the claim → what the folder holds if that entry differs."""
SHARD = re.compile(r"part-\d{5}-\d{12}")
TOLD = 20  # faults that are told on stderr


@dataclass(frozen=True)
class Options:
    """What to write, and what to do about faults."""

    calibrated: bool = False
    decide: bool = False
    skip: bool = False  # leave out broken rows and files, instead of stopping
    unique_ids: bool = True  # look for repeated ids
    most_lost: float | None = None  # the loss of AUC for which rows may skip the encoder


@dataclass(frozen=True)
class Job:
    """All that a worker must know: which run scores which files into which folder.

    `checked` and `finished` belong to the files, in their order. `finished` are the first rows of
    the shards that were there before.
    """

    run: Path
    paths: list[Path]
    folder: Path
    columns: tuple[str, str]  # ids and texts
    options: Options
    shard_rows: int
    cascade: Cascade | None = None
    checked: list[Checked] = field(default_factory=list)
    finished: list[list[int]] = field(default_factory=list)

    def chunks(self, number: int) -> Iterator[tuple[int, pd.DataFrame]]:
        """Yield the number of the first row, and ids and texts, of each piece to be scored."""
        checked, finished = self.checked[number], set(self.finished[number])
        how = {
            "number_rows": True,
            "chunk_rows": self.shard_rows,
            "without": checked.repeated_rows,
        }
        if self.options.skip:
            how["report"] = ignore
        for chunk in iter_comments(self.paths[number], *self.columns, **how):
            if len(chunk) and chunk.index[0] + 1 not in finished:
                yield int(chunk.index[0]) + 1, chunk

    def shard(self, number: int, first_row: int) -> Path:
        """Return the path of a shard."""
        return self.folder / f"part-{number:05}-{first_row:012}.parquet"

    def write(self, number: int, first_row: int, ids: list[str], scores: pd.DataFrame) -> None:
        """Write a shard, whole or not at all: ids, the file if there are several, and scores."""
        scores.insert(0, self.columns[0], ids)
        table = to_arrow(scores)
        if len(self.paths) > 1:
            table = table.add_column(1, FILE_COLUMN, [[str(self.paths[number])] * len(ids)])
        with files.replacing(self.shard(number, first_row)) as temporary:
            parquet.write_table(table, temporary)

    def find_finished(self) -> tuple[list[list[int]], int]:
        """Return the first rows of the finished shards of each file, and how many rows they have.

        Damaged shards, and what a killed process has left half-written, are deleted.
        """
        finished, rows = [[] for _ in self.paths], 0
        for path in self.folder.glob(".part-*.tmp"):
            path.unlink(missing_ok=True)
        numbers = [p for p in self.folder.glob("part-*.parquet") if SHARD.fullmatch(p.stem)]
        for path in sorted(numbers):
            try:
                rows += parquet.read_metadata(path).num_rows
            except (pa.ArrowException, OSError):
                path.unlink()
                continue
            _, number, first_row = path.stem.split("-")
            finished[int(number)].append(int(first_row))
        return finished, rows


def claim(job: Job, digest: str) -> list[Checked] | None:
    """Refuse a folder that belongs to other files, options or another run, or that holds others.

    Return what was found in the files when they were checked, if this was done before.
    """
    path = job.folder / CLAIM
    if not path.exists():
        names = [entry.name for entry in job.folder.iterdir()]
        if any(name != JOB and not name.startswith(".") for name in names):
            fault = "a folder with other files"
            raise InputError(f"{job.folder}: {fault}; give a new folder, or the path of a file")
        return None
    record = files.read_json(path, "choose another folder")
    now = _owner(job, digest)
    for key, other in MISMATCHES.items():
        if record.get(key) != now[key]:
            fault = f"holds scores {other}"
            raise InputError(f"{job.folder}: {fault}; choose another folder, or delete it")
    with files.damage_told(path, f"delete the folder {show(job.folder)}"):
        return [Checked(**checked) for checked in record["checked"]]


def write_claim(job: Job, digest: str, rows: int) -> None:
    """Write what the folder belongs to and, if there are faults, what was left out.

    `rows` is the number of rows that are written: 0 at the start, all at the end.
    """
    faults = [line for checked in job.checked for line in checked.faults]
    unnamed = sum(checked.fault_count for checked in job.checked) - len(faults)
    if faults:
        faults += [f"… and {unnamed} more"] if unnamed else []
        with files.writing(job.folder / FAULTS) as file:
            file.write("\n".join(faults) + "\n")
    checked = [asdict(found) for found in job.checked]
    record = _owner(job, digest) | {"finished_rows": rows, "checked": checked}
    files.write_json(job.folder / CLAIM, record)


def _owner(job: Job, digest: str) -> dict:
    """Return what another run of the same command must have in common.

    A file is known by its path, size and time of change: to read it for a digest takes too long.
    """
    inputs = []
    for path in job.paths:
        status = path.stat() if path.exists() else None
        known = [status.st_size, status.st_mtime_ns] if status else None
        inputs.append([str(path), known])
    own = {"run": [str(job.run), digest], "files": inputs, "options": asdict(job.options)}
    return files.as_json(own)


def tell(checked: list[Checked]) -> None:
    """Say on stderr what was assumed about files, and the first faults of what is left out."""
    for note in dict.fromkeys(note for found in checked for note in found.notes):
        print(note, file=sys.stderr)
    for line in [line for found in checked for line in found.faults][:TOLD]:
        print(f"left out: {line}", file=sys.stderr)
    if (count := sum(found.fault_count for found in checked)) > TOLD:
        print(f"left out: {count - TOLD} more", file=sys.stderr)


@contextmanager
def writing_table(output: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Open a file that is named .parquet, or any output for CSV; yield what writes the next rows.

    The first column holds ids. A file appears whole or not at all.
    """
    if output.suffix == ".parquet" and (output.is_file() or not output.exists()):
        with files.replacing(output) as temporary, ExitStack() as stack:
            writers = []

            def write_parquet(table: pd.DataFrame) -> None:
                content = to_arrow(table)
                if not writers:
                    writer = parquet.ParquetWriter(temporary, content.schema)
                    writers.append(stack.enter_context(writer))
                writers[0].write_table(content)

            yield write_parquet
    else:
        with files.writing(output) as file:
            headers = [True]

            def write_csv(table: pd.DataFrame) -> None:
                table.to_csv(file, header=bool(headers), index=False, float_format="%.9g")
                headers.clear()

            yield write_csv


def to_arrow(table: pd.DataFrame) -> pa.Table:
    """Return a table of ids, scores as float32, and decisions as int8."""
    columns = [pa.array(table.iloc[:, 0], pa.string())]
    for place in range(1, table.shape[1]):
        column = table.iloc[:, place]
        columns.append(pa.array(column.astype("float32") if column.dtype.kind == "f" else column))
    return pa.Table.from_arrays(columns, names=list(table.columns))
