"""Bronze in a folder: a load is staged, committed by a record in the staging folder, and renamed to its places.

New files are first written to a staging folder, which no reader uses. Writing `record.json` there commits the load;
afterwards, the files are renamed to their places. If the process dies after the commit, the next lock holder completes
the renames. If it dies before the commit, the staged files are removed. So a process that is killed at any instruction
leaves the old partition or the new one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import shutil
from typing import TYPE_CHECKING

import msgspec
from typing_extensions import override

from scripts.bronze import foreign_files, ledger, quarantine
from scripts.bronze.documents import FileDocument
from scripts.bronze.folder_files import beside, difference, is_present
from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.bronze.ledger_records import FolderRecords
from scripts.bronze.store import DATA_FILE, SCHEMA_DAY, SCHEMA_FILE, Staged, Store, check_counts
from scripts.errors import BronzeError, LockedError, UsageError
from scripts.utils.days import parse_day
from scripts.utils.files import hash_file, is_locked, locked, make_dir, storage_errors, sync_dir, sync_file
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from scripts.bronze.ledger_records import LedgerRecords
    from scripts.bronze.quarantine import QuarantinedRow

_log = get_logger("bronze")
_FILE_MODE = 0o640


@dataclasses.dataclass(frozen=True)
class FolderStore(Store):
    """The paths in a Bronze folder; folders whose names begin with `_` contain no data files."""

    root: Path

    @property
    @override
    def location(self) -> str:
        return str(self.root)

    @property
    @override
    def index_path(self) -> Path | None:
        return self.root / "_index" / "ledger.sqlite" if (self.root / "_ledger").is_dir() else None

    @override
    def records(self, *, trust_folders: bool = False) -> LedgerRecords:
        return FolderRecords(self.root / "_ledger", trust_folders=trust_folders)

    @override
    def document(self, name: str) -> FileDocument:
        return FileDocument(self.root / name)

    @override
    def documents(self, folder: str) -> Sequence[str]:
        found = sorted((self.root / folder).rglob("*.json"))
        return [path.relative_to(self.root).as_posix() for path in found]

    def data_path(self, partition: Partition) -> Path:
        """Return the Parquet file of a partition."""
        return self.root / partition.source / partition.resource / f"dt={partition.day}" / DATA_FILE

    def entry_path(self, partition: Partition) -> Path:
        """Return the ledger record of a partition."""
        return self.root / beside("_ledger", partition, ".json")

    def quarantine_path(self, partition: Partition) -> Path:
        """Return the quarantine file of a partition; it exists only if rows are quarantined."""
        return self.root / beside("_quarantine", partition, ".jsonl")

    def report_path(self, partition: Partition) -> Path:
        """Return the validation report of a partition."""
        return self.root / beside("_reports", partition, ".json")

    def schema_path(self, source: str, resource: str) -> Path:
        """Return the file without rows that contains the current schema of a resource."""
        return self.root / source / resource / SCHEMA_DAY / SCHEMA_FILE

    def staging_path(self, partition: Partition) -> Path:
        """Return the folder in which a partition is prepared."""
        return self.root / "_staging" / partition.source / partition.resource / str(partition.day)

    @override
    def entry(self, partition: Partition) -> LedgerEntry | None:
        try:
            return ledger.read_entry(self.entry_path(partition))
        except FileNotFoundError:
            return None

    @override
    @contextlib.contextmanager
    def data_file(self, entry: LedgerEntry) -> Iterator[Path]:
        path = self.root / entry.path
        if not path.exists():
            raise BronzeError(
                "the data file of a loaded partition is missing",
                where=str(path),
                hint=ledger.reload_hint(entry.partition),
            )
        yield path

    @override
    def quarantined(self, entry: LedgerEntry) -> Sequence[QuarantinedRow]:
        return list(quarantine.read(self.quarantine_path(entry.partition)))

    @override
    def holds(self, path: str) -> bool:
        return (self.root / path).is_file()

    @override
    def quarantine_content(self, entry: LedgerEntry) -> bytes | None:
        return self.document(beside("_quarantine", entry, ".jsonl")).read()

    @override
    def report_content(self, entry: LedgerEntry) -> bytes | None:
        return self.document(beside("_reports", entry, ".json")).read()

    @override
    def report_place(self, entry: LedgerEntry) -> str:
        path = self.report_path(entry.partition)
        return str(path) if path.exists() else ""

    @override
    def difference(self, entry: LedgerEntry, *, content: bool) -> BronzeError | None:
        return difference(self, entry, content=content)

    @override
    def presence(self) -> Callable[[LedgerEntry], bool]:
        return lambda entry: is_present(self, entry)

    @override
    def last_load(self) -> Sequence[dt.datetime]:
        folders = (self.root / "_ledger").glob("*/*")
        return [dt.datetime.fromtimestamp(folder.stat().st_mtime, dt.UTC) for folder in folders if folder.is_dir()]

    @override
    @contextlib.contextmanager
    def replacing(self, partition: Partition, *, purpose: str, timeout: float) -> Iterator[_FolderStaged]:
        """Prepare a partition's new files; they take effect when the block calls `commit`.

        Waits for a process that is loading the same partition, and completes a load that a killed process committed.
        """
        folder = self.staging_path(partition)
        with (
            storage_errors(folder),
            locked(self._lock(partition), purpose=purpose, timeout=timeout, keep_file=False),
        ):
            _finish(self, partition)
            make_dir(folder)
            try:
                yield _FolderStaged(self, partition, folder)
            finally:
                if not _decision(folder).exists():
                    shutil.rmtree(folder, ignore_errors=True)

    @override
    def recover(self) -> None:
        """Complete or remove the loads of killed processes, except for partitions that a process is working on.

        Files that the pipeline did not write stay where they are, and are named in the log.
        """
        if strangers := ledger.strangers(self.root / "_ledger"):
            _log.warning(
                "foreign files in the ledger: %d, the first: %s", len(strangers), ledger.stranger(strangers[0])
            )
        for partition in self.unfinished():
            with contextlib.suppress(LockedError):
                self.recover_partition(partition, timeout=0)

    def unfinished(self) -> Sequence[Partition]:
        """Return the partitions with staged files; a process may be working on them."""
        found = []
        for folder in sorted((self.root / "_staging").glob("*/*/*")):
            if not folder.is_dir():
                continue
            try:
                day = parse_day(folder.name)
            except UsageError:
                _log.warning("a folder that the pipeline did not write, move it out of the staging folder: %s", folder)
                continue
            found.append(Partition(folder.parent.parent.name, folder.parent.name, day))
        return found

    @override
    def under_way(self) -> Sequence[Partition]:
        return [partition for partition in self.unfinished() if is_locked(self._lock(partition))]

    @override
    def left_behind(self) -> Sequence[Partition]:
        return [partition for partition in self.unfinished() if not is_locked(self._lock(partition))]

    @override
    def recover_partition(self, partition: Partition, *, timeout: float) -> None:
        folder = self.staging_path(partition)
        if folder.is_dir():
            with (
                storage_errors(folder),
                locked(self._lock(partition), purpose="recovery", timeout=timeout, keep_file=False),
            ):
                _finish(self, partition)

    @override
    def is_decided(self, partition: Partition) -> bool:
        return _decision(self.staging_path(partition)).exists()

    @override
    def foreign_files(self, known: Collection[str] | None = None) -> Sequence[str]:
        return foreign_files.foreign_files(self, known)

    @override
    def foreign_files_hint(self, names: Sequence[str]) -> str:
        return foreign_files.foreign_files_hint(self, names)

    @override
    def write_schema(self, source: str, resource: str, schema: pa.Schema) -> None:
        with storage_errors(self.schema_path(source, resource)):
            super().write_schema(source, resource, schema)

    def _lock(self, partition: Partition) -> Path:
        return self.staging_path(partition).with_suffix(".lock")


class _FolderStaged(Staged):
    """The new files of one partition in its staging folder; its lock is held."""

    def __init__(self, store: FolderStore, partition: Partition, folder: Path) -> None:
        """Set the paths of the files in the staging folder."""
        super().__init__(partition, folder)
        self._store = store

    @property
    @override
    def current(self) -> LedgerEntry | None:
        return self._store.entry(self.partition)

    @property
    @override
    def current_quarantine(self) -> Path:
        return self._store.quarantine_path(self.partition)

    @override
    def commit(self, entry: LedgerEntry) -> LedgerEntry:
        import pyarrow.parquet as pq  # noqa: PLC0415 — slow to import, and only commits need it

        data = self.data if self.data.exists() else self._store.data_path(self.partition)
        rejected = self.quarantine if self.quarantine.exists() else self.current_quarantine
        check_counts(entry, pq.read_metadata(data).num_rows, sum(1 for _ in quarantine.read(rejected)))
        entry = self._with_hashes(entry)
        for path in (self.data, self.quarantine, self.report):
            if path.exists():
                sync_file(path, mode=_FILE_MODE)
        record = self.folder / "record.tmp"
        record.write_bytes(ledger.encode(entry))
        sync_file(record, mode=_FILE_MODE)
        # the staged files must be on the disk before the record that commits the load
        sync_dir(self.folder)
        record.replace(_decision(self.folder))
        sync_dir(self.folder)
        _finish(self._store, self.partition, check=False)
        return entry

    def _with_hashes(self, entry: LedgerEntry) -> LedgerEntry:
        if self.data.exists():
            entry = msgspec.structs.replace(
                entry,
                path=self._store.data_path(self.partition).relative_to(self._store.root).as_posix(),
                bytes=self.data.stat().st_size,
                content_hash=hash_file(self.data),
            )
        rejected = self.quarantine if self.quarantine.exists() else self.current_quarantine
        report = self.report if self.report.exists() else self._store.report_path(self.partition)
        return msgspec.structs.replace(
            entry,
            quarantine_hash=hash_file(rejected) if entry.quarantined else "",
            report_hash=hash_file(report) if report.exists() else "",
        )


def _decision(folder: Path) -> Path:
    return folder / "record.json"


def _finish(store: FolderStore, partition: Partition, *, check: bool = True) -> None:
    """Complete a committed load, or remove an uncommitted one; each step can be repeated.

    With `check`, a committed load is dropped if its files do not match its record: the partition stays unchanged.
    """
    folder = store.staging_path(partition)
    record = _decision(folder)
    if record.exists() and (not check or _is_whole(store, partition, record)):
        entry = ledger.decode(record)
        for staged, final in _moves(store, partition):
            if staged.exists():
                make_dir(final.parent)
                staged.replace(final)
                sync_dir(final.parent)
        if entry.quarantined == 0:
            store.quarantine_path(partition).unlink(missing_ok=True)
        final = store.entry_path(partition)
        make_dir(final.parent)
        record.replace(final)
        sync_dir(final.parent)
        _log.debug("partition replaced", extra={"path": entry.path})
    if folder.exists():
        shutil.rmtree(folder)


def _moves(store: FolderStore, partition: Partition) -> Sequence[tuple[Path, Path]]:
    folder = store.staging_path(partition)
    return (
        (folder / "data.staged", store.data_path(partition)),
        (folder / "quarantine.staged", store.quarantine_path(partition)),
        (folder / "report.staged", store.report_path(partition)),
    )


def _is_whole(store: FolderStore, partition: Partition, record: Path) -> bool:
    """Return whether the files of a committed load match its record; if not, log an error."""
    try:
        entry = ledger.decode(record)
    except BronzeError as error:
        _log.error("an interrupted load cannot be completed and is dropped: %s", error)
        return False
    wanted = (entry.content_hash, entry.quarantine_hash, entry.report_hash)
    for (staged, final), known in zip(_moves(store, partition), wanted, strict=True):
        path = staged if staged.exists() else final
        if known and (not path.exists() or hash_file(path) != known):
            _log.error(
                "an interrupted load cannot be completed and is dropped: %s is not the file that it wrote; %s",
                path,
                ledger.reload_hint(partition),
            )
            return False
    return True
