"""The notebooks as files: one parameters cell, small cells, no outputs."""

import ast
import statistics

import nbformat
import pytest
from papermill import inspect_notebook

from toxlib.files import REPOSITORY
from toxlib.pipeline import BLEND_NOTEBOOKS, NOTEBOOKS, REOPENING
from toxlib.reports.audit import AUDIT

NAMES = sorted({*NOTEBOOKS, *BLEND_NOTEBOOKS, AUDIT})
PATHS = [REPOSITORY / "notebooks" / f"{name}.ipynb" for name in NAMES]
PARAMETERS = {name: ["recipe", "data_dir", "run_dir", "overrides"] for name in NOTEBOOKS}
PARAMETERS |= {name: ["run_dir", "overrides", *own] for name, own in REOPENING.items()}
PARAMETERS["06_blend"] = ["runs", "run_dir", "weights"]
PARAMETERS[AUDIT] = ["run_dir", "templates"]


def _cells(notebook, kind):
    return [cell for cell in notebook.cells if cell.cell_type == kind]


@pytest.fixture(params=PATHS, ids=NAMES)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_one_parameters_cell_of_literals(path):
    notebook = nbformat.read(path, as_version=4)
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    statements = ast.parse(tagged[0].source).body
    assert [s.target.id for s in statements] == PARAMETERS[path.stem]
    assert all(isinstance(s.value, ast.Constant) for s in statements)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_papermill_explains_every_parameter(path):
    known = inspect_notebook(str(path))
    assert list(known) == PARAMETERS[path.stem]
    assert all(parameter["help"] for parameter in known.values())


def test_committed_without_outputs(notebook):
    for cell in _cells(notebook, "code"):
        assert not cell.outputs
        assert cell.execution_count is None


def test_cells_are_small_and_define_nothing(notebook):
    """What is worth defining is worth testing, and belongs in the package."""
    code = [cell.source for cell in _cells(notebook, "code")]
    assert statistics.median(len(source.splitlines()) for source in code) <= 6
    assert max(len(source.splitlines()) for source in code) <= 20
    nodes = [node for source in code for node in ast.walk(ast.parse(source))]
    assert not any(isinstance(node, ast.ClassDef | ast.FunctionDef) for node in nodes)


def test_told_from_goal_to_what_to_keep(notebook):
    """The goal's three points come back at the end, each beginning with the same words."""
    prose = _cells(notebook, "markdown")
    code = sum(len(cell.source) for cell in _cells(notebook, "code"))
    assert sum(len(cell.source) for cell in prose) >= 0.8 * code
    first, last = prose[0].source, prose[-1].source
    assert "Goal:" in first
    assert "What to keep in mind" in last
    assert first.count("\n* ") == last.count("\n* ") == 3


def test_the_training_is_shown_not_called():
    """03 shows tokenizer, model, trainer, batch and loss in cells that a reader can change."""
    notebook = nbformat.read(REPOSITORY / "notebooks" / "03_train.ipynb", as_version=4)
    code = "\n".join(cell.source for cell in _cells(notebook, "code"))
    for shown in (
        "convert_ids_to_tokens", "load_classifier", "tokens.tokenize", "make_trainer",
        "get_train_dataloader", "tokenizer.decode", "binary_cross_entropy_with_logits",
        "run_training", "keep_model", "toxlib.load",
    ):  # fmt: skip
        assert shown in code, shown
    assert code.index("keep_model") < code.index("train_folds(")
