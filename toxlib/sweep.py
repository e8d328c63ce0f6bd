"""Make a run for each combination of recipe values (a grid), and compare them.

The run folders are named after the values. Start the same command again, and it goes on where it
was: finished runs are skipped, and a run that was stopped goes on.
"""

import hashlib
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from toxlib import files, pipeline
from toxlib.errors import InputError, NotebookError, show
from toxlib.parameters import read_overrides
from toxlib.recipe_values import Recipe, affects_training
from toxlib.recipes import BLENDS, get_recipe
from toxlib.reports.comparison import compare_all
from toxlib.reports.comparison_page import print_comparison
from toxlib.runs.folds import copy_linear
from toxlib.runs.record import read_record

START = "03"
"""01 and 02 look at the data, which are the same for all runs."""
LISTS = ("label_columns", "translations")
"""Recipe values that are lists themselves, in which a comma is ambiguous."""
VALUE = re.compile(r"\[(.*?)\](?=,|$)|([^,\[\]]*)(?=,|$)")
DECIDE_LINEAR = {
    *("id_column", "text_column", "label_columns", "clean_spelling"),
    *("seed", "folds", "validation_fraction"),
}
"""Recipe values that decide what the linear models learn. If none of these varies, the runs share
their linear models."""
LAST = ("metrics.json", "submission.csv", "report.html")
"""What a run has written when it is finished."""
Combinations = dict[str, dict[str, str]]
"""The name of a run folder → the recipe values to change."""


def sweep(
    recipe: str, settings: Sequence[str], data_dir: str = "", output: Path | None = None
) -> None:
    """Run every combination of the values in `settings`, and write the comparison of all.

    Args:
        recipe: a named recipe, also a blend.
        settings: such as `["learning_rate=1e-4,5e-4", "epochs=2"]`; see `read_grid`.
        output: holds a run folder per combination; if None, `outputs/sweep-<recipe>`.

    Raises:
        InputError: for a mistake in any combination, before the first one trains.
        NotebookError: at the end, if some runs have failed. The message names them.
    """
    wanted = combinations(recipe, read_grid(settings))
    output = output or files.outputs() / f"sweep-{recipe}"
    files.check_folder(output)
    output = output.resolve()
    for name, overrides in wanted.items():
        check(recipe, data_dir, output / name, overrides)
    failed = run_all(recipe, wanted, data_dir, output)
    if len(failed) < len(wanted):
        print_comparison(output, *compare_all(output))
    if failed:
        lines = "".join(f"\n  {name}: {fault}" for name, fault in failed.items())
        remedy = "the same command tries them again"
        raise NotebookError(f"{len(failed)} of {len(wanted)} runs have failed; {remedy}{lines}")


def read_grid(settings: Sequence[str]) -> dict[str, list[str]]:
    """Return the values to try of each recipe value.

    Values are separated by commas. One that has a comma in it stands in brackets.

    >>> read_grid(["epochs=1,2", "translations=[de,fr],[]"])
    {'epochs': ['1', '2'], 'translations': ['de,fr', '']}
    """
    given = read_overrides(list(settings))
    if len(given) < len(settings):
        raise InputError("--set: a recipe value is named twice; write all its values as key=a,b")
    return {key: _read_values(key, text) for key, text in given.items()}


def combinations(recipe: str, grid: dict[str, list[str]]) -> Combinations:
    """Return a folder name and the values of each combination; an InputError if one is wrong.

    Only values that vary are part of the name, written as the recipe writes them.
    """
    varied = [key for key, values in grid.items() if len(values) > 1]
    found: Combinations = {}
    for values in itertools.product(*grid.values()):
        overrides = dict(zip(grid, values, strict=True))
        changed = recipes_of(recipe, overrides)[0]
        parts = [f"{key}={_plain(str(getattr(changed, key)))}" for key in varied]
        name = "_".join(parts) or recipe
        if len(name) > 150:  # a file's name may have 255 bytes
            name = f"{name[:140]}-{_digest(name)}"
        if name in found:
            raise InputError(f"{name}: given twice; name each value once")
        found[name] = overrides
    for key in varied:
        if not affects_training(key):
            fault = f"{key} does not affect training, so these runs would score the same"
            raise InputError(f"{key}={','.join(grid[key])}: {fault}; give one value")
    return found


def recipes_of(recipe: str, overrides: dict[str, str]) -> list[Recipe]:
    """Return the changed recipe; of a blend, those of its members."""
    return [get_recipe(name, overrides) for name in BLENDS.get(recipe, (recipe,))]


def check(recipe: str, data_dir: str, folder: Path, overrides: dict[str, str]) -> None:
    """Raise an InputError for a mistake in a run that can be found before it trains."""
    if recipe in BLENDS:
        pipeline.check_members(recipe, overrides)
    for name, path in _members(recipe, folder).items():
        run = pipeline.open_checked(name, data_dir, str(path), overrides)
        if run.path("run.json").exists():
            run.check_owner(read_record(path))


def run_all(
    recipe: str, wanted: Combinations, data_dir: str, output: Path
) -> dict[str, Exception]:
    """Run each combination that is not finished; return the faults of those that have failed."""
    failed: dict[str, Exception] = {}
    for number, (name, overrides) in enumerate(wanted.items(), start=1):
        title = f"Run {number} of {len(wanted)}: {name}"
        if is_finished(recipe, output / name, overrides):
            print(f"{title} was finished before", flush=True)
            continue
        print(title, flush=True)
        try:
            _share_linear(recipe, wanted, output, name)
            pipeline.run_pipeline(recipe, data_dir, str(output / name), overrides, START)
        except (InputError, NotebookError, OSError) as error:
            failed[name] = error
            print(f"failed: {error}", flush=True)
    return failed


def is_finished(recipe: str, folder: Path, overrides: dict[str, str]) -> bool:
    """Return whether a run folder has all results, with these recipe values."""
    paths = _members(recipe, folder).values()
    if not all((path / name).exists() for path in (folder, *paths) for name in LAST):
        return False
    return [read_record(path)["recipe"] for path in paths] == recipes_of(recipe, overrides)


def _members(recipe: str, folder: Path) -> dict[str, Path]:
    """Return the folder of the recipe's run; of a blend, those of its members."""
    return (
        {name: folder / name for name in BLENDS[recipe]} if recipe in BLENDS else {recipe: folder}
    )


def _share_linear(recipe: str, wanted: Combinations, output: Path, name: str) -> None:
    """Copy the linear models of a finished run into a new folder, if they would be the same."""
    varied = {key for key in wanted[name] if len({o[key] for o in wanted.values()}) > 1}
    if (output / name).exists() or varied & DECIDE_LINEAR:
        return
    finished = (n for n, o in wanted.items() if is_finished(recipe, output / n, o))
    if (first := next(finished, None)) is None:
        return
    sources = _members(recipe, output / first).values()
    for source, target in zip(sources, _members(recipe, output / name).values(), strict=True):
        copy_linear(source, target)


def _read_values(key: str, text: str) -> list[str]:
    if key in LISTS and "," in text and "[" not in text:
        fault = f"{key} is a list, so it is not clear what the comma separates"
        remedy = f"write {key}=[{text}] for one value, or {key}=[a],[b,c] for two"
        raise InputError(f"{key}={show(text)[1:-1]}: {fault}; {remedy}")
    values, place = [], 0
    while place <= len(text):
        found = VALUE.match(text, place)
        if not found:
            fault = "not a list of values; put one with a comma or a bracket in it into brackets"
            raise InputError(f"{key}={show(text)[1:-1]}: {fault}, as in {key}=[a,b],c")
        values.append(found[1] if found[1] is not None else found[2])
        place = found.end() + 1
    return values


def _plain(value: str) -> str:
    """Return a value as part of a folder's name; a digest tells apart what would look the same."""
    plain = re.sub(r"[^\w.+-]+", "-", value)[:40]
    return plain if plain == value and value else f"{plain}-{_digest(value)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
