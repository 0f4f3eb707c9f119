"""Bronze Parquet files: rows are in the order received, and the same rows give the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scripts.contracts.types import ROW
from scripts.errors import BronzeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

_ROW_GROUP = 65_536
_GROUP_BYTES = 16 << 20
"""Bytes of values of a row group; a group ends after the row that reaches it, so large rows give small groups."""


class PartitionWriter:
    """Writes a partition's rows as Parquet; the same rows give the same bytes, however they are cut into batches."""

    def __init__(self, path: Path, schema: pa.Schema, observe: Callable[[pa.RecordBatch], None] | None = None) -> None:
        """Open the file; `observe` is called with each part of the rows that is written, in order."""
        self._schema = schema
        self._observe = observe
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_page_index=True)
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self.rows = 0

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is pending and close the file."""
        if kind is None and self._pending:
            self._write_group()
        self._writer.close()

    def write(self, batch: pa.RecordBatch, rows: pa.Array) -> None:
        """Append rows; `rows` contains the position of each among all rows that the source sent."""
        self.append(pa.RecordBatch.from_arrays([*batch.columns, rows], schema=self._schema))

    def append(self, batch: pa.RecordBatch) -> None:
        """Append rows that already contain their positions."""
        while batch.num_rows:
            room = _ROW_GROUP - self._pending_rows
            part = batch.slice(0, min(room, _rows_within(batch, _GROUP_BYTES - self._pending_bytes)))
            self._pending.append(part)
            self._pending_rows += part.num_rows
            self._pending_bytes += _bytes_of(part)
            if self._pending_rows >= _ROW_GROUP or self._pending_bytes >= _GROUP_BYTES:
                self._write_group()
            batch = batch.slice(part.num_rows)

    def _write_group(self) -> None:
        # contiguous columns, so that the borders of batches do not change the file
        group = pa.Table.from_batches(self._pending, self._schema).combine_chunks()
        self._writer.write_table(group, row_group_size=_ROW_GROUP)
        if self._observe is not None:
            for batch in group.to_batches():
                self._observe(batch)
        self.rows += group.num_rows
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0


def _rows_within(batch: pa.RecordBatch, limit: int) -> int:
    """Return the number of rows up to and including the one at which the values reach `limit` bytes."""
    if _bytes_of(batch) < limit:
        return int(batch.num_rows)
    sizes = np.full(batch.num_rows, _fixed_bytes(batch.schema), np.int64)
    for column in batch.columns:
        if pa.types.is_string(column.type):
            sizes += pc.fill_null(pc.binary_length(column), 0).to_numpy()
    return min(int(np.searchsorted(np.cumsum(sizes), limit)) + 1, int(batch.num_rows))


def _bytes_of(batch: pa.RecordBatch) -> int:
    """Return the bytes of the values, without other values in the same buffers."""
    texts = (column for column in batch.columns if pa.types.is_string(column.type))
    return sum(map(_text_bytes, texts), batch.num_rows * _fixed_bytes(batch.schema))


def _text_bytes(column: pa.StringArray) -> int:
    if (buffer := column.buffers()[1]) is None:
        return 0
    offsets = np.frombuffer(buffer, np.int32)
    return int(offsets[column.offset + len(column)] - offsets[column.offset])


def _fixed_bytes(schema: pa.Schema) -> int:
    return sum(0 if pa.types.is_string(field.type) else -(-field.type.bit_width // 8) for field in schema)


def read_batches(path: Path, *, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Bronze file in the order received; all columns, or those that are named.

    Raises:
        BronzeError: The file is missing, or is not a Parquet file with positions.
    """
    try:
        file = pq.ParquetFile(path)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise BronzeError(_first_line(error), where=str(path), expected="a Bronze Parquet file") from None
    with file:
        if ROW not in file.schema_arrow.names:
            raise BronzeError(f"has no column {ROW}", where=str(path), expected="a Bronze Parquet file")
        # a batch without columns would have no rows
        names = None if columns is None else [*columns] or [ROW]
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            rows = min(_ROW_GROUP, max(1, group.num_rows * _GROUP_BYTES // max(1, group.total_byte_size)))
            yield from file.iter_batches(rows, row_groups=[number], columns=names)


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return rows with exactly the columns of a schema; a missing column is null."""
    if batch.schema.equals(schema):
        return batch
    return pa.RecordBatch.from_arrays(
        [
            batch.column(field.name).cast(field.type)
            if field.name in batch.schema.names
            else pa.nulls(batch.num_rows, field.type)
            for field in schema
        ],
        schema=schema,
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
