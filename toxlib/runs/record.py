"""run.json: what a run folder says about its run, and how it is read."""

import importlib.metadata
import platform
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from toxlib import files
from toxlib.errors import InputError
from toxlib.parameters import looks_like_a_path
from toxlib.recipe_values import Recipe

CARD = "README.md"
"""The model card of a run folder or a model folder; see `toxlib.sharing.card`."""

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
    # They import torch, which takes seconds and is not needed where a record is only read.
    from toxlib.training import checkpoints, precision
    from toxlib.training.machine import describe_machine

    versions = {name: importlib.metadata.version(name) for name in VERSIONED}
    machine = describe_machine()
    if trains:
        width = checkpoints.width(recipe) if recipe.precision == "auto" else 0
        machine |= precision.describe(recipe.precision, width)
    return {"versions": {"python": platform.python_version(), **versions}, "machine": machine}


def read_record(folder: Path, with_data: bool = False) -> dict:
    """Return a run folder's run.json, its "recipe" as a `Recipe`.

    Raises:
        InputError: if there is none, or it is damaged; with `with_data`, also if the folder was
            exported, so that it has neither data nor predictions.
    """
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
        recipe = Recipe(**record["recipe"])
    except (ValueError, TypeError, KeyError, AttributeError):
        fault = "damaged, or not written by this version of toxlib"
        raise InputError(f"{path}: {fault}; delete it and {remedy}") from None
    if with_data and not known["data_dir"]:
        fault = "an exported folder, which can only score"
        raise InputError(f"{folder}: {fault}; give the run folder that it was exported from")
    return record | known | {"recipe": recipe}


def public_recipe(recipe: Recipe) -> Recipe:
    """Return a recipe that names no folder of this machine and no tracker's run.

    >>> public_recipe(Recipe("mine", "/home/ann/bert")).checkpoint
    './bert'
    """
    names = {key: _public_path(getattr(recipe, key)) for key in ("checkpoint", "teacher")}
    return replace(recipe, **names, report_to="none", run_name="")


def public_names(members: Iterable[str]) -> dict[str, str]:
    """Return each member of a blend with a name that is no path of this machine.

    >>> public_names(["minilm", "/a/minilm"])
    {'minilm': 'minilm', '/a/minilm': 'minilm (2)'}
    """
    names: dict[str, str] = {}
    for number, member in enumerate(members, start=1):
        name = Path(member).name
        names[member] = f"{name} ({number})" if name in names.values() else name
    return names


def _public_path(name: str) -> str:
    return f"./{Path(name).name}" if name and looks_like_a_path(name) else name
