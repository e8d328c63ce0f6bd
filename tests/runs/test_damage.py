"""Every file of a run, damaged in every way: one line names it, and its remedy mends the run."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_runs import blend_runs, train_run, write_04, write_04_and_05, write_05

import toxlib
from toxlib import files, plots
from toxlib.__main__ import main
from toxlib.errors import InputError
from toxlib.pipeline import BLEND_NOTEBOOKS, NOTEBOOKS
from toxlib.reports import comparison
from toxlib.reports.report import write_report
from toxlib.reports.summary import summarise
from toxlib.training.linear import LINEAR


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = {
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "object": lambda path: path.write_text("{}"),
    "list": lambda path: path.write_text("[]"),
    "deleted": Path.unlink,
    "folder": make_folder,
}


def read(folder: Path) -> None:
    """Read what 03, 04 and 05 read."""
    run = toxlib.reopen(folder)
    names = {name for member in run.members.values() for name in [member["predictions"]]}
    for name in ("own", *(LINEAR if not names else ())):
        predictions = run.predictions(name)
        predictions.validation(), predictions.test(), predictions.parts()
        if not run.members:
            predictions.records()


def score(folder: Path) -> None:
    """Score comments as `toxlib predict --calibrated --decide` does."""
    scorer = toxlib.load(folder)
    scorer.predict(["get lost"], calibrated=True)
    scorer.decide(["get lost"])


def write(folder: Path) -> None:
    """Write what 04 and 05 write, and compare the run with itself."""
    run = toxlib.reopen(folder)
    write_04_and_05(run)
    run.save_figure(plots.split_parts(run.split), "split")
    comparison.compare_runs([folder])


def join(folder: Path) -> None:
    """Write the report."""
    write_report(folder, (*NOTEBOOKS, BLEND_NOTEBOOKS[0]), summarise(toxlib.reopen(folder)))


def submit(folder: Path) -> None:
    """Write the submission alone."""
    write_05(toxlib.reopen(folder))


def mend(folder: Path, message: str, again: Callable) -> None:
    """Do what the message of an InputError says."""
    assert "\n" not in message
    assert re.match(re.escape(str(folder)) + r"\S*: ", message), message
    other = re.search(r"delete (/\S+) and", message)
    if other or re.search(r"delete (it|this folder|or rename it)", message):
        files.remove(Path(other[1] if other else message.partition(": ")[0]))
    if "run 03_train" in message or "06_blend" in message:
        again(folder)
    elif "run 04_thresholds" in message:
        write_04(toxlib.reopen(folder))


def damaged_paths(folder: Path) -> list[str]:
    """Return the files of a run, members of a blend left out."""
    names = [str(p.relative_to(folder)) for p in sorted(folder.rglob("*")) if p.is_file()]
    return [name for name in names if not name.startswith(("minilm/", "figures/"))] + [
        next(name for name in names if name.startswith("figures/"))
    ]


def check(folder: Path, tmp_path: Path, damage: str, again: Callable) -> list[str]:
    """Damage one file after the other in a copy of a run; return the faults found."""
    faults, submitted = [], (folder / "submission.csv").read_bytes()
    names, chosen = damaged_paths(folder), [*DAMAGES].index(damage)
    # All files in all ways take 15 minutes, so each file is damaged in one way by default.
    for name in names if os.environ.get("TOXLIB_DAMAGE") == "all" else names[chosen::6]:
        copy = shutil.copytree(folder, tmp_path / "copy")
        DAMAGES[damage](copy / name)
        told, fault = use_and_mend(copy, name, again)
        print(
            f"| {name} | {damage} | {' → '.join(told) or 'no error'} |".replace(str(copy), "RUN")
        )
        if told and name not in told[0] and Path(name).parent.name not in told[0]:
            fault = f"it is not named: {told[0]}"
        if (copy / "submission.csv").read_bytes() != submitted:
            fault = fault or "another submission"
        faults += [f"{name}: {fault}"] if fault else []
        shutil.rmtree(copy)
    return faults


def use_and_mend(folder: Path, name: str, again: Callable) -> tuple[list[str], str]:
    """Use a run whose file `name` is damaged, and follow the messages; return them and a fault."""
    if name.endswith((".ipynb", ".html")):
        acts = score, read, join
    elif name.endswith("metrics.json"):
        acts = score, read, write, join
    elif name.endswith((".lock", ".png", "submission.csv")):
        acts = score, read, write
    else:
        acts = score, read, submit
    told = []
    while len(told) < 3:
        try:
            for act in acts:
                act(folder)
            return told, ""
        except InputError as error:
            told.append(str(error))
            mend(folder, str(error), again)
        except Exception as error:
            return told, f"{type(error).__name__}: {error}"
    return told, f"not mended: {told}"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_says_what_to_do(executed, tiny_overrides, hostile_dir, tmp_path, damage):
    def again(folder: Path) -> None:
        train_run(folder, hostile_dir, tiny_overrides)

    assert check(executed, tmp_path, damage, again) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_blend_says_what_to_do(executed_blend, tmp_path, damage):
    def again(folder: Path) -> None:
        blend_runs(folder, [folder / "minilm"])

    assert check(executed_blend, tmp_path, damage, again) == []


def test_the_command_line_reports_it_with_status_2(executed, tmp_path, capsys):
    copy = shutil.copytree(executed, tmp_path / "copy")
    (copy / "run.json").write_text("[]")
    assert main(["run", "--from", "04", "--run-dir", str(copy)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
