"""The model card of a finished run: README.md in the form of the Hugging Face hub.

Every figure is read from the files of the run. The sentences around them are in card.md.
Names that come from the data are escaped, and no folder of this machine is named.
"""

import math
from dataclasses import asdict
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from toxlib import files
from toxlib.data.text import short_name
from toxlib.errors import InputError
from toxlib.progress import format_seconds
from toxlib.recipe_values import BUNDLED_MINILM, FIELDS, Recipe, affects_training
from toxlib.recipes import LICENCES, MINILM_ON_THE_HUB
from toxlib.reports.audit import IDENTITY, read_identity
from toxlib.reports.summary import FEW
from toxlib.runs.lock import locked
from toxlib.runs.record import CARD
from toxlib.runs.run import DEFAULT_RECIPE, run_folder
from toxlib.sharing.finished import AUC, F1, LOSS, Finished, read_finished
from toxlib.sharing.markdown import code, codes, plain, table
from toxlib.training.linear import LINEAR_NAMES

TEMPLATE = Path(__file__).with_name("card.md")
MOST_LABELS, MOST_SENTENCES = 20, 12
VERSIONS = ("python", "torch", "transformers")
METRICS = {AUC: ("roc_auc", "mean column-wise ROC AUC"), LOSS: ("log_loss", "log loss")}
METRICS |= {F1: ("f1", "macro F1 at 0.5")}
"""What the metadata hold: name in metrics.json → the hub's name, and one to show."""


def write_card(run_dir: Path) -> list[Path]:
    """Write the card of a finished run into its folder and, of a single model, into model/ too.

    Raises:
        InputError: if the run is not finished, or a file of it is damaged.
    """
    folder = run_folder(run_dir, DEFAULT_RECIPE)
    card = make_card(folder)
    paths = [path / CARD for path in (folder / "model", folder) if path.is_dir()]
    with locked(folder):
        for path in paths:
            with files.replacing(path) as temporary:
                temporary.write_text(str(card), "utf-8")
    return paths


def make_card(folder: Path) -> ModelCard:
    """Return the card of a finished run; an InputError if a file is missing or damaged."""
    run = read_finished(folder)
    few = run.labels.index[run.labels["positives"] < FEW]
    values = {
        "run": run,
        "title": code(folder.name),
        "labels": codes(run.labels.index),
        "checkpoint": code(run.recipe.checkpoint),
        "models": _models(run),
        "data_files": _data_files(run),
        "training": _training(run),
        "made_with": _made_with(run.record),
        "note": plain(run.note),
        "baselines": LINEAR_NAMES,
        "scores": _scores(run),
        "thresholds": _thresholds(run),
        "calibration": _calibration(run),
        "left_out": max(0, len(run.labels) - MOST_LABELS),
        "judged": run.labels["positives"].notna().all(),
        "identity": _identity(folder),
        "few": codes(few),
        "grade": _grade(run),
        "duration": "" if math.isnan(run.seconds) else format_seconds(run.seconds),
        "translated": any(recipe.translations for recipe in run.models.values()),
        "lengths": _lengths(run),
        "licences": _licences(run),
    }
    return ModelCard.from_template(
        _metadata(run), template_str=TEMPLATE.read_text("utf-8"), **values
    )


def _metadata(run: Finished) -> ModelCardData:
    """Return what the hub reads of a card: scores, licence and base models."""
    data = run.record["data_sha256"]
    train = next((name for name in data if name.startswith("train.")), None)  # or train.csv.zip
    arguments = {"rows": run.rows["validation"], "sha256": data.get(train)}
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type="csv",
            dataset_name="toxlib's synthetic sample" if run.record["is_sample"] else "train.csv",
            dataset_split="held-out rows",
            dataset_args=arguments,
            metric_type=kind,
            metric_name=name,
            metric_value=run.scores[key],
            metric_args=_auc_interval(run) if key == AUC else None,
        )
        for key, (kind, name) in METRICS.items()
        if math.isfinite(run.scores[key])
    ]
    licences = {_licence(recipe) for recipe in run.models.values()}
    return ModelCardData(
        model_name=short_name(run.folder.name),
        library_name="toxlib",
        pipeline_tag="text-classification",
        tags=["toxlib", "multi-label-classification"],
        license=licences.pop() if len(licences) == 1 else "other",
        base_model=list(dict.fromkeys(filter(None, map(_base_model, run.models.values()))))
        or None,
        eval_results=results or None,
    )


def _auc_interval(run: Finished) -> dict | None:
    bounds = [run.scores["low"], run.scores["high"]]
    return {"interval_95": bounds} if all(map(math.isfinite, bounds)) else None


def _base_model(recipe: Recipe) -> str | None:
    """Return the checkpoint's name on the hub; None for a folder."""
    if recipe.checkpoint == BUNDLED_MINILM:
        return MINILM_ON_THE_HUB
    return None if recipe.checkpoint.startswith("./") else recipe.checkpoint


def _licence(recipe: Recipe) -> str:
    return LICENCES.get(recipe.checkpoint, "unknown")


def _models(run: Finished) -> str:
    """Return a table of a blend's members; nothing for another run."""
    rows = []
    for name, (predictions, weight) in run.members.items():
        what = LINEAR_NAMES.get(predictions)
        if name in run.models:
            recipe = run.models[name]
            what = f"{recipe.folds} encoders from {code(recipe.checkpoint)}"
        rows.append([code(name), what, f"{weight:.2f}"])
    return table(["member", "what it is", "mean weight"], rows, words=2) if rows else ""


def _data_files(run: Finished) -> str:
    rows = [
        [code(name), code(digest, width=64)] for name, digest in run.record["data_sha256"].items()
    ]
    return table(["file", "sha256"], rows, words=2)


def _training(run: Finished) -> list[str]:
    """Return a line per encoder: its recipe, and the values that are not the usual ones."""
    lines = []
    for recipe in run.models.values():
        defaults = {key: field.default for key, field in FIELDS.items()}
        values = [
            code(f"{key}={value}")
            for key, value in asdict(recipe).items()
            if key != "name" and affects_training(key) and value != defaults[key]
        ]
        lines.append(f"Recipe {code(recipe.name)}: {', '.join(values)}")
    return lines


def _made_with(record: dict) -> str:
    """Return the versions and the machine that a run was made with, as far as run.json says."""
    versions, machine = (dict(record.get(key) or {}) for key in ("versions", "machine"))
    names = [code(f"{name} {versions[name]}") for name in VERSIONS if name in versions]
    where = [code(machine[key]) for key in ("device", "precision") if key in machine]
    return ", ".join(names + where)


def _scores(run: Finished) -> str:
    """Return a table of the model's scores beside those of its baselines or members."""
    own = run.scores
    interval = f"{_figure(own[AUC])} {_interval(own['low'], own['high'])}"
    rows = [["**this model**", interval, _figure(own[LOSS]), _figure(own[F1]), "", ""]]
    for name, other in run.others.iterrows():
        differences = [
            f"{other[f'{what} estimate']:+.4f} "
            f"{_interval(other[f'{what} low'], other[f'{what} high'], sign='+')}"
            for what in ("AUC difference", "loss difference")
        ]
        figures = [_figure(other[key]) for key in (AUC, LOSS, F1)]
        rows.append([code(name), *figures, *differences])
    header = ["", "AUC", "log loss", "F1", "AUC difference", "log loss difference"]
    return table(header, rows)


def _grade(run: Finished) -> str:
    """Return what the test rows with labels say; nothing if there are none."""
    if not run.grade:
        return ""
    grade = run.grade
    auc = f"AUC {_figure(grade[AUC])} {_interval(grade['low'], grade['high'])}"
    return (
        f"On {grade['rows']:,.0f} labelled test comments: {auc}, log loss {_figure(grade[LOSS])}."
    )


def _lengths(run: Finished) -> str:
    """Say what happens to texts that are longer than the encoders read."""
    lengths = sorted({recipe.max_length for recipe in run.models.values()})
    how = {recipe.long_texts for recipe in run.models.values()}
    at = " or ".join(f"{length:,}" for length in lengths)
    if how == {"windows"}:
        return f"A text of more than {at} tokens is read in windows; the highest score counts."
    return f"A text is cut at {at} tokens{' or read in windows of these' * (len(how) > 1)}."


def _thresholds(run: Finished) -> str:
    """Return a table with a row per label: threshold, its spread, and how good it is."""
    rows = []
    for name, row in run.labels[:MOST_LABELS].iterrows():
        threshold = f"{_figure(row['threshold'], 3)} {_interval(row['lowest'], row['highest'], 3)}"
        found = row["F1 interval cross-fitted"]
        interval = f" [{plain(found).replace(' to ', ', ')}]" if isinstance(found, str) else ""
        judged = [
            _figure(row[f"{what} cross-fitted"], 3) for what in ("precision", "recall", "F1")
        ]
        cells = [_figure(row["positives"], 0), _figure(row["AUC"]), threshold, *judged]
        rows.append([code(name), *cells[:-1], cells[-1] + interval])
    return table(["label", "positives", "AUC", "threshold", "precision", "recall", "F1"], rows)


def _calibration(run: Finished) -> str:
    columns = ["Brier before", "Brier after", "ECE before", "ECE after", "slope", "intercept"]
    rows = [
        [code(name), *(_figure(row[column]) for column in columns)]
        for name, row in run.labels[:MOST_LABELS].iterrows()
    ]
    return table(["label", *columns], rows)


def _identity(folder: Path) -> list[str]:
    """Return what the identity audit has found, a line per sentence; nothing if there is none."""
    if not (folder / IDENTITY).exists():
        return []
    try:
        audits = read_identity(folder)
    except InputError:
        return ["The audit in `identity.json` is damaged, or was made with other thresholds."]
    lines = []
    for name, audit in audits.items():
        lines.append(
            f"{audit.sentences:,} sentences of {len(audit.groups)} groups ({code(name)})."
        )
        lines += map(plain, audit.in_words[:MOST_SENTENCES])
        if len(audit.in_words) > MOST_SENTENCES:
            lines.append(f"{len(audit.in_words) - MOST_SENTENCES} more are in `identity.json`.")
    return lines


def _licences(run: Finished) -> list[str]:
    """Return a line per checkpoint: its licence, as far as toxlib knows it."""
    licences = {recipe.checkpoint: _licence(recipe) for recipe in run.models.values()}
    return [f"{code(name)}: {licence}" for name, licence in licences.items()]


def _figure(value: float, digits: int = 4) -> str:
    return f"{value:,.{digits}f}" if math.isfinite(value) else "–"


def _interval(low: float, high: float, digits: int = 4, sign: str = "") -> str:
    return (
        f"[{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]" if math.isfinite(low + high) else ""
    )
