"""The command line: python -m toxlib run, blend, compare, score, and more."""

import argparse
import csv
import json
import sys
from pathlib import Path

from toxlib.errors import InputError, NotebookError


def main(argv: list[str] | None = None) -> int:
    """Carry out a command. Returns 0, 2 for a mistake the user can mend, 1 for a failed run."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except (InputError, NotebookError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Execute the notebooks; see `toxlib.pipeline`."""
    from toxlib.pipeline import run_pipeline

    overrides = " ".join(arguments.set)
    finished = run_pipeline(
        arguments.recipe, arguments.data_dir, arguments.run_dir, overrides, arguments.start
    )
    print(f"{finished.path('submission.csv')}\n{finished.path('report.html')}")


def blend(arguments: argparse.Namespace) -> None:
    """Blend finished runs; see `toxlib.blending`."""
    from toxlib.pipeline import run_blend

    weights = "equal" if arguments.equal else "fitted"
    finished = run_blend(arguments.runs, arguments.run_dir, weights)
    print(f"{finished.path('submission.csv')}\n{finished.path('report.html')}")


def compare(arguments: argparse.Namespace) -> None:
    """Set finished runs side by side; see `toxlib.comparison`."""
    from toxlib import paths
    from toxlib.comparison import compare_runs, format_comparison, plot_comparison

    output = arguments.output or paths.outputs() / "comparison"
    paths.check_folder(output)
    table = compare_runs(arguments.runs)
    with paths.replacing(output / "comparison.csv") as temporary:
        table.to_csv(temporary)
    plot_comparison(table).savefig(output / "comparison.png", dpi=120)
    print(format_comparison(table), output, sep="\n")


def show_data(arguments: argparse.Namespace) -> None:
    """Read and check Kaggle's files, and say what was found."""
    from toxlib import data
    from toxlib.csv_files import show_all

    folder = data.find_data_dir(arguments.data_dir or None)
    if folder is None:
        print("data/ holds none of Kaggle's files: see data/README.md; runs take the sample")
        return
    tables = data.read_tables(folder, arguments.id_column, arguments.text_column)
    print(f"{folder}: sound")
    print(f"  {len(tables.train)} training and {len(tables.test)} test comments")
    print(f"  labels: {show_all(tables.label_names)}")
    print(f"  test labels: {'none' if tables.test_labels is None else 'found'}")


def score(arguments: argparse.Namespace) -> None:
    """Grade a submission, or two; see `toxlib.submission`."""
    from toxlib.run import nan_to_none
    from toxlib.submission import format_score, score_files

    result = score_files(
        arguments.submission, arguments.labels, arguments.other, arguments.id_column
    )
    print(json.dumps(nan_to_none(result), indent=2) if arguments.json else format_score(result))


def predict(arguments: argparse.Namespace) -> None:
    """Score a CSV by a finished run's model, as a stream, in the input's order."""
    from toxlib import data, paths, text
    from toxlib.calibration import read_calibrator
    from toxlib.checkpoints import load_trained
    from toxlib.heads import register
    from toxlib.inference import default_device, predict_probabilities
    from toxlib.predictions import average
    from toxlib.progress import progress
    from toxlib.run import model_folders, read_recipe, set_up_display

    if arguments.output.is_dir():
        raise InputError(f"{arguments.output}: a folder; give the CSV to write")
    register()
    set_up_display()
    recipe = read_recipe(arguments.run)
    folders = model_folders(arguments.run, recipe)
    total = sum(len(c) for c in data.iter_comments(arguments.file, *_columns(recipe)))
    models = [load_trained(folder) for folder in folders]
    models = [(model.to(default_device()), tokenizer) for model, tokenizer in models]
    label_names = list(models[0][0].config.id2label.values())
    calibrate = None
    if arguments.calibrated:
        calibrate = read_calibrator(arguments.run / "calibration.json", label_names)
    how = (recipe.precision, recipe.micro_batch_tokens)
    with (
        paths.replacing(arguments.output) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as out,
        progress(total=total * len(models), description="Predict") as bar,
    ):
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([recipe.id_column, *label_names])
        for chunk in data.iter_comments(arguments.file, *_columns(recipe)):
            texts = text.prepare(chunk[recipe.text_column], thorough=recipe.clean)
            scores = average([predict_probabilities(*m, texts, *how, bar) for m in models])
            scores = calibrate(scores) if calibrate else scores
            for comment_id, row in zip(chunk[recipe.id_column], scores, strict=True):
                writer.writerow([comment_id, *(f"{value:.9g}" for value in row)])


def bench(arguments: argparse.Namespace) -> None:
    """Time the tutorial's recipe and ours side by side; see `toxlib.bench`."""
    from transformers.utils import logging

    from toxlib import data, paths, plots, text
    from toxlib.bench import format_bench, run_bench
    from toxlib.run import find_or_make_data, write_json

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    output = arguments.output or paths.outputs() / "bench"
    paths.check_folder(output)
    folder, _ = find_or_make_data(arguments.data_dir)
    texts = text.prepare(data.read_tables(folder).train["comment_text"], thorough=False)
    result = run_bench(texts, output, arguments.quick)
    write_json(output / "bench.json", result | {"data_dir": str(folder)})
    plots.speed(result["ways"]).savefig(output / "speed.png", dpi=120)
    plots.cost_by_length(result["lengths"]).savefig(output / "lengths.png", dpi=120)
    print(format_bench(result), output, sep="\n")


def ablate(arguments: argparse.Namespace) -> None:
    """Measure what each choice of a recipe is worth; see `toxlib.ablation`."""
    from transformers.utils import logging

    from toxlib import paths
    from toxlib.ablation import ablate
    from toxlib.run import SAMPLE_NOTE, find_or_make_data

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    output = arguments.output or paths.outputs() / "ablation"
    folder, is_sample = find_or_make_data(arguments.data_dir)
    if is_sample:
        print(SAMPLE_NOTE)
    table = ablate(folder, output, arguments.seeds, arguments.jobs)
    with paths.replacing(output / "ablation.csv") as temporary:
        table.to_csv(temporary)
    print(table.to_string(float_format="{:.4f}".format), output, sep="\n")


def _columns(recipe) -> tuple[str, str]:
    return recipe.id_column, recipe.text_column


def _count(value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from 1 on")
    return int(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m toxlib", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("run", help="execute the notebooks into a run folder")
    command.add_argument("--recipe", default="quick", help="a named recipe (default: quick)")
    command.add_argument("--data-dir", default="", help="folder with Kaggle's files")
    command.add_argument("--run-dir", default="", help="run folder (default: outputs/RECIPE)")
    command.add_argument("--from", dest="start", default="01", help="first notebook, such as 03")
    command.add_argument(
        "--set", nargs="+", default=[], action="extend", metavar="KEY=VALUE", help="recipe values"
    )
    command.set_defaults(command=run)
    command = commands.add_parser("blend", help="blend finished runs, weights fitted out of fold")
    command.add_argument("runs", nargs="+", help="finished run folders of the same folds")
    command.add_argument("--run-dir", default="", help="run folder (default: outputs/blend)")
    command.add_argument("--equal", action="store_true", help="the plain average of logits")
    command.set_defaults(command=blend)
    command = commands.add_parser("compare", help="set finished runs side by side")
    command.add_argument("runs", nargs="+", type=Path, help="finished run folders")
    command.add_argument("-o", "--output", type=Path, help="folder (default: outputs/comparison)")
    command.set_defaults(command=compare)
    command = commands.add_parser("data", help="check Kaggle's files and say what was found")
    command.add_argument("--data-dir", default="", help="folder with Kaggle's files")
    command.add_argument("--id-column", default="id")
    command.add_argument("--text-column", default="comment_text")
    command.set_defaults(command=show_data)
    command = commands.add_parser("score", help="grade a submission by test_labels.csv")
    command.add_argument("submission", type=Path)
    command.add_argument("other", type=Path, nargs="?", help="a second one, compared in pairs")
    command.add_argument("--labels", type=Path, required=True, help="Kaggle's test_labels.csv")
    command.add_argument("--id-column", default="id")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(command=score)
    command = commands.add_parser("predict", help="score any CSV by a finished run's model")
    command.add_argument("run", type=Path, help="a finished run folder")
    command.add_argument("file", type=Path, help="a CSV with id and text columns")
    command.add_argument("-o", "--output", type=Path, required=True, help="the CSV to write")
    command.add_argument(
        "--calibrated",
        action="store_true",
        help="scores that mean their share (thresholds.json is for scores without it)",
    )
    command.set_defaults(command=predict)
    command = commands.add_parser("bench", help="measure speed, side by side")
    command.add_argument("--data-dir", default="", help="folder with Kaggle's files")
    command.add_argument("--quick", action="store_true", help="2 layers: two minutes, not twenty")
    command.add_argument("-o", "--output", type=Path, help="folder (default: outputs/bench)")
    command.set_defaults(command=bench)
    command = commands.add_parser("ablate", help="what each choice of a recipe is worth (hours)")
    command.add_argument("--data-dir", default="", help="folder with Kaggle's files")
    command.add_argument("--seeds", type=_count, default=3, help="trainings of each (default: 3)")
    command.add_argument("--jobs", type=_count, default=1, help="trainings side by side")
    command.add_argument("-o", "--output", type=Path, help="folder (default: outputs/ablation)")
    command.set_defaults(command=ablate)
    return parser


if __name__ == "__main__":
    sys.exit(main())
