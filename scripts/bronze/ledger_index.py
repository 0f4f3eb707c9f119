"""The ledger's index: a copy of all records in one SQLite file, so that a command only reads records that changed.

The records are the source of truth. Opening the index compares it with their folders first and reads the records that
changed. If the index is missing, damaged or cannot be written, commands are slower, but no data is lost.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sqlite3
import time
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.bronze.ledger_records import partition_of
from scripts.errors import BronzeError
from scripts.utils.days import parse_day
from scripts.utils.files import make_dir
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from scripts.bronze.ledger_records import LedgerRecords, Resource

_log = get_logger("ledger")
_VERSION = 2
_SETTLED_SECONDS = 2.0
"""A folder that changed less than this ago may change again at the same file time, so it is read again next time."""
_TABLES = f"""
pragma user_version = {_VERSION};
create table if not exists records (
    source text, resource text, day text, signature text not null, content blob, problem text,
    content_hash text, contract_version text, status text,
    fetched integer, bronze integer, quarantined integer, retries integer, started_at real, loaded_at real,
    primary key (source, resource, day)
) without rowid;
create table if not exists folders (source text, resource text, changed_ns integer, primary key (source, resource))
    without rowid;
create table if not exists verified (
    source text, resource text, day text, content_hash text, verified_at real, primary key (source, resource, day)
) without rowid;
"""
_COLUMNS = 15


class Totals(NamedTuple):
    """The number of partitions of a resource with one status, and of their rows."""

    source: str
    resource: str
    status: str
    partitions: int
    fetched: int
    bronze: int
    quarantined: int


class LedgerIndex:
    """The records of a ledger folder, as of the moment when the index was opened."""

    def __init__(self, records: LedgerRecords, path: Path | None) -> None:
        """Open the index and update it from the records.

        Args:
            records: The records. With `trust_folders`, only folders in which a record was added, replaced or removed
                are looked into. Otherwise each record's own signature is compared, which also finds a record that was
                overwritten in place.
            path: The file of the index; None keeps it in memory.
        """
        self._records = records
        self._connection = _open(path)
        try:
            self._refresh()
        except sqlite3.Error as error:
            _log.debug("the ledger's index is not used: %s", error)
            self._connection.close()
            self._connection = _open(None)
            self._refresh()

    def __enter__(self) -> Self:
        """Return the index."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._connection.close()

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield every record that can be read, in the order of source, resource and day."""
        decoder = msgspec.json.Decoder(LedgerEntry)
        query = "select content from records where content is not null order by source, resource, day"
        for (content,) in self._connection.execute(query):
            yield decoder.decode(content)

    def signatures(self) -> Sequence[tuple[str, str, str, str]]:
        """Return source, resource, day and signature of each record, including records that cannot be read."""
        return self._connection.execute("select source, resource, day, signature from records").fetchall()

    def problems(self) -> Sequence[BronzeError]:
        """Return the problems of the files of the ledger, each with its repair."""
        rows = self._connection.execute(
            "select problem from records where problem is not null order by source, resource, day"
        )
        found = [msgspec.json.decode(row[0], type=dict[str, str]) for row in rows]
        return [*(BronzeError(**parts) for parts in found), *self._records.strangers()]

    def totals(self) -> Sequence[Totals]:
        """Return the counts of each resource by status."""
        rows = self._connection.execute(
            "select source, resource, status, count(*), sum(fetched), sum(bronze), sum(quarantined) from records"
            " where content is not null group by source, resource, status order by source, resource, status"
        )
        return [Totals(*row) for row in rows]

    def last_loads(self) -> Sequence[LedgerEntry]:
        """Return the record of the last load of each resource."""
        rows = self._connection.execute(
            "select content, max(loaded_at) from records where content is not null"
            " group by source, resource order by source, resource"
        )
        return [msgspec.json.decode(row[0], type=LedgerEntry) for row in rows]

    def last_valid_days(self) -> Mapping[tuple[str, str], dt.date]:
        """Return the last validated day of each resource."""
        rows = self._connection.execute(
            "select source, resource, max(day) from records where status = 'validated' group by source, resource"
        )
        return {(row[0], row[1]): parse_day(row[2]) for row in rows}

    def quarantined(self) -> Sequence[LedgerEntry]:
        """Return the records of partitions with quarantined rows."""
        rows = self._connection.execute(
            "select content from records where quarantined > 0 order by source, resource, day"
        )
        return [msgspec.json.decode(row[0], type=LedgerEntry) for row in rows]

    def quarantined_hashes(self) -> Mapping[Partition, str]:
        """Return the content hash and the number of quarantined rows of each validated partition that has such rows."""
        rows = self._connection.execute(
            "select source, resource, day, content_hash || ' ' || quarantined from records"
            " where quarantined > 0 and status = 'validated'"
        )
        return {Partition(row[0], row[1], parse_day(row[2])): row[3] for row in rows}

    def contract_versions(self, source: str, resource: str) -> Sequence[str]:
        """Return the versions of the contract that the days of a resource were loaded with."""
        query = (
            "select distinct contract_version from records where (source, resource) = (?, ?) and content is not null"
        )
        return [row[0] for row in self._connection.execute(query, [source, resource])]

    def of_contract(self, source: str, resource: str, version: str) -> Sequence[LedgerEntry]:
        """Return the records of a resource's days that were loaded with one version of the contract."""
        rows = self._connection.execute(
            "select content from records where (source, resource, contract_version) = (?, ?, ?) order by day",
            [source, resource, version],
        )
        return [msgspec.json.decode(row[0], type=LedgerEntry) for row in rows]

    def oldest_verification(self) -> dt.datetime | None:
        """Return when the least recently verified files were verified; None without records."""
        found = self._oldest_verifications(1)
        return dt.datetime.fromtimestamp(found[0][1], dt.UTC) if found else None

    def oldest_verifications(self) -> Sequence[tuple[LedgerEntry, float]]:
        """Return the records with the moment when their files were last verified, the oldest first.

        A load counts as a verification, since it computes the hashes.
        """
        return self._oldest_verifications(-1)

    def _oldest_verifications(self, most: int) -> Sequence[tuple[LedgerEntry, float]]:
        rows = self._connection.execute(
            # a load that a clock dated in the future verified nothing that anybody can rely on
            "select content, max(case when loaded_at > ? then 0 else loaded_at end, coalesce(verified_at, 0)) as seen"
            " from records"
            " left join verified on (verified.source, verified.resource, verified.day)"
            " = (records.source, records.resource, records.day)"
            " and verified.content_hash = records.content_hash"
            " where content is not null order by seen limit ?",
            [time.time(), most],
        )
        return [(msgspec.json.decode(row[0], type=LedgerEntry), row[1]) for row in rows]

    def note_verified(self, entries: Sequence[LedgerEntry], moment: dt.datetime) -> None:
        """Store that the files of these records were verified at a moment and match the records."""
        with contextlib.suppress(sqlite3.OperationalError), self._connection:
            self._connection.executemany(
                "insert or replace into verified values (?, ?, ?, ?, ?)",
                [(e.source, e.resource, e.day.isoformat(), e.content_hash, moment.timestamp()) for e in entries],
            )

    def _refresh(self) -> None:
        known = {
            (row[0], row[1]): row[2]
            for row in self._connection.execute("select source, resource, changed_ns from folders")
        }
        found = self._records.folders()
        changes = [
            change
            for name, changed_ns in found.items()
            if (change := self._look_into(name, changed_ns, known.get(name))) is not None
        ]
        gone = known.keys() - found.keys()
        if changes or gone:
            self._write(changes, gone)

    def _look_into(self, name: Resource, changed_ns: int, known_ns: int | None) -> _FolderChange | None:
        if self._records.trust_folders and changed_ns == known_ns:
            return None
        rows = self._connection.execute(
            "select day, signature from records where source = ? and resource = ?", list(name)
        )
        held = dict(rows.fetchall())
        now = self._records.signatures(name)
        changed = self._records.read(partition_of(name, day) for day, mark in now.items() if held.get(day) != mark)
        fresh = [
            _row(partition, found, now[partition.day.isoformat()]) for partition, found in changed if found is not None
        ]
        settled_ns = changed_ns if abs(time.time() - changed_ns / 1e9) > _SETTLED_SECONDS else 0
        gone = held.keys() - now.keys()
        if not fresh and not gone and settled_ns == known_ns:
            return None
        return _FolderChange(name, settled_ns, fresh, sorted(gone))

    def _write(self, changes: Sequence[_FolderChange], gone: set[tuple[str, str]]) -> None:
        with self._connection as connection:
            for name in gone:
                connection.execute("delete from records where (source, resource) = (?, ?)", list(name))
                connection.execute("delete from folders where (source, resource) = (?, ?)", list(name))
            for change in changes:
                connection.executemany(
                    "delete from records where (source, resource, day) = (?, ?, ?)",
                    [(*change.name, day) for day in change.gone],
                )
                connection.executemany(
                    f"insert or replace into records values ({', '.join('?' * _COLUMNS)})",  # noqa: S608 — placeholders
                    change.rows,
                )
                connection.execute("insert or replace into folders values (?, ?, ?)", [*change.name, change.changed_ns])


class _FolderChange(NamedTuple):
    """The changes in the folder of one resource."""

    name: tuple[str, str]
    changed_ns: int
    rows: Sequence[Sequence[object]]
    gone: Sequence[str]


def _row(partition: Partition, entry: LedgerEntry | BronzeError, signature: str) -> Sequence[object]:
    """Return the row of a record, or of one that cannot be read."""
    place = (partition.source, partition.resource, partition.day.isoformat(), signature)
    if isinstance(entry, BronzeError):
        parts = {"what": entry.what, "where": entry.where, "expected": entry.expected, "hint": entry.hint}
        return (*place, None, msgspec.json.encode(parts), *[None] * 9)
    return (
        *place,
        msgspec.json.encode(entry),
        None,
        entry.content_hash,
        entry.contract_version,
        entry.status,
        entry.fetched,
        entry.bronze,
        entry.quarantined,
        entry.retries,
        entry.started_at.timestamp(),
        entry.loaded_at.timestamp(),
    )


def _open(path: Path | None) -> sqlite3.Connection:
    """Open the file, or rebuild it if it is damaged or of another version; use memory if the file cannot be used."""
    if path is not None:
        for _ in range(2):
            try:
                return _open_file(path)
            except (sqlite3.DatabaseError, OSError) as error:
                if isinstance(error, (sqlite3.OperationalError, OSError)):
                    break
                _log.warning("the ledger's index is damaged and is rebuilt from the records: %s", error)
                for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
                    file.unlink(missing_ok=True)
    connection = sqlite3.connect(":memory:")
    connection.executescript(_TABLES)
    return connection


def _open_file(path: Path) -> sqlite3.Connection:
    make_dir(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o640))
    connection = sqlite3.connect(path, timeout=30)
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        version = connection.execute("pragma user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"version {version}, expected {_VERSION}")
        if version == 0:
            connection.executescript(_TABLES)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
