"""The records of a ledger in a bucket: one listing tells all of them, and those that changed are read at once."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING

from typing_extensions import override

from scripts.bronze import ledger
from scripts.bronze.ledger_records import Found, LedgerRecords, Resource
from scripts.errors import BronzeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from scripts.bronze.ledger import Partition
    from scripts.utils.buckets import Bucket

AT_ONCE = 16
"""Requests that are sent at the same time."""
FOLDER = "_ledger"


class BucketRecords(LedgerRecords):
    """The records in a bucket, as of one listing; the tag of each is its signature."""

    def __init__(self, bucket: Bucket) -> None:
        """List the records."""
        self._bucket = bucket
        self._tags: dict[Resource, dict[str, str]] = {}
        self._strangers: list[str] = []
        for found in bucket.list(FOLDER):
            match found.name.split("/")[1:]:
                case [source, resource, file] if ledger.day_of_file(file) is not None:
                    self._tags.setdefault((source, resource), {})[file.removesuffix(".json")] = found.etag
                case _:
                    self._strangers.append(found.name)

    @override
    def folders(self) -> Mapping[Resource, int]:
        return dict.fromkeys(sorted(self._tags), 0)

    @override
    def signatures(self, resource: Resource) -> Mapping[str, str]:
        return self._tags.get(resource, {})

    @override
    def read(self, partitions: Iterable[Partition]) -> Iterator[tuple[Partition, Found]]:
        wanted = list(partitions)
        if not wanted:
            return
        with concurrent.futures.ThreadPoolExecutor(min(AT_ONCE, len(wanted))) as executor:
            yield from zip(wanted, executor.map(self._read_one, wanted), strict=True)

    def _read_one(self, partition: Partition) -> Found:
        try:
            return read_record(self._bucket, partition)
        except BronzeError as error:
            return error

    @override
    def strangers(self) -> Sequence[BronzeError]:
        return [ledger.stranger(self._bucket.place(name)) for name in self._strangers]


def record_name(partition: Partition) -> str:
    """Return the name of a partition's record."""
    return f"{FOLDER}/{partition.source}/{partition.resource}/{partition.day}.json"


def read_record(bucket: Bucket, partition: Partition) -> ledger.LedgerEntry | None:
    """Return the record of a partition; None if there is none.

    Raises:
        BronzeError: It cannot be read.
    """
    name = record_name(partition)
    found = bucket.get(name)
    return None if found is None else ledger.entry_of(found.content, partition, bucket.place(name))
