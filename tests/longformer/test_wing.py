"""The wing as a whole: which packages it needs, and the examples in its docstrings."""

import subprocess
import sys
from pathlib import Path

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


def test_examples_in_docstrings_run():
    """A fresh process is used because the example of `register` changes the whole process."""
    names = ["dense", "encoders", "heads", "model", "unpad"]
    counts = _run_python(
        "import doctest, importlib\n"
        f"for name in {names}:\n"
        "    found = doctest.testmod(importlib.import_module(f'toxlib.longformer.{name}'))\n"
        "    print(found.failed, found.attempted)"
    )
    assert counts[::2] == ["0"] * len(names)
    assert all(int(attempted) > 0 for attempted in counts[1::2])
