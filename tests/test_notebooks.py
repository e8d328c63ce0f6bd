"""The notebooks as files: small cells, literal parameters, no outputs."""

import ast
import statistics

import nbformat
import pytest
from papermill import inspect_notebook

from toxlib.paths import REPOSITORY
from toxlib.pipeline import BLEND_NOTEBOOK, NOTEBOOKS

NAMES = (*NOTEBOOKS, BLEND_NOTEBOOK)
PATHS = [REPOSITORY / "notebooks" / f"{name}.ipynb" for name in NAMES]
PARAMETERS = {name: ["recipe", "data_dir", "run_dir", "overrides"] for name in NOTEBOOKS}
PARAMETERS[BLEND_NOTEBOOK] = ["runs", "run_dir", "weights"]


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


def test_cells_are_small_and_define_little(notebook):
    code = [cell.source for cell in _cells(notebook, "code")]
    assert 8 <= len(code) <= 20
    assert statistics.median(len(source.splitlines()) for source in code) <= 6
    assert max(len(source.splitlines()) for source in code) <= 20
    nodes = [node for source in code for node in ast.walk(ast.parse(source))]
    assert not any(isinstance(node, ast.ClassDef) for node in nodes)
    assert sum(isinstance(node, ast.FunctionDef) for node in nodes) <= 1


def test_told_from_goal_to_what_to_keep(notebook):
    prose = _cells(notebook, "markdown")
    assert sum(len(c.source) for c in prose) >= 0.8 * sum(
        len(c.source) for c in _cells(notebook, "code")
    )
    first, last = prose[0].source, prose[-1].source
    assert "Goal:" in first
    assert "What to keep in mind" in last
    assert first.count("\n* ") == last.count("\n* ") == 3
