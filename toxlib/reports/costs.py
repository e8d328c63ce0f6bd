"""What finished runs took."""

from collections.abc import Sequence
from pathlib import Path

from toxlib import files
from toxlib.runs.predictions import REMEDY

METRICS = "metrics.json"


def cost_of(folders: Sequence[Path]) -> dict[str, float]:
    """Return the seconds that runs took, and their largest peak of memory in GB.

    Give the folders of a blend's runs, or that of a single run. Of linear models
    those of the first run are counted, because a blend has no others.

    Raises:
        InputError: if the metrics.json of a run is missing or damaged.
    """
    seconds, memory = [], []
    for folder in folders:
        path = folder / METRICS
        with files.damage_told(path, f"delete it and {REMEDY}"):
            cost = files.read_json(path, REMEDY)["cost"]
            shared = float(cost["linear_seconds"]) if seconds else 0
            seconds.append(float(cost["model_seconds"]) - shared)
            memory.append(float(cost["peak_memory_gb"]))
    return {"seconds": sum(seconds), "peak memory (GB)": max(memory)}
