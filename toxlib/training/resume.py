"""Go on with a training that was killed: checkpoints by step, and which of them is whole.

A checkpoint without its optimizer, scheduler or random-number states would load without an error
and lead to other weights. So each checkpoint gets a list of its files with their digests, written
last, and only checkpoints that match their list are used.
"""

import time
from pathlib import Path

from transformers import Trainer, TrainerCallback

from toxlib import files
from toxlib.errors import InputError

WHOLE = "whole.json"
"""The last file of a checkpoint: the digests of its files, seconds so far, and token budget."""
NEEDED = {"model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"}
"""Besides these, each process has a file with the states of its random numbers."""
MINUTES = 10
"""The time between two checkpoints if the recipe does not set `checkpoint_steps`."""


class StepCheckpoints(TrainerCallback):
    """Save a checkpoint every `steps` steps, mark each one that is complete, and delete old ones.

    The last two stay, in case one is damaged, and those of the best epochs that they name.

    Args:
        trainer: the `MicroBatchTrainer` whose token budget is kept as well.
        steps: optimizer steps from one checkpoint to the next.
        seconds: seconds of training before a kill.
    """

    def __init__(self, trainer: Trainer, steps: int, seconds: float):
        self.trainer, self.steps = trainer, steps
        self.start = time.perf_counter() - seconds

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a kill included."""
        return time.perf_counter() - self.start

    def on_train_begin(self, args, state, control, **kwargs):
        # A run folder that was moved has its checkpoints elsewhere than it says.
        if state.best_global_step:
            best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
            state.best_model_checkpoint = str(best)

    def on_step_end(self, args, state, control, **kwargs):
        # Trainer saves after it has scored an epoch. A checkpoint before that would let a training
        # that goes on from there begin the next epoch, and never score this one.
        is_scored_next = args.eval_strategy != "no" and float(state.epoch).is_integer()
        if state.global_step % self.steps == 0 and not is_scored_next:
            control.should_save = True

    def on_save(self, args, state, control, **kwargs):
        self.trainer.accelerator.wait_for_everyone()  # each process writes a file
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        # One that was damaged before the training went on has a `WHOLE` already.
        paths = [path for path in folder.iterdir() if path.name != WHOLE]
        digests = {path.name: files.sha256(path) for path in paths}
        best = Path(state.best_model_checkpoint).name if state.best_model_checkpoint else None
        content = {"files": digests, "best": best, "seconds": self.seconds}
        content["token_budget"] = self.trainer.token_budget
        files.write_json(folder / WHOLE, content)
        _delete_old(folder)


def last_whole_checkpoint(folder: Path) -> tuple[Path | None, dict]:
    """Return the newest whole checkpoint in a folder, or None, and the content of its `WHOLE`.

    The checkpoint of the best epoch so far must be whole too.
    """
    for path in _newest_first(folder):
        content = _read_whole(path)
        if content and (content["best"] is None or _read_whole(folder / content["best"])):
            return path, content
    return None, {"seconds": 0.0, "token_budget": None}


def claim_work_folder(folder: Path, source: dict) -> Path:
    """Make the folder for tokens and checkpoints. If another training has used it, empty it.

    `source` is what the training follows from, such as recipe values and digests of the data.
    """
    path = folder / "source.json"
    known = path.is_file() and files.read_json_or_none(path) == files.as_json(source)
    if not known:
        files.remove(folder)
        files.write_json(path, source)
    return folder


def check_best_epoch(trainer: Trainer) -> None:
    """Raise an InputError if the best epoch's checkpoint is gone.

    Trainer would only log a warning and keep the last epoch.
    """
    state = trainer.state
    if not trainer.args.load_best_model_at_end or state.best_global_step is None:
        return
    name = f"checkpoint-{state.best_global_step}"
    folder = Path(trainer.args.output_dir)
    if _read_whole(folder / name) is None:
        fault = "the best epoch's checkpoint is gone or damaged; did another program change it?"
        raise InputError(f"{folder / name}: {fault} Run 03_train again")


def _newest_first(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the one with the most steps first."""
    paths = [path for path in folder.glob("checkpoint-*") if path.name[11:].isdigit()]
    return sorted(paths, key=lambda path: int(path.name[11:]), reverse=True)


def _delete_old(last: Path) -> None:
    """Delete all checkpoints but the last two and those of the best epochs that they name.

    Any with more steps are damaged ones, from before the training went on. Trainer's own
    `save_total_limit` deletes the best one so far before a new one is marked.
    """
    paths = _newest_first(last.parent)
    latest = paths[paths.index(last) :][:2]
    contents = [files.read_json_or_none(path / WHOLE) or {} for path in latest]
    kept = {path.name for path in latest} | {content.get("best") for content in contents}
    for path in paths:
        if path.name not in kept:
            files.remove(path)


def _read_whole(checkpoint: Path) -> dict | None:
    """Return the content of a checkpoint's `WHOLE`; None if the checkpoint is not whole."""
    content = files.read_json_or_none(checkpoint / WHOLE)
    digests = (content or {}).get("files")
    if not isinstance(digests, dict) or not set(digests) >= NEEDED:
        return None
    if not any(name.startswith("rng_state") for name in digests):
        return None
    paths = {name: checkpoint / name for name in digests}
    if all(p.is_file() and files.sha256(p) == digests[name] for name, p in paths.items()):
        return content
    return None
