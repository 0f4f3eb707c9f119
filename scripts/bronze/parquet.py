"""Bronze Parquet files: rows in the order received, and the same bytes for the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq

from scripts.contracts.types import ROW
from scripts.errors import BronzeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

_ROW_GROUP = 65_536


class PartitionWriter:
    """Writes a partition's rows as Parquet; the same rows give the same bytes, however they are cut into batches."""

    def __init__(self, path: Path, schema: pa.Schema, observe: Callable[[pa.RecordBatch], None] | None = None) -> None:
        """Open the file; `observe` is called with each part of the rows that is written, in order."""
        self._schema = schema
        self._observe = observe
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_page_index=True)
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self.rows = 0

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is pending and close the file."""
        if kind is None:
            self._flush(whole=False)
        self._writer.close()

    def write(self, batch: pa.RecordBatch, rows: pa.Array) -> None:
        """Append rows; `rows` holds the position of each among all that the source sent."""
        self.append(pa.RecordBatch.from_arrays([*batch.columns, rows], schema=self._schema))

    def append(self, batch: pa.RecordBatch) -> None:
        """Append rows that have their positions."""
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        if self._pending_rows >= _ROW_GROUP:
            self._flush(whole=True)

    def _flush(self, *, whole: bool) -> None:
        # row groups of a fixed size, from contiguous columns: batch borders must not show in the file
        table = pa.Table.from_batches(self._pending, self._schema)
        end = table.num_rows - table.num_rows % _ROW_GROUP if whole else table.num_rows
        for start in range(0, end, _ROW_GROUP):
            group = table.slice(start, min(_ROW_GROUP, end - start)).combine_chunks()
            self._writer.write_table(group, row_group_size=_ROW_GROUP)
            if self._observe is not None:
                for batch in group.to_batches():
                    self._observe(batch)
        self.rows += end
        self._pending = table.slice(end).to_batches()
        self._pending_rows = table.num_rows - end


def read_batches(path: Path, *, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Bronze file in the order received; all columns, or those that are named.

    Raises:
        BronzeError: The file is not there, or not a Parquet file with positions.
    """
    try:
        file = pq.ParquetFile(path)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise BronzeError(_first_line(error), where=str(path), expected="a Bronze Parquet file") from None
    with file:
        if ROW not in file.schema_arrow.names:
            raise BronzeError(f"has no column {ROW}", where=str(path), expected="a Bronze Parquet file")
        # a batch without columns would have no rows
        yield from file.iter_batches(_ROW_GROUP, columns=None if columns is None else [*columns] or [ROW])


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return rows with exactly the columns of a schema: null where the rows lack one."""
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
