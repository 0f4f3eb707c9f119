"""The Bronze store: replaces a partition's Parquet file together with its quarantine and its ledger record.

The record is the commit: a partition holds what its record names. `FolderStore` keeps Bronze in a folder of this
machine, `BucketStore` in a bucket of an object store; both keep the same promises.
"""

from __future__ import annotations

import abc
import concurrent.futures
import io
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from scripts.bronze import ledger
from scripts.bronze.ledger_index import LedgerIndex
from scripts.errors import BronzeError

if TYPE_CHECKING:
    import contextlib
    import datetime as dt
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from scripts.bronze.documents import Document
    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.bronze.ledger_records import LedgerRecords
    from scripts.bronze.quarantine import QuarantinedRow

Item = TypeVar("Item")
Result = TypeVar("Result")
DATA_FILE = "part-0.parquet"
SCHEMA_FILE = "schema.parquet"
SCHEMA_DAY = "dt=0001-01-01"
COMMIT_SECONDS = 60.0
"""Seconds to wait for the renames of a committed load, which take a moment unless its process is stopped."""


class Store(abc.ABC):
    """Bronze: partitions with their records, and documents about them."""

    at_once = 1
    """How many partitions it is worth reading at the same time."""

    @property
    @abc.abstractmethod
    def location(self) -> str:
        """The folder or the URL, for messages and for dbt."""

    @property
    @abc.abstractmethod
    def index_path(self) -> Path | None:
        """The file of the ledger's index; None if nothing was ever loaded."""

    @abc.abstractmethod
    def records(self, *, trust_folders: bool = False) -> LedgerRecords:
        """Return the records of the ledger; see `LedgerIndex`."""

    @abc.abstractmethod
    def document(self, name: str) -> Document:
        """Return a document by its name relative to Bronze."""

    @abc.abstractmethod
    def documents(self, folder: str) -> Sequence[str]:
        """Return the names of the documents in a folder of Bronze and in folders below it, in order."""

    @abc.abstractmethod
    def replacing(
        self, partition: Partition, *, purpose: str, timeout: float
    ) -> contextlib.AbstractContextManager[Staged]:
        """Prepare a partition's new files; they take effect when the block calls `commit`."""

    @abc.abstractmethod
    def entry(self, partition: Partition) -> LedgerEntry | None:
        """Return the ledger record of a partition, or None if it is not loaded."""

    @abc.abstractmethod
    def data_file(self, entry: LedgerEntry) -> contextlib.AbstractContextManager[Path]:
        """Return the Parquet file of a partition, as a file that can be read during the block.

        Raises:
            BronzeError: There is no such file.
        """

    def data_place(self, entry: LedgerEntry) -> str:
        """Return the path or the URL of the Parquet file of a partition."""
        return f"{self.location}/{entry.path}"

    @abc.abstractmethod
    def quarantined(self, entry: LedgerEntry) -> Sequence[QuarantinedRow]:
        """Return the quarantined rows of a partition.

        Raises:
            BronzeError: They cannot be read.
        """

    @abc.abstractmethod
    def holds(self, path: str) -> bool:
        """Return whether there is a data file; `path` is the one in its record."""

    @abc.abstractmethod
    def quarantine_content(self, entry: LedgerEntry) -> bytes | None:
        """Return the content of the quarantine of a partition; None if it has none."""

    @abc.abstractmethod
    def report_content(self, entry: LedgerEntry) -> bytes | None:
        """Return the content of the validation report of a partition; None if it has none."""

    def attached(self, entry: LedgerEntry) -> Attached:
        """Return the content of the quarantine and of the report that the record of a partition tells of."""
        return Attached(
            self.quarantine_content(entry) if entry.quarantine_hash else None,
            self.report_content(entry) if entry.report_hash else None,
        )

    @abc.abstractmethod
    def report_place(self, entry: LedgerEntry) -> str:
        """Return the path or the URL of the validation report of a partition; empty if there is none."""

    @abc.abstractmethod
    def difference(self, entry: LedgerEntry, *, content: bool) -> BronzeError | None:
        """Return in what the files of a partition differ from its record; see `verify`."""

    @abc.abstractmethod
    def presence(self) -> Callable[[LedgerEntry], bool]:
        """Return a function that tells whether all files of a partition are there, and the data file has its size."""

    @abc.abstractmethod
    def last_load(self) -> Sequence[dt.datetime]:
        """Return when records were last written, by resource or all together."""

    @abc.abstractmethod
    def recover(self) -> None:
        """Complete or remove the loads of killed processes, except for partitions that a process is working on."""

    @abc.abstractmethod
    def recover_partition(self, partition: Partition, *, timeout: float) -> None:
        """Complete a committed load of a partition, or remove an uncommitted one; waits for a process that works on it.

        Raises:
            LockedError: A process is still working on it after `timeout` seconds.
        """

    @abc.abstractmethod
    def is_decided(self, partition: Partition) -> bool:
        """Return whether a load of the partition is committed and its files are not all in their places yet."""

    @abc.abstractmethod
    def under_way(self) -> Sequence[Partition]:
        """Return the partitions that processes of this machine are known to work on."""

    @abc.abstractmethod
    def left_behind(self) -> Sequence[Partition]:
        """Return the partitions whose process was killed; the next run completes or removes its files."""

    @abc.abstractmethod
    def foreign_files(self, known: Collection[str] | None = None) -> Sequence[str]:
        """Return the Parquet files that no record names and that a reader of all files would read."""

    @abc.abstractmethod
    def foreign_files_hint(self, names: Sequence[str]) -> str:
        """Return what to do about files that `foreign_files` returned."""

    def index(self, *, trust_folders: bool = False) -> LedgerIndex:
        """Open the ledger's index; with `trust_folders`, look only into folders that changed."""
        return LedgerIndex(self.records(trust_folders=trust_folders), self.index_path)

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield every record of the ledger that can be read, in the order of source, resource and day.

        `LedgerIndex.problems` names the others.
        """
        with self.index() as index:
            yield from index.entries()

    def write_schema(self, source: str, resource: str, schema: pa.Schema) -> None:
        """Update the typed file without rows, which a build reads if no day is loaded yet."""
        import pyarrow.parquet as pq  # noqa: PLC0415 — slow to import, and a command that only reads needs no pyarrow

        content = io.BytesIO()
        pq.write_table(schema.empty_table(), content, compression="zstd")
        document = self.document(f"{source}/{resource}/{SCHEMA_DAY}/{SCHEMA_FILE}")
        # every byte is compared, so that a damaged file is replaced
        if document.read() != content.getvalue():
            document.write(content.getvalue())


class Attached(NamedTuple):
    """The content of a partition's files besides its data; None for a file that it does not have."""

    quarantine: bytes | None
    report: bytes | None


class Staged(abc.ABC):
    """The new files of one partition before they take effect: the paths where they are written."""

    def __init__(self, partition: Partition, folder: Path) -> None:
        """Set the paths of the files in the staging folder."""
        self.partition = partition
        self.folder = folder
        self.data = folder / "data.staged"
        self.quarantine = folder / "quarantine.staged"
        self.report = folder / "report.staged"

    @property
    @abc.abstractmethod
    def current(self) -> LedgerEntry | None:
        """The record that the new files replace; None if the partition is not loaded.

        Raises:
            BronzeError: The record cannot be read.
        """

    @property
    @abc.abstractmethod
    def current_quarantine(self) -> Path:
        """The file with the rows that are in quarantine now; there is none if no rows are."""

    @abc.abstractmethod
    def commit(self, entry: LedgerEntry) -> LedgerEntry:
        """Replace the partition by the staged files, and return its record with path, size and hashes.

        A file of the partition without a staged file stays unchanged.

        Raises:
            DataError: The counts of the record do not add up.
            BronzeError: The files do not contain the rows that the record counts.
            LockedError: Another process has replaced the partition in the meantime.
        """


def check_counts(entry: LedgerEntry, rows: int, quarantined: int) -> None:
    """Check the counts of a record against the files that it is about, before it is committed.

    Raises:
        DataError: The counts of the record do not add up.
        BronzeError: The files do not contain the rows that the record counts.
    """
    if (rows, quarantined) != (entry.bronze, entry.quarantined):
        raise BronzeError(
            f"staged files hold {rows} rows and {quarantined} quarantined ones",
            where=str(entry.partition),
            expected=f"{entry.bronze} and {entry.quarantined}",
            hint=ledger.reload_hint(entry.partition),
        )
    entry.check()


def verify(store: Store, entry: LedgerEntry, *, content: bool = True) -> LedgerEntry:
    """Check that the files of a partition match its record, and return the record.

    If the partition is being replaced, this waits for the end and returns the new record.

    Args:
        store: The Bronze store.
        entry: The record.
        content: Compare the hashes of the data file, the quarantine and the report, instead of their presence and size.

    Raises:
        BronzeError: A file is missing, torn or changed.
        LockedError: The partition is still being replaced after a minute.
    """
    problem = store.difference(entry, content=content)
    if problem is None:
        return entry
    if store.is_decided(entry.partition):
        store.recover_partition(entry.partition, timeout=COMMIT_SECONDS)
    now = store.entry(entry.partition)
    if now is None or now == entry:
        raise problem
    if (problem := store.difference(now, content=content)) is not None:
        raise problem
    return now


def for_each(store: Store, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the result of `work` for each item, in order; several at the same time if each sends requests."""
    wanted = list(items)
    if store.at_once == 1 or not wanted[1:]:
        yield from map(work, wanted)
        return
    with concurrent.futures.ThreadPoolExecutor(min(store.at_once, len(wanted))) as executor:
        yield from executor.map(work, wanted)
