"""The model card says what the run's files say, in a form that the hub reads."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import mistune
import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard

from toxlib import files
from toxlib.__main__ import main
from toxlib.evaluation.identity import identity_report
from toxlib.recipes import LICENCES, RECIPES
from toxlib.reports import audit
from toxlib.scoring.predictor import digest
from toxlib.scoring.shards import Options
from toxlib.sharing.markdown import code

KINDS = ["single", "folds", "blend"]
HARMLESS_TAGS = {"h1", "h2", "p", "code", "pre", "ul", "li", "strong", "blockquote"}
HARMLESS_TAGS |= {"table", "thead", "tbody", "tr", "th", "td"}


@pytest.fixture(params=KINDS)
def run(request, made, tmp_path) -> Path:
    """Return a copy of a run; that of a blend finds its members where they were."""
    return shutil.copytree(made[request.param], tmp_path / request.param)


@pytest.fixture
def single(made, tmp_path) -> Path:
    return shutil.copytree(made["single"], tmp_path / "single")


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text("utf-8"))


def change(folder: Path, name: str, **values) -> None:
    files.write_json(folder / name, read(folder, name) | values)


def card_of(folder: Path) -> str:
    assert main(["card", str(folder)]) == 0
    return (folder / "README.md").read_text("utf-8")


def tables(card: str) -> dict[str, list[list[str]]]:
    """Return the cells of each table below its header, by the heading above it."""
    found = {}
    for section in card.split("\n## ")[1:]:
        lines = [line for line in section.splitlines() if line.startswith("| ")]
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
        assert all(len(row) == len(lines[0].split("|")) - 2 for row in rows)
        found[section.splitlines()[0]] = rows
    return found


def four(value: float) -> str:
    return f"{value:.4f}"


def test_the_hub_reads_the_scores(run):
    card_of(run)
    card, metrics = ModelCard.load(run / "README.md"), read(run, "metrics.json")
    found = {result.metric_type: result for result in card.data.eval_results}
    scores, interval = metrics["validation"], metrics["intervals_95"]["mean column-wise AUC"]
    assert found["roc_auc"].metric_value == scores["mean_columnwise_auc"]
    assert found["roc_auc"].metric_args == {"interval_95": [interval["low"], interval["high"]]}
    assert found["log_loss"].metric_value == scores["log_loss"]
    assert found["f1"].metric_value == scores["f1_macro_at_0.5"]
    arguments = {
        "rows": scores["rows"],
        "sha256": read(run, "run.json")["data_sha256"]["train.csv"],
    }
    assert all(result.dataset_args == arguments for result in found.values())
    assert card.data.model_name == run.name
    assert (card.data.license, card.data.base_model) == ("unknown", None)
    assert str(card) == (run / "README.md").read_text("utf-8")
    assert (run / "model").exists() == (run / "model" / "README.md").exists()
    if (run / "model").exists():
        assert (run / "model/README.md").read_bytes() == (run / "README.md").read_bytes()


def test_every_figure_of_a_table_is_that_of_the_files(run):
    found, metrics = tables(card_of(run)), read(run, "metrics.json")
    thresholds, calibration = read(run, "thresholds.json"), read(run, "calibration.json")
    own, interval = metrics["validation"], metrics["intervals_95"]["mean column-wise AUC"]
    keys = ("mean_columnwise_auc", "log_loss", "f1_macro_at_0.5")
    first = [four(own[key]) for key in keys]
    first[0] += f" [{four(interval['low'])}, {four(interval['high'])}]"
    expected = [["**this model**", *first, "", ""]]
    for name, other in metrics["others"].items():
        row = [four(other[key]) for key in keys]
        for kind in ("mean column-wise AUC", "log loss"):
            numbers = metrics["intervals_95"][f"{kind} minus {name}"]
            estimate, low, high = (f"{numbers[e]:+.4f}" for e in ("estimate", "low", "high"))
            row.append(f"{estimate} [{low}, {high}]")
        expected.append(row)
    assert found["Scores"][0] == expected[0]
    assert [row[1:] for row in found["Scores"][1:]] == expected[1:]
    labels = sorted(thresholds, key=lambda name: -thresholds[name]["positives"])
    expected = []
    for name in labels:
        row = thresholds[name]
        chosen, low, high = (f"{row[key]:.3f}" for key in ("threshold", "lowest", "highest"))
        judged = [f"{row[f'{key} cross-fitted']:.3f}" for key in ("precision", "recall", "F1")]
        judged[2] += f" [{row['F1 interval cross-fitted'].replace(' to ', ', ')}]"
        auc = four(own["auc_per_label"][name])
        positives = str(row["positives"])
        expected.append([code(name), positives, auc, f"{chosen} [{low}, {high}]", *judged])
    assert found["Thresholds"] == expected
    columns = ["Brier before", "Brier after", "ECE before", "ECE after", "slope", "intercept"]
    expected = [[code(n), *(four(calibration[n][column]) for column in columns)] for n in labels]
    assert found["Calibration"] == expected
    digests = read(run, "run.json")["data_sha256"].items()
    assert found["Data"] == [[f"`{name}`", f"`{digest}`"] for name, digest in digests]


def test_the_sentences_have_the_figures_of_the_files(run):
    card, record = card_of(run), read(run, "run.json")
    grade, rows = record["test_grade"], read(run, "metrics.json")["validation"]["rows"]
    assert "240 training comments and 60 test comments, which are not part of this folder" in card
    assert f"Measured on {rows} of the training comments. " in card
    assert read(run, "metrics.json")["validation_note"] in card
    low, high = grade["interval_95"]
    told = f"On {grade['rows_scored']} labelled test comments: AUC "
    told += f"{grade['mean_columnwise_auc']:.4f} [{low:.4f}, {high:.4f}], log loss "
    assert f"{told}{grade['log_loss']:.4f}." in card
    assert "chosen for the best F1" in card
    assert "`epochs=1`" in card
    assert "A text is cut at 48 tokens." in card
    assert ("consists of 2 encoders, one per fold" in card) == (run.name == "folds")
    assert ("`lr` is logistic regression on tf-idf, `nb-lr` is" in card) == (run.name != "blend")


def test_a_blend_shows_its_members_and_names_no_folder(made, tmp_path):
    run = shutil.copytree(made["blend"], tmp_path / "blend")
    card, weights = card_of(run), read(run, "weights.json")
    means = {name: np.mean([row[name] for row in weights.values()]) for name in weights["toxic"]}
    lines = [line for line in card.splitlines() if re.match(r"\| `.+ \| \d\.\d\d \|$", line)]
    names = ["same", "same (2)", "lr", "nb-lr"]
    assert [line.split("|")[1].strip(" `") for line in lines] == names
    assert [line.split("|")[3].strip() for line in lines] == [f"{w:.2f}" for w in means.values()]
    assert str(made["blend"].parent) not in card  # a member is named by its path in the run


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_are_shown_and_never_obeyed(made, kind, tmp_path):
    run = shutil.copytree(made[kind], tmp_path / "<img src=x onerror=y>`|$x$ [a](javascript:b)")
    groups = [
        "<script>x</script>",
        "![x](http://e.org/y)",
        "*a* | b",
        "$$x$$ http://e.org",
        "www.e.org",
    ]
    scores = np.array([1, -1, 1, 1, -1, -1, 1, 1, -1, -1.0])
    templates = np.array(["a", "b"] * 5)
    table = identity_report(np.array([0, 1] * 5), scores, np.repeat(groups, 2), templates)
    audit.write_identity(run, {"t<b>$x$.csv": table, audit.OWN_SENTENCES: table})
    card = card_of(run)
    loaded = ModelCard.load(run / "README.md")
    assert loaded.data.model_name.startswith("<img src=x")
    assert all(character.isprintable() or character == "\n" for character in card)
    tags = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attributes: tags.append(tag)
    plugins = ["table", "url", "strikethrough", "math"]
    reader.feed(mistune.create_markdown(escape=False, plugins=plugins)(loaded.text))
    assert set(tags) <= HARMLESS_TAGS
    assert tags.count("h2") == card.count("\n## ")
    for name in ("<b>$threat$", "t<b>$x$.csv"):
        assert f"`{name}`" in card
    assert "10 sentences of 5 groups (`t<b>$x$.csv`)" in card


def test_the_identity_audit_is_told_or_the_command_that_does_it(single):
    assert "`python -m toxlib audit RUN` does that" in card_of(single)
    table = identity_report(
        np.zeros(6),
        np.array([1, 1, 1, -1, -1, -1.0]),
        np.array(list("aabbcc")),
        np.array(list("xyxyxy")),
    )
    audit.write_identity(single, {audit.OWN_SENTENCES: table})
    card = card_of(single)
    assert all(f"* {line}" in card for line in audit.told(table))
    assert "audit RUN" not in card
    limits = read(single, "thresholds.json")
    limits["toxic"]["threshold"] = 0.123
    files.write_json(single / "thresholds.json", limits)
    assert "was made with other thresholds" in card_of(single)


def test_licences_and_base_models_are_those_of_known_checkpoints(single):
    checkpoints = {recipe.checkpoint for recipe in RECIPES.values()}
    assert checkpoints == set(LICENCES)
    recipe = read(single, "run.json")["recipe"]
    change(single, "run.json", recipe=recipe | {"checkpoint": "all-MiniLM-L6-v2"})
    assert "* `all-MiniLM-L6-v2`: apache-2.0" in card_of(single)
    data = ModelCard.load(single / "README.md").data
    assert (data.license, data.base_model) == (
        "apache-2.0",
        ["sentence-transformers/all-MiniLM-L6-v2"],
    )
    change(single, "run.json", recipe=recipe | {"checkpoint": "/home/ann/all-MiniLM-L6-v2"})
    assert "* `./all-MiniLM-L6-v2`: unknown" in card_of(single)
    assert ModelCard.load(single / "README.md").data.license == "unknown"


def test_a_synthetic_sample_and_a_wanted_precision_are_told(single):
    recipe = read(single, "run.json")["recipe"]
    assert "synthetic" not in card_of(single)
    change(single, "run.json", recipe=recipe | {"wanted_precision": 0.9}, is_sample=True)
    card = card_of(single)
    assert "**Made from a synthetic sample.**" in card
    assert "toxlib's own sample" in card
    assert "chosen for a precision of 0.9" in card


def test_what_an_older_run_or_one_class_lacks_is_a_dash(single):
    for name in ("thresholds.json", "calibration.json"):
        kept = ("threshold", "lowest", "highest", "slope", "intercept")
        content = {
            label: {key: value for key, value in row.items() if key in kept}
            for label, row in read(single, name).items()
        }
        files.write_json(single / name, content)
    metrics = read(single, "metrics.json")
    metrics["validation"] |= {"mean_columnwise_auc": None}
    metrics["intervals_95"]["mean column-wise AUC"] |= {"low": None, "high": None}
    files.write_json(single / "metrics.json", metrics)
    card = card_of(single)
    assert "`python -m toxlib run --run-dir RUN --from 04` does that" in card
    assert "| – | – | – |" in card
    assert "nan" not in card
    results = ModelCard.load(single / "README.md").data.eval_results
    assert [result.metric_type for result in results] == ["log_loss", "f1"]


@pytest.mark.parametrize(
    "name", ["metrics.json", "thresholds.json", "calibration.json", "split.csv", "weights.json"]
)
@pytest.mark.parametrize("content", [None, b"{}", b"[", b""])
def test_a_missing_or_damaged_file_is_one_line(made, name, content, tmp_path, capsys):
    run = shutil.copytree(made["blend"], tmp_path / "blend")
    (run / name).unlink()
    if content is not None:
        (run / name).write_bytes(content)
    if name == "split.csv" and content in (b"{}", b"["):
        return  # a table of no rows
    assert main(["card", str(run)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {run / name}: ")
    assert error.count("\n") == 1
    assert not (run / "README.md").exists()


def test_the_card_is_no_part_of_what_scores_depend_on(single):
    options = Options(calibrated=True, decide=True)
    before = digest(single, options)
    card_of(single)
    assert digest(single, options) == before


def test_more_labels_than_fit_on_a_page_are_left_to_the_files(single):
    metrics, names = read(single, "metrics.json"), [f"label {n}" for n in range(50)]
    metrics["validation"]["auc_per_label"] = dict.fromkeys(names, 0.75)
    files.write_json(single / "metrics.json", metrics)
    row = pd.Series(read(single, "thresholds.json")["toxic"])
    limits = {name: row.to_dict() | {"positives": n} for n, name in enumerate(names)}
    files.write_json(single / "thresholds.json", limits)
    slopes = dict.fromkeys(names, read(single, "calibration.json")["toxic"])
    files.write_json(single / "calibration.json", slopes)
    card = card_of(single)
    assert "30 more labels are in `thresholds.json`" in card
    assert "`label 49`, `label 48`" in card
    assert len(card.splitlines()) < 200
