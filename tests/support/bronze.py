"""What Bronze holds, whether it is in a folder or in a bucket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from scripts.bronze.bucket_store import BucketStore
from scripts.bronze.folder_store import FolderStore

if TYPE_CHECKING:
    import pyarrow as pa

    from scripts.bronze.ledger import LedgerEntry
    from scripts.bronze.store import Store


def table_of(store: Store, entry: LedgerEntry) -> pa.Table:
    """The rows of a partition."""
    with store.data_file(entry) as path:
        return pq.read_table(path, partitioning=None)


def schema_of(store: Store, entry: LedgerEntry) -> pa.Schema:
    """The schema of the file of a partition."""
    with store.data_file(entry) as path:
        return pq.read_schema(path)


def aside(store: Store, entry: LedgerEntry) -> list[dict[str, Any]]:
    """The quarantined rows of a partition, as in their file."""
    content = store.attached(entry).quarantine or b""
    return [json.loads(line) for line in content.splitlines()]


def report_of(store: Store, entry: LedgerEntry) -> dict[str, Any]:
    """The validation report of a partition."""
    report: dict[str, Any] = json.loads(store.attached(entry).report or b"")
    return report


def files_of(store: Store) -> list[str]:
    """The names of all files or objects of Bronze, without the index and the records of failed attempts."""
    names: list[str] = []
    if isinstance(store, BucketStore):
        names = [found.name for found in store.bucket.list()]
    elif isinstance(store, FolderStore):
        names = [path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file()]
    return sorted(name for name in names if not name.startswith(("_index/", "_attempts/", "_clock")))
