"""Foreign files: Parquet files in the data folders that no record of the ledger names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from scripts.bronze import ledger
from scripts.bronze.ledger import Partition
from scripts.bronze.store import COMMIT_SECONDS, DATA_FILE, SCHEMA_DAY, SCHEMA_FILE
from scripts.errors import UsageError
from scripts.utils.days import parse_day

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from scripts.bronze.folder_store import FolderStore


def foreign_files(store: FolderStore, known: Collection[str] | None = None) -> Sequence[str]:
    """Return the Parquet files in the data folders that no record names, relative to the Bronze folder.

    If the partition of a file is being replaced, this waits for the end.

    Args:
        store: The Bronze folder.
        known: The files that the records name; by default, the file of each record.

    Raises:
        LockedError: A partition is still being replaced after a minute.
    """
    root = os.fspath(store.root)
    if not store.root.is_dir():
        return []
    wanted = set(_files_of_records(store) if known is None else known)
    schema = f"/{SCHEMA_DAY}/{SCHEMA_FILE}"  # it holds no rows
    found = {
        f"{folder[len(root) + 1 :]}/{name}"
        for source in store.root.iterdir()
        if source.is_dir() and not source.name.startswith("_")
        for folder, _, names in os.walk(source)
        for name in names
        if name.endswith(".parquet") and not f"{folder}/{name}".endswith(schema)
    }
    return [name for name in sorted(found - wanted) if not _has_record_now(store, name)]


def _files_of_records(store: FolderStore) -> Iterator[str]:
    for folder in ledger.folders(store.root / "_ledger"):
        for day in ledger.signatures(folder):
            yield f"{folder.parent.name}/{folder.name}/dt={day}/{DATA_FILE}"


def foreign_files_hint(store: FolderStore, names: Sequence[str]) -> str:
    """Return what to do about files that `foreign_files` returned: the first one's day is named if it has one."""
    partition = _partition_of_file(store, names[0])
    load = ledger.reload_hint(partition) if partition else "load their days with `pipeline run`"
    return f"{load}, or move the files to a folder outside {store.root}"


def _partition_of_file(store: FolderStore, name: str) -> Partition | None:
    try:
        source, resource, folder, _ = name.split("/")
        partition = Partition(source, resource, parse_day(folder.removeprefix("dt=")))
    except (ValueError, UsageError):
        return None
    return partition if store.data_path(partition) == store.root / name else None


def _has_record_now(store: FolderStore, name: str) -> bool:
    partition = _partition_of_file(store, name)
    if partition is None:
        return False
    if store.is_decided(partition):
        store.recover_partition(partition, timeout=COMMIT_SECONDS)
    return store.entry_path(partition).exists()
