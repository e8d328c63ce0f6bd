"""Start Ray, or connect to a cluster of it, and check that all its machines see the same folder.

Ray is an optional requirement. Nothing else in the package imports it, and importing this module
does not import it either.
"""

import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest import mock

from toxlib.errors import InputError, show

INSTALL = "pip install -r requirements-cluster.txt"
PATIENCE = 300  # seconds for the second start
NODE_SECONDS = 120  # for one small task on a node, in which it starts a process
ON_THIS_MACHINE = "local"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "ERROR",
}
"""No telemetry, and no lines on the console; log files remain. Ray reads these when it starts."""
WAIT_FOR_SERVER = "RAY_gcs_server_port_wait_time_s"
"""The environment variable for how long a node waits for the head's server, or how often it tries
to connect to a running one."""


@contextmanager
def ray_started() -> Iterator[ModuleType]:
    """Yield the module `ray`, connected to a cluster; disconnect at the end.

    The cluster is that of the environment variable RAY_ADDRESS. Without it, Ray is started on this
    machine and stopped at the end. If Ray has been started by the caller, it is used and left as
    it is. Nothing is reported to Ray's makers unless RAY_USAGE_STATS_ENABLED says so.

    Raises:
        InputError: if ray is not installed, or the cluster cannot be reached.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        fault = "engine=ray needs the package ray, which is not installed"
        raise InputError(f"{fault}; run `{INSTALL}`, or use engine=local") from None
    if ray.is_initialized():
        yield ray
        return
    with _keeping_signals():
        _start(ray)
    try:
        yield ray
    finally:
        ray.shutdown()


def check_shared(folder: Path) -> None:
    """Raise an InputError unless every node of the cluster sees and can write the same `folder`.

    The folder is created if it is missing. Run folders, inputs and outputs lie on storage that
    all nodes share, so that a result is written once, by the node that has computed it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    token, content = folder / f".shared-{secrets.token_hex(8)}", secrets.token_hex(8)
    token.write_text(content)
    try:
        for node, seen in on_every_node(_answer, str(token), content).items():
            if not (seen and Path(f"{token}.{node}").exists()):
                fault = f"node {node} does not see this folder, or cannot write to it"
                raise InputError(f"{folder}: {fault}; choose a folder that all nodes share")
    finally:
        for left in folder.glob(f"{token.name}*"):
            left.unlink(missing_ok=True)


def check_seen(paths: list[Path]) -> None:
    """Raise an InputError unless every node of the cluster sees the same files."""
    known = [(str(path), path.stat().st_size) for path in paths]
    for node, missing in on_every_node(_missing, known).items():
        if missing:
            fault = f"node {node} does not see this file, or sees another one"
            raise InputError(f"{missing}: {fault}; put it on storage that all nodes share")


def node_name() -> str:
    """Return the name of the node that this task or actor runs on."""
    import ray

    return f"{ray.util.get_node_ip_address()}-{ray.get_runtime_context().get_node_id()[:6]}"


def on_every_node(function: Callable, *arguments: object) -> dict[str, object]:
    """Call `function(*arguments, node)` once on each node; return the results by node.

    A node is named by its address and the beginning of its id, as in `10.0.0.2-5f3c21`.

    Raises:
        InputError: if a node does not answer, or has no toxlib.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    task = ray.remote(num_cpus=0, max_retries=0)(function)
    nodes = {
        f"{node['NodeManagerAddress']}-{node['NodeID'][:6]}": On(node["NodeID"], soft=False)
        for node in ray.nodes()
        if node["Alive"]
    }
    running = {
        name: task.options(scheduling_strategy=place).remote(*arguments, name)
        for name, place in nodes.items()
    }
    return {name: _result(ray, name, reference) for name, reference in running.items()}


def _result(ray: ModuleType, node: str, reference: object) -> object:
    try:
        return ray.get(reference, timeout=NODE_SECONDS)
    except ray.exceptions.GetTimeoutError:
        fault = f"does not answer within {NODE_SECONDS} seconds; is it overloaded?"
    except ray.exceptions.RayTaskError as error:
        fault = f"cannot run toxlib ({show(error.cause)}); install it there, at the same path"
    except ray.exceptions.RayError as error:
        fault = f"has failed ({type(error).__name__}); start it again, or go on without it"
    raise InputError(f"node {node} of the cluster {fault}")


def _answer(token: str, content: str, node: str) -> bool:
    """Return whether this node sees the token, and write an answer beside it."""
    try:
        Path(f"{token}.{node}").write_text(content)
        return Path(token).read_text() == content
    except OSError:
        return False


def _missing(known: list[tuple[str, int]], node: str) -> str:
    """Return the first file that this node does not see, or with another size."""
    for path, size in known:
        if not Path(path).is_file() or Path(path).stat().st_size != size:
            return path
    return ""


def _start(ray: ModuleType) -> None:
    address = os.environ.get("RAY_ADDRESS") or ON_THIS_MACHINE
    how = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    if address != ON_THIS_MACHINE:
        _connect(ray, address, how)
        return
    try:
        # The address "local" never connects to a cluster that somebody else runs on this machine.
        with _silent():
            ray.init(ON_THIS_MACHINE, **how)
    except Exception as error:  # Ray raises no narrower class
        ray.shutdown()
        again = f"trying again, for {PATIENCE} seconds at most"
        print(f"Ray has not started ({show(error)}); {again}.", file=sys.stderr)
        _start_patiently(ray, how)


def _start_patiently(ray: ModuleType, how: dict) -> None:
    try:
        with _patience(ray), _silent():
            ray.init(ON_THIS_MACHINE, **how)
    except Exception as error:
        ray.shutdown()
        fault = f"Ray does not start on this machine ({show(error)})"
        remedy = "free memory and disk, see /tmp/ray/session_latest/logs, or use engine=local"
        raise InputError(f"{fault}; {remedy}") from error


def _connect(ray: ModuleType, address: str, how: dict) -> None:
    try:
        if address != "auto":  # Ray would try for ten minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        with mock.patch.dict(os.environ, {WAIT_FOR_SERVER: "2"}), _silent():
            ray.init(address, **how)
    except (OSError, RuntimeError, ValueError, OverflowError, AssertionError):
        remedy = "give host:port of its head node, run `ray start --address=host:port` here, set"
        remedy += " RAY_AUTH_MODE=token if the cluster wants a token, or unset RAY_ADDRESS"
        fault = f"RAY_ADDRESS={show(address)}: no cluster of Ray is reached from this machine"
        raise InputError(f"{fault}; {remedy}") from None


@contextmanager
def _patience(ray: ModuleType) -> Iterator[None]:
    """Let a start of Ray take `PATIENCE` seconds.

    The time for its server is an environment variable. The 30 seconds for its node are written
    into Ray's code (`raylet_start_wait_time_s` in ray 2.60), so we wait inside what it waits for.
    """
    get_node = ray._private.services.get_node

    def get_node_patiently(*arguments: object) -> dict:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    with (
        mock.patch.dict(os.environ, {WAIT_FOR_SERVER: str(PATIENCE)}),
        mock.patch.object(ray._private.services, "get_node", get_node_patiently),
    ):
        yield


@contextmanager
def _silent() -> Iterator[None]:
    """Swallow what Ray's own processes write to stderr: that they heed `QUIET`."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _keeping_signals() -> Iterator[None]:
    """Give back the handler of SIGTERM, which `ray.init` replaces by one that exits with 15."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
