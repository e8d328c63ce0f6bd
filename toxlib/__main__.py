"""The command line: python -m toxlib run, predict, compare and more.

Each command imports what it needs when it is called, so that --help is quick.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from toxlib.errors import KEPT, InputError, NotebookError


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit status.

    It is 0; 2 for a mistake of the user or a refusal of the operating system; 1 if a notebook
    fails; 130 after Ctrl-C, 141 if the reader of our output ends
    early, as `head` does, and 143 after SIGTERM.
    """
    arguments = _parser().parse_args(argv)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        arguments.command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes standard output once more at its end; that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (InputError, NotebookError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}; {KEPT}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Terminated) as error:
        print(f"\nstopped; {KEPT}", file=sys.stderr)
        return 143 if isinstance(error, Terminated) else 130
    return 0


class Terminated(BaseException):
    """The process was sent SIGTERM."""


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def run(arguments: argparse.Namespace) -> None:
    """Execute the notebooks; see `toxlib.runs.pipeline`."""
    from toxlib.runs.pipeline import run_pipeline

    finished = run_pipeline(
        arguments.recipe, arguments.data_dir, arguments.run_dir, arguments.set, arguments.start
    )
    print(f"{finished.path('submission.csv')}\n{finished.path('report.html')}")


def recipes(arguments: argparse.Namespace) -> None:
    """List the recipes, or the values of one; see `toxlib.recipes`."""
    from toxlib.recipes import format_recipe, format_recipes

    print(format_recipe(arguments.name) if arguments.name else format_recipes())


def blend(arguments: argparse.Namespace) -> None:
    """Blend finished runs; see `toxlib.runs.blending`."""
    from toxlib.runs.pipeline import run_blend

    weights = "equal" if arguments.equal else "fitted"
    finished = run_blend(arguments.runs, arguments.run_dir, weights)
    print(f"{finished.path('submission.csv')}\n{finished.path('report.html')}")


def compare(arguments: argparse.Namespace) -> None:
    """Compare finished runs; see `toxlib.runs.comparison`."""
    from toxlib import files
    from toxlib.runs.comparison import compare_runs, format_comparison, plot_comparison

    output = arguments.output or files.outputs() / "comparison"
    files.check_folder(output)
    table = compare_runs(arguments.runs)
    with files.replacing(output / "comparison.csv") as temporary:
        table.to_csv(temporary)
    plot_comparison(table).savefig(output / "comparison.png", dpi=120)
    print(format_comparison(table), output, sep="\n")


def diff(arguments: argparse.Namespace) -> None:
    """Say where two runs part; see `toxlib.runs.diff`."""
    from toxlib.runs.diff import format_differences

    print(format_differences(arguments.run, arguments.other))


def data(arguments: argparse.Namespace) -> None:
    """Read and check Kaggle's files, and say what was found."""
    from toxlib.data import kaggle
    from toxlib.errors import show_all

    folder = kaggle.find_data_dir(arguments.data_dir or None)
    if folder is None:
        print("data/ has none of Kaggle's files (see data/README.md); runs use the sample")
        return
    columns = arguments.id_column, arguments.text_column, arguments.label_columns
    tables = kaggle.read_tables(folder, *columns)
    print(f"{folder}: no faults found")
    print(f"  {len(tables.train)} training and {len(tables.test)} test comments")
    print(f"  labels: {show_all(tables.label_names)}")
    print(f"  test labels: {'none' if tables.test_labels is None else 'found'}")
    for note in tables.notes:
        print(f"  {note}")


def score(arguments: argparse.Namespace) -> None:
    """Grade a submission, or two; see `toxlib.evaluation.submission`."""
    import json

    from toxlib.evaluation.submission import format_score, score_files
    from toxlib.files import nan_to_none

    paths, notes = (arguments.submission, arguments.labels, arguments.other), []
    result = score_files(*paths, arguments.id_column, notes)
    for note in notes:
        print(note, file=sys.stderr)
    print(json.dumps(nan_to_none(result), indent=2) if arguments.json else format_score(result))


def predict(arguments: argparse.Namespace) -> None:
    """Score files with a finished run; see `toxlib.runs.scoring`."""
    from toxlib.runs.cascading import read_most_lost
    from toxlib.runs.run import set_up_display
    from toxlib.runs.scoring import score_files
    from toxlib.runs.shards import Options

    set_up_display()
    skip, unique_ids = arguments.on_error == "skip", not arguments.unchecked_ids
    most_lost = None if arguments.cascade is None else read_most_lost(arguments.cascade)
    options = Options(arguments.calibrated, arguments.decide, skip, unique_ids, most_lost)
    how = options, arguments.engine, arguments.actors
    score_files(arguments.run, arguments.files, arguments.output, *how)


def export(arguments: argparse.Namespace) -> None:
    """Export a finished run as a graph; see `toxlib.runs.export`."""
    from toxlib.runs.export import export

    print(*export(arguments.run, arguments.output, arguments.int8), sep="\n")


def audit(arguments: argparse.Namespace) -> None:
    """Execute 07_audit on a finished run; see `toxlib.runs.audit`."""
    from toxlib.runs.pipeline import run_audit

    finished = run_audit(arguments.run, arguments.templates)
    print(f"{finished.path('identity.json')}\n{finished.path('report.html')}")


def bench(arguments: argparse.Namespace) -> None:
    """Measure speed; see `toxlib.benchmarks`: `speed`, `scale` and `peers`."""
    if arguments.scale:
        from toxlib.benchmarks.scale import bench_scale as bench
    elif arguments.peers:
        from toxlib.benchmarks.peers import bench_peers as bench
    else:
        from toxlib.benchmarks.speed import bench

    bench(arguments.data_dir, arguments.output, arguments.quick)


def ablate(arguments: argparse.Namespace) -> None:
    """Measure what each choice of a recipe is worth; see `toxlib.benchmarks.ablation`."""
    from toxlib.benchmarks.ablation import run_ablation

    run_ablation(arguments.data_dir, arguments.output, arguments.seeds, arguments.jobs)


def _add_predict(added: argparse.ArgumentParser) -> None:
    added.add_argument("run", type=Path, help="a finished run folder")
    help = "CSV, .csv.zip, .csv.gz or Parquet with a text column, and ids or none; - reads CSV"
    added.add_argument("files", nargs="+", type=Path, metavar="FILE", help=help + " from stdin")
    help = "the CSV or .parquet to write; - for stdout; of several files, a folder"
    added.add_argument("-o", "--output", type=Path, required=True, help=help)
    added.add_argument("--calibrated", action="store_true", help="write calibrated probabilities")
    added.add_argument("--decide", action="store_true", help="add yes/no columns (plain scores)")
    help = "rows that the linear models are sure about skip the encoder; LOSS is the most AUC that"
    help += " this may cost, such as 0.001"
    added.add_argument("--cascade", metavar="LOSS", help=help)
    help = "local: in this process (default); ray: by Ray, into a folder"
    added.add_argument("--engine", choices=("local", "ray"), default="local", help=help)
    help = "workers of Ray (default: one per GPU, or else one per core)"
    added.add_argument("--actors", type=_positive, default=0, metavar="N", help=help)
    help = "stop at a broken row or file (default), or leave it out and report it"
    added.add_argument("--on-error", choices=("stop", "skip"), default="stop", help=help)
    help = "do not look for repeated ids, which takes 8 bytes of memory per row"
    added.add_argument("--unchecked-ids", action="store_true", help=help)


def _positive(value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from 1 on")
    return int(value)


def _parser() -> argparse.ArgumentParser:
    description = "Multilabel text classification from Kaggle's CSV files to a submission."
    parser = argparse.ArgumentParser(prog="python -m toxlib", description=description)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command, help: str, *options: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        added.set_defaults(command=command)
        if "data" in options:
            added.add_argument("--data-dir", default="", help="folder with Kaggle's files")
        if "output" in options:
            added.add_argument("-o", "--output", type=Path, help="folder (default: in outputs/)")
        return added

    added = add("run", run, "execute the notebooks into a run folder", "data")
    added.add_argument("--recipe", default="quick", help="a named recipe (default: quick)")
    added.add_argument("--run-dir", default="", help="run folder (default: outputs/RECIPE)")
    added.add_argument(
        "--from",
        dest="start",
        default="01",
        help="first notebook; from 04 on, the recipe is read from --run-dir",
    )
    added.add_argument(
        "--set",
        nargs="+",
        default=[],
        action="extend",
        metavar="KEY=VALUE",
        help="recipe values; quote one that has blanks",
    )
    added = add("recipes", recipes, "list the recipes, or explain the values of one")
    added.add_argument("name", nargs="?", default="", help="a recipe, such as quick")
    _add_predict(add("predict", predict, "score files with a finished run or blend"))
    added = add("export", export, "write a finished run as a graph that scores without toxlib")
    added.add_argument("run", type=Path, help="a finished run folder, not a blend")
    help = "a new folder"
    added.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help=help)
    help = "of the graph (default: onnx)"
    added.add_argument("--format", choices=("onnx",), default="onnx", help=help)
    help = "int8 weights: faster and smaller, with other scores; prints how much they change"
    added.add_argument("--int8", action="store_true", help=help)
    added = add("score", score, "grade a submission with Kaggle's test_labels.csv")
    added.add_argument("submission", type=Path, help="a submission.csv")
    added.add_argument("other", type=Path, nargs="?", help="another one to compare with")
    added.add_argument("--labels", type=Path, required=True, help="Kaggle's test_labels.csv")
    added.add_argument("--id-column", default="id")
    added.add_argument("--json", action="store_true", help="print JSON")
    added = add("compare", compare, "compare finished runs on the same validation rows", "output")
    added.add_argument("runs", nargs="+", type=Path, help="finished run folders")
    added = add("diff", diff, "say where two runs part: values, data, machine, results")
    added.add_argument("run", type=Path, help="a run folder")
    added.add_argument("other", type=Path, help="another one")
    added = add("blend", blend, "blend finished runs")
    added.add_argument("runs", nargs="+", help="finished run folders with the same folds")
    added.add_argument("--run-dir", default="", help="run folder (default: outputs/blend)")
    added.add_argument("--equal", action="store_true", help="the plain average of logits")
    added = add("data", data, "check Kaggle's files and say what was found", "data")
    added.add_argument("--id-column", default="id")
    added.add_argument("--text-column", default="comment_text")
    added.add_argument("--label-columns", default="", help="such as a,b (default: all further)")
    added = add("audit", audit, "say where a finished run is wrong, and whom it flags too often")
    added.add_argument("run", help="a finished run folder or blend")
    help = "a CSV of sentences that name groups, with the columns text, identity and toxic"
    added.add_argument("--templates", default="", metavar="FILE", help=help)
    added = add("bench", bench, "measure speed, ours and the tutorial's", "data", "output")
    help = "less of everything: a few minutes, not 25"
    added.add_argument("--quick", action="store_true", help=help)
    other = added.add_mutually_exclusive_group()
    help = "instead, how scoring grows with rows, and training with processes"
    other.add_argument("--scale", action="store_true", help=help)
    help = "instead, other libraries, with their scores after one epoch"
    other.add_argument("--peers", action="store_true", help=help)
    added = add("ablate", ablate, "measure what each recipe value adds (hours)", "data", "output")
    added.add_argument("--seeds", type=_positive, default=3, help="seeds per change (default: 3)")
    added.add_argument("--jobs", type=_positive, default=1, help="trainings at the same time")
    return parser


if __name__ == "__main__":
    sys.exit(main())
