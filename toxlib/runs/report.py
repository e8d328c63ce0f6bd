"""Join the executed notebooks of a run into one page, report.html.

The page shows a data set of abuse, which may contain attacks on its readers. So it has no script,
and a Content-Security-Policy forbids the browser to run one or to load anything from elsewhere.
"""

from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from toxlib import files
from toxlib.data.text import visible
from toxlib.errors import InputError

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; "
    "base-uri 'none'; form-action 'none'"
)
TEMPLATE = f"""
{{%- extends "lab/index.html.j2" -%}}
{{%- block html_head -%}}
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
{{{{ super() }}}}
{{%- endblock html_head -%}}
{{%- block html_head_js -%}}{{%- endblock html_head_js -%}}
{{%- block jupyter_widgets -%}}{{%- endblock jupyter_widgets -%}}
{{%- block html_head_js_mathjax -%}}{{%- endblock html_head_js_mathjax -%}}
{{%- block html_head_js_mermaidjs -%}}{{%- endblock html_head_js_mermaidjs -%}}
"""
"""nbconvert's page without its scripts, which would come from the network."""


def write_report(folder: Path, names: Sequence[str], summary: Sequence[str] = ()) -> None:
    """Join the executed notebooks called `names`, as far as they exist, into report.html.

    If there is a `summary`, the page begins with its lines.

    Raises:
        InputError: if an executed notebook is damaged.
    """
    copies = [folder / f"{name}.ipynb" for name in names]
    notebooks = [_read_notebook(path) for path in copies if path.exists()]
    joined = nbformat.v4.new_notebook(metadata=notebooks[0].metadata if notebooks else {})
    cells = [cell for notebook in notebooks for cell in notebook.cells]
    joined.cells = _summary_cells(summary) + cells
    joined.metadata["title"] = f"toxlib: {visible(folder.name)}"
    exporter = HTMLExporter(raw_template=TEMPLATE, embed_images=True)
    # Of the states that a progress bar has written, keep the last.
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)
    page, _ = exporter.from_notebook_node(joined)
    with files.replacing(folder / "report.html") as temporary:
        temporary.write_text(page, "utf-8")


def _summary_cells(lines: Sequence[str]) -> list[nbformat.NotebookNode]:
    """Return the cells of the summary. Its lines are an output, since outputs are escaped."""
    if not lines:
        return []
    output = nbformat.v4.new_output("stream", text="\n".join(lines) + "\n")
    return [
        nbformat.v4.new_markdown_cell("# Summary"),
        nbformat.v4.new_code_cell(
            "# what 07_audit has found about sentences that name groups", outputs=[output]
        ),
    ]


def _read_notebook(path: Path) -> nbformat.NotebookNode:
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (OSError, ValueError, AttributeError, nbformat.ValidationError):
        fault = "a damaged copy of a notebook; delete it and start again from this notebook"
        raise InputError(f"{path}: {fault}, or the report will do without it") from None
    return notebook
