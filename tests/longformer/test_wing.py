"""The wing as a whole: which packages it needs, and the examples in its docstrings."""

import subprocess
import sys
from pathlib import Path

import pytest

from toxlib import longformer

FILES = Path(longformer.__file__).parent.glob("[a-z]*.py")
MODULES = {f"toxlib.longformer.{path.stem}" for path in FILES}


def _run_python(script: str) -> list[str]:
    """Run a script in a fresh process and return the words it prints."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


def test_the_wing_needs_only_torch_and_transformers():
    """No module of the wing imports the blocked packages or any other wing of toxlib."""
    blocked = ("pandas", "sklearn", "datasets", "scipy", "matplotlib")
    loaded = _run_python(
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({blocked}))\n"  # None makes an import fail
        f"for name in {MODULES}: importlib.import_module(name)\n"
        "print(*(name for name in sys.modules if name.split('.')[0] == 'toxlib'))"
    )
    assert set(loaded) == {"toxlib", "toxlib.errors", "toxlib.longformer", *MODULES}


@pytest.mark.parametrize("name", ["dense", "encoders", "heads", "model", "unpad"])
def test_examples_in_docstrings_run(name):
    """A fresh process is used because the example of `register` changes the whole process."""
    script = f"import doctest, toxlib.longformer.{name} as m; r = doctest.testmod(m); "
    failed, attempted = _run_python(script + "print(r.failed, r.attempted)")
    assert int(failed) == 0
    assert int(attempted) > 0
