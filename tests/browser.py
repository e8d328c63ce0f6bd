"""Open a page in headless Chromium: what it became, what it said, and what it asked for."""

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr"),
    *("--v=0", "--disable-background-networking", "--disable-component-update"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing leaves this machine
    "--virtual-time-budget=5000",
)
OF_THE_BROWSER = "not an origin"  # who began a request that no page has made


@dataclass(frozen=True)
class Page:
    """A page as the browser had it after its scripts had run."""

    html: str
    console: list[str]
    """The messages of the console, such as errors of scripts and what a policy has refused."""
    requested: list[str]
    """The addresses that the page asked for besides its own; data: addresses are left out."""

    @property
    def dom(self) -> BeautifulSoup:
        """The page as a tree, for `dom.select("table td")`."""
        return BeautifulSoup(self.html, "html.parser")


def open_page(address: str | Path, *options: str) -> Page:
    """Open a file or an http address in Chromium; skip the test where there is none.

    Further `options` of the command line may be given, such as "--print-to-pdf=page.pdf".
    """
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    url = address.resolve().as_uri() if isinstance(address, Path) else address
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        log = Path(profile) / "net.json"
        own = f"--user-data-dir={profile}", f"--log-net-log={log}"
        command = [CHROMIUM, *OPTIONS, *own, *options, "--dump-dom", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        requested = _requests(json.loads(log.read_text("utf-8")))
    console = [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]
    return Page(done.stdout, console, requested)


def _requests(log: dict) -> list[str]:
    """Return the addresses of the requests in a net log that a page has begun."""
    start = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    begun = [event.get("params", {}) for event in log["events"] if event["type"] == start]
    pages = [entry for entry in begun if entry.get("initiator") != OF_THE_BROWSER]
    return [entry["url"] for entry in pages if not entry.get("url", "data:").startswith("data:")]
