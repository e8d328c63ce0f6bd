"""Say where two runs part: in what they were given, in the machine, or only in their results."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file

from toxlib import files
from toxlib.data.text import shorten, visible
from toxlib.errors import InputError, show
from toxlib.runs.record import read_record
from toxlib.runs.run import fold_folders, run_folder

MOST_SHOWN = 300  # characters of a value
RESULTS = (
    "split.csv",
    "validation_predictions.csv",
    "test_predictions.csv",
    "weights.json",
    "calibration.json",
    "thresholds.json",
    "submission.csv",
)


def format_differences(a: Path, b: Path) -> str:
    """Return a line per difference between two run folders, causes before results."""
    a, b = run_folder(str(a), ""), run_folder(str(b), "")
    lines = _given(a, b) + _models(a, b) + _results(a, b)
    return "\n".join(lines or ["No difference: the same values, data, versions and results."])


def _given(a: Path, b: Path) -> list[str]:
    """Return the differences of recipe values, data, versions and machine."""
    lines = []
    records = [read_record(folder) for folder in (a, b)]
    records = [record | {"recipe": asdict(record["recipe"])} for record in records]
    for kind in ("recipe", "data_sha256", "members", "versions", "machine"):
        first, second = (record.get(kind, {}) for record in records)
        for key in {**first, **second}:
            # A rate is measured, so it always differs; what follows from it is the precision.
            if key != "gflops" and first.get(key) != second.get(key):
                values = (str(values.get(key, "nothing")) for values in (first, second))
                values = (visible(shorten(value, MOST_SHOWN)) for value in values)
                lines.append(f"{kind:<12} {key}: {' | '.join(values)}")
    return lines


def _models(a: Path, b: Path) -> list[str]:
    """Return, for each fold, how far the weights of the two models are apart."""
    folders = [fold_folders(folder, read_record(folder)["recipe"]) for folder in (a, b)]
    lines = []
    for fold, (first, second) in enumerate(zip(*folders, strict=False)):
        paths = [folder / "model" / "model.safetensors" for folder in (first, second)]
        if not any(path.exists() for path in paths):
            continue  # a blend has no models of its own
        try:
            weights = [load_file(path) for path in paths]
        except (OSError, SafetensorError):
            lines.append(f"{'model':<12} fold {fold}: missing or damaged in one of the runs")
            continue
        difference = _largest(*weights)
        if difference:
            lines.append(f"{'model':<12} fold {fold}: {difference}")
    return lines


def _results(a: Path, b: Path) -> list[str]:
    lines = []
    for name in RESULTS:
        first, second = a / name, b / name
        present = [path.is_file() for path in (first, second)]
        if not any(present):
            continue
        if not all(present):
            missing = (first, second)[present.index(False)]
            lines.append(f"{'result':<12} {name}: missing in {missing.parent}")
        elif files.sha256(first) != files.sha256(second):
            lines.append(f"{'result':<12} {name}: {_csv_difference(first, second)}")
    return lines


def _csv_difference(first: Path, second: Path) -> str:
    """Return how far two CSVs of ids and numbers are apart, or just that they differ."""
    if first.suffix != ".csv":
        return "differs"
    try:
        tables = [pd.read_csv(path, index_col=0, dtype={0: str}) for path in (first, second)]
        numbers = [
            {name: column.to_numpy(dtype=float) for name, column in table.items()}
            for table in tables
        ]
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{first} or {second}: not a table of numbers ({error})") from None
    if list(tables[0].index) != list(tables[1].index):
        return "other ids"
    return _largest(*numbers) or "the same numbers, written in another way"


def _largest(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> str:
    """Return the largest difference of two sets of named arrays as text; empty without one."""
    if {n: v.shape for n, v in first.items()} != {n: v.shape for n, v in second.items()}:
        return "other names or shapes"
    # bf16 arrays have no arithmetic in numpy, so all are converted.
    gaps = {n: np.abs(v.astype(float) - second[n].astype(float)).max() for n, v in first.items()}
    name = max(gaps, key=gaps.get)
    return f"they differ by up to {gaps[name]:.3g} (in {show(name)[1:-1]})" if gaps[name] else ""
