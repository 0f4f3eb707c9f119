"""Copies of Bronze: from a folder to a bucket, or back, each partition verified by its hashes."""

from __future__ import annotations

import concurrent.futures
import shutil
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from scripts.bronze.store import verify
from scripts.errors import BronzeError
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.bronze.ledger import LedgerEntry
    from scripts.bronze.store import Store

_log = get_logger("copy")


class Copied(NamedTuple):
    """What a copy did."""

    partitions: int
    """Partitions that were copied."""
    same: int
    """Partitions that were there already."""


def copy_bronze(source: Store, target: Store, *, timeout: float, on_done: Callable[[], None] = lambda: None) -> Copied:
    """Copy all partitions with their records, quarantine, reports and contracts; a partition that is there is kept.

    It can be stopped and run again. Partitions of the target that the source does not have stay.

    Raises:
        BronzeError: A file of the source or the target does not match its record.
        LockedError: A process is loading a partition of the target.
    """
    source.recover()
    target.recover()
    for name in source.documents("_contracts"):
        content = source.document(name).read()
        if content is not None and target.document(name).read() != content:
            target.document(name).write(content)
    with source.index() as index:
        if problems := index.problems():
            raise problems[0]
        entries = list(index.entries())
    with target.index() as index:
        there = {entry.partition: _identity(entry) for entry in index.entries()}
    missing = [entry for entry in entries if there.get(entry.partition) != _identity(entry)]
    with concurrent.futures.ThreadPoolExecutor(max(source.at_once, target.at_once)) as executor:
        for done in [executor.submit(_copy, source, target, entry, timeout) for entry in missing]:
            done.result()
            on_done()
    return Copied(len(missing), len(entries) - len(missing))


def _copy(source: Store, target: Store, entry: LedgerEntry, timeout: float) -> None:
    entry = verify(source, entry)
    with target.replacing(entry.partition, purpose=f"copy of {entry.partition}", timeout=timeout) as staged:
        with source.data_file(entry) as data:
            shutil.copyfile(data, staged.data)
        attached = source.attached(entry)
        if attached.quarantine is not None:
            staged.quarantine.write_bytes(attached.quarantine)
        if attached.report is not None:
            staged.report.write_bytes(attached.report)
        done = staged.commit(msgspec.structs.replace(entry, objects=msgspec.UNSET))
    if _identity(done) != _identity(entry):
        raise BronzeError(
            "the copy differs from its source",
            where=f"{target.location}: {entry.partition}",
            expected=f"the content with SHA-256 {entry.content_hash[:12]}…",
            hint="remove the partition's record from the target and copy again",
        )


def _identity(entry: LedgerEntry) -> LedgerEntry:
    """Return what a record says apart from the names of files."""
    return msgspec.structs.replace(entry, path="", objects=msgspec.UNSET)
