"""What a build knows about itself: the tables of the schema `meta` in the warehouse.

`meta.partitions` is the ledger as of the build, with the content that the tables hold (`built_hash`): what differs is
what the build has to process. `meta.models` counts the rows of every model. The other two exist for dbt's macros.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

from scripts.bronze import ledger
from scripts.bronze.ledger import LedgerEntry, Partition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb

    from scripts.bronze.store import Store

_TABLES = """
create schema if not exists meta;
create schema if not exists changes;
create table if not exists meta.partitions (
    source varchar not null,
    resource varchar not null,
    dt date not null,
    status varchar not null,
    declared bigint,
    fetched bigint,
    bronze_rows bigint,
    quarantined_rows bigint,
    path varchar,
    bytes bigint,
    content_hash varchar,
    built_hash varchar,
    contract_version varchar,
    run_id varchar,
    loaded_at_utc timestamp,
    validated_at_utc timestamp,
    record_signature varchar
);
create table if not exists meta.models (
    model varchar not null,
    layer varchar not null,
    row_count bigint not null,
    expected_row_count bigint,
    expected_rows_reason varchar,
    source varchar,
    resource varchar
);
create table if not exists meta.project (models_hash varchar);
create or replace table meta.build (build_id varchar, full_tests boolean, started_at_utc timestamp);
create or replace table meta.rebuilt_models (model varchar);
"""


class ModelRows(NamedTuple):
    """The rows of one model, and where their number comes from."""

    model: str
    layer: str
    row_count: int
    expected_row_count: int | None
    expected_rows_reason: str | None
    source: str | None
    """The source and resource that a staging model reads; None for other models."""
    resource: str | None


class Change(NamedTuple):
    """A partition that a build has to process."""

    partition: Partition
    entry: LedgerEntry | None
    """Its ledger record; None where the record was taken away."""


def begin(connection: duckdb.DuckDBPyConnection, store: Store, *, build_id: str, full_tests: bool) -> Sequence[Change]:
    """Bring `meta.partitions` up to the ledger, and return the partitions whose content the tables don't hold."""
    connection.execute(_TABLES)
    connection.execute("insert into meta.build values (?, ?, ?)", [build_id, full_tests, _now()])
    records = {_partition(path): path for path in ledger.entry_files(store.root / "_ledger")}
    known = connection.execute("select source, resource, dt, record_signature from meta.partitions").fetchall()
    signatures = {Partition(*row[:3]): row[3] for row in known}
    for partition, path in records.items():
        signature = _signature(path)
        if signatures.get(partition) != signature:
            _upsert_partition(connection, ledger.read_entry(path), signature)
    for partition in signatures.keys() - records.keys():
        connection.execute(
            "update meta.partitions set status = 'removed', content_hash = null, record_signature = null"
            " where (source, resource, dt) = (?, ?, ?)",
            [*partition],
        )
    changed = connection.execute(
        "select source, resource, dt, status from meta.partitions"
        " where content_hash is distinct from built_hash and status in ('validated', 'removed') order by all"
    ).fetchall()
    return [
        Change(Partition(*row[:3]), ledger.read_entry(records[Partition(*row[:3])]) if row[3] == "validated" else None)
        for row in changed
    ]


def unfinished(connection: duckdb.DuckDBPyConnection) -> Mapping[Partition, str | None]:
    """Return the partitions that the build processes, with the content that it saw; None where it was taken away."""
    rows = connection.execute(
        "select source, resource, dt, content_hash from meta.partitions"
        " where content_hash is distinct from built_hash and status in ('validated', 'removed')"
    ).fetchall()
    return {Partition(*row[:3]): row[3] for row in rows}


def holds_ledger(connection: duckdb.DuckDBPyConnection, store: Store, *, built: bool) -> bool:
    """Return whether the ledger names no other content than `meta.partitions` does.

    Args:
        connection: A published version, or a build.
        store: The Bronze folder with the ledger.
        built: Compare with what the tables hold, instead of with what the build saw when it began.
    """
    column = "built_hash" if built else "content_hash"
    rows = connection.execute(
        f"select source, resource, dt, record_signature, {column} from meta.partitions"  # noqa: S608 — one of two names
        " where status <> 'removed'"
    ).fetchall()
    known = {Partition(*row[:3]): row[3:] for row in rows}
    records = {_partition(path): path for path in ledger.entry_files(store.root / "_ledger")}
    if known.keys() - records.keys():
        return False
    for partition, path in records.items():
        signature, held = known.get(partition, (None, None))
        if signature == _signature(path) and not built:
            continue
        entry = ledger.read_entry(path)
        if entry.status == "validated" and entry.content_hash != held:
            return False
    return True


def models_changed(connection: duckdb.DuckDBPyConnection, models_hash: str) -> bool:
    """Return whether the tables were built by models with other SQL."""
    known = connection.execute("select models_hash from meta.project").fetchall()
    return bool(known) and known != [(models_hash,)]


def finish(connection: duckdb.DuckDBPyConnection, unsure: Sequence[Partition], models_hash: str) -> None:
    """Note that the tables hold what the ledger said, and clear the notes of the build.

    Args:
        connection: The build.
        unsure: Partitions that were loaded again while the build read them; the next build processes them.
        models_hash: Identifies the SQL of the models.
    """
    connection.execute("delete from meta.project")
    connection.execute("insert into meta.project values (?)", [models_hash])
    connection.execute("delete from meta.partitions where status = 'removed'")
    connection.execute("update meta.partitions set built_hash = content_hash where status = 'validated'")
    for partition in unsure:
        connection.execute(
            "update meta.partitions set built_hash = 'changed during the build', record_signature = null"
            " where (source, resource, dt) = (?, ?, ?)",
            [*partition],
        )
    connection.execute("drop table meta.build; drop table meta.rebuilt_models; drop schema if exists changes cascade")


def put_models(connection: duckdb.DuckDBPyConnection, models: Sequence[ModelRows]) -> None:
    """Replace the row counts of the models."""
    connection.execute("delete from meta.models")
    if models:
        connection.executemany("insert into meta.models values (?, ?, ?, ?, ?, ?, ?)", [list(row) for row in models])


def _upsert_partition(connection: duckdb.DuckDBPyConnection, entry: LedgerEntry, signature: str) -> None:
    built = connection.execute(
        "delete from meta.partitions where (source, resource, dt) = (?, ?, ?) returning built_hash", [*entry.partition]
    ).fetchone()
    connection.execute(
        f"insert into meta.partitions values ({', '.join('?' * 17)})",  # noqa: S608 — placeholders only
        [
            entry.source,
            entry.resource,
            entry.day,
            entry.status,
            entry.declared,
            entry.fetched,
            entry.bronze,
            entry.quarantined,
            entry.path,
            entry.bytes,
            entry.content_hash,
            built[0] if built else None,
            entry.contract_version,
            entry.run_id,
            _naive(entry.loaded_at),
            _naive(entry.validated_at),
            signature,
        ],
    )


def _partition(record: Path) -> Partition:
    return Partition(record.parent.parent.name, record.parent.name, dt.date.fromisoformat(record.stem))


def _signature(record: Path) -> str:
    # a record is replaced by a rename, so that another content is another file
    stat = record.stat()
    return f"{stat.st_ino}-{stat.st_mtime_ns}-{stat.st_size}"


def _naive(moment: dt.datetime | None) -> dt.datetime | None:
    return None if moment is None else moment.astimezone(dt.UTC).replace(tzinfo=None)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)
