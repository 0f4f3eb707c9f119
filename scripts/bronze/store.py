"""Bronze: the Parquet file of each partition, replaced as a whole together with its quarantine and its record.

A partition is staged where no reader looks. Once its record lies in the staging folder the partition is decided, and
whoever comes next finishes the renames; before that, the staged files are debris. So a process that is killed at any
instruction leaves the old partition or the new one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import shutil
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from scripts.bronze import ledger, quarantine
from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.errors import BronzeError
from scripts.utils.files import hash_file, is_locked, locked, make_dir, storage_errors, sync_dir, sync_file
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from scripts.bronze.quarantine import QuarantinedRow

_log = get_logger("bronze")
DATA_FILE = "part-0.parquet"
_SCHEMA_FILE = "schema.parquet"
_SCHEMA_DAY = "dt=0001-01-01"


@dataclasses.dataclass(frozen=True)
class Store:
    """Where the files of a Bronze folder lie; folders that begin with `_` hold no data files."""

    root: Path

    def data_path(self, partition: Partition) -> Path:
        """Return the Parquet file of a partition."""
        return self.root / partition.source / partition.resource / f"dt={partition.day}" / DATA_FILE

    def entry_path(self, partition: Partition) -> Path:
        """Return the ledger record of a partition."""
        return self.root / "_ledger" / partition.source / partition.resource / f"{partition.day}.json"

    def quarantine_path(self, partition: Partition) -> Path:
        """Return the quarantine file of a partition; there is none where no row is quarantined."""
        return self.root / "_quarantine" / partition.source / partition.resource / f"{partition.day}.jsonl"

    def report_path(self, partition: Partition) -> Path:
        """Return the validation report of a partition."""
        return self.root / "_reports" / partition.source / partition.resource / f"{partition.day}.json"

    def schema_path(self, source: str, resource: str) -> Path:
        """Return the file without rows that holds the current schema of a resource."""
        return self.root / source / resource / _SCHEMA_DAY / _SCHEMA_FILE

    def staging_path(self, partition: Partition) -> Path:
        """Return the folder in which a partition is prepared."""
        return self.root / "_staging" / partition.source / partition.resource / str(partition.day)

    def entry(self, partition: Partition) -> LedgerEntry | None:
        """Return the ledger record of a partition, or None where it is not loaded."""
        path = self.entry_path(partition)
        return ledger.read_entry(path) if path.exists() else None

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield every record of the ledger in the order of source, resource and day."""
        for path in ledger.entry_files(self.root / "_ledger"):
            yield ledger.read_entry(path)

    @contextlib.contextmanager
    def replacing(self, partition: Partition, *, purpose: str, timeout: float) -> Iterator[Staged]:
        """Prepare a partition's new files; they take effect when the block calls `commit`.

        Waits for a process that is loading the same partition, and finishes what a killed one had decided.
        """
        folder = self.staging_path(partition)
        with (
            storage_errors(folder),
            locked(folder.with_suffix(".lock"), purpose=purpose, timeout=timeout, keep_file=False),
        ):
            _finish(self, partition)
            make_dir(folder)
            try:
                yield Staged(self, partition, folder)
            finally:
                if not _decision(folder).exists():
                    shutil.rmtree(folder, ignore_errors=True)

    def recover(self) -> None:
        """Finish or clear what killed processes left, partition by partition, where nobody works on it now."""
        for folder in sorted((self.root / "_staging").glob("*/*/*")):
            if folder.is_dir() and not is_locked(folder.with_suffix(".lock")):
                day = dt.date.fromisoformat(folder.name)
                partition = Partition(folder.parent.parent.name, folder.parent.name, day)
                lock = folder.with_suffix(".lock")
                with storage_errors(folder), locked(lock, purpose="recovery", timeout=0, keep_file=False):
                    _finish(self, partition)

    def write_schema(self, source: str, resource: str, schema: pa.Schema) -> None:
        """Keep the typed file without rows up to date, from which a build starts when nothing is loaded yet."""
        path = self.schema_path(source, resource)
        with storage_errors(path):
            if path.exists() and pq.read_schema(path).equals(schema):
                return
            make_dir(path.parent)
            staged = path.with_suffix(".staged")
            pq.write_table(schema.empty_table(), staged, compression="zstd")
            sync_file(staged)
            staged.replace(path)
            sync_dir(path.parent)


class Staged:
    """The new files of one partition before they take effect."""

    def __init__(self, store: Store, partition: Partition, folder: Path) -> None:
        """Name the files in the staging folder."""
        self._store = store
        self.partition = partition
        self.folder = folder
        self.data = folder / "data.staged"
        self.quarantine = folder / "quarantine.staged"
        self.report = folder / "report.staged"
        self.current_quarantine = store.quarantine_path(partition)

    def commit(self, entry: LedgerEntry) -> LedgerEntry:
        """Make the staged files the partition, and return its record with path, size and content hash filled in.

        A file that is not staged stays as it is.

        Raises:
            DataError: The record does not add up.
            BronzeError: The files do not hold the rows that the record counts.
        """
        data = self.data if self.data.exists() else self._store.data_path(self.partition)
        rejected = self.quarantine if self.quarantine.exists() else self._store.quarantine_path(self.partition)
        written = pq.read_metadata(data).num_rows
        kept = sum(1 for _ in quarantine.read(rejected))
        if (written, kept) != (entry.bronze, entry.quarantined):
            raise BronzeError(
                f"staged files hold {written} rows and {kept} quarantined ones",
                where=str(entry.partition),
                expected=f"{entry.bronze} and {entry.quarantined}",
                hint=ledger.reload_hint(entry.partition),
            )
        entry.check()
        if data == self.data:
            entry = _with_file(entry, data, self._store)
        for path in (self.data, self.quarantine, self.report):
            if path.exists():
                sync_file(path)
        record = self.folder / "record.tmp"
        record.write_bytes(ledger.encode(entry))
        sync_file(record)
        record.replace(_decision(self.folder))
        sync_dir(self.folder)
        _finish(self._store, self.partition)
        return entry


def verify(store: Store, entry: LedgerEntry, *, content: bool = True) -> None:
    """Check that a partition's data file is the one that its record describes.

    Raises:
        BronzeError: It is missing, torn or another one.
    """
    path = store.root / entry.path
    hint = ledger.reload_hint(entry.partition)
    if not path.exists():
        raise BronzeError("the data file of a loaded partition is missing", where=str(path), hint=hint)
    size = path.stat().st_size
    if size != entry.bytes or (content and hash_file(path) != entry.content_hash):
        raise BronzeError(
            f"torn or changed file of {size} bytes",
            where=str(path),
            expected=f"the {entry.bytes} bytes with SHA-256 {entry.content_hash[:12]}… that the ledger recorded",
            hint=hint,
        )


def foreign_files(store: Store, known: set[str]) -> Sequence[str]:
    """Return the Parquet files in the data folders that no record names, relative to the Bronze folder."""
    found = [  # the schema files hold no rows
        path.relative_to(store.root).as_posix()
        for source in store.root.iterdir()
        if source.is_dir() and not source.name.startswith("_")
        for path in source.rglob("*.parquet")
        if (path.parent.name, path.name) != (_SCHEMA_DAY, _SCHEMA_FILE)
    ]
    return sorted(set(found) - known)


def quarantined_rows(store: Store, entry: LedgerEntry) -> list[QuarantinedRow]:
    """Return the quarantined rows of a partition."""
    return list(quarantine.read(store.quarantine_path(entry.partition)))


def _with_file(entry: LedgerEntry, path: Path, store: Store) -> LedgerEntry:
    return msgspec.structs.replace(
        entry,
        path=store.data_path(entry.partition).relative_to(store.root).as_posix(),
        bytes=path.stat().st_size,
        content_hash=hash_file(path),
    )


def _decision(folder: Path) -> Path:
    return folder / "record.json"


def _finish(store: Store, partition: Partition) -> None:
    """Complete a decided replacement, or clear an undecided one; each step may be repeated."""
    folder = store.staging_path(partition)
    record = _decision(folder)
    if record.exists():
        moves = (
            (folder / "data.staged", store.data_path(partition)),
            (folder / "quarantine.staged", store.quarantine_path(partition)),
            (folder / "report.staged", store.report_path(partition)),
        )
        for staged, final in moves:
            if staged.exists():
                make_dir(final.parent)
                staged.replace(final)
                sync_dir(final.parent)
        entry = ledger.decode(record)
        if entry.quarantined == 0:
            store.quarantine_path(partition).unlink(missing_ok=True)
        final = store.entry_path(partition)
        make_dir(final.parent)
        record.replace(final)
        sync_dir(final.parent)
        _log.debug("partition replaced", extra={"path": entry.path})
    if folder.exists():
        shutil.rmtree(folder)
