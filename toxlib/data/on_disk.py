"""Keep the strings of large tables on disk, so that memory does not grow with them."""

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import is_numeric_dtype

from toxlib.errors import InputError


def join_on_disk(chunks: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Join the chunks of a table. Its numbers are in memory, its strings in a temporary file.

    The columns of strings are mapped from the file: what is read of them lies in the page cache,
    which the system empties when memory is needed. The file has no name, so that it vanishes with
    the table, even if the process is killed. It lies where `tempfile` puts its files, which the
    variable TMPDIR decides.

    Raises:
        InputError: if there is no room for the file.
    """
    try:
        with tempfile.TemporaryFile() as file:
            _write(file, iter(chunks))
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        fault = (error.strerror or str(error)).lower()
        remedy = "set TMPDIR to a folder with room for a copy of the data"
        place = tempfile.tempdir or "TMPDIR"  # the former is None if no folder can be used
        raise InputError(f"{place}: no temporary file ({fault}); {remedy}") from None
    return pa.ipc.open_file(pa.py_buffer(mapped)).read_all().to_pandas()


def _write(file: IO[bytes], chunks: Iterator[pd.DataFrame]) -> None:
    first = next(chunks)
    schema = pa.schema([(name, _arrow_type(dtype)) for name, dtype in first.dtypes.items()])
    with pa.ipc.new_file(file, schema) as writer:
        for chunk in chain([first], chunks):
            writer.write_table(pa.Table.from_pandas(chunk, schema, preserve_index=False))
    file.flush()


def _arrow_type(dtype: np.dtype) -> pa.DataType:
    """Return a column's type in the file. pandas maps `large_string` without a copy."""
    return pa.from_numpy_dtype(dtype) if is_numeric_dtype(dtype) else pa.large_string()
