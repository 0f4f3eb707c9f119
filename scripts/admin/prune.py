"""Pruning: lists or deletes old versions of the warehouse, old logs and notes of old alerts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from scripts.bronze.folder_store import FolderStore
from scripts.config import settings
from scripts.utils.files import storage_errors
from scripts.utils.logging_config import get_logger
from scripts.warehouse import folders, history
from scripts.warehouse.build import warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bronze.bucket_store import BucketStore
    from scripts.bronze.run import Run

_log = get_logger("prune")
_DAY_SECONDS = 86400


def prune(run: Run, log_dir: str | Path, *, keep_log_days: int, dry_run: bool) -> list[str]:
    """Delete files that are too old, and return the paths; with `dry_run`, only return the paths.

    Args:
        run: The run that asks for it.
        log_dir: The folder with the logs of an orchestrator.
        keep_log_days: Delete the files in `log_dir` that are older than this.
        dry_run: Delete nothing.

    Raises:
        LockedError: A build holds the lock of the warehouse for too long.
        StorageError: Something cannot be deleted.
    """
    target = warehouse()
    with (
        storage_errors(target.root),
        target.building(purpose=f"pruning by {run.triggered_by}", timeout=settings().lock_timeout),
    ):
        history.complete(target)
        if not dry_run:
            folders.sweep(target.builds, target.current())
        versions = target.old_versions(settings().warehouse_keep_versions)
        paths = [
            *(target.builds / name for name in versions),
            *_older(Path(log_dir), keep_log_days),
            # the other files say which problems were told, however long ago
            *_older(settings().data_dir / "alerts", 1, "*.txt"),
            # folders of loads that were killed, where Bronze is in a bucket
            *_older(settings().data_dir / "bucket", 1, "work-*/*"),
        ]
        for path in paths:
            _log.info("%s %s", "would delete" if dry_run else "deleting", path)
            if dry_run:
                continue
            if path.is_dir():
                folders.remove(path)
            else:
                path.unlink(missing_ok=True)
        if not dry_run:
            target.prune_links()
    return [*map(str, paths), *prune_bronze(run, dry_run=dry_run)]


def prune_bronze(run: Run, *, dry_run: bool) -> list[str]:
    """Remove the objects of a bucket that no record names, and return them; with `dry_run`, only return them.

    Those of killed loads go after a day, those of replaced ones after `BRONZE_KEEP_DAYS`. A folder has none.

    Raises:
        StorageError, StorageUnavailableError: The bucket cannot be read or written.
    """
    if isinstance(run.store, FolderStore):
        return []
    from scripts.bronze.debris import find_debris  # noqa: PLC0415 — one machine with a folder needs no client

    store = cast("BucketStore", run.store)
    names = list(find_debris(store, keep_days=settings().bronze_keep_days))
    if names and not dry_run:
        _log.info("removing %d objects that no record names", len(names))
        store.bucket.delete(names)
    return [store.bucket.place(name) for name in names]


def _older(folder: Path, days: int, names: str = "*") -> Iterator[Path]:
    oldest = time.time() - days * _DAY_SECONDS
    for path in sorted(folder.rglob(names)):
        if path.is_file() and not path.is_symlink() and path.stat().st_mtime < oldest:
            yield path
