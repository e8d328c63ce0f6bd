"""The arguments of the command line, whose commands are in `toxlib.__main__`."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path


def make_parser(commands: Mapping[str, Callable]) -> argparse.ArgumentParser:
    """Return the parser of the command line; it sets `command` to the function of that name."""
    description = "Multilabel text classification from Kaggle's CSV files to a submission."
    parser = argparse.ArgumentParser(prog="python -m toxlib", description=description)
    added_commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, help: str, *options: str) -> argparse.ArgumentParser:
        added = added_commands.add_parser(
            name, help=help, description=help[0].upper() + help[1:] + "."
        )
        added.set_defaults(command=commands[name])
        if "data" in options:
            added.add_argument("--data-dir", default="", help="folder with Kaggle's files")
        if "columns" in options:
            added.add_argument("--id-column", default="id")
            added.add_argument("--text-column", default="comment_text")
        if "output" in options:
            added.add_argument("-o", "--output", type=Path, help="folder (default: in outputs/)")
        return added

    added = add("run", "execute the notebooks into a run folder", "data")
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
    added = add("recipes", "list the recipes, or explain the values of one")
    added.add_argument("name", nargs="?", default="", help="a recipe, such as quick")
    _add_predict(add("predict", "score files with a finished run or blend"))
    added = add("explain", "say which words made the scores of a file's comments")
    added.add_argument("run", type=Path, help="a finished run folder or blend")
    added.add_argument("file", type=Path, help="a file as predict reads it")
    help = "a CSV with a row per word, or a page that ends in .html; - for stdout"
    added.add_argument("-o", "--output", type=Path, required=True, help=help)
    help = "the labels whose scores are explained (default: all)"
    added.add_argument("--label", nargs="+", default=[], metavar="LABEL", help=help)
    added = add("serve", "score texts over HTTP, with a page to try it")
    added.add_argument("run", type=Path, help="a finished run folder or blend")
    help = "the address to listen on; the server has no passwords (default: 127.0.0.1)"
    added.add_argument("--host", default="127.0.0.1", help=help)
    help = "the port; 0: a free one (default: 8000)"
    added.add_argument("--port", type=int, default=8000, help=help)
    added = add("export", "write a finished run into a folder that is used elsewhere")
    added.add_argument("run", type=Path, help="a finished run folder")
    help = "a new folder"
    added.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help=help)
    help = "onnx: a graph that scores without toxlib, not of a blend (default). toxlib: what "
    help += "toxlib.load reads, with the model card"
    added.add_argument("--format", choices=("onnx", "toxlib"), default="onnx", help=help)
    help = "int8 weights: faster and smaller, with other scores; prints how much they change"
    added.add_argument("--int8", action="store_true", help=help)
    added = add("card", "write the model card of a finished run into its folder")
    added.add_argument("run", type=Path, help="a finished run folder or blend")
    added = add("push", "upload a finished run with its model card to the Hugging Face hub")
    added.add_argument("run", type=Path, help="a finished run folder or blend")
    added.add_argument(
        "repo", help="the model repository, OWNER/NAME; it is made if it is missing"
    )
    added.add_argument("--private", action="store_true", help="nobody else may see the repository")
    added.add_argument("--revision", default="", metavar="BRANCH", help="default: main")
    added = add("score", "grade a submission with Kaggle's test_labels.csv")
    added.add_argument("submission", type=Path, help="a submission.csv")
    added.add_argument("other", type=Path, nargs="?", help="another one to compare with")
    added.add_argument("--labels", type=Path, required=True, help="Kaggle's test_labels.csv")
    added.add_argument("--id-column", default="id")
    added.add_argument("--json", action="store_true", help="print JSON")
    added = add("compare", "compare finished runs on the same validation rows", "output")
    help = "finished run folders (default: all that are finished in outputs/)"
    added.add_argument("runs", nargs="*", type=Path, help=help)
    help = "the run that others are compared with (default: the first; without RUNS, the best)"
    added.add_argument("--reference", type=Path, metavar="RUN", help=help)
    added = add("sweep", "run every combination of some recipe values, and compare", "data")
    added.add_argument("recipe", help="a named recipe, such as quick")
    help = "values to try, separated by commas; [a,b] is one value with a comma in it"
    added.add_argument(
        "--set", nargs="+", required=True, action="extend", metavar="KEY=A,B", help=help
    )
    help = "folder of the runs (default: outputs/sweep-RECIPE)"
    added.add_argument("-o", "--output", type=Path, metavar="FOLDER", help=help)
    added = add("diff", "say where two runs part: values, data, machine, results")
    added.add_argument("run", type=Path, help="a run folder")
    added.add_argument("other", type=Path, help="another one")
    added = add("blend", "blend finished runs")
    added.add_argument("runs", nargs="+", help="finished run folders with the same folds")
    added.add_argument("--run-dir", default="", help="run folder (default: outputs/blend)")
    added.add_argument("--equal", action="store_true", help="the plain average of logits")
    help = "measure the AUC that a finished run loses on comments with varied spelling"
    added = add("robustness", help)
    added.add_argument("run", type=Path, help="a finished run folder")
    help = "the most held-out comments to score, six times each (default: 2000)"
    added.add_argument("--rows", type=_positive, default=2000, help=help)
    _add_augment(add("augment", "translate comments, as copies to train on", "columns"))
    added = add("data", "check Kaggle's files and say what was found", "data", "columns")
    added.add_argument("--label-columns", default="", help="such as a,b (default: all further)")
    added = add("audit", "say where a finished run is wrong, and whom it flags too often")
    added.add_argument("run", help="a finished run folder or blend")
    help = "a CSV of sentences that name groups, with the columns text, identity and toxic"
    added.add_argument("--templates", default="", metavar="FILE", help=help)
    added = add("bench", "measure speed, ours and the tutorial's", "data", "output")
    help = "less of everything: a few minutes, not 25"
    added.add_argument("--quick", action="store_true", help=help)
    other = added.add_mutually_exclusive_group()
    help = "instead, how scoring grows with rows, and training with processes"
    other.add_argument("--scale", action="store_true", help=help)
    help = "instead, other libraries, with their scores after one epoch"
    other.add_argument("--peers", action="store_true", help=help)
    help = "instead, how many requests a finished run answers when it is served"
    other.add_argument("--serving", metavar="RUN", help=help)
    help = "instead, how well explanations of a run find the characters that people have marked"
    other.add_argument("--explanations", nargs=2, metavar=("RUN", "FILE"), help=help)
    added = add("ablate", "measure what each recipe value adds (hours)", "data", "output")
    help = "train these changes only, and what they are compared with"
    added.add_argument("--only", nargs="+", metavar="CHANGE", default=(), help=help)
    help = "instead, the scores by number of training comments, with one seed"
    added.add_argument("--curve", action="store_true", help=help)
    added.add_argument("--seeds", type=_positive, default=3, help="seeds per change (default: 3)")
    added.add_argument("--jobs", type=_positive, default=1, help="trainings at the same time")
    help = "sixteenths of the comments to train on, at most 5 (default: 3)"
    added.add_argument("--blocks", type=_positive, default=3, choices=range(1, 6), help=help)
    help = "the most tokens of a comment (default: 256)"
    added.add_argument("--max-length", type=_positive, default=256, metavar="TOKENS", help=help)
    return parser


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


def _add_augment(added: argparse.ArgumentParser) -> None:
    help = "train.csv, test.csv or both, also as .csv.zip"
    added.add_argument("files", nargs="+", type=Path, metavar="FILE", help=help)
    added.add_argument("--to", required=True, help="a language, such as de: writes train_de.csv")
    help = "a folder: that of the data, for the recipe value translations"
    added.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help=help)
    help = "MarianMT from English: a folder, or a name on the hub with --revision"
    added.add_argument("--translator", required=True, metavar="CHECKPOINT", help=help)
    added.add_argument("--revision", default="", metavar="COMMIT", help="of --translator")
    other = added.add_mutually_exclusive_group(required=True)
    help = "MarianMT back to English, as the files that Kagglers share"
    other.add_argument("--back", metavar="CHECKPOINT", help=help)
    help = "keep the texts in the language, for a multilingual encoder"
    other.add_argument("--one-way", action="store_true", help=help)
    added.add_argument("--back-revision", default="", metavar="COMMIT", help="of --back")


def _positive(value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from 1 on")
    return int(value)
