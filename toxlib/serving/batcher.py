"""Score the texts of requests that come at the same time together.

One batch after another goes through the model. While it is computed, new requests wait, and the
next batch takes all that fit. So no request waits for others to come, and the more there are, the
more texts share a forward pass.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

MOST_TOGETHER = 256
"""The most texts in a batch, unless a single request has more."""


class Overloaded(RuntimeError):
    """More texts are waiting than may wait."""


class Batcher:
    """Calls a model, one batch at a time, in a thread of its own.

    Args:
        score: takes a list of texts and returns a table with a row per text.
        most_waiting: the most texts that may wait to be scored.
        seen: called with the number of texts of each batch.
    """

    def __init__(
        self,
        score: Callable[[list[str]], pd.DataFrame],
        most_waiting: int,
        seen: Callable[[int], None] = lambda texts: None,
    ):
        self._score, self._most, self._seen = score, most_waiting, seen
        self._waiting: deque[tuple[list[str], asyncio.Future]] = deque()
        self._worker: asyncio.Task | None = None
        # One thread: PyTorch would make a pool of threads for each thread that calls it.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    @property
    def waiting(self) -> int:
        """How many texts wait to be scored."""
        return sum(len(texts) for texts, _ in self._waiting)

    async def score(self, texts: list[str]) -> pd.DataFrame:
        """Return the scores of a request's texts.

        Raises:
            Overloaded: if too many texts are waiting already.
        """
        if self._waiting and self.waiting + len(texts) > self._most:
            raise Overloaded
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((texts, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def call(self, function: Callable, *values: object) -> object:
        """Return what a function returns that uses the model; it runs between two batches."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *values)

    async def _work(self) -> None:
        """Score batches until nothing waits."""
        while self._waiting:
            requests = self._take()
            texts = [text for texts, _ in requests for text in texts]
            self._seen(len(texts))
            try:
                table = await self.call(self._score, texts)
            except Exception as error:  # each request reports it
                _finish(requests, lambda future, rows, error=error: future.set_exception(error))
            else:
                _finish(requests, lambda future, rows, t=table: future.set_result(t.iloc[rows]))

    def _take(self) -> list[tuple[list[str], asyncio.Future]]:
        """Take the requests of the next batch off the queue: at least one."""
        taken = [self._waiting.popleft()]
        count = len(taken[0][0])
        while self._waiting and count + len(self._waiting[0][0]) <= MOST_TOGETHER:
            taken.append(self._waiting.popleft())
            count += len(taken[-1][0])
        return taken


def _finish(
    requests: list[tuple[list[str], asyncio.Future]],
    finish: Callable[[asyncio.Future, slice], None],
) -> None:
    """Call `finish` with each request's future and its rows in the batch."""
    start = 0
    for texts, future in requests:
        if not future.done():  # it is cancelled if the client has gone
            finish(future, slice(start, start + len(texts)))
        start += len(texts)
