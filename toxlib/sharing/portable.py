"""Hand a finished run on: one folder that `toxlib.load` reads anywhere, or a repository of it.

The folder holds what scoring needs and the model card: no training data, no predictions, no path
of this machine, and only files that cannot run code when they are read. A blend's members lie
inside, as run-0, run-1 and so on.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import validate_repo_id

from toxlib import files
from toxlib.errors import InputError, show
from toxlib.longformer.heads import register_heads
from toxlib.runs.blending import WEIGHTS_FILE
from toxlib.runs.folds import LINEAR_FOLDER
from toxlib.runs.record import CARD, public_names, public_recipe, read_record
from toxlib.runs.run import DEFAULT_RECIPE, fold_folders, run_folder
from toxlib.scoring.predictor import CALIBRATION, FITTED_BY, THRESHOLDS
from toxlib.sharing.card import make_card
from toxlib.training.linear import LINEAR, LinearModels
from toxlib.training.model_files import check_model_folder, first_line

SAFE_SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".md")
KEPT = ("is_sample", "data_sha256", "versions")
"""What run.json keeps besides the recipe and the members."""
NAMES_OF_FOLDERS = ("_name_or_path", "name_or_path")
"""Entries of config.json and tokenizer_config.json that may name a folder of this machine."""
ANSWERS = {
    401: "your token is not valid; run `hf auth login`, or set HF_TOKEN to a token that may write",
    403: "your token may not write there; take one with the permission, or another name",
    404: "there is no such repository or branch for your token; check the name, and the token",
}
"""Status of the hub's answer → what it means and what to do."""


def export_folder(run_dir: Path, output: Path) -> list[str]:
    """Write a finished run, folds and blends included, into the new folder `output`.

    `toxlib.load(output)` then gives the scores, decisions and calibrated scores of the run.

    Raises:
        InputError: if the run is not finished, or holds a file of a kind that is not handed on;
            if `output` is a file or holds files.
    """
    folder = run_folder(run_dir, DEFAULT_RECIPE)
    card, record = make_card(folder), read_record(folder)
    members = record["members"]
    with files.new_folder(output) as target:
        if members:
            _copy_members(folder, members, target)
        else:
            _copy_models(folder, target, with_linear=False)
        _write_record(record, _moved(members), target)
        for name in (THRESHOLDS, CALIBRATION):
            shutil.copyfile(folder / name, target / name)
        card.save(target / CARD)
    return [str(output / CARD), str(output)]


def push(run_dir: Path, repo: str, private: bool = False, revision: str = "") -> str:
    """Upload what `export_folder` writes to a model repository of the Hugging Face hub.

    The repository is made if it is not there, and so is the branch `revision`. Files that are in
    the repository and not in the folder stay. Return the address of the commit.

    Raises:
        InputError: as `export_folder` does; if the name is not valid, there is no token or
            network, or the hub refuses; if `private`, but the repository is there and public.
    """
    with _hub_errors(repo):
        validate_repo_id(repo)
        if huggingface_hub.is_offline_mode():
            raise OfflineModeIsEnabled
        if not huggingface_hub.get_token():
            fault = "no token for the Hugging Face hub"
            raise InputError(
                f"{fault}; run `hf auth login`, or set HF_TOKEN to one that may write"
            )
    with tempfile.TemporaryDirectory(prefix="toxlib-") as work:
        export_folder(run_dir, Path(work) / "run")
        with _hub_errors(repo):
            return _upload(Path(work) / "run", repo, private, revision)


def _upload(folder: Path, repo: str, private: bool, revision: str) -> str:
    api = huggingface_hub.HfApi()
    repo = api.create_repo(repo, private=private or None, exist_ok=True).repo_id
    if private and not api.model_info(repo).private:  # it was there before
        fault = "the repository is there already, and it is public"
        raise InputError(f"{repo}: {fault}; make it private on the hub, or leave out --private")
    if revision:
        api.create_branch(repo, branch=revision, exist_ok=True)
    message = "Upload a run of toxlib"
    how = {"revision": revision or None, "commit_message": message}
    return str(api.upload_folder(repo_id=repo, folder_path=folder, **how))


@contextlib.contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Turn what the hub or the way to it refuses into an InputError of one line."""
    try:
        yield
    except InputError:
        raise
    except HFValidationError as error:
        fault = f"{show(repo)}: no name of a repository ({first_line(error)})"
        raise InputError(f"{fault}; give OWNER/NAME, such as ann/toxic-comments") from None
    except OfflineModeIsEnabled:
        fault = "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, so nothing can be uploaded"
        raise InputError(f"{fault}; unset it and start again") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        answer = f"the hub answers {status}: {show(error.server_message or first_line(error))}"
        raise InputError(f"{repo}: {ANSWERS.get(status, f'{answer}; try again later')}") from None
    except ValueError as error:
        fault = f"the hub does not take the model card ({first_line(error)})"
        raise InputError(
            f"{repo}: {fault}; write another one by `python -m toxlib card`"
        ) from None
    except (HTTPError, RuntimeError) as error:  # the latter from the uploader of large files
        fault = f"the hub cannot be reached ({first_line(error)})"
        raise InputError(f"{repo}: {fault}; check the network and start again") from None


def _moved(members: dict) -> dict:
    """Return a blend's members with public names, and their runs inside the blend's folder."""
    names = public_names(members)
    places = {run: f"run-{n}" for n, run in enumerate(_runs(members))}
    return {
        names[name]: member | {"run": places[member["run"]]} for name, member in members.items()
    }


def _runs(members: dict) -> list[str]:
    return list(dict.fromkeys(member["run"] for member in members.values()))


def _copy_members(folder: Path, members: dict, target: Path) -> None:
    """Copy the runs of a blend and its weights, whose members get public names."""
    with_linear = {m["run"] for m in members.values() if m["predictions"] in LINEAR}
    for number, run in enumerate(_runs(members)):
        inside = target / f"run-{number}"
        _copy_models(folder / run, inside, with_linear=run in with_linear)
        _write_record(read_record(folder / run), {}, inside)
    path, names = folder / WEIGHTS_FILE, public_names(members)
    weights = files.read_json(path, FITTED_BY[WEIGHTS_FILE])
    with files.damage_told(path, FITTED_BY[WEIGHTS_FILE]):
        public = {label: {names[m]: row[m] for m in names} for label, row in weights.items()}
    files.write_json(target / WEIGHTS_FILE, public)


def _copy_models(run: Path, target: Path, with_linear: bool) -> None:
    """Copy each fold's encoder and, if wanted, its linear models."""
    register_heads()  # so that `check_model_folder` knows their types
    for part in fold_folders(run, read_record(run)["recipe"]):
        check_model_folder(part / "model", f"delete {part / 'model'} and run 03_train again")
        if with_linear:
            LinearModels.load(part / LINEAR_FOLDER)  # an InputError if a file is damaged
        for name in ("model", LINEAR_FOLDER)[: 1 + with_linear]:
            inside = target / (part / name).relative_to(run)
            inside.mkdir(parents=True)
            for path in _files_to_copy(part / name):
                shutil.copyfile(path, inside / path.name)
                _forget_folders(inside / path.name)


def _files_to_copy(folder: Path) -> list[Path]:
    """Return the files of a model folder; an InputError if one is of a kind that is not safe."""
    paths = sorted(path for path in folder.iterdir() if path.name != CARD)
    for path in paths:
        if path.suffix not in SAFE_SUFFIXES or not path.is_file():
            fault = f"not a file of a kind that is handed on ({', '.join(SAFE_SUFFIXES)})"
            raise InputError(f"{path}: {fault}; move it out of the folder")
    return paths


def _forget_folders(path: Path) -> None:
    """Remove entries of a configuration that may name a folder of this machine."""
    if path.name not in ("config.json", "tokenizer_config.json"):
        return
    content = files.read_json(path, "run 03_train again")
    kept = {key: value for key, value in content.items() if key not in NAMES_OF_FOLDERS}
    if kept != content:
        path.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")


def _write_record(record: dict, members: dict, target: Path) -> None:
    """Write run.json with what scoring needs, and no path of this machine."""
    public = {"recipe": asdict(public_recipe(record["recipe"])), "members": members}
    public |= {"data_dir": "", "seconds": {}} | {k: record[k] for k in KEPT if k in record}
    files.write_json(target / "run.json", public)
