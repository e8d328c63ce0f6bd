"""The command line: python -m toxlib run, predict, compare and more.

Each command imports what it needs when it is called, so that --help is quick.
"""

import argparse
import os
import signal
import sys
import threading

from toxlib.arguments import make_parser
from toxlib.errors import KEPT, InputError, NotebookError

GOING_ON = ("run", "blend", "audit", "sweep", "augment", "ablate")
"""Commands that keep what is finished. So does `predict` into a folder."""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit status.

    It is 0; 2 for a mistake of the user or a refusal of the operating system; 1 if a notebook
    fails; 130 after Ctrl-C; 141 if the reader of our output ends early, as `head` does; and 143
    after SIGTERM.
    """
    arguments = make_parser(vars(sys.modules[__name__])).parse_args(argv)
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
        print(f"error: {where}{error.strerror or error}{_kept(arguments)}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Terminated) as error:
        print(f"\nstopped{_kept(arguments)}", file=sys.stderr)
        return 143 if isinstance(error, Terminated) else 130
    return 0


def _kept(arguments: argparse.Namespace) -> str:
    """Say that the command goes on from where it was stopped, if it is one that does."""
    name = arguments.command.__name__
    into_folder = name == "predict" and str(arguments.output) != "-" and arguments.output.is_dir()
    return f"; {KEPT}" if name in GOING_ON or into_folder else ""


class Terminated(BaseException):
    """The process was sent SIGTERM."""


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def run(arguments: argparse.Namespace) -> None:
    """Execute the notebooks; see `toxlib.pipeline`."""
    from toxlib.pipeline import run_pipeline

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
    from toxlib.pipeline import run_blend

    weights = "equal" if arguments.equal else "fitted"
    finished = run_blend(arguments.runs, arguments.run_dir, weights)
    print(f"{finished.path('submission.csv')}\n{finished.path('report.html')}")


def compare(arguments: argparse.Namespace) -> None:
    """Compare finished runs; see `toxlib.reports.comparison`."""
    from toxlib import files
    from toxlib.reports.comparison import compare_all, compare_runs
    from toxlib.reports.comparison_page import print_comparison

    output, left_out = arguments.output or files.outputs() / "comparison", []
    files.check_folder(output)
    if arguments.runs:
        groups = [compare_runs(arguments.runs, arguments.reference)]
    else:
        groups, left_out = compare_all(files.outputs(), arguments.reference)
    print_comparison(output, groups, left_out)


def sweep(arguments: argparse.Namespace) -> None:
    """Make a run for each combination of recipe values; see `toxlib.sweep`."""
    from toxlib.sweep import sweep

    sweep(arguments.recipe, arguments.set, arguments.data_dir, arguments.output)


def diff(arguments: argparse.Namespace) -> None:
    """Say where two runs part; see `toxlib.reports.diff`."""
    from toxlib.reports.diff import format_differences

    print(format_differences(arguments.run, arguments.other))


def robustness(arguments: argparse.Namespace) -> None:
    """Say what varied spelling costs a run; see `toxlib.reports.robustness`."""
    from toxlib.reports.robustness import measure_robustness

    table = measure_robustness(arguments.run, arguments.rows)
    print(table.to_string(float_format="{:.4f}".format))


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
    """Score files with a finished run; see `toxlib.scoring.score_files`."""
    from toxlib.runs.run import set_up_display
    from toxlib.scoring.cascading import read_most_lost
    from toxlib.scoring.score_files import score_files
    from toxlib.scoring.shards import Options

    set_up_display()
    skip, unique_ids = arguments.on_error == "skip", not arguments.unchecked_ids
    most_lost = None if arguments.cascade is None else read_most_lost(arguments.cascade)
    options = Options(arguments.calibrated, arguments.decide, skip, unique_ids, most_lost)
    how = options, arguments.engine, arguments.actors
    score_files(arguments.run, arguments.files, arguments.output, *how)


def explain(arguments: argparse.Namespace) -> None:
    """Say which words made the scores of a file's comments; see `toxlib.scoring.explaining`."""
    from toxlib.runs.run import set_up_display
    from toxlib.scoring.explaining import explain_file

    set_up_display()
    explain_file(arguments.run, arguments.file, arguments.output, arguments.label)


def serve(arguments: argparse.Namespace) -> None:
    """Score texts over HTTP; see `toxlib.serving`."""
    from toxlib.runs.run import set_up_display
    from toxlib.serving.server import serve

    set_up_display()
    serve(arguments.run, arguments.host, arguments.port)


def export(arguments: argparse.Namespace) -> None:
    """Export a finished run as a graph or for toxlib; see `toxlib.sharing.export`, `portable`."""
    if arguments.format == "toxlib":
        from toxlib.sharing.portable import export_folder

        if arguments.int8:
            raise InputError("--int8: only of a graph; leave it out, or write --format onnx")
        print(*export_folder(arguments.run, arguments.output), sep="\n")
    else:
        from toxlib.sharing.export import export

        print(*export(arguments.run, arguments.output, arguments.int8), sep="\n")


def card(arguments: argparse.Namespace) -> None:
    """Write the model card of a finished run; see `toxlib.sharing.card`."""
    from toxlib.sharing.card import write_card

    print(*write_card(arguments.run), sep="\n")


def push(arguments: argparse.Namespace) -> None:
    """Upload a finished run to the Hugging Face hub; see `toxlib.sharing.portable`."""
    from toxlib.sharing.portable import push

    print(push(arguments.run, arguments.repo, arguments.private, arguments.revision))


def augment(arguments: argparse.Namespace) -> None:
    """Write translated copies of Kaggle's files; see `toxlib.training.augment`."""
    from toxlib.runs.run import set_up_display
    from toxlib.training.augment import augment

    set_up_display()
    there, back = (arguments.translator, arguments.revision), None
    if not arguments.one_way:
        back = arguments.back, arguments.back_revision
    columns = arguments.id_column, arguments.text_column
    print(
        *augment(arguments.files, arguments.output, arguments.to, there, back, columns), sep="\n"
    )


def audit(arguments: argparse.Namespace) -> None:
    """Execute 07_audit on a finished run; see `toxlib.reports.audit`."""
    from toxlib.pipeline import run_audit

    finished = run_audit(arguments.run, arguments.templates)
    print(f"{finished.path('identity.json')}\n{finished.path('report.html')}")


def bench(arguments: argparse.Namespace) -> None:
    """Measure speed; see `toxlib.benchmarks`: `speed`, `scale` and `peers`."""
    if arguments.serving:
        from toxlib.benchmarks.serving import bench_serving

        bench_serving(arguments.serving, arguments.output, arguments.quick)
        return
    if arguments.explanations:
        from toxlib.benchmarks.explanations import bench_explanations

        bench_explanations(*arguments.explanations, arguments.output, arguments.quick)
        return
    if arguments.scale:
        from toxlib.benchmarks.scale import bench_scale as bench
    elif arguments.peers:
        from toxlib.benchmarks.peers import bench_peers as bench
    else:
        from toxlib.benchmarks.speed import bench

    bench(arguments.data_dir, arguments.output, arguments.quick)


def ablate(arguments: argparse.Namespace) -> None:
    """Measure what each choice of a recipe is worth; see `toxlib.benchmarks.ablation`."""
    from toxlib.benchmarks.ablation import Setting, ablate, run_ablation
    from toxlib.benchmarks.learning_curve import learning_curve

    where = arguments.data_dir, arguments.output
    if arguments.curve:
        how = {"jobs": arguments.jobs, "max_length": arguments.max_length}
        run_ablation(*where, learning_curve, **how)
    else:
        how = {"only": arguments.only, "seeds": arguments.seeds, "jobs": arguments.jobs}
        setting = Setting(arguments.blocks, arguments.max_length)
        run_ablation(*where, ablate, **how, setting=setting)


if __name__ == "__main__":
    sys.exit(main())
