import asyncio
import threading

import pandas as pd
import pytest

from toxlib.serving import batcher
from toxlib.serving.batcher import Batcher, Overloaded


class Model:
    """Scores a text by its length. The first batch waits until `go` is set."""

    def __init__(self):
        self.batches, self.go = [], threading.Event()

    def __call__(self, texts):
        self.batches.append(list(texts))
        self.go.wait(10)
        if "bad" in texts:
            raise ValueError("bad text")
        return pd.DataFrame({"toxic": [len(text) / 100 for text in texts]})


async def _together(model, requests, most_waiting=100):
    """Send the requests while the first one is being scored; return all answers."""
    queue = Batcher(model, most_waiting)
    tasks = [asyncio.create_task(queue.score(requests[0]))]
    while not model.batches:
        await asyncio.sleep(0.001)
    tasks += [asyncio.create_task(queue.score(texts)) for texts in requests[1:]]
    await asyncio.sleep(0.01)
    model.go.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_what_comes_meanwhile_is_scored_together_and_each_gets_its_own():
    model, requests = Model(), [["a"], ["bb", "ccc"], ["dddd"]]
    answers = asyncio.run(_together(model, requests))
    assert model.batches == [["a"], ["bb", "ccc", "dddd"]]
    for texts, table in zip(requests, answers, strict=True):
        assert table["toxic"].tolist() == [len(text) / 100 for text in texts]


def test_a_batch_has_a_limit(monkeypatch):
    monkeypatch.setattr(batcher, "MOST_TOGETHER", 3)
    model = Model()
    asyncio.run(_together(model, [["a"], ["b", "c"], ["d", "e"], ["f"], ["g"] * 9]))
    assert [len(batch) for batch in model.batches] == [1, 2, 3, 9]


def test_too_many_waiting_texts_are_refused():
    answers = asyncio.run(_together(Model(), [["a"], ["b"] * 3, ["c"] * 2, ["d"]], 4))
    assert [isinstance(answer, Overloaded) for answer in answers] == [False, False, True, False]


def test_a_failure_is_told_to_those_whose_batch_it_was():
    answers = asyncio.run(_together(Model(), [["a"], ["bad"], ["c"]]))
    assert answers[0]["toxic"].tolist() == [0.01]
    assert all(isinstance(answer, ValueError) for answer in answers[1:])


def test_a_client_that_has_gone_does_not_disturb_the_others():
    async def leave(model):
        queue = Batcher(model, 100)
        first = asyncio.create_task(queue.score(["a"]))
        while not model.batches:
            await asyncio.sleep(0.001)
        gone, stays = (asyncio.create_task(queue.score([text])) for text in ("b", "cc"))
        await asyncio.sleep(0.01)
        gone.cancel()
        model.go.set()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await first, await stays

    first, stays = asyncio.run(leave(Model()))
    assert [first["toxic"].item(), stays["toxic"].item()] == [0.01, 0.02]
