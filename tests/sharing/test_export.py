"""An exported folder scores as `predict` does, without toxlib, torch or transformers."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import init

import toxlib
from toxlib import files
from toxlib.__main__ import main
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.training import checkpoints, graphs

HAS_PACKAGES = all(map(graphs.find_spec, graphs.PACKAGES))
needs_packages = pytest.mark.skipif(not HAS_PACKAGES, reason=graphs.INSTALL)
KINDS = {
    "stock encoder": ("bert", "lengthen_to=0 max_length=512"),
    "head cls, past its window": ("bert", "lengthen_to=1024 max_length=1024"),
    "head cls4, past its window": ("bert", "lengthen_to=1024 max_length=1024 head=cls4"),
    "two folds": ("distilbert", "lengthen_to=0 max_length=64 folds=2"),
}
WITHOUT_TOXLIB = (  # a module that is None in sys.modules cannot be imported
    "import runpy, sys; "
    "sys.modules.update(dict.fromkeys(('toxlib', 'torch', 'transformers', 'pandas'))); "
    "runpy.run_path({!r}, run_name='__main__')"
)
WORDS = ["thank", "you", "for  the\tnote", "\xa0about", "a", "tram\n", "stupid", "idiot!"]


def finish_run(folder: Path, data_dir: Path, overrides: str) -> Path:
    """Make a run folder as 03 leaves it, with random weights instead of training."""
    values = f"attention_window=64 precision=fp32 {overrides}"
    run = toxlib.open_run("quick", data_dir, folder, values)
    run.claim()
    for fold in run.split.folds:
        torch.manual_seed(fold)
        model, tokenizer = checkpoints.load_classifier(run.recipe, run.label_names)
        for weight in model.parameters():
            if weight.ndim == 2:  # as large as they are, scores differ from text to text
                init.normal_(weight, std=0.5)
        checkpoints.save_trained(model, tokenizer, run.fold_folder(fold) / "model")
    run.release()
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory, checkpoints, small_dir):
    """Return a function that makes the run folder of a kind, once."""
    made = {}

    def make(kind: str) -> Path:
        if kind not in made:
            name, overrides = KINDS[kind]
            folder = tmp_path_factory.mktemp("runs") / "run"
            values = f"checkpoint={checkpoints[name]} {overrides}"
            made[kind] = finish_run(folder, small_dir, values)
        return made[kind]

    return make


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Return texts of about 3, 40, 300, 600 and 1,024 tokens, and one that is cut, unprepared."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, n)) for n in (1, 30, 200, 400, 750, 3000)]


def run_example(folder: Path, texts: list[str]) -> list[dict]:
    """Run the folder's example in a process in which toxlib cannot be imported."""
    script = WITHOUT_TOXLIB.format(str(folder / "example.py"))
    done = subprocess.run([sys.executable, "-c", script, *texts], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@needs_packages
@pytest.mark.parametrize("kind", KINDS)
def test_the_example_gives_the_scores_of_predict(runs, kind, texts, tmp_path):
    run, output = runs(kind), tmp_path / "new" / "graph"
    assert main(["export", str(run), "-o", str(output), "--format", "onnx"]) == 0
    names = ["example.py", "labels.json", "model.onnx", "tokenizer.json"]
    assert sorted(path.name for path in output.iterdir()) == names
    assert len((output / "example.py").read_text().splitlines()) <= 20
    expected = toxlib.load(run).predict(texts)
    assert expected.std().max() > 0.05
    found = run_example(output, texts)
    assert [line["text"] for line in found] == texts
    for line, (_, row) in zip(found, expected.iterrows(), strict=True):
        assert list(line["scores"]) == list(expected.columns)
        assert np.allclose(list(line["scores"].values()), row, rtol=0, atol=1e-5)


@needs_packages
def test_int8_says_what_it_changes_on_the_validation_rows(runs, tmp_path, capsys):
    run, output = toxlib.reopen(runs("head cls, past its window")), tmp_path / "graph"
    assert main(["export", str(run.folder), "-o", str(output), "--int8"]) == 0
    assert not (output / "model.onnx").exists()
    told, changes = capsys.readouterr().out, json.loads((output / "int8.json").read_text())
    assert changes["rows"] == run.split.is_validation.sum()
    assert 0 < changes["mean_change"] < changes["largest_change"] < 1
    for name in ("mean_change", "largest_change", "auc_fp32", "auc_int8"):
        assert f"{changes[name]:.4f}" in told
    # The example scores by the graph in int8.
    texts = run.texts(run.split.is_validation)[:40]
    scores = [list(line["scores"].values()) for line in run_example(output, texts)]
    difference = np.abs(np.array(scores) - toxlib.load(run.folder).predict(texts)).to_numpy()
    assert difference.max() > 1e-5
    labels = run.validation_labels
    fp32 = toxlib.load(run.folder).predict(run.texts(run.split.is_validation))
    assert changes["auc_fp32"] == pytest.approx(mean_columnwise_auc(labels, fp32.to_numpy()))


def replace(folder: Path, **values) -> None:
    record = json.loads((folder / "run.json").read_text())
    record["recipe"] |= values
    (folder / "run.json").write_text(json.dumps(record))


FAULTS = {
    "no run": (lambda run, _: (run / "run.json").unlink(), "no run here"),
    "not finished": (lambda run, _: files.remove(run / "model"), "no trained model here; run 03"),
    "damaged": (
        lambda run, _: (run / "model/config.json").write_text("{"),
        "config.json: damaged",
    ),
    "output is a file": (lambda _, out: out.write_text("mine"), "graph: a file; give a folder"),
    "output has files": (
        lambda _, out: (out.mkdir(), (out / "mine").write_text("mine")),
        "graph: a folder with other files; give a new folder, or delete it",
    ),
    "windows": (lambda run, _: replace(run, long_texts="windows"), "only one window of a text;"),
    "no validation rows": (lambda run, _: (run / "split.csv").unlink(), "which cannot be read ("),
}


@needs_packages
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_in_one_line_and_nothing_is_written(runs, fault, tmp_path, capsys):
    run, output = tmp_path / "run", tmp_path / "graph"
    shutil.copytree(runs("stock encoder"), run)
    damage, message = FAULTS[fault]
    damage(run, output)
    before = sorted(path for path in tmp_path.rglob("*"))
    assert main(["export", str(run), "-o", str(output), "--int8"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(path for path in tmp_path.rglob("*")) == before


@needs_packages
def test_a_graph_with_other_scores_is_refused(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(graphs, "graph_probabilities", lambda _, __, texts, ___: np.zeros((3, 6)))
    command = ["export", str(runs("stock encoder")), "-o", str(tmp_path / "graph")]
    assert main(command) == 2
    assert "the graph of this 'bert' gives other scores (by up to 0." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(graphs, "find_spec", lambda name: None)
    assert main(["export", str(tmp_path), "-o", str(tmp_path / "graph")]) == 2
    assert capsys.readouterr().err == (
        "error: export needs onnx, onnxscript, onnxruntime, not installed; "
        "run `pip install -r requirements-export.txt`\n"
    )
    assert list(tmp_path.iterdir()) == []


@needs_packages
def test_a_blend_names_the_runs_to_export(runs, tmp_path, capsys):
    run = shutil.copytree(runs("stock encoder"), tmp_path / "blend")
    record = json.loads((run / "run.json").read_text())
    record["members"] = {"a": {"run": "../a", "predictions": "own"}}
    (run / "run.json").write_text(json.dumps(record))
    assert main(["export", str(run), "-o", str(tmp_path / "graph")]) == 2
    assert f"export a run that it blends ({tmp_path / 'a'})\n" in capsys.readouterr().err
