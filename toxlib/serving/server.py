"""Start the server, and stop it without losing a request."""

import importlib.util
import os
import socket
from pathlib import Path

from toxlib.errors import InputError
from toxlib.scoring.predictor import load

PACKAGES = ("fastapi", "uvicorn", "prometheus_client")
LOCAL = ("localhost", "127.0.0.1")
SECONDS_TO_FINISH = 30
"""How long requests that have begun may take after SIGTERM or Ctrl-C."""


def serve(run: Path, host: str, port: int) -> None:
    """Serve a finished run until SIGTERM or Ctrl-C; requests that have begun are answered first.

    Args:
        host: the address to listen on. Anyone who can reach it can use the server: it has no
            passwords and no encryption.
        port: 0 takes a free one.

    Raises:
        InputError: if a package is missing, the address is taken, or there is no finished run.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        install = "pip install -r requirements-serve.txt"
        raise InputError(f"serve needs {', '.join(missing)}, not installed; run `{install}`")
    import uvicorn

    from toxlib.serving.app import make_app

    listening = _listen(host, port)
    address = "{}:{}".format(*listening.getsockname())
    app = make_app(load(run), [*LOCAL, host])
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    print(f"Serving {run} on http://{address} (Ctrl-C stops it)", flush=True)
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=2048)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        fault = os.strerror(number) if number and number > 0 else error
        raise InputError(f"{host}:{port}: {fault}; choose another --port or --host") from None
