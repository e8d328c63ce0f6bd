"""How many requests a second `python -m toxlib serve` answers, and how long they take."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import httpx
import numpy as np
import pandas as pd

from toxlib import files
from toxlib.errors import InputError
from toxlib.runs.run import reopen

CLIENTS = (1, 8, 64)
SECONDS, SECONDS_QUICK = 60, 5
"""How long each number of clients sends requests."""


def bench_serving(run: str, output: Path | None = None, quick: bool = False) -> None:
    """Serve a run on this machine, send it its own test comments, and print a table.

    Each client sends one comment after another, and waits for each answer.
    """
    output = output or files.outputs() / "bench"
    files.check_folder(output)
    texts = list(reopen(run).test_texts[:2000])
    with _server(run) as address:
        lines = {n: _load(address, texts, n, SECONDS_QUICK if quick else SECONDS) for n in CLIENTS}
    table = pd.DataFrame(lines).T.rename_axis("clients")
    with files.replacing(output / "serving.csv") as temporary:
        table.to_csv(temporary)
    print(table.round(3).to_string(), output, sep="\n")


@contextmanager
def _server(run: str) -> Iterator[str]:
    """Start a server and yield its address; stop it at the end."""
    command = [sys.executable, "-m", "toxlib", "serve", run, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        if " on " not in line:
            raise InputError(f"{run}: the server did not start; see above")
        try:
            yield line.split(" on ")[1].split()[0]
        finally:
            process.terminate()


def _load(address: str, texts: list[str], clients: int, seconds: float) -> dict[str, float]:
    """Send requests for some seconds; return what happened to them."""
    taken, failed = [], []

    async def send(client: httpx.AsyncClient, own: Iterator[str], end: float) -> None:
        while (start := time.perf_counter()) < end:
            try:
                answer = await client.post("/predict", json={"texts": [next(own)]})
                fine = answer.status_code == 200 and len(answer.json()["results"]) == 1
            except httpx.HTTPError:
                fine = False
            (taken if fine else failed).append(time.perf_counter() - start)

    async def send_all() -> None:
        limits = httpx.Limits(max_connections=clients)
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
            end = time.perf_counter() + seconds
            own = [cycle(texts[i:] + texts[:i]) for i in range(clients)]
            await asyncio.gather(*(send(client, texts_of_one, end) for texts_of_one in own))

    start = time.perf_counter()
    asyncio.run(send_all())
    elapsed = time.perf_counter() - start
    p50, p95 = np.quantile(taken, [0.5, 0.95]) if taken else (np.nan, np.nan)
    figures = {"requests/s": len(taken) / elapsed, "p50 (s)": p50, "p95 (s)": p95}
    return figures | {"answered": len(taken), "failed": len(failed)}
