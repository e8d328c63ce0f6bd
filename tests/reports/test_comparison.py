"""Comparing runs: which ones belong together, what is measured, and the page of it."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import toxlib
from toxlib import files
from toxlib.__main__ import main
from toxlib.errors import InputError
from toxlib.files import write_json
from toxlib.reports import comparison, comparison_page
from toxlib.runs.predictions import SET_ASIDE, TEST, VALIDATION

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
HOSTILE_NAME = "<img src=x onerror=\"document.title='ran'\">\u202e$x$"
STEPS = [{"epoch": e / 10, "loss": 0.7 / (1 + e)} for e in range(1, 11)]
SCORED = {"epoch": 1.0, "eval_loss": 0.2, "eval_mean_columnwise_auc": 0.9}


def _finished(data_dir, folder, noise, overrides="folds=3"):
    """Make a run folder as the notebooks leave it, with invented predictions."""
    run = toxlib.open_run("quick", str(data_dir), str(folder), overrides)
    run.claim()
    rng, own = np.random.default_rng(0), run.predictions()
    for fold in run.split.folds:
        for kind in (VALIDATION, SET_ASIDE, TEST):
            truth = np.zeros((len(run.test_texts), len(run.label_names)))
            if kind != TEST:
                truth = run.tables.labels[own.rows(kind, fold)]
            if len(truth):
                scores = np.clip(0.4 * truth + noise * rng.random(truth.shape), 0, 1)
                own.write(kind, scores, fold)
    own.join_folds()
    history = [*STEPS, SCORED] if run.recipe.folds == 1 else STEPS
    write_json(own.done_path(0), {"trained_by": {}, "cost": {}, "history": history})
    cost = {"peak_memory_gb": 1.5, "model_seconds": 75}
    write_json(run.path("metrics.json"), {"cost": cost})
    run.release()
    return run.folder


@pytest.fixture
def browse(tmp_path, listener):
    """Return a function that opens a page: its DOM, what it asked for, the console's lines."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")

    def open_page(path):
        listener.paths.clear()
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
        options += [f"--user-data-dir={tmp_path / 'browser'}", "--virtual-time-budget=5000"]
        command = [CHROMIUM, *options, "--v=0", "--dump-dom", path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        console = [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]
        return done.stdout, list(listener.paths), console

    return open_page


@pytest.fixture(scope="module")
def many(small_dir, hostile_dir, tmp_path_factory):
    """Make a folder of runs: three that belong together, others, a hostile and unfinished one."""
    root = tmp_path_factory.mktemp("outputs")
    _finished(small_dir, root / "poor", 0.9)
    _finished(small_dir, root / "best" / "minilm", 0.5, "folds=3 learning_rate=1e-4")
    _finished(small_dir, root / HOSTILE_NAME, 0.7, ["folds=3", f"run_name={HOSTILE_NAME}"])
    _finished(small_dir, root / "single", 0.9, "folds=1")
    _finished(hostile_dir, root / "other", 0.9)
    (_finished(small_dir, root / "killed", 0.9) / "metrics.json").unlink()
    return root


def test_the_better_run_and_its_gain(small_dir, tmp_path):
    poor = _finished(small_dir, tmp_path / "poor", 0.9)
    good = _finished(small_dir, tmp_path / "good", 0.5)
    group = comparison.compare_runs([poor, good])
    with pytest.raises(InputError, match="given twice"):
        comparison.compare_runs([poor, poor])
    table = group.table
    assert table.loc["poor", "AUC minus reference"] == 0
    assert table.loc["good", "AUC minus reference low"] > 0
    assert table.loc["good", "error ÷ reference's high"] < 1
    assert table.loc["good", "rows"] == 240
    assert table.loc["good", "peak memory (GB)"] == 1.5
    assert "1 min 15 s" in comparison.format_comparison([group])
    turned = comparison.compare_runs([poor, good], reference=good)
    assert turned.reference == "good"
    assert turned.table.loc["poor", "AUC minus reference high"] < 0


def test_other_folds_are_compared_on_common_rows(small_dir, tmp_path):
    folds = _finished(small_dir, tmp_path / "folds", 0.9)
    single = _finished(small_dir, tmp_path / "single", 0.9, "folds=1")
    table = comparison.compare_runs([folds, single]).table
    assert table.loc["folds", "rows"] == table.loc["single", "rows"] < 60


def test_what_cannot_be_compared_is_refused(small_dir, sample_dir, tmp_path):
    first = _finished(small_dir, tmp_path / "first", 0.9)
    other = _finished(sample_dir, tmp_path / "other", 0.9, "folds=1")
    with pytest.raises(InputError, match="made from other data"):
        comparison.compare_runs([first, other])
    (first / "metrics.json").write_text('{"cost": {"model_seconds": null}}')
    with pytest.raises(InputError, match=r"metrics\.json: damaged"):
        comparison.compare_runs([first])
    (first / "metrics.json").unlink()
    with pytest.raises(InputError, match="no such file; run 03_train again"):
        comparison.compare_runs([first])
    with pytest.raises(InputError, match=r"no run\.json"):
        comparison.compare_runs([tmp_path])


def test_other_labels_are_not_compared(small_dir, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("train.csv", "test.csv"):
        shutil.copy(small_dir / name, tmp_path / "data")
    runs = [
        _finished(
            tmp_path / "data", tmp_path / "runs" / name, 0.9, f"folds=3 label_columns={name}"
        )
        for name in ("toxic,threat", "toxic,insult")
    ]
    with pytest.raises(InputError, match="its labels are not those of"):
        comparison.compare_runs(runs)
    groups, left_out = comparison.compare_all(tmp_path / "runs")
    assert [len(group.runs) for group in groups] == [1, 1]
    assert left_out == []


def test_data_that_has_changed_is_noticed(small_dir, tmp_path):
    data = shutil.copytree(small_dir, tmp_path / "data")
    folder = _finished(data, tmp_path / "run", 0.9, "folds=1")
    (data / "test_labels.csv").unlink()
    with pytest.raises(InputError, match="have changed since"):
        comparison.compare_runs([folder])
    with pytest.raises(InputError, match=r"no finished run to compare \(.*have changed since"):
        comparison.compare_all(tmp_path)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"recipe": {"colour": "red"}}))
    with pytest.raises(InputError, match="not written by this version"):
        comparison.compare_runs([folder])


def test_all_runs_are_found_and_grouped(many):
    groups, left_out = comparison.compare_all(many)
    assert list(groups[0].runs) == ["best/minilm", HOSTILE_NAME, "poor"]
    assert {tuple(group.runs) for group in groups[1:]} == {("single",), ("other",)}
    assert [reason.split(": ")[:2] for reason in left_out] == [
        [str(many / "killed"), "not finished; the command that began it goes on with it"]
    ]
    assert (groups[0].table["AUC minus reference high"][1:] < 0).all()
    chosen, _ = comparison.compare_all(many, many / "poor")
    assert chosen[0].reference == "poor"
    with pytest.raises(InputError, match="not among the finished runs"):
        comparison.compare_all(many, many / "killed")


def test_only_recipe_values_that_differ_are_shown(many):
    group = comparison.compare_all(many)[0][0]
    assert comparison.recipe_differences(group) == {
        "learning_rate": ["0.0001", "0.0005", "0.0005"],
        "run_name": ["", HOSTILE_NAME, ""],
    }


def test_the_warning_counts_the_runs(many):
    groups = comparison.compare_all(many)[0]
    assert comparison.optimism(groups[0]).startswith("3 runs are compared on the same")
    assert "epoch" not in comparison.optimism(groups[0])
    assert comparison.optimism(groups[1]) == ""


def test_without_names_the_command_takes_all_runs(many, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "outputs", lambda: many)
    assert main(["compare", "-o", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"left out: {many / 'killed'}: not finished" in out
    assert "3 runs on 240 validation rows" in out
    assert "\u202e" not in out
    table = pd.read_csv(tmp_path / "comparison.csv", index_col="run")
    assert table["group"].value_counts().to_dict() == {1: 3, 2: 1, 3: 1}
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.csv", "comparison.html"}


def test_the_page_is_escaped_and_allows_its_own_script_alone(many):
    page = comparison_page.render(many, *comparison.compare_all(many))
    assert HOSTILE_NAME not in page
    assert "&lt;img src=x onerror=" in page
    assert "\u202e" not in page
    script = re.search("<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    content = html.unescape(re.search('Security-Policy" content="([^"]*)"', page)[1])
    assert content.startswith(f"default-src 'none'; script-src 'sha256-{digest}';")
    assert "unsafe" not in content
    assert not re.search(r"<(iframe|base|link|object|embed)\b|\sstyle=", page)
    addresses = re.findall(r'(?:src|srcset|href)="([^"]*)"', page)
    assert all(address.startswith("data:image/png;base64,") for address in addresses)


def test_a_run_links_to_its_report(small_dir, tmp_path):
    folder = _finished(small_dir, tmp_path / "outputs" / "javascript:x", 0.9)
    (folder / "report.html").touch()
    page = comparison_page.render(tmp_path / "page", [comparison.compare_runs([folder])])
    assert 'href="../outputs/javascript%3Ax/report.html"' in page


def test_the_browser_shows_and_sorts_the_page(many, browse, tmp_path, capsys):
    page = tmp_path / "comparison.html"
    comparison_page.print_comparison(tmp_path, *comparison.compare_all(many))
    dom, paths, console = browse(page)
    assert (paths, console) == ([], [])
    assert "<title>Comparison of runs</title>" in dom
    assert dom.count("<button>") == 3 * 8
    assert _names(dom) == ["best/minilm", r"<img src=x onerror=", "poor"]
    # A script of the test clicks; the copy's policy allows it beside the page's own.
    click = (
        "document.querySelectorAll('table.runs')[0].tHead.rows[0].cells[%d].children[0].click();"
    )
    for clicks, expected in (
        ([1], ["poor", "<img src=x onerror=", "best/minilm"]),
        ([1, 1], ["best/minilm", "<img src=x onerror=", "poor"]),
        ([0], ["<img src=x onerror=", "best/minilm", "poor"]),
    ):
        dom, paths, console = browse(_with_script(page, "".join(click % n for n in clicks)))
        assert _names(dom) == expected
        assert (paths, console) == ([], [])


def test_the_policy_refuses_other_scripts(many, browse, listener, tmp_path, capsys):
    """Should escaping fail, the browser neither runs nor loads anything."""
    comparison_page.print_comparison(tmp_path, *comparison.compare_all(many))
    attack = f"<img src={listener.url}/a onerror=\"document.title='ran'\">"
    attack += "<script>document.title='ran'</script><p style='color:red'>"
    page = tmp_path / "comparison.html"
    page.write_text(page.read_text("utf-8").replace("<h1>", f"{attack}<h1>"), "utf-8")
    dom, paths, console = browse(page)
    assert "<title>Comparison of runs</title>" in dom
    assert paths == []
    assert console


def _names(dom):
    """Return the beginnings of the names in the first table, in their order."""
    body = re.search(r"<tbody>(.*?)</tbody>", dom, re.DOTALL)[1]
    names = re.findall(r'<th scope="row">(.*?)\s*<small>', body, re.DOTALL)
    return [html.unescape(name).split('"')[0] for name in names]


def _with_script(page, script):
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = page.read_text("utf-8").replace("script-src ", f"script-src 'sha256-{digest}' ")
    assert digest in text
    copy = page.with_name("copy.html")
    copy.write_text(text.replace("</body>", f"<script>{script}</script></body>"), "utf-8")
    return copy
