"""What a request may hold, and what is answered to one that holds more."""

from typing import Annotated

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.exceptions import HTTPException as StarletteException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toxlib.errors import InputError, show, show_all
from toxlib.serving.batcher import Overloaded

MOST_TEXTS, MOST_EXPLAINED = 256, 8
"""The most texts in a request, and in one that asks for explanations."""
MOST_CHARACTERS = 20_000
"""The most characters in a text; Kaggle's longest comments have 5,000."""
MOST_BYTES = 8_000_000
"""The most bytes in a request, which is read into memory before it is checked."""


class Texts(BaseModel):
    """What `POST /predict` takes."""

    model_config = ConfigDict(extra="forbid")

    texts: Annotated[list[StrictStr], Field(min_length=1)]
    calibrated: bool = False
    explain: str = ""
    """A label: each word's effect on its score is returned as well."""


def check(body: Texts, label_names: list[str]) -> None:
    """Raise an HTTPException if a request has too many or too long texts, or an unknown label."""
    count, most = len(body.texts), MOST_EXPLAINED if body.explain else MOST_TEXTS
    if count > most:
        what = "explained" if body.explain else "scored"
        raise HTTPException(413, f"{count} texts, but at most {most} are {what} in a request")
    for number, text in enumerate(body.texts, start=1):
        if len(text) > MOST_CHARACTERS:
            fault = f"{len(text)} characters, but at most {MOST_CHARACTERS} are read"
            raise HTTPException(413, f"text {number}: {fault}")
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise HTTPException(422, f"text {number}: half a character (a lone surrogate)")
    if body.explain and body.explain not in label_names:
        known = show_all(label_names)
        raise HTTPException(422, f"unknown label {show(body.explain)}: choose one of {known}")


class BodyLimit:
    """Middleware that answers 413 to a request of more than `most_bytes`."""

    def __init__(self, app: ASGIApp, most_bytes: int):
        self.app, self.most = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the whole request, and pass it on if it is small enough."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body, more = bytearray(), True
        while more and len(body) <= self.most:
            message = await receive()
            if message["type"] == "http.disconnect":  # nobody waits for an answer
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if len(body) > self.most:
            told = {"error": f"the request has more than {self.most} bytes"}
            return await JSONResponse(told, 413)(scope, receive, send)
        read = [{"type": "http.request", "body": bytes(body)}]

        async def replay() -> Message:
            return read.pop() if read else await receive()

        await self.app(scope, replay, send)


def add_errors(app: FastAPI) -> None:
    """Answer every mistake with JSON of one line: `{"error": "…"}`."""

    @app.exception_handler(StarletteException)
    async def refused(request: Request, error: StarletteException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return JSONResponse({"error": "the request is not JSON"}, 400)
        where = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse({"error": f"{where or 'the request'}: {first['msg'].lower()}"}, 422)

    @app.exception_handler(Overloaded)
    async def overloaded(request: Request, error: Overloaded) -> JSONResponse:
        told = {"error": "too many texts are waiting; try again in a few seconds"}
        return JSONResponse(told, 503, {"Retry-After": "2"})

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the server has failed; its log says why"}, 500)

    @app.exception_handler(InputError)
    async def unscored(request: Request, error: InputError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 500)
