import pandas as pd
import pytest

from toxlib.benchmarks import serving

pytest.importorskip("fastapi", reason="needs requirements-serve.txt")


def test_all_requests_are_answered(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "CLIENTS", (1, 4))
    monkeypatch.setattr(serving, "SECONDS_QUICK", 1)
    serving.bench_serving(str(finished), tmp_path, quick=True)
    table = pd.read_csv(tmp_path / "serving.csv", index_col="clients")
    assert list(table.index) == [1, 4]
    assert (table["answered"] > 2).all()
    assert (table["failed"] == 0).all()
    assert (table["p50 (s)"] <= table["p95 (s)"]).all()
