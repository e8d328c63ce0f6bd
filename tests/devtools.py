"""Drive a page in headless Chromium by its DevTools protocol: run expressions in it, and wait."""

import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import websocket
from browser import CHROMIUM, OPTIONS

HERE = "127.0.0.1"


class Tab:
    """A page that is open in a browser."""

    def __init__(self, address: str):
        self._socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
        self._number, self.requested, self.errors = 0, [], []
        for domain in ("Runtime", "Page", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **values: object) -> dict:
        """Send a command and return its answer; note requests and errors that come meanwhile."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": values}
        self._socket.send(json.dumps(command))
        while (message := json.loads(self._socket.recv())).get("id") != self._number:
            self._note(message["method"], message["params"])
        return message["result"]

    def value(self, expression: str) -> object:
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        how = {"awaitPromise": True, "returnByValue": True}
        return self.call("Runtime.evaluate", expression=expression, **how)["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 120) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, f"still not true: {expression}"
            time.sleep(0.5)

    def _note(self, method: str, values: dict) -> None:
        if method == "Network.requestWillBeSent":
            self.requested.append(values["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(values["exceptionDetails"]["text"])


@contextmanager
def open_tab(address: str) -> Iterator[Tab]:
    """Open an address; skip the test where there is no Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    options = [option for option in OPTIONS if "virtual-time" not in option]
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        own = f"--user-data-dir={profile}", "--remote-debugging-port=0", "--window-size=1300,1500"
        command = [CHROMIUM, *options, *own, "about:blank"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                tab = Tab(_address_of_page(Path(profile) / "DevToolsActivePort"))
                tab.call("Page.navigate", url=address)
                yield tab
            finally:
                process.terminate()


def _address_of_page(port_file: Path) -> str:
    """Return the DevTools address of the browser's page, whose port it writes into a file."""
    end = time.monotonic() + 60
    while not port_file.exists() or not port_file.read_text():
        assert time.monotonic() < end, "Chromium does not start"
        time.sleep(0.2)
    port = port_file.read_text().splitlines()[0]
    with urllib.request.urlopen(f"http://{HERE}:{port}/json") as answer:
        pages = [page for page in json.load(answer) if page["type"] == "page"]
    return pages[0]["webSocketDebuggerUrl"]
