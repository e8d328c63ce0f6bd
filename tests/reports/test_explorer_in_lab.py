"""The threshold explorer of notebook 04, moved by hand in a real JupyterLab."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from devtools import open_tab

from toxlib import files
from toxlib.runs.run import reopen

SLIDER = "document.querySelector('.widget-slider .widget-readout').textContent"
CHOOSE = """(() => {
  const box = document.querySelector('.widget-dropdown select');
  box.selectedIndex = 1;
  box.dispatchEvent(new Event('change', {bubbles: true}));
})()"""


@pytest.fixture
def lab(finished, tmp_path):
    """Serve JupyterLab with notebook 04 for a finished run; yield the notebook's address."""
    notebook = nbformat.read(files.REPOSITORY / "notebooks" / "04_thresholds.ipynb", 4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    cell.source = cell.source.replace('run_dir: str = ""', f"run_dir: str = {str(finished)!r}")
    nbformat.write(notebook, tmp_path / "04.ipynb")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        f"--port={port}",
    ]
    command += ["--ServerApp.token=", "--expose-app-in-browser", f"--notebook-dir={tmp_path}"]
    own = {"PYTHONPATH": str(files.REPOSITORY), "JUPYTER_CONFIG_DIR": str(tmp_path / "config")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=os.environ | own, **quiet) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, process)
            yield f"{address}/lab/tree/04.ipynb"
        finally:
            process.terminate()


def _wait_for(address, process):
    for _ in range(240):
        assert process.poll() is None, "JupyterLab does not start"
        try:
            with urllib.request.urlopen(f"{address}/api/status") as answer:
                return json.load(answer)
        except OSError:
            time.sleep(0.5)
    raise AssertionError("JupyterLab does not answer")


@pytest.mark.slow
def test_the_explorer_follows_its_controls_in_jupyterlab(lab, finished):
    thresholds = json.loads((finished / "thresholds.json").read_text())
    names = reopen(finished).label_names
    with open_tab(lab) as tab:
        tab.wait_for("!!window.jupyterapp && !!document.querySelector('.jp-Notebook')")
        # Before the kernel is ready, JupyterLab would ask which one to take.
        tab.wait_for(
            "fetch('/api/sessions').then(answer => answer.json())"
            ".then(all => all.some(one => one.kernel.execution_state === 'idle'))"
        )
        time.sleep(2)
        tab.value("jupyterapp.commands.execute('notebook:run-all-cells'), true")
        tab.wait_for("!!document.querySelector('.widget-slider .widget-readout')")
        assert float(tab.value(SLIDER)) == pytest.approx(
            thresholds[names[0]]["threshold"], abs=6e-4
        )
        tab.value(CHOOSE)
        second = f"{thresholds[names[1]]['threshold']:.3f}"
        tab.wait_for(f"{SLIDER} === '{second}'", 30)
        shown = "document.querySelector('.widget-vbox .jp-OutputArea').textContent"
        tab.wait_for(f"{shown}.includes('flagged per 1000')", 60)
        assert tab.value("document.title") != "ran"  # what the hostile comments try to set
        assert tab.errors == []
        outside = [
            url for url in tab.requested if not url.startswith((lab[:20], "data:", "blob:"))
        ]
        assert outside == []
