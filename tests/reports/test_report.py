"""The report, and the notebooks, of a hostile data set: nothing runs, nothing is loaded."""

import re
from dataclasses import replace

import nbformat
import pandas as pd
import pytest
from browser import open_page

from toxlib.__main__ import main
from toxlib.reports.report import POLICY, write_report
from toxlib.reports.summary import ShownFigure, Summary

ALLOWED = "\n\r\t"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
SUMMARY = Summary(
    title="toxlib: run",
    warning="",
    score="0.9720",
    score_meaning="mean column-wise AUC",
    about_score=["Out-of-fold."],
    others=[("lr", "0.95", "+0.02")],
    cautions=["Few positives."],
    figures=[ShownFigure(PIXEL, "A figure.")],
    facts={"Comments": "10"},
    command="python -m toxlib run",
)


@pytest.fixture(params=["executed", "executed_blend", "audited"])
def hostile_run(request):
    """Return the folder of a run or blend of the hostile data set, also with its audit."""
    return request.getfixturevalue(request.param)


def write_notebook(folder, *cells):
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), folder / "a.ipynb")


def stream(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


def test_the_report_runs_nothing_and_loads_nothing(hostile_run, listener):
    listener.paths.clear()
    page = open_page(hostile_run / "report.html")
    dom = page.dom
    assert dom.title.text == dom.h1.text == f"toxlib: {hostile_run.name}"
    assert (page.requested, page.console, listener.paths) == ([], [], [])
    assert not dom.select("script, iframe, base, link, object, embed, svg")
    assert all(image["src"].startswith("data:image/png;base64,") for image in dom.select("img"))
    assert not [
        tag for tag in dom.find_all(True) if any(key.startswith("on") for key in tag.attrs)
    ]
    assert not dom.select("body > :not(main)")
    assert not dom.select("details details, details[open], main > :not(header, nav, div)")


def test_the_report_shows_each_thing_once(hostile_run):
    """A summary, links that lead somewhere, folded code, and no bars."""
    page = open_page(hostile_run / "report.html")
    dom = page.dom
    names = {tag.get("id") for tag in dom.find_all(True)}
    links = [link["href"] for link in dom.select("nav a")]
    assert len(links) > 10
    assert {link.removeprefix("#") for link in links} <= names
    code = [element.text for element in dom.select("details.code pre")]
    assert len(code) == len(dom.select(".jp-CodeCell"))
    lines = [line for text in code for line in text.splitlines()]
    assert lines.count("import toxlib") <= 1
    given = [line for line in lines if line.startswith("run_dir")]
    assert given
    assert len(given) == len(set(given))  # the audit is of a copy of the folder
    assert len(dom.select("header figure img")) == 3
    assert "python -m toxlib" in dom.select_one("header pre").text
    assert not re.search(r"\d%\||KeyboardInterrupt|Traceback", dom.text)


def test_hostile_texts_stay_texts_everywhere(hostile_texts, listener, tmp_path):
    """In each text of the summary, in tables and in streams, also without pandas' escaping."""
    listener.paths.clear()
    table = nbformat.v4.new_output(
        "display_data", {"text/html": pd.DataFrame({"text": hostile_texts}).to_html()}
    )
    outputs = [
        table,
        *(stream(text, name) for text in hostile_texts for name in ("stdout", "stderr")),
    ]
    write_notebook(tmp_path, nbformat.v4.new_code_cell("\n".join(hostile_texts), outputs=outputs))
    everything = " ".join(hostile_texts)
    summary = replace(
        SUMMARY,
        **dict.fromkeys(("title", "warning", "score", "score_meaning", "command"), everything),
        about_score=hostile_texts,
        others=[(everything,) * 3],
        cautions=hostile_texts,
        figures=[ShownFigure(PIXEL, everything + "\" onload=\"document.title='ran'")],
        facts={everything: everything},
    )
    write_report(tmp_path, ["a"], summary)
    page = open_page(tmp_path / "report.html")
    dom = page.dom
    assert dom.title.text == f"toxlib: {tmp_path.name}"
    assert (page.requested, page.console, listener.paths) == ([], [], [])
    assert dom.h1.text == everything
    assert [item.text for item in dom.select("header li")] == hostile_texts
    assert len(dom.select("header")) == len(dom.select("main")) == 1
    assert len(dom.select("main > .jp-Cell")) == 2
    assert not dom.select("script, iframe, base, link, svg, main a:not([href^='#'])")


def test_an_unescaped_page_would_be_noticed(listener, tmp_path):
    path, listener.paths[:] = tmp_path / "page.html", []
    path.write_text(
        f"<title>t</title><img src={listener.url}/a><script>document.title='ran'; x()</script>"
    )
    page = open_page(path)
    assert page.dom.title.text == "ran"
    assert (page.requested, listener.paths) == ([f"{listener.url}/a"], ["/a"])
    assert "x is not defined" in "".join(page.console)


def test_the_policy_holds_where_escaping_fails(listener, tmp_path):
    """Should hostile HTML ever reach the page, the browser refuses it and says so."""
    listener.paths.clear()
    attack = f"<img src={listener.url}/a onerror=\"document.title='ran'\">"
    attack += f"<script>document.title='ran'</script><iframe src={listener.url}/b></iframe>"
    output = nbformat.v4.new_output("display_data", {"text/html": attack})
    write_notebook(tmp_path, nbformat.v4.new_code_cell("1", outputs=[output]))
    write_report(tmp_path, ["a"])
    page = open_page(tmp_path / "report.html")
    assert page.dom.title.text == f"toxlib: {tmp_path.name}"
    assert (page.requested, listener.paths) == ([], [])
    assert page.console


def test_the_page_has_a_policy_and_no_script(hostile_run):
    page = (hostile_run / "report.html").read_text("utf-8")
    head = page[: page.index("<title>")]
    assert POLICY in head
    tags = " ".join(re.findall("<[^>]*>", page))  # text is left out: in it, < and > are escaped
    assert not re.search(r"<(script|iframe|base|link|object|embed|svg)\b|\son\w+=", tags)
    assert not re.search(r"(src|href)=[\"']?(http|javascript)", tags)


def test_only_warnings_are_left_of_what_was_written_to_stderr(tmp_path):
    bar = "\rTrain:   0%|      | 0/9 [00:00<?, ?step/s]\rTrain:  33%|##    | 3/9 [00:01<00:02]"
    cell = nbformat.v4.new_code_cell("train()", outputs=[stream(bar, "stderr")])
    write_notebook(tmp_path, cell)
    write_report(tmp_path, ["a"])
    assert "Train:" not in (tmp_path / "report.html").read_text("utf-8")
    warning = "a.py:3: UserWarning: AUC is undefined\n"
    cell.outputs += [stream(warning + bar, "stderr"), stream("\n", "stderr")]
    write_notebook(tmp_path, cell)
    write_report(tmp_path, ["a"])
    page = (tmp_path / "report.html").read_text("utf-8")
    assert warning in page
    assert "Train:" not in page


def test_the_page_can_be_dark_and_be_printed(tmp_path):
    write_notebook(tmp_path, nbformat.v4.new_code_cell("1"))
    write_report(tmp_path, ["a"], SUMMARY)
    pdf = tmp_path / "page.pdf"
    open_page(tmp_path / "report.html", f"--print-to-pdf={pdf}")
    assert pdf.read_bytes().startswith(b"%PDF")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert '<style media="screen and (prefers-color-scheme: dark)">' in page
    assert "@media print" in page


def test_names_of_folders_are_escaped(tmp_path):
    folder = tmp_path / "<b>\x1b[31m"
    folder.mkdir()
    write_notebook(folder)
    write_report(folder, ["a"])
    assert r"<title>toxlib: &lt;b&gt;\x1b[31m</title>" in (folder / "report.html").read_text()


def test_notebooks_show_what_cannot_be_seen(hostile_run):
    """No output of a cell holds a control character, such as those of terminals and of bidi."""
    for path in hostile_run.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", ()):
                texts = [output.get("text", ""), *output.get("data", {}).values()]
                assert not hidden("".join(map(str, texts))), (path.name, cell.source)


def test_the_console_shows_what_cannot_be_seen(hostile_dir, capsys):
    assert main(["data", "--data-dir", str(hostile_dir)]) == 0
    out = capsys.readouterr().out
    assert r"\x1b[31m\u202e<img" in out
    assert not hidden(out)


def hidden(text):
    """Return the characters of a text that cannot be seen, other than white space."""
    return {c for c in text if not c.isprintable() and c not in ALLOWED}
