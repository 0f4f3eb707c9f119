"""Debris in a bucket: objects that no record names, from loads that were killed or lost a race, or were replaced."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from scripts.bronze.bucket_store import names_of
from scripts.bronze.ledger_records import partition_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from scripts.bronze.bucket_store import BucketStore
    from scripts.bronze.ledger import LedgerEntry, Partition

_AGE = dt.timedelta(days=1)
"""A load writes its record minutes after its objects; an object that is older and has no record will get none."""
_WRITTEN = re.compile(
    r"(?:_quarantine/|_reports/)?(?P<source>[^/]+)/(?P<resource>[^/]+)/(?:dt=)?(?P<day>\d{4}-\d\d-\d\d)"
    r"/[0-9a-f]{16}-[0-9a-f]{12}\.(?:parquet|jsonl|json)"
)
"""The names that loads give to objects; no other object is ever removed."""


def find_debris(store: BucketStore, *, keep_days: int) -> Sequence[str]:
    """Return the names of the objects that can be removed.

    Ages are by the clock of the bucket. Objects of a partition whose record cannot be read are kept, and so are those
    that were replaced less than `keep_days` ago.
    """
    now = store.bucket.now()
    # before the ledger is read: the record of an object that is listed, if it has one, is then there
    listed = [found for found in store.bucket.list() if _WRITTEN.fullmatch(found.name)]
    with store.index() as index:
        entries = list(index.entries())
        unread = {partition_of(name[:2], name[2]) for name in (row[:3] for row in index.signatures())}
    unread -= {entry.partition for entry in entries}
    oldest = now - dt.timedelta(days=keep_days)
    kept = {name for entry in entries for name in _kept(entry, oldest)}
    return [
        found.name
        for found in listed
        if found.name not in kept and now - found.modified > _AGE and not _is_of(found.name, unread)
    ]


def _kept(entry: LedgerEntry, oldest: dt.datetime) -> Iterator[str]:
    objects = names_of(entry)
    yield from (entry.path, objects.quarantine, objects.report)
    for earlier in objects.earlier:
        if earlier.replaced_at >= oldest:
            yield from earlier.names


def _is_of(name: str, partitions: Collection[Partition]) -> bool:
    found = _WRITTEN.fullmatch(name)
    return found is not None and partition_of((found["source"], found["resource"]), found["day"]) in partitions
