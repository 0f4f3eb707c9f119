"""The ledger as a table of DuckDB: updated from the records, of which only the changed ones are read."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from scripts.bronze import ledger
from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.errors import BronzeError, UsageError
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb

    from scripts.bronze.store import Store

_log = get_logger("ledger")
PARTITION_COLUMNS = (
    "source varchar, resource varchar, dt date, status varchar, declared bigint, fetched bigint, bronze_rows bigint,"
    " quarantined_rows bigint, path varchar, bytes bigint, content_hash varchar, contract_version varchar,"
    " run_id varchar, loaded_at timestamp, validated_at timestamp, record_signature varchar"
)


def read_ledger(connection: duckdb.DuckDBPyConnection, store: Store, signatures: Mapping[Partition, str]) -> None:
    """Update the temporary table `ledger` from the records; read only the records that changed."""
    records = {_partition(path): path for path in ledger.entry_files(store.root / "_ledger")}
    changed = []
    for partition, path in records.items():
        signature = _signature(path)
        if signatures.get(partition) != signature and (entry := _readable(path)) is not None:
            changed.append((entry, signature))
    gone = [*(signatures.keys() - records.keys()), *(entry.partition for entry, _ in changed)]
    _delete_partitions(connection, gone)
    _insert_entries(connection, changed)


def _readable(record: Path) -> LedgerEntry | None:
    """Return a record; None if it cannot be read: the tables then keep the rows that they hold of its day."""
    try:
        return ledger.read_entry(record)
    except BronzeError as error:
        _log.error("the build skips a ledger record: %s", error)
        return None


def _delete_partitions(connection: duckdb.DuckDBPyConnection, partitions: Sequence[Partition]) -> None:
    import pyarrow as pa  # noqa: PLC0415 — slow to import, and few commands need it

    if partitions:
        gone = pa.table(
            {name: [item[place] for item in partitions] for place, name in enumerate(("source", "resource", "dt"))}
        )
        connection.register("gone", gone)
        connection.execute(
            "delete from ledger where exists (select 1 from gone where (gone.source, gone.resource, gone.dt)"
            " = (ledger.source, ledger.resource, ledger.dt))"
        )
        connection.unregister("gone")


def _insert_entries(connection: duckdb.DuckDBPyConnection, entries: Sequence[tuple[LedgerEntry, str]]) -> None:
    import pyarrow as pa  # noqa: PLC0415 — slow to import, and few commands need it

    if not entries:
        return
    names = [column.split()[0] for column in PARTITION_COLUMNS.split(", ")]
    rows = [
        [
            *(entry.source, entry.resource, entry.day, entry.status, entry.declared, entry.fetched, entry.bronze),
            *(entry.quarantined, entry.path, entry.bytes, entry.content_state, entry.contract_version, entry.run_id),
            *(_naive(entry.loaded_at), _naive(entry.validated_at), signature),
        ]
        for entry, signature in entries
    ]
    connection.register("changed", pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)}))
    connection.execute("insert into ledger select * from changed")
    connection.unregister("changed")


def _partition(record: Path) -> Partition:
    try:
        return Partition(record.parent.parent.name, record.parent.name, dt.date.fromisoformat(record.stem))
    except ValueError:
        raise UsageError(
            f"the ledger contains a file that is not a record: {record.name}",
            where=str(record),
            hint="move it out of the ledger",
        ) from None


def _signature(record: Path) -> str:
    # a rename replaces a record, so a record with new content is another file
    stat = record.stat()
    return f"{stat.st_ino}-{stat.st_mtime_ns}-{stat.st_size}"


def _naive(moment: dt.datetime | None) -> dt.datetime | None:
    return None if moment is None else moment.astimezone(dt.UTC).replace(tzinfo=None)
