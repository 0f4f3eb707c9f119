"""The ledger as a table of DuckDB: updated from the records that have changed by the ledger's index."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from scripts.bronze.ledger import Partition
from scripts.bronze.store import for_each
from scripts.errors import BronzeError
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from scripts.bronze.ledger import LedgerEntry
    from scripts.bronze.store import Store

_log = get_logger("ledger")
PARTITION_COLUMNS = (
    "source varchar, resource varchar, dt date, status varchar, declared bigint, fetched bigint, bronze_rows bigint,"
    " quarantined_rows bigint, path varchar, bytes bigint, content_hash varchar, contract_version varchar,"
    " run_id varchar, loaded_at timestamp, validated_at timestamp, record_signature varchar"
)
_SAME = "(ledger.source, ledger.resource, ledger.dt) = (rows.source, rows.resource, cast(rows.dt as date))"


def read_ledger(connection: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Update the temporary table `ledger` from the records; read only the records that changed.

    If a record cannot be read, its row stays as it is: the tables then keep the rows that they hold of its day.
    """
    with store.index() as index:
        _register(connection, ("source", "resource", "dt", "signature"), index.signatures())
        names = connection.execute(
            "select source, resource, cast(dt as date), signature from rows where not exists"  # noqa: S608 — a constant
            f" (select 1 from ledger where {_SAME} and ledger.record_signature = rows.signature) order by all"
        ).fetchall()
        connection.execute(f"delete from ledger where not exists (select 1 from rows where {_SAME})")  # noqa: S608 — a constant
    # from the records themselves, since a changed bit of the index would become rows
    read = for_each(store, lambda name: _readable(store, Partition(*name[:3])), names)
    changed = [(entry, name[3]) for name, entry in zip(names, read, strict=True) if entry is not None]
    if changed:
        _insert(connection, changed)


def _readable(store: Store, partition: Partition) -> LedgerEntry | None:
    try:
        entry = store.entry(partition)
    except BronzeError as error:
        _log.error("the build skips a ledger record: %s", error)
        return None
    if entry is None:
        _log.info("the ledger record of %s was removed in the meantime", partition)
    return entry


def _insert(connection: duckdb.DuckDBPyConnection, entries: Sequence[tuple[LedgerEntry, str]]) -> None:
    names = [column.split()[0] for column in PARTITION_COLUMNS.split(", ")]
    rows = [
        [
            *(entry.source, entry.resource, entry.day, entry.status, entry.declared, entry.fetched, entry.bronze),
            *(entry.quarantined, entry.path, entry.bytes, entry.content_state, entry.contract_version, entry.run_id),
            *(_naive(entry.loaded_at), _naive(entry.validated_at), signature),
        ]
        for entry, signature in entries
    ]
    _register(connection, names, rows)
    connection.execute(f"delete from ledger where exists (select 1 from rows where {_SAME})")  # noqa: S608 — a constant
    connection.execute("insert into ledger from rows")


def _register(connection: duckdb.DuckDBPyConnection, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Make rows the view `rows`."""
    import pyarrow as pa  # noqa: PLC0415 — slow to import, and few commands need it

    columns = zip(*rows, strict=True) if rows else [[] for _ in names]
    connection.register("rows", pa.table(dict(zip(names, map(list, columns), strict=True))))


def _naive(moment: dt.datetime | None) -> dt.datetime | None:
    return None if moment is None else moment.astimezone(dt.UTC).replace(tzinfo=None)
