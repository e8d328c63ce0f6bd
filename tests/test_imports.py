"""The wings of the package import in one direction, and importing the package is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import toxlib

PACKAGE = Path(toxlib.__file__).parent
BELOW = {
    "longformer": set(),
    "data": set(),
    "evaluation": {"data"},
    "training": {"longformer", "data", "evaluation"},
    "runs": {"longformer", "data", "evaluation", "training"},
    "scoring": {"data", "evaluation", "training", "runs"},
    "reports": {"data", "evaluation", "training", "runs", "scoring"},
    "sharing": {"longformer", "data", "evaluation", "training", "runs", "scoring", "reports"},
    "serving": {"data", "evaluation", "training", "runs", "scoring"},
}
BELOW["benchmarks"] = set(BELOW)
"""Wing → the wings that it may import, besides itself and the files at the top."""
TOP = {"errors", "files", "parameters", "progress", "recipe_values", "recipes"}
TOP |= {"coloured_text", "plots", "score_plots"}
ON_TOP = {"__main__", "pipeline", "sweep"}
"""Of the files at the top, these use every wing, and no wing uses them."""
FILES = sorted(PACKAGE.rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """Return the toxlib modules that a file imports, without `toxlib.`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0
            if node.module == "toxlib":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("toxlib."):
                base = node.module.removeprefix("toxlib.")
                is_wing = base in BELOW
                found |= {f"{base}.{a.name}" for a in node.names} if is_wing else {base}
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("toxlib") for alias in node.names), path
    return found


def _modules() -> dict[str, set[str]]:
    names = {p: ".".join(p.relative_to(PACKAGE).with_suffix("").parts) for p in FILES}
    return {name: _imports(path) for path, name in names.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    parts = path.relative_to(PACKAGE).parts
    for module in _imports(path):
        wing = module.split(".")[0]
        if len(parts) == 1:
            assert path.stem in ON_TOP or wing in TOP | {"data"}, module
        elif wing not in TOP:
            assert wing in BELOW[parts[0]] | {parts[0]}, module


def test_no_circle():
    graph, done = _modules(), set()
    assert len(graph) > 40

    def visit(name, trail):
        assert name not in trail, f"a circle of imports: {[*trail, name]}"
        if name not in done:
            for module in graph.get(name, ()):
                visit(module, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_only_submissions_touch_files_in_evaluation():
    for path in (PACKAGE / "evaluation").glob("*.py"):
        if path.name != "submission.py":
            assert not {m for m in _imports(path) if m.startswith(("data", "files"))}, path


@pytest.mark.parametrize("what", ["import toxlib", "import toxlib.__main__", "help"])
def test_importing_is_cheap(what):
    """No torch, no pandas: measured times are in docs/LOG.md, here we look at the modules."""
    script = what
    if what == "help":
        script = (
            "import contextlib, io, toxlib.__main__ as m\n"
            "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
            "    m.main(['--help'])"
        )
    heavy = "{'torch', 'transformers', 'pandas', 'numpy', 'sklearn', 'matplotlib', 'pydantic'}"
    script += f"\nimport sys; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_reading_a_run_needs_no_torch():
    """So notebooks that train nothing begin seconds sooner."""
    script = "import toxlib.runs.blending, toxlib.reports.explorer, sys\n"
    script += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_unknown_names_are_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = toxlib.nothing
    assert "load" in dir(toxlib)
