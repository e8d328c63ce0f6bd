"""The report and the notebooks of a hostile data set: nothing runs, nothing is loaded."""

import html
import re
import shutil
import subprocess

import nbformat
import pytest

from toxlib.__main__ import main
from toxlib.runs.report import POLICY, write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
ALLOWED = "\n\r\t"


@pytest.fixture
def browse(tmp_path, listener):
    """Return a function that opens a page: its title, what it asked for, the console's lines."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")

    def open_page(path):
        listener.paths.clear()
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
        options += ["--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000"]
        command = [CHROMIUM, *options, "--dump-dom", path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        title = html.unescape(re.search("<title>(.*?)</title>", done.stdout)[1])
        console = [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]
        return title, list(listener.paths), console

    return open_page


@pytest.fixture(params=["finished", "blended", "audited", "audited_blend"])
def hostile_run(request):
    """Return the folder of a run or blend of the hostile data set, also with its audit."""
    return request.getfixturevalue(request.param)


def test_the_report_runs_nothing_and_loads_nothing(hostile_run, browse):
    assert browse(hostile_run / "report.html") == (f"toxlib: {hostile_run.name}", [], [])


def test_an_unescaped_page_would_be_noticed(browse, listener, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        f"<title>t</title><img src={listener.url}/a><script>document.title='ran'; x()</script>"
    )
    title, paths, console = browse(page)
    assert (title, paths) == ("ran", ["/a"])
    assert "x is not defined" in "".join(console)


def test_the_policy_holds_where_escaping_fails(browse, listener, tmp_path):
    """Should hostile HTML ever reach the page, the browser refuses it and says so."""
    attack = f"<img src={listener.url}/a onerror=\"document.title='ran'\">"
    attack += f"<script>document.title='ran'</script><iframe src={listener.url}/b></iframe>"
    output = nbformat.v4.new_output("display_data", {"text/html": attack})
    cell = nbformat.v4.new_code_cell("1", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    write_report(tmp_path, ["a"])
    title, paths, console = browse(tmp_path / "report.html")
    assert (title, paths) == (f"toxlib: {tmp_path.name}", [])
    assert console


def test_the_page_has_a_policy_and_no_script(hostile_run):
    page = (hostile_run / "report.html").read_text("utf-8")
    head = page[: page.index("<title>")]
    assert POLICY in head
    tags = " ".join(re.findall("<[^>]*>", page))  # text is left out: in it, < and > are escaped
    assert not re.search(r"<(script|iframe|base|link|object|embed|svg)\b|\son\w+=", tags)
    assert not re.search(r"(src|href)=[\"']?(http|javascript)", tags)


def test_the_page_begins_with_its_summary_as_text(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "a.ipynb")
    write_report(tmp_path, ["a"])
    assert "Summary" not in (tmp_path / "report.html").read_text()
    write_report(tmp_path, ["a"], ["<b>x</b> [y](javascript:z)", "and more"])
    page = (tmp_path / "report.html").read_text()
    assert "Summary" in page
    assert "&lt;b&gt;x&lt;/b&gt; [y](javascript:z)\nand more" in page


def test_names_of_folders_are_escaped(tmp_path):
    folder = tmp_path / "<b>\x1b[31m"
    folder.mkdir()
    nbformat.write(nbformat.v4.new_notebook(), folder / "a.ipynb")
    write_report(folder, ["a"])
    assert r"<title>toxlib: &lt;b&gt;\x1b[31m</title>" in (folder / "report.html").read_text()


def test_notebooks_show_what_cannot_be_seen(hostile_run):
    """No output of a cell holds a control character, such as those of terminals and of bidi."""
    for path in hostile_run.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", ()):
                texts = [output.get("text", ""), *output.get("data", {}).values()]
                shown = "".join(map(str, texts)).replace("\x1b[A", "")  # bars in two lines
                assert not hidden(shown), (path.name, cell.source)


def test_the_console_shows_what_cannot_be_seen(hostile_dir, capsys):
    assert main(["data", "--data-dir", str(hostile_dir)]) == 0
    out = capsys.readouterr().out
    assert r"\x1b[31m\u202e<img" in out
    assert not hidden(out)


def hidden(text):
    """Return the characters of a text that cannot be seen, other than white space."""
    return {c for c in text if not c.isprintable() and c not in ALLOWED}
