"""Measuring by rows, processes and actors: what a command takes is added up over its processes."""

import sys

import pytest

from toxlib.benchmarks import scale
from toxlib.benchmarks.scale import format_scale, measure

SPIN = "import time\nend = time.process_time() + 1\nwhile time.process_time() < end: pass"
CHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SPIN!r}])"


@pytest.mark.parametrize("code", [SPIN, CHILD])
def test_cpu_seconds_of_all_processes_are_counted(code):
    taken = measure([sys.executable, "-c", code])
    assert 0.5 < taken["cpu_seconds"] < 3
    assert taken["seconds"] > 0.9
    assert taken["bytes"] > 1e6


def test_a_command_that_fails_is_not_measured():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        measure([sys.executable, "-c", "1 / 0"])


def test_rates_are_per_second_and_cpu_second():
    row = {"what": "score", "rows": 100, "seconds": 4.0, "cpu_seconds": 5.0, "bytes": 2e9}
    rates = format_scale([row]).splitlines()[1].split()
    assert rates == ["score", "100", "4.00", "5.00", "25.00", "20.00", "2.00"]


@pytest.mark.slow
def test_the_measurement_end_to_end(checkpoints, small_dir, tmp_path, monkeypatch, capsys):
    """Without Ray, whose start takes as long as all the rest."""
    monkeypatch.setattr(scale, "QUICK_SIZES", (30, 300))
    trained = f"epochs=1 checkpoint={checkpoints['bert']} lengthen_to=0 max_length=48"
    monkeypatch.setattr(scale, "TRAINED", trained)
    monkeypatch.setattr(scale, "find_spec", lambda name: None)
    scale.bench_scale(str(small_dir), tmp_path, quick=True)
    printed = capsys.readouterr().out
    assert "train, 2 process(es)" in printed
    assert "score 300 rows" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["scale.json"]
