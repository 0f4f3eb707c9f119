"""The records of a ledger as the index reads them: what there is, a signature of each, and those that changed."""

from __future__ import annotations

import abc
import datetime as dt
from typing import TYPE_CHECKING

from typing_extensions import override

from scripts.bronze import ledger
from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.errors import BronzeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

Resource = tuple[str, str]
"""The names of a source and of its resource."""
Found = LedgerEntry | BronzeError | None
"""A record; the reason why it cannot be read; or None if it was removed in the meantime."""


class LedgerRecords(abc.ABC):
    """The records of a ledger, as of now."""

    trust_folders = False
    """Whether a folder with the same moment of change needs no look at its records."""

    @abc.abstractmethod
    def folders(self) -> Mapping[Resource, int]:
        """Return the moment of change in nanoseconds of each resource's folder, in order; 0 if folders have none."""

    @abc.abstractmethod
    def signatures(self, resource: Resource) -> Mapping[str, str]:
        """Return the signature of each record of a resource by day; it changes with the content."""

    @abc.abstractmethod
    def read(self, partitions: Iterable[Partition]) -> Iterator[tuple[Partition, Found]]:
        """Yield the record of each partition."""

    @abc.abstractmethod
    def strangers(self) -> Sequence[BronzeError]:
        """Return an error for each file in the ledger that the pipeline did not write."""


class FolderRecords(LedgerRecords):
    """The records in a folder of this machine."""

    def __init__(self, root: Path, *, trust_folders: bool = False) -> None:
        """Name the folder."""
        self._root = root
        self.trust_folders = trust_folders

    @override
    def folders(self) -> Mapping[Resource, int]:
        return {(path.parent.name, path.name): path.stat().st_mtime_ns for path in ledger.folders(self._root)}

    @override
    def signatures(self, resource: Resource) -> Mapping[str, str]:
        folder = self._root.joinpath(*resource)
        return ledger.signatures(folder) if folder.is_dir() else {}

    @override
    def read(self, partitions: Iterable[Partition]) -> Iterator[tuple[Partition, Found]]:
        for partition in partitions:
            yield partition, self._read_one(partition)

    def _read_one(self, partition: Partition) -> Found:
        path = self._root / partition.source / partition.resource / f"{partition.day}.json"
        try:
            return ledger.read_entry(path)
        except FileNotFoundError:
            return None
        except BronzeError as error:
            return error

    @override
    def strangers(self) -> Sequence[BronzeError]:
        return [ledger.stranger(path) for path in ledger.strangers(self._root)]


def partition_of(resource: Resource, day: str) -> Partition:
    """Return the partition of a resource's record by the day in its name."""
    return Partition(*resource, dt.date.fromisoformat(day))
