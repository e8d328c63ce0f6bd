"""What the report changes in the cells of executed notebooks."""

import re
from collections.abc import Iterable, Iterator, Sequence

from bs4 import BeautifulSoup, Tag
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

PARAMETERS = ("parameters", "injected-parameters")
IMPORTS = "imports"
HIDDEN = {*PARAMETERS, IMPORTS}
"""Tags of cells that every notebook has; the page shows them once, see `opening_cell`."""
BAR = re.compile(r"[^\r\n]*?\d+%\|[^|\r\n]*\| *\d+/\d+ \[[^]\r\n]*\]|\x1b\[A")
"""A state of a progress bar of tqdm, from its description to its rate."""
HEADING = re.compile(r"^(#{1,2}) +(.+)$", re.MULTILINE)
NUMBER = re.compile(r"[-+−]?[\d.,]+(e[-+]?\d+)?( ?%)?|NaN|nan|<NA>|–|")
FIGURE = re.compile(r'"(\w+)"\)\s*$')
"""The name under which the last line of a cell saves its figure."""
LONG = 60  # characters of a text that needs a wide column


class TidyOutputs(Preprocessor):
    """Leave out progress bars, align the columns of tables, and describe figures."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict, index: int
    ) -> tuple[NotebookNode, dict]:
        """Change the outputs of a cell, whose streams have been joined."""
        kept = []
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                output.text = without_bars(output.text)
                kept += [output] if output.text.strip() else []
                continue
            kept.append(output)
            if html := output.get("data", {}).get("text/html"):
                output.data["text/html"] = align_columns(html)
            if "image/png" in output.get("data", {}) and (name := FIGURE.search(cell.source)):
                output.metadata["alt"] = f"Figure {name[1]}"
        if "outputs" in cell:
            cell.outputs = kept
        return cell, resources


def without_bars(text: str) -> str:
    """Return a stream's text without progress bars; other lines, such as warnings, stay.

    >>> without_bars("\\rTrain:  50%|##  | 1/2 [00:01<00:01, 1step/s]a warning\\n")
    'a warning\\n'
    """
    if not BAR.search(text):
        return text
    lines = re.split(r"[\r\n]+", BAR.sub("", text))
    return "".join(f"{line}\n" for line in lines if line.strip())


def align_columns(html: str) -> str:
    """Mark the cells of a table's columns of text as `prose`, and wide ones as `long`.

    pandas aligns all columns to the right, which suits numbers alone.
    """
    soup = BeautifulSoup(html, "html.parser")
    for table in soup.find_all("table"):
        head, body = (_rows(table, part) for part in ("thead", "tbody"))
        if len({len(row) for row in body}) == 1:  # else some cells span several rows
            for index, column in enumerate(zip(*body, strict=True)):
                _mark(column, [row[index] for row in head if len(row) > index])
    return str(soup)


def _rows(table: Tag, part: str) -> list[list[Tag]]:
    """Return the cells of each row in a table's head or body."""
    return [row.find_all(["th", "td"]) for row in table.select(f"{part} tr")]


def _mark(column: Sequence[Tag], heads: list[Tag]) -> None:
    """Give the cells of one column, and its heads, their classes."""
    texts = [cell.get_text(strip=True) for cell in column]
    if all(map(NUMBER.fullmatch, texts)):
        return
    classes = ["prose"] + ["long"] * (max(map(len, texts)) > LONG)
    for cell in (*column, *heads):
        cell["class"] = classes


def split_at_headings(cells: Iterable[NotebookNode]) -> Iterator[NotebookNode]:
    """Yield the cells, with prose cut before each heading, so that a link can lead there."""
    for cell in cells:
        if cell.cell_type != "markdown" or "```" in cell.source:  # a # may be code there
            yield cell
            continue
        starts = sorted({0, *(found.start() for found in HEADING.finditer(cell.source))})
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], None], strict=True)):
            name = f"{cell.id}-{number}" if number else cell.id
            yield new_markdown_cell(cell.source[start:end], id=name)


def contents(cells: Iterable[NotebookNode]) -> list[dict[str, object]]:
    """Return the level, text and cell id of each heading that begins a cell."""
    found = []
    for cell in cells:
        if cell.cell_type == "markdown" and (heading := HEADING.match(cell.source)):
            text = heading[2].replace("`", "")
            found.append({"level": len(heading[1]), "text": text, "cell": cell.id})
    return found


def opening_cell(notebooks: Sequence[NotebookNode]) -> NotebookNode:
    """Return a cell with the parameters and imports of all notebooks, each line once."""
    sources = [_last_tagged(n, tags) for tags in (PARAMETERS, (IMPORTS,)) for n in notebooks]
    lines = [line for source in sources for line in source.splitlines() if line]
    title = "Parameters and imports of all notebooks"
    return new_code_cell("\n".join(dict.fromkeys(lines)), metadata={"summary": title})


def _last_tagged(notebook: NotebookNode, tags: Sequence[str]) -> str:
    """Return the last cell with one of the tags: papermill adds its values after the defaults."""
    found = [c.source for c in notebook.cells if {*c.metadata.get("tags", ())} & {*tags}]
    return found[-1] if found else ""
