"""Score files by Ray Data: one worker per GPU or core holds the models and writes the shards.

    files → tasks that read pieces of 2,048 rows → actors that score and write a piece each

Ray starts an actor again if it dies, elsewhere if its machine has died, and gives it the piece
again. To read a file again yields the same pieces, as Ray requires: pieces are left out only if
they were finished when the command was started.
"""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType

from toxlib.data.comments import Checked, check_comments
from toxlib.errors import InputError
from toxlib.runs import cluster
from toxlib.scoring.shards import Job

RETRIES = 3
"""How often a piece is given to another actor after one has died with it. Ray's default is to try
for ever."""
ACTOR_CPUS, READER_CPUS = 0.9, 0.1
"""Parts of a core. If actors took whole cores, none would be left to read files, and Ray Data
would wait for ever (ray issue 44687)."""


@contextmanager
def on_ray(job: Job, actors: int) -> Iterator["OnRay"]:
    """Start Ray or connect to a cluster, and check that its nodes see the files of a job."""
    with cluster.ray_started() as ray:
        cluster.check_shared(job.folder)
        cluster.check_seen([path for path in [*job.paths, job.run / "run.json"] if path.exists()])
        try:
            yield OnRay(ray, job, actors)
        except ray.exceptions.RayTaskError:
            raise  # an error of our own code, with its traceback
        except ray.exceptions.RayError as error:
            fault = f"Ray has failed ({type(error).__name__})"
            raise InputError(f"{fault}; start it again, then the same command goes on") from None


class OnRay:
    """Check and score the files of a job by Ray."""

    def __init__(self, ray: ModuleType, job: Job, actors: int):
        self.ray, self.job = ray, job
        total = ray.cluster_resources()
        gpus, cores = int(total.get("GPU", 0)), int(total.get("CPU", 0))
        self.on_gpus, self.actors = gpus > 0, actors or gpus or cores
        if self.actors > (gpus or cores):
            found = f"the cluster has {gpus} GPUs and {cores} cores"
            raise InputError(f"--actors {actors}: {found}; give at most one per GPU or core")

    def check(self) -> Iterator[Checked]:
        """Yield what is found in each file; they are read side by side."""
        task = self.ray.remote(_check)
        for found in self.ray.get([task.remote(path, self.job) for path in self.job.paths]):
            if isinstance(found, str):
                raise InputError(found)
            yield found

    def score(self, job: Job) -> Iterator[dict]:
        """Let actors score and write pieces; yield what was done, in no order."""
        with _quiet_context(self.ray):
            numbers = [{"number": number} for number in range(len(job.paths))]
            tasks = self.ray.data.from_items(numbers, override_num_blocks=len(numbers))
            readers = max(1, self.actors // 8)  # one reads faster than eight score
            pieces = tasks.flat_map(
                partial(_read, job),
                compute=self.ray.data.TaskPoolStrategy(size=readers),
                num_cpus=READER_CPUS,
            )
            done = pieces.map_batches(
                Scoring,
                fn_constructor_args=(job,),
                batch_size=1,
                compute=self.ray.data.ActorPoolStrategy(size=self.actors),
                max_task_retries=RETRIES,
                **({"num_gpus": 1} if self.on_gpus else {"num_cpus": ACTOR_CPUS}),
            )
            yield from done.iter_rows()


@contextmanager
def _quiet_context(ray: ModuleType) -> Iterator[None]:
    """Let Ray Data draw no bars, and make a block of each piece, which one actor takes."""
    with warnings.catch_warnings():
        # Of its own settings, and that there are fewer files than actors.
        warnings.simplefilter("ignore")
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = context.print_on_execution_start = False
        # Otherwise all pieces of a file may be one block, and a single actor works.
        context.target_max_block_size = 1
        with ray.data.DataContext.current(context):
            yield


def _check(path: Path, job: Job) -> Checked | str:
    """Return what is found in a file, or the fault that stops the command."""
    try:
        return check_comments(path, *job.columns, job.options.skip, job.options.unique_ids)
    except InputError as error:
        return str(error)


def _read(job: Job, row: dict) -> Iterator[dict]:
    """Yield the pieces of a file, and the fault that stops the command if there is one."""
    number = int(row["number"])
    try:
        for first_row, chunk in job.chunks(number):
            columns = [list(chunk[name]) for name in job.columns]
            content = json.dumps(columns).encode()
            yield {"number": number, "first_row": first_row, "content": content, "fault": ""}
    except InputError as error:
        yield {"number": number, "first_row": 0, "content": b"", "fault": str(error)}


class Scoring:
    """An actor of Ray Data: it loads the models once, then scores and writes piece by piece."""

    def __init__(self, job: Job):
        self.job, self.scorer = job, None

    def __call__(self, batch: dict) -> dict:
        """Score a batch of one piece; return what was done."""
        number, first_row, content, fault = (
            batch[name][0] for name in ("number", "first_row", "content", "fault")
        )
        rows, skipped = 0, 0
        try:
            if not fault:
                rows, skipped = self._score(int(number), int(first_row), bytes(content))
        except InputError as error:
            fault = str(error)
        worker = f"{cluster.node_name()} process {os.getpid()}"
        done = {"rows": [rows], "skipped": [skipped]}
        return done | {"worker": [worker], "fault": [str(fault)]}

    def _score(self, number: int, first_row: int, content: bytes) -> tuple[int, int]:
        """Return how many rows there are, and how many of them have skipped the encoder."""
        ids, texts = json.loads(content)
        if self.job.shard(number, first_row).exists():  # Ray may ask twice, after a failure
            return len(ids), 0
        self.job.write(number, first_row, ids, self._loaded().table(texts, self.job.options))
        return len(ids), self.scorer.skipped

    def _loaded(self):
        if self.scorer is None:
            import torch

            from toxlib.scoring.predictor import Scorer

            torch.set_num_threads(1)
            self.scorer = Scorer(self.job.run, self.job.cascade)
        return self.scorer
