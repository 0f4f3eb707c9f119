"""The files of a partition in a folder: their names, and whether they match its record."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from scripts.bronze import ledger
from scripts.errors import BronzeError
from scripts.utils.files import hash_file

if TYPE_CHECKING:
    from scripts.bronze.folder_store import FolderStore
    from scripts.bronze.ledger import LedgerEntry, Partition


def difference(store: FolderStore, entry: LedgerEntry, *, content: bool) -> BronzeError | None:
    """Return in what the files of a partition differ from its record; with `content`, compare their hashes too."""
    if not content and is_present(store, entry):
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


def beside(folder: str, of: Partition | LedgerEntry, suffix: str) -> str:
    """Return the path of a file about a partition, relative to the Bronze folder."""
    return f"{folder}/{of.source}/{of.resource}/{of.day}{suffix}"


def is_present(store: FolderStore, entry: LedgerEntry) -> bool:
    """Return whether all files of a partition are there, and the data file has its size.

    It works on texts: a status of 50,000 partitions would spend most of its time on `Path`.
    """
    root = os.fspath(store.root)
    rejected, report = beside("_quarantine", entry, ".jsonl"), beside("_reports", entry, ".json")
    try:
        return (
            os.stat(f"{root}/{entry.path}").st_size == entry.bytes  # noqa: PTH116 — see above
            and (not entry.quarantine_hash or os.path.exists(f"{root}/{rejected}"))  # noqa: PTH110
            and (not entry.report_hash or os.path.exists(f"{root}/{report}"))  # noqa: PTH110
        )
    except OSError:
        return False
