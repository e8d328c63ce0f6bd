"""The routes of `python -m toxlib serve`."""

import time
from pathlib import Path

import pandas as pd
from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.middleware.trustedhost import TrustedHostMiddleware

from toxlib.scoring.predictor import Scorer
from toxlib.serving.batcher import MOST_TOGETHER, Batcher, Overloaded
from toxlib.serving.limits import MOST_BYTES, BodyLimit, Texts, add_errors, check

MOST_WAITING, MOST_EXPLAINING = 4096, 64
"""The most texts that may wait to be scored and to be explained. A request that brings more gets
503."""
PAGE = Path(__file__).with_name("page")
PATHS = ("/", "/predict", "/health", "/metrics")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Sent with every answer. The page may load and call nothing but this server."""


def make_app(scorer: Scorer, hosts: list[str]) -> FastAPI:
    """Return the application that scores with a loaded run.

    Args:
        hosts: the names by which it may be called. So no other web page can reach it through a
            name of its own that leads to this machine (DNS rebinding).

    Raises:
        InputError: if 04_thresholds has not run.
    """
    app, service = FastAPI(title="toxlib", openapi_url=None), Service(scorer)
    app.post("/predict")(service.predict)
    app.get("/health")(service.health)
    app.get("/metrics")(service.show_metrics)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    app.add_middleware(BodyLimit, most_bytes=MOST_BYTES)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.middleware("http")(service.finish)  # the last one added sees every answer
    add_errors(app)
    return app


class Service:
    """What the routes share: the run, its queue of texts, and what is counted."""

    def __init__(self, scorer: Scorer):
        """Take a loaded run."""
        self.scorer, self.thresholds = scorer, scorer.thresholds
        own = {"registry": CollectorRegistry(), "namespace": "toxlib"}
        self.registry = own["registry"]
        self.requests = Counter("requests", "Answered requests", ["path", "status"], **own)
        sizes = [2**power for power in range(MOST_TOGETHER.bit_length())]
        self.batches = Histogram("batch_texts", "Texts scored together", buckets=sizes, **own)
        times = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
        self.seconds = Histogram("predict_seconds", "Time to an answer", buckets=times, **own)
        self.waiting = Gauge("waiting_texts", "Texts that wait to be scored", **own)
        self.to_explain = Gauge("explaining_texts", "Texts that are or will be explained", **own)
        self.batcher = Batcher(scorer.predict, MOST_WAITING, self.batches.observe)
        self.explaining = 0
        """How many texts are being explained, or wait for it."""

    async def predict(self, body: Texts) -> dict:
        """Return scores, decisions and, if `explain` names a label, each word's effect on it."""
        start = time.perf_counter()
        check(body, self.scorer.label_names)
        explained = [None] * len(body.texts)
        # An explanation takes seconds, in which nothing else is scored.
        to_explain = len(body.texts) if body.explain else 0
        if self.explaining + to_explain > MOST_EXPLAINING:
            raise Overloaded
        self.explaining += to_explain
        try:
            scores = await self.batcher.score(body.texts)
            if body.explain:
                explained = await self.batcher.call(self.scorer.explain, body.texts, body.explain)
        finally:
            self.explaining -= to_explain
        shown = self.scorer.calibrate(scores) if body.calibrated else scores
        self.seconds.observe(time.perf_counter() - start)
        rows = zip(shown.to_dict("records"), self._decisions(scores), explained, strict=True)
        return {"results": [_result(*row) for row in rows]}

    async def health(self) -> dict:
        """Say that the server is there, and which run and labels it has."""
        names = self.scorer.label_names
        thresholds = dict(zip(names, self.thresholds.tolist(), strict=True))
        run = self.scorer.folder.resolve().name
        return {"status": "ok", "run": run, "labels": names, "thresholds": thresholds}

    async def show_metrics(self) -> Response:
        """Return the counts in the form that Prometheus reads."""
        self.waiting.set(self.batcher.waiting)
        self.to_explain.set(self.explaining)
        return Response(generate_latest(self.registry), media_type="text/plain; version=0.0.4")

    async def finish(self, request: Request, call_next) -> Response:
        """Count an answered request, and add the headers of every answer."""
        response = await call_next(request)
        path = request.url.path if request.url.path in PATHS else "other"
        self.requests.labels(path, response.status_code).inc()
        response.headers.update(HEADERS)
        return response

    def _decisions(self, scores: pd.DataFrame) -> list[dict[str, bool]]:
        return (scores >= self.thresholds).to_dict("records")


def _result(scores: dict, decisions: dict, words: pd.DataFrame | None) -> dict:
    result = {"scores": scores, "decisions": decisions}
    return result if words is None else result | {"words": words.to_dict("records")}
