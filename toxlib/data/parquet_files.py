"""Read ids and texts from Parquet files, in pieces of bounded size.

Texts stay dictionary-encoded until they are Python strings, because a small hostile file can say
that a million rows hold the same long text.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from toxlib.data.csv_files import MAX_CHARACTERS, MAX_RATIO, MAX_ROW, MAX_UNPACKED, Report
from toxlib.errors import InputError, show

MAGIC = b"PAR1"
BUFFER = 2**20  # bytes that are read at once; with 0, pyarrow would read whole column chunks


def is_parquet(path: Path) -> bool:
    """Return whether a file begins as Parquet files do; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def column_names(path: Path) -> list[str]:
    """Return the names of all columns."""
    with _open(path) as file:
        return file.schema_arrow.names


def read_chunks(
    path: Path, id_column: str, text_column: str, chunk_rows: int, report: Report
) -> Iterator[pd.DataFrame]:
    """Read the texts, and the ids if there are any, as strings; the index is the row less 1.

    A row without a text is reported; if `report` returns, the row is left out.

    Raises:
        InputError: if the file is damaged, or a column does not hold ids or texts.
    """
    with _open(path) as file:
        wanted = [name for name in (id_column, text_column) if name in file.schema_arrow.names]
        for name in wanted:
            _check_type(path, file, name, name == text_column)
        _check_size(path, file)
    with _open(path, [text_column]) as file:
        start = 0
        for batch in file.iter_batches(chunk_rows, columns=wanted, use_threads=False):
            index = range(start, start + len(batch))
            values = {name: _to_python(batch[name]) for name in wanted}
            table = pd.DataFrame(values, index, dtype=object)
            start += len(batch)
            yield from _cut(_only_good(path, table, report), text_column)
        if start == 0:
            raise InputError(f"{path}: no rows; write the file again")


@contextmanager
def _open(path: Path, dictionary: list[str] | None = None) -> Iterator[parquet.ParquetFile]:
    """Open a file. Damage, of which each part of a file has its own kind, is one InputError."""
    try:
        with parquet.ParquetFile(path, read_dictionary=dictionary, buffer_size=BUFFER) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError, IndexError):
        fault = "a damaged or truncated Parquet file"
        raise InputError(f"{path}: {fault}; write it again") from None


def _to_python(values: pa.Array) -> list:
    """Return Python's values, of which equal texts are the same object."""
    if isinstance(values, pa.DictionaryArray):
        known = [*_to_python(values.dictionary), None]
        return [known[i] for i in values.indices.fill_null(len(known) - 1).to_pylist()]
    try:
        return values.to_pylist()
    except UnicodeDecodeError:
        return [_decoded(value) for value in values]


def _decoded(value: pa.Scalar) -> str | bytes:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return value.as_buffer().to_pybytes()


def _only_good(path: Path, table: pd.DataFrame, report: Report) -> pd.DataFrame:
    """Report the rows that have no text; return the others, with ids as strings."""
    rows, index = [], []
    for row, *values in table.itertuples():
        if fault := next(filter(None, map(_fault, table.columns, values)), ""):
            report(InputError(f"{path}: row {row + 1}, {fault}"))
        else:
            rows.append([str(value) for value in values])
            index.append(row)
    return pd.DataFrame(rows, index, table.columns, dtype=object)


def _fault(name: str, value: object) -> str:
    if value is None:
        return f"column {show(name)}: empty (null); write a value, or remove the row"
    if isinstance(value, bytes):
        return f"column {show(name)}: not UTF-8; write texts as UTF-8"
    if isinstance(value, str) and len(value) > MAX_ROW:
        return f"column {show(name)}: more than {MAX_ROW:,} characters; shorten it"
    return ""


def _cut(table: pd.DataFrame, text_column: str) -> Iterator[pd.DataFrame]:
    """Yield pieces of a table that have at most `MAX_CHARACTERS` each, or one row."""
    piece = (table[text_column].str.len().cumsum() // MAX_CHARACTERS).to_numpy()
    for number in sorted(set(piece)):
        yield table[piece == number]


def _check_type(path: Path, file: parquet.ParquetFile, name: str, is_text: bool) -> None:
    if file.schema_arrow.get_field_index(name) < 0:
        raise InputError(f"{path}: column {show(name)} appears twice; remove one")
    found = file.schema_arrow.field(name).type
    kind = found.value_type if pa.types.is_dictionary(found) else found
    is_string = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_string or (not is_text and pa.types.is_integer(kind))):
        remedy = "write texts as strings" if is_text else "write ids as integers or strings"
        fault = f"column {show(name)} holds {show(found)}"
        raise InputError(f"{path}: {fault}; {remedy}")


def _check_size(path: Path, file: parquet.ParquetFile) -> None:
    """Refuse a file that says it unpacks to much more than it is, as a bomb does.

    We ask row groups, because pyarrow 26 ends the process if a column's statistics are damaged.
    """
    groups = range(file.metadata.num_row_groups)
    size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
    if size > max(MAX_UNPACKED, MAX_RATIO * path.stat().st_size):
        fault = f"would unpack to {size / 1e9:.1f} GB, as a bomb does"
        raise InputError(f"{path}: {fault}; write it again if you trust it")
