"""The Bronze store: replaces a partition's Parquet file together with its quarantine and its ledger record.

New files are first written to a staging folder, which no reader uses. Writing `record.json` there commits the load;
afterwards, the files are renamed to their places. If the process dies after the commit, the next lock holder completes
the renames. If it dies before the commit, the staged files are removed. So a process that is killed at any instruction
leaves the old partition or the new one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shutil
from typing import TYPE_CHECKING

import msgspec

from scripts.bronze import ledger, quarantine
from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.bronze.ledger_index import LedgerIndex
from scripts.errors import BronzeError, LockedError, UsageError
from scripts.utils.days import parse_day
from scripts.utils.files import hash_file, locked, make_dir, storage_errors, sync_dir, sync_file, write_atomically
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from scripts.bronze.quarantine import QuarantinedRow

_log = get_logger("bronze")
DATA_FILE = "part-0.parquet"
SCHEMA_FILE = "schema.parquet"
SCHEMA_DAY = "dt=0001-01-01"
_FILE_MODE = 0o640
COMMIT_SECONDS = 60.0
"""Seconds to wait for the renames of a committed load, which take a moment unless its process is stopped."""


@dataclasses.dataclass(frozen=True)
class Store:
    """The paths in a Bronze folder; folders whose names begin with `_` contain no data files."""

    root: Path

    def data_path(self, partition: Partition) -> Path:
        """Return the Parquet file of a partition."""
        return self.root / partition.source / partition.resource / f"dt={partition.day}" / DATA_FILE

    def entry_path(self, partition: Partition) -> Path:
        """Return the ledger record of a partition."""
        return self.root / _beside("_ledger", partition, ".json")

    def quarantine_path(self, partition: Partition) -> Path:
        """Return the quarantine file of a partition; it exists only if rows are quarantined."""
        return self.root / _beside("_quarantine", partition, ".jsonl")

    def report_path(self, partition: Partition) -> Path:
        """Return the validation report of a partition."""
        return self.root / _beside("_reports", partition, ".json")

    def contract_path(self, source: str, resource: str, version: str) -> Path:
        """Return the file of a contract that days of a resource were loaded with."""
        return self.root / "_contracts" / source / resource / f"{version}.json"

    def schema_path(self, source: str, resource: str) -> Path:
        """Return the file without rows that contains the current schema of a resource."""
        return self.root / source / resource / SCHEMA_DAY / SCHEMA_FILE

    def staging_path(self, partition: Partition) -> Path:
        """Return the folder in which a partition is prepared."""
        return self.root / "_staging" / partition.source / partition.resource / str(partition.day)

    def entry(self, partition: Partition) -> LedgerEntry | None:
        """Return the ledger record of a partition, or None if it is not loaded."""
        path = self.entry_path(partition)
        return ledger.read_entry(path) if path.exists() else None

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield every record of the ledger that can be read, in the order of source, resource and day.

        `LedgerIndex.problems` names the others.
        """
        with LedgerIndex(self.root) as index:
            yield from index.entries()

    @contextlib.contextmanager
    def replacing(self, partition: Partition, *, purpose: str, timeout: float) -> Iterator[Staged]:
        """Prepare a partition's new files; they take effect when the block calls `commit`.

        Waits for a process that is loading the same partition, and completes a load that a killed process committed.
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

    def recover_partition(self, partition: Partition, *, timeout: float) -> None:
        """Complete a committed load of a partition, or remove an uncommitted one; waits for a process that works on it.

        Raises:
            LockedError: A process is still working on it after `timeout` seconds.
        """
        folder = self.staging_path(partition)
        if folder.is_dir():
            lock = folder.with_suffix(".lock")
            with storage_errors(folder), locked(lock, purpose="recovery", timeout=timeout, keep_file=False):
                _finish(self, partition)

    def is_decided(self, partition: Partition) -> bool:
        """Return whether a load of the partition is committed and its files are not all renamed yet."""
        return _decision(self.staging_path(partition)).exists()

    def write_schema(self, source: str, resource: str, schema: pa.Schema) -> None:
        """Update the typed file without rows, which a build reads if no day is loaded yet."""
        import pyarrow.parquet as pq  # noqa: PLC0415 — slow to import, and a command that only reads needs no pyarrow

        path = self.schema_path(source, resource)
        content = io.BytesIO()
        pq.write_table(schema.empty_table(), content, compression="zstd")
        with storage_errors(path):
            # every byte is compared, so that a damaged file is replaced
            if path.exists() and path.read_bytes() == content.getvalue():
                return
            make_dir(path.parent)
            write_atomically(path, content.getvalue())


class Staged:
    """The new files of one partition before they take effect."""

    def __init__(self, store: Store, partition: Partition, folder: Path) -> None:
        """Set the paths of the files in the staging folder."""
        self._store = store
        self.partition = partition
        self.folder = folder
        self.data = folder / "data.staged"
        self.quarantine = folder / "quarantine.staged"
        self.report = folder / "report.staged"
        self.current_quarantine = store.quarantine_path(partition)

    def commit(self, entry: LedgerEntry) -> LedgerEntry:
        """Replace the partition by the staged files, and return its record with path, size and hashes.

        A file of the partition without a staged file stays unchanged.

        Raises:
            DataError: The counts of the record do not add up.
            BronzeError: The files do not contain the rows that the record counts.
        """
        import pyarrow.parquet as pq  # noqa: PLC0415 — as above

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


def verify(store: Store, entry: LedgerEntry, *, content: bool = True) -> LedgerEntry:
    """Check that the files of a partition match its record, and return the record.

    If the partition is being replaced, this waits for the end and returns the new record.

    Args:
        store: The Bronze folder.
        entry: The record.
        content: Compare the hashes of the data file, the quarantine and the report, instead of their presence and size.

    Raises:
        BronzeError: A file is missing, torn or changed.
        LockedError: The partition is still being replaced after a minute.
    """
    problem = _difference(store, entry, content=content)
    if problem is None:
        return entry
    if store.is_decided(entry.partition):
        store.recover_partition(entry.partition, timeout=COMMIT_SECONDS)
    now = store.entry(entry.partition)
    if now is None or now == entry:
        raise problem
    if (problem := _difference(store, now, content=content)) is not None:
        raise problem
    return now


def _difference(store: Store, entry: LedgerEntry, *, content: bool) -> BronzeError | None:
    if not content and _is_present(store, entry):
        return None
    path = store.root / entry.path
    hint = ledger.reload_hint(entry.partition)
    if not path.exists():
        return BronzeError("the data file of a loaded partition is missing", where=str(path), hint=hint)
    size = path.stat().st_size
    if size != entry.bytes or (content and hash_file(path) != entry.content_hash):
        return BronzeError(
            f"torn or changed file of {size} bytes",
            where=str(path),
            expected=f"the {entry.bytes} bytes with SHA-256 {entry.content_hash[:12]}… that the ledger recorded",
            hint=hint,
        )
    rejected, report = store.quarantine_path(entry.partition), store.report_path(entry.partition)
    for what, path, known in (
        ("quarantine", rejected, entry.quarantine_hash),
        ("validation report", report, entry.report_hash),
    ):
        if known and not path.exists():
            return BronzeError(f"the {what} of a loaded partition is missing", where=str(path), hint=hint)
        if known and content and hash_file(path) != known:
            return BronzeError(
                f"torn or changed {what}",
                where=str(path),
                expected=f"the content with SHA-256 {known[:12]}… that the ledger recorded",
                hint=hint,
            )
    return None


def _beside(folder: str, of: Partition | LedgerEntry, suffix: str) -> str:
    """Return the path of a file about a partition, relative to the Bronze folder."""
    return f"{folder}/{of.source}/{of.resource}/{of.day}{suffix}"


def _is_present(store: Store, entry: LedgerEntry) -> bool:
    """Return whether all files of a partition are there, and the data file has its size.

    It works on texts: a status of 50,000 partitions would spend most of its time on `Path`.
    """
    root = os.fspath(store.root)
    rejected, report = _beside("_quarantine", entry, ".jsonl"), _beside("_reports", entry, ".json")
    try:
        return (
            os.stat(f"{root}/{entry.path}").st_size == entry.bytes  # noqa: PTH116 — see above
            and (not entry.quarantine_hash or os.path.exists(f"{root}/{rejected}"))  # noqa: PTH110
            and (not entry.report_hash or os.path.exists(f"{root}/{report}"))  # noqa: PTH110
        )
    except OSError:
        return False


def quarantined_rows(store: Store, entry: LedgerEntry) -> list[QuarantinedRow]:
    """Return the quarantined rows of a partition."""
    return list(quarantine.read(store.quarantine_path(entry.partition)))


def _decision(folder: Path) -> Path:
    return folder / "record.json"


def _finish(store: Store, partition: Partition, *, check: bool = True) -> None:
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


def _moves(store: Store, partition: Partition) -> Sequence[tuple[Path, Path]]:
    folder = store.staging_path(partition)
    return (
        (folder / "data.staged", store.data_path(partition)),
        (folder / "quarantine.staged", store.quarantine_path(partition)),
        (folder / "report.staged", store.report_path(partition)),
    )


def _is_whole(store: Store, partition: Partition, record: Path) -> bool:
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
