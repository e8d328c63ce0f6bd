"""What the report makes of the cells of notebooks."""

import nbformat
import pandas as pd
from bs4 import BeautifulSoup

from toxlib.progress import progress
from toxlib.reports.report_cells import (
    align_columns,
    contents,
    opening_cell,
    split_at_headings,
    without_bars,
)


def test_a_bar_inside_another_one_does_not_move_the_cursor_up(capfd):
    with progress(total=2, description="Train") as outer:
        with progress(total=2, description="Evaluate", inside=True) as inner:
            inner.update(2)
        outer.update(2)
    written = capfd.readouterr().err
    assert "Evaluate" in written
    assert "\x1b" not in written
    assert written.count("\n") == 1  # the inner bar is wiped out
    assert written.rstrip().rpartition("\r")[2].startswith("Train: 100%")


def test_bars_are_left_out_and_warnings_stay():
    text = "\rTrain:   0%|      | 0/9 [00:00<?, ?step/s]\rTrain:  33%|##    | 3/9 [00:01<00:02, "
    text += "1.2step/s, loss=0.3]\n\rEvaluate:   0%|     | 0/2 [00:00<?, ?batch/s]\x1b[A"
    assert without_bars(text) == ""
    warning = "/a/b.py:3: UserWarning: AUC is undefined for 50% | of [them]\n  warnings.warn()\n"
    assert without_bars(text + warning + text) == warning
    assert without_bars(warning) == warning


def test_columns_of_text_are_marked_and_stay_escaped():
    hostile = "<script>x</script></td></table>&lt;b&gt;" + " long" * 20
    table = pd.DataFrame(
        {
            "n": [1, 20],
            "AUC": [0.5, None],
            "said": ["–", "0.1 (0.0 to 0.2)"],
            "text": [hostile] * 2,
        }
    )
    soup = BeautifulSoup(align_columns(table.to_html()), "html.parser")
    classes = [[cell.get("class") for cell in row.find_all(["th", "td"])] for row in soup("tr")]
    expected = [None, None, None, ["prose"], ["prose", "long"]]
    assert classes == [expected] * 3
    assert [cell.get_text() for cell in soup("td")][3] == hostile
    assert not soup.find("script")


def test_headings_begin_cells_that_links_lead_to():
    source = "words\n\n# One `x`\n\ntext\n## Two\n### Three\n"
    fenced = "```\n# no heading\n```"
    cells = [
        nbformat.v4.new_markdown_cell(text, id=f"a{n}") for n, text in enumerate((source, fenced))
    ]
    found = list(split_at_headings(cells))
    assert "".join(cell.source for cell in found) == source + fenced
    headings = contents(found)
    assert [(h["level"], h["text"], h["cell"]) for h in headings] == [
        (1, "One x", "a0-1"),
        (2, "Two", "a0-2"),
    ]
    assert len({cell.id for cell in found}) == len(found)


def test_parameters_and_imports_stand_once():
    def notebook(*cells):
        made = [nbformat.v4.new_code_cell(s, metadata={"tags": [tag]}) for tag, s in cells]
        return nbformat.v4.new_notebook(cells=made)

    notebooks = [
        notebook(
            ("parameters", 'run_dir = ""'),
            ("injected-parameters", '# Parameters\nrun_dir = "r"\n'),
            ("imports", "import a\n\nimport b"),
        ),
        notebook(("parameters", 'run_dir = "r"'), ("imports", "import b\nimport c")),
        notebook(),
    ]
    lines = ["# Parameters", 'run_dir = "r"', "import a", "import b", "import c"]
    assert opening_cell(notebooks).source == "\n".join(lines)
