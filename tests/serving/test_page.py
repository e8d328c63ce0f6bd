"""The page of the server, in a real browser."""

import os
import subprocess
import sys
from urllib.parse import quote

import pytest
from browser import open_page

from toxlib import coloured_text, files

pytest.importorskip("fastapi", reason="needs requirements-serve.txt")


@pytest.fixture(scope="module")
def address(finished):
    command = [sys.executable, "-m", "toxlib", "serve", str(finished), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(files.REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process.stdout.readline().split(" on ")[1].split()[0]
        process.terminate()


def test_words_are_marked_where_notebooks_mark_them():
    script = (files.REPOSITORY / "toxlib" / "serving" / "page" / "page.js").read_text()
    for name in ("SHOWN_FROM", "WRITTEN_FROM", "LEAST"):
        assert f"{name} = {getattr(coloured_text, name)}" in script


def test_a_hostile_text_is_scored_and_shown_as_text(address):
    text = "<img src=x onerror=\"document.title='ran'\"> 😀 you idiot"
    page = open_page(f"{address}/#{quote(text)}")
    scores = [row.get_text(" ", strip=True) for row in page.dom.select("#scores tr")]
    assert len(scores) == 6
    assert scores[0].startswith("toxic 0.")
    words = page.dom.select_one("#words").get_text()
    assert "😀 you idiot" in words
    assert not page.dom.select("#words img")
    assert page.dom.title.get_text() == "toxlib"
    assert page.console == []
    assert all(url.startswith(address) for url in page.requested)


def test_a_mistake_is_told_on_the_page(address):
    page = open_page(f"{address}/#%20")
    assert page.dom.select_one("#result").has_attr("hidden") or page.dom.select("#scores tr")
    page = open_page(f"{address}/#{'a' * 20_001}")
    assert "at most 20000 are read" in page.dom.select_one("#error").get_text()
