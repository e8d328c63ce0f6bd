"""Four hundred labels: a whole run in bounded memory, and a report that can still be read."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

LABELS, ROWS = 400, 150
GIGABYTES = 3


@pytest.fixture
def wide_dir(small_dir, tmp_path):
    """Write the small data with 400 random labels, of which the last ones are the commonest."""
    rng, rates = np.random.default_rng(0), np.linspace(0.03, 0.3, LABELS)
    names = [f"label_{j}" for j in range(LABELS)]
    folder = tmp_path / "wide"
    folder.mkdir()
    for path in small_dir.glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)[:ROWS]
        kept = table[[name for name in ("id", "comment_text") if name in table]]
        drawn = (rng.random((len(kept), LABELS)) < rates).astype(int)
        labels = pd.DataFrame(drawn, columns=names)
        table = kept if path.stem == "test" else pd.concat([kept, labels], axis=1)
        table.to_csv(folder / path.name, index=False)
    return folder


@pytest.mark.slow
def test_a_run_with_400_labels(wide_dir, tiny_overrides, tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "toxlib", "run", "--data-dir", wide_dir, "--run-dir", folder]
    process = subprocess.Popen([*map(str, command), "--set", *tiny_overrides, "lengthen_to=0"])
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    assert used.ru_maxrss < GIGABYTES * 1e6  # in kilobytes, of the process that used most
    page = (folder / "report.html").read_text("utf-8")
    assert page.count("Shown are the 30 commonest of 400 labels.") >= 4
    assert "label_399" in page
    tables = [part.partition("</table>")[0] for part in page.split("<table")[1:]]
    assert max(table.count("<tr") for table in tables) < 70
    assert max(table.partition("</thead>")[0].count("<th") for table in tables) < 30
    submission = pd.read_csv(folder / "submission.csv")
    assert submission.shape[1] == 1 + LABELS
