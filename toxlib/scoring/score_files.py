"""Score files of any number and size: into one file, or into a folder of shards, or by Ray."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory

from toxlib import files
from toxlib.data.comments import Checked, check_comments
from toxlib.errors import InputError
from toxlib.progress import progress
from toxlib.runs.lock import lock, unlock
from toxlib.runs.record import read_record
from toxlib.runs.run import DEFAULT_RECIPE, run_folder
from toxlib.scoring.cascading import fit_cascade, tell_rate
from toxlib.scoring.predictor import Scorer, digest, load
from toxlib.scoring.shards import CLAIM, JOB, Job, Options, claim, tell, write_claim

STANDARD_INPUT = Path("-")
SHARD_ROWS = 2048


def score_files(
    run: Path, paths: list[Path], output: Path, options: Options, engine: str, actors: int = 0
) -> None:
    """Score files with a finished run.

    One file is scored into one file, in its order. Several files, or one if `output` is a folder
    or `engine` is "ray", are scored into a folder of Parquet shards, which goes on where it was
    when the same command is started again.

    Args:
        engine: "local" for this process, "ray" for workers of a cluster.
        actors: how many workers; 0 takes one per GPU, or without GPUs one per core.

    Raises:
        InputError: if a file cannot be read, or `output` cannot be written.
    """
    to_folder = len(paths) > 1 or engine == "ray" or output.is_dir()
    if to_folder:
        _check_folder(paths, output)
        _score_to_folder(run, paths, output, options, engine, actors)
    else:
        files.check_output(output, paths[0])  # before the models are loaded
        with readable(paths[0]) as path:
            load(run, options.most_lost).predict_file(path, output, options)


def _check_folder(paths: list[Path], folder: Path) -> None:
    files.check_folder(folder)
    if STANDARD_INPUT in paths:
        raise InputError("-: standard input is scored into one file only; write -o FILE")
    for number, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:number]]:
            raise InputError(f"{path}: given twice; name each file once")


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """Yield a path that can be read twice: standard input is copied to the disk."""
    if path != STANDARD_INPUT:
        yield path
        return
    with TemporaryDirectory(prefix="toxlib-") as folder:
        copy = Path(folder) / "standard input"
        with copy.open("wb") as file:
            copyfileobj(sys.stdin.buffer, file)
        try:
            yield copy
        except InputError as error:
            raise InputError(str(error).replace(f"{folder}/", "")) from None


def _score_to_folder(
    run: Path, paths: list[Path], output: Path, options: Options, engine: str, actors: int
) -> None:
    folder, run = output.resolve(), run_folder(run, DEFAULT_RECIPE)
    recipe = read_record(run)["recipe"]
    columns = recipe.id_column, recipe.text_column
    cascade = None if options.most_lost is None else fit_cascade(run, options.most_lost)
    paths = [path.absolute() for path in paths]
    job = Job(run, paths, folder, columns, options, SHARD_ROWS, cascade)
    known = digest(run, options)
    is_new = not folder.exists()
    if not is_new:
        claim(job, known)  # before it is touched
    lock(folder / JOB)
    try:
        checked = claim(job, known)
        with _engine(engine, job, actors) as work:
            if checked is None:  # check all files before the first is scored
                checked = list(work.check())
                tell(checked)
            if not any(found.rows for found in checked):
                raise InputError(
                    "no row is left to score; mend the rows or files that are left out"
                )
            job = replace(job, checked=checked)
            finished, rows = job.find_finished()
            write_claim(job, known, 0)
            rows += _follow(work.score(replace(job, finished=finished)), job, rows)
            write_claim(job, known, rows)
    finally:
        unlock(folder / JOB)
        if not (folder / CLAIM).exists():  # nothing was begun
            files.remove(folder / JOB)
            if is_new:
                folder.rmdir()


def _follow(pieces: Iterable[dict], job: Job, done: int) -> int:
    """Show the progress while pieces are scored; return the number of their rows."""
    total, workers = sum(found.rows for found in job.checked), set()
    new, skipped, start = 0, 0, time.perf_counter()
    with progress(total=total, description="Predict") as bar:
        bar.update(done)
        for piece in pieces:
            if piece["fault"]:
                raise InputError(piece["fault"])
            bar.update(piece["rows"])
            new += piece["rows"]
            skipped += piece["skipped"]
            workers.add(piece["worker"])
    if done + new != total:
        fault = f"{done + new} rows are written, but the files had {total}"
        raise InputError(f"{fault}; they have changed meanwhile: score them into a new folder")
    by = f"{len(workers)} worker{'s' * (len(workers) != 1)}"
    print(f"{done} rows were there, {new} scored by {by}", file=sys.stderr)
    if job.cascade:
        tell_rate(new, skipped, time.perf_counter() - start)
    return new


@contextmanager
def _engine(name: str, job: Job, actors: int) -> Iterator["Local"]:
    if name == "local":
        yield Local(job)
    else:
        from toxlib.scoring.distributed import on_ray

        with on_ray(job, actors) as work:
            yield work


class Local:
    """Check and score the files of a job in this process."""

    def __init__(self, job: Job):
        self.job = job

    def check(self) -> Iterator[Checked]:
        """Yield what is found in each file."""
        options = self.job.options
        for path in self.job.paths:
            yield check_comments(path, *self.job.columns, options.skip, options.unique_ids)

    def score(self, job: Job) -> Iterator[dict]:
        """Score and write piece by piece; yield what was done."""
        scorer = Scorer(job.run, job.cascade)
        for number in range(len(job.paths)):
            for first_row, chunk in job.chunks(number):
                ids, texts = (list(chunk[name]) for name in job.columns)
                job.write(number, first_row, ids, scorer.table(texts, job.options))
                done = {"rows": len(chunk), "skipped": scorer.skipped}
                yield done | {"worker": "here", "fault": ""}
