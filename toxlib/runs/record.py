"""run.json: what a run folder says about its run, and how it is read."""

import importlib.metadata
import platform
from pathlib import Path

from toxlib import files
from toxlib.errors import InputError
from toxlib.recipe_values import Recipe
from toxlib.training import checkpoints, precision
from toxlib.training.machine import describe_machine

RECORDED = {
    "members": dict,
    "data_dir": str,
    "is_sample": bool,
    "data_sha256": dict,
    "seconds": dict,
}
"""What run.json holds besides the recipe, and of which type."""
VERSIONED = ("torch", "transformers", "datasets", "pandas", "scikit-learn", "numpy")


def versions_and_machine(recipe: Recipe, trains: bool) -> dict[str, dict]:
    """Return what, besides recipe and data, can change a run's results.

    For a run that `trains`, the precision is chosen here and recorded with the measured rates.
    """
    versions = {name: importlib.metadata.version(name) for name in VERSIONED}
    machine = describe_machine()
    if trains:
        width = checkpoints.width(recipe) if recipe.precision == "auto" else 0
        machine |= precision.describe(recipe.precision, width)
    return {"versions": {"python": platform.python_version(), **versions}, "machine": machine}


def read_record(folder: Path) -> dict:
    """Return a run folder's run.json, its "recipe" as a `Recipe`; InputError if there is none."""
    path = folder / "run.json"
    if not path.exists():
        known = sorted(str(found.parent) for found in files.outputs().glob("*/run.json"))
        names = ", ".join(known[:5]) or "there is none in outputs/"
        remedy = f"run 03_train first, or give the folder of a run ({names})"
        raise InputError(f"{folder}: no run here (there is no run.json); {remedy}")
    remedy = "run 03_train again, or 06_blend for a blend, with the same recipe and data"
    record = files.read_json(path, remedy)
    try:
        known = {key: kind(record[key]) for key, kind in RECORDED.items()}
        return record | known | {"recipe": Recipe(**record["recipe"])}
    except (ValueError, TypeError, KeyError, AttributeError):
        fault = "damaged, or not written by this version of toxlib"
        raise InputError(f"{path}: {fault}; delete it and {remedy}") from None
