"""Join the executed notebooks of a run into one page, report.html.

The page shows a data set of abuse, which may contain attacks on its readers. So it has no script,
and a Content-Security-Policy forbids the browser to run one or to load anything from elsewhere.
"""

from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor, TagRemovePreprocessor

from toxlib import files
from toxlib.data.text import visible
from toxlib.errors import InputError
from toxlib.reports.report_cells import (
    HIDDEN,
    TidyOutputs,
    contents,
    opening_cell,
    split_at_headings,
)
from toxlib.reports.summary import Summary

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; "
    "base-uri 'none'; form-action 'none'"
)
TEMPLATES = Path(__file__).with_name("templates")


def write_report(folder: Path, names: Sequence[str], summary: Summary | None = None) -> None:
    """Join the executed notebooks called `names`, as far as they exist, into report.html.

    The page begins with the summary, if there is one, and with a table of contents.

    Raises:
        InputError: if an executed notebook is damaged.
    """
    copies = [folder / f"{name}.ipynb" for name in names]
    notebooks = [_read_notebook(path) for path in copies if path.exists()]
    joined = nbformat.v4.new_notebook(metadata=notebooks[0].metadata if notebooks else {})
    cells = [cell for notebook in notebooks for cell in notebook.cells]
    joined.cells = [opening_cell(notebooks), *split_at_headings(cells)]
    joined.metadata["title"] = f"toxlib: {visible(folder.name)}"
    page = _to_html(joined, summary)
    with files.replacing(folder / "report.html") as temporary:
        temporary.write_text(page, "utf-8")


def _to_html(notebook: nbformat.NotebookNode, summary: Summary | None) -> str:
    exporter = HTMLExporter(
        raw_template=(TEMPLATES / "report.html.j2").read_text("utf-8"),
        embed_images=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    for preprocessor in (
        TagRemovePreprocessor(enabled=True, remove_cell_tags=HIDDEN),
        CoalesceStreamsPreprocessor(enabled=True),
        TidyOutputs(enabled=True),
    ):
        exporter.register_preprocessor(preprocessor)
    resources = {
        "policy": POLICY,
        "css": (TEMPLATES / "report.css").read_text("utf-8"),
        "summary": summary,
        "contents": contents(notebook.cells),
    }
    return exporter.from_notebook_node(notebook, resources)[0]


def _read_notebook(path: Path) -> nbformat.NotebookNode:
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (OSError, ValueError, AttributeError, nbformat.ValidationError):
        remedy = "delete it and start again from this notebook"
        remedy += "; if you only delete it, the report leaves it out"
        raise InputError(f"{path}: a damaged copy of a notebook; {remedy}") from None
    return notebook
