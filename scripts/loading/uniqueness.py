"""Uniqueness: finds the rows of a partition whose key repeats later, even if the keys do not fit into memory."""

from __future__ import annotations

import hashlib
import tempfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scripts.bronze.parquet import read_batches
from scripts.contracts.types import ROW
from scripts.loading.predicates import comparable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_POSITION = "__position"
_LONG_TEXT = 256


class RepeatedKeys:
    """Collects the keys of a partition; beyond `max_bytes` it drops them, and DuckDB reads them from the file."""

    def __init__(self, columns: Sequence[str], max_bytes: int) -> None:
        """Start without rows."""
        self._columns = list(columns)
        self._left = max_bytes
        self._keys: list[pa.RecordBatch] | None = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the keys of the next rows."""
        if self._keys is None:
            return
        keys = pa.RecordBatch.from_arrays(
            [_shortened(batch.column(name)) for name in self._columns], names=self._columns
        )
        self._left -= keys.nbytes
        if self._left < 0:
            self._keys = None
        else:
            self._keys.append(keys)

    def positions(self, path: Path, folder: Path) -> np.ndarray:
        """Return the position of each row whose key repeats later, in order; null is compared like any other key.

        Args:
            path: The file with the rows.
            folder: Folder for temporary files of DuckDB.
        """
        if self._keys is None:
            return _positions_by_duckdb(path, self._columns, folder)
        if not self._keys:
            return np.empty(0, np.int64)
        table = pa.Table.from_batches(self._keys)
        if _are_distinct_numbers(table.columns):
            return np.empty(0, np.int64)
        columns = [comparable(column) for column in table.columns]
        names = [f"k{number}" for number in range(len(columns))]
        rows = pa.table([*columns, pa.array(np.arange(table.num_rows))], names=[*names, _POSITION])
        last = rows.group_by(names).aggregate([(_POSITION, "max")])[f"{_POSITION}_max"]
        if len(last) == table.num_rows:
            return np.empty(0, np.int64)
        repeated = np.ones(table.num_rows, dtype=bool)
        repeated[last.to_numpy()] = False
        return np.flatnonzero(repeated)


def _shortened(column: pa.Array) -> pa.Array:
    """Return a column with long texts replaced by their digests, which are compared instead."""
    if not pa.types.is_string(column.type):
        return column
    is_long = pc.fill_null(pc.greater(pc.binary_length(column), _LONG_TEXT), False)
    if not pc.any(is_long).as_py():
        return column
    digests = [hashlib.sha256(text.as_buffer()).hexdigest() for text in column.filter(is_long)]
    return pc.replace_with_mask(column, is_long, pa.array(digests, pa.string()))


def _are_distinct_numbers(columns: Sequence[pa.ChunkedArray]) -> bool:
    # most keys are one integer, and sorting integers is far cheaper than grouping them
    if len(columns) > 1 or not pa.types.is_integer(columns[0].type) or columns[0].null_count:
        return False
    numbers = np.sort(columns[0].to_numpy())
    return bool((numbers[1:] != numbers[:-1]).all())


def _positions_by_duckdb(path: Path, columns: Sequence[str], folder: Path) -> np.ndarray:
    import duckdb  # noqa: PLC0415 — few partitions are that large

    keys = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
    # the rows of a file are sorted by their numbers
    query = f"""
    select {ROW}
    from read_parquet(?, hive_partitioning = false)
    qualify row_number() over (partition by {keys} order by {ROW} desc) > 1
    order by {ROW}
    """  # noqa: S608 — columns of a checked contract
    with (
        tempfile.TemporaryDirectory(prefix="unique-", dir=folder) as spill,
        duckdb.connect(config={"memory_limit": "128MB", "threads": "1", "temp_directory": spill}) as connection,
    ):
        found = np.asarray(connection.execute(query, [str(path)]).fetchnumpy()[ROW], np.int64)
    numbers = np.concatenate([batch.column(0).to_numpy() for batch in read_batches(path, columns=[ROW])])
    return np.searchsorted(numbers, found)
