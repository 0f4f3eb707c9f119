"""The folders of a warehouse's versions: which folders are versions, and how they are created and deleted.

A mark is an empty file in a folder. `unpublished` is in a folder before its rename to a number, and until the link
leads to it. `damaged` is in a folder whose file could not be read. Every step can be repeated: if a process dies, the
next lock holder completes its steps.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from scripts.utils.files import sync_dir
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_log = get_logger("warehouse")
SPARE = ".spare"
UNPUBLISHED = "unpublished"
DAMAGED = "damaged"


def published(builds: Path, file_name: str, current: str | None) -> Sequence[str]:
    """Return the versions, oldest first: folders that were published, have their file, and are not marked damaged."""
    return [
        path.name
        for path in _numbered(builds)
        if (path / file_name).is_file()
        and not (path / DAMAGED).exists()
        and (path.name == current or not (path / UNPUBLISHED).exists())
    ]


def next_version(builds: Path, current: str | None) -> str:
    """Return a name that no version has had, not even a damaged or lost one."""
    names = [path.name.removeprefix(f"{DAMAGED}-") for path in builds.glob("[0-9d]*")]
    return f"{max((int(name) for name in [*names, current or '0'] if name.isdigit()), default=0) + 1:06d}"


def mark(folder: Path, name: str) -> None:
    """Mark a folder."""
    (folder / name).touch()
    sync_dir(folder)


def unmark(folder: Path, name: str) -> None:
    """Remove a mark."""
    if (folder / name).exists():
        (folder / name).unlink()
        sync_dir(folder)


def retire(builds: Path, versions: Sequence[str]) -> None:
    """Retire versions: keep the newest of them as the spare and delete the others."""
    if versions:
        *others, newest = versions
        remove(builds / SPARE)
        (builds / newest).rename(builds / SPARE)
        for name in others:
            remove(builds / name)


def set_aside(builds: Path, current: str | None) -> None:
    """Rename the folders of damaged versions that are no longer published; delete nothing."""
    for path in _numbered(builds):
        if path.name != current and (path / DAMAGED).exists():
            aside = builds / f"{DAMAGED}-{path.name}"
            path.rename(aside)
            sync_dir(builds)
            _log.warning("moved the damaged version to %s", aside)


def remove(folder: Path) -> None:
    """Delete a folder; rename it first, so that no process reads a folder that is deleted in part."""
    trash = folder.with_name(f".trash-{folder.name.lstrip('.')}")
    shutil.rmtree(trash, ignore_errors=True)
    if folder.exists():
        folder.rename(trash)
        sync_dir(folder.parent)
        shutil.rmtree(trash)


def sweep(builds: Path, current: str | None) -> None:
    """Delete what killed processes left: folders that they were deleting, and versions that they did not publish."""
    for trash in builds.glob(".trash-*"):
        shutil.rmtree(trash)
    for path in _numbered(builds):
        if path.name != current and (path / UNPUBLISHED).exists():
            remove(path)


def _numbered(builds: Path) -> Sequence[Path]:
    return sorted(path for path in builds.glob("[0-9]*") if path.is_dir()) if builds.is_dir() else []
