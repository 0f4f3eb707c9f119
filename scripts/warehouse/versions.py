"""The warehouse: versions of one DuckDB file, and a link to the published one.

    warehouse.duckdb -> warehouse/current/warehouse.duckdb      the file that people open, read-only
    warehouse/current -> builds/000002                          publish and rollback replace this link
    warehouse/builds/000001/  000002/                           the last versions
    warehouse/builds/.spare/                                    a retired version; the next build reuses its file
    warehouse/builds/.next/                                     the workspace of the build; only the build reads it
    warehouse/builds/damaged-000003/                            a published version that could not be read
    warehouse/.lock                                             the lock of the only builder
    gold/current -> ../warehouse/current/gold                   Gold of the published version as Parquet: gold_files.py
    gold/000002 -> ../warehouse/builds/000002/gold              the same of each kept version

A reader keeps the version that it opened. A build that fails or is killed changes nothing that a reader can see.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from typing import TYPE_CHECKING

from scripts.errors import UsageError, WarehouseError
from scripts.utils.files import locked, make_dir, storage_errors, sync_dir, sync_file
from scripts.utils.logging_config import get_logger
from scripts.warehouse import cloning, folders
from scripts.warehouse.database import find_damage, reading, writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Warehouse", "reading", "writing"]
_log = get_logger("warehouse")


@dataclasses.dataclass(frozen=True)
class Warehouse:
    """The paths of the versions of a warehouse; `path` is the file that people open."""

    path: Path

    @property
    def root(self) -> Path:
        """The folder of the versions."""
        return self.path.with_suffix("")

    @property
    def lock(self) -> Path:
        """The lock file of the only builder."""
        return self.root / ".lock"

    @property
    def builds(self) -> Path:
        """The folder that holds a folder for each version."""
        return self.root / "builds"

    @property
    def workspace(self) -> Path:
        """The folder in which every build works."""
        return self.builds / ".next"

    @property
    def scratch(self) -> Path:
        """The folder to which DuckDB spills data that does not fit into memory during a build."""
        return self.builds / ".scratch"

    @property
    def build_path(self) -> Path:
        """The file that a build works on."""
        return self.workspace / self.path.name

    def file(self, version: str) -> Path:
        """Return the database file of a version."""
        return self.builds / version / self.path.name

    @property
    def gold(self) -> Path:
        """The folder with a link to Gold as Parquet of each version; its `current` leads to that of `current`."""
        return self.path.parent / "gold"

    def gold_of(self, version: str) -> Path:
        """Return the folder of a version's Parquet files; `current` for the published version."""
        return (self.root / version if version == "current" else self.builds / version) / "gold"

    def files(self, version: str) -> Path:
        """Return the folder of the files that `external` models of a version write."""
        return self.root / "files" / version

    def next_version(self) -> str:
        """Return the name that the next published version gets."""
        return folders.next_version(self.builds, self.current())

    def versions(self) -> Sequence[str]:
        """Return the kept versions, oldest first, without folders that were never published or cannot be read."""
        return folders.published(self.builds, self.path.name, self.current())

    def current(self) -> str | None:
        """Return the published version; None before the first publish."""
        link = self.root / "current"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None  # noqa: PTH115, PTH119 — the link's text

    @contextlib.contextmanager
    def building(self, *, purpose: str, timeout: float) -> Iterator[int]:
        """Hold the builder's lock for the `with` block; yield its file descriptor, which a child process can inherit.

        Raises:
            LockedError: Another builder held the lock for all of `timeout` seconds.
        """
        with storage_errors(self.root), locked(self.lock, purpose=purpose, timeout=timeout) as handle:
            yield handle

    def clone(self, *, empty: bool = False) -> Path:
        """Return the path of a private copy of the published version, or of a file that does not exist yet.

        If the published version cannot be read, a warning names it and it is not copied. The next publish sets it
        aside.

        Args:
            empty: Do not copy the published version.
        """
        folders.sweep(self.builds, self.current())
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.rmtree(self.files(self.next_version()), ignore_errors=True)
        base = self._base(deep=empty)
        if base is None or empty:
            folders.remove(self.workspace)
            make_dir(self.workspace)
        elif self._keep_old_copy():
            written = cloning.copy(base, self.build_path)
            _log.debug("copied %s by writing %d bytes", base, written, extra={"bytes": written})
        elif cloning.share(base, self.build_path):
            folders.remove(self.builds / folders.SPARE)
        else:
            cloning.copy(base, self.build_path)
        return self.build_path

    def publish(self, *, keep: int) -> str:
        """Publish the build as the version that people open, delete all but the newest `keep`, and return its name.

        Raises:
            WarehouseError: The build was not closed: its write-ahead log still exists.
        """
        if (leftover := self.build_path.with_name(self.path.name + ".wal")).exists():
            raise WarehouseError(
                "the build was not closed: a write-ahead log is left",
                where=str(leftover),
                hint="stop the process that has the file open, then `pipeline build`",
            )
        version = self.next_version()
        self.build_path.chmod(0o444)
        folders.mark(self.workspace, folders.UNPUBLISHED)
        for path in [*self.workspace.rglob("*"), *self.files(version).rglob("*")]:
            if path.is_file() or path.is_dir():
                sync_file(path)
        sync_dir(self.workspace)
        self.workspace.rename(self.builds / version)
        sync_dir(self.builds)
        self.point_to(version)
        folders.set_aside(self.builds, version)
        folders.retire(self.builds, self.old_versions(keep))
        self.prune_links()
        self._prune_files()
        return version

    def point_to(self, version: str) -> None:
        """Make a kept version the one that people open."""
        has_gold = self.gold_of(version).is_dir()
        if has_gold:
            # before the flip, which publishes this too; it never changes
            self._link_gold("current", "current")
        if (before := self.current()) is not None:
            # its publish may have been killed right after it replaced the link
            folders.unmark(self.builds / before, folders.UNPUBLISHED)
        _flip(self.root / "current", f"builds/{version}")
        folders.unmark(self.builds / version, folders.UNPUBLISHED)
        if not self.path.is_symlink():
            if self.path.exists():
                raise WarehouseError(
                    "is a file, not the link to the published version",
                    where=str(self.path),
                    hint="move it away, then `pipeline build`",
                )
            _flip(self.path, f"{self.root.name}/current/{self.path.name}")
        if has_gold:
            self._link_gold(version, f"builds/{version}")

    def rollback(self, version: str | None = None) -> str:
        """Publish the version before the published one, or `version`, and return its name.

        Raises:
            UsageError: There is no such version.
            WarehouseError: It cannot be read.
        """
        current, versions = self.current(), self.versions()
        earlier = [name for name in versions if current is not None and name < current]
        target = version or (earlier[-1] if earlier else None)
        if target is None or target not in versions:
            raise UsageError(
                f"there is no version {target}" if target else "there is no earlier version",
                where=str(self.root),
                expected=f"one of {', '.join(versions) or 'none yet'} (published: {current})",
            )
        if (damage := find_damage(self.file(target))) is not None:
            raise WarehouseError(
                f"version {target} cannot be read: {damage}",
                where=str(self.file(target)),
                hint="`pipeline rollback --to` another one, or `pipeline build --full-refresh`",
            )
        self.point_to(target)
        return target

    def old_versions(self, keep: int) -> Sequence[str]:
        """Return all versions except the newest `keep` and the published one, oldest first."""
        current = self.current()
        return [name for name in self.versions() if name != current][: -(keep - 1)]

    def prune_links(self) -> None:
        """Delete the links to Gold of versions that are deleted."""
        for link in self.gold.glob("[0-9]*"):
            if link.is_symlink() and not link.exists():
                link.unlink()

    def _link_gold(self, name: str, place: str) -> None:
        link, target = self.gold / name, f"../{self.root.name}/{place}/gold"
        if not (link.is_symlink() and os.readlink(link) == target):  # noqa: PTH115 — the link's text
            make_dir(self.gold)
            _flip(link, target)

    def _prune_files(self) -> None:
        kept = {*self.versions(), self.current()}
        for folder in (self.root / "files").glob("*"):
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def _base(self, *, deep: bool) -> Path | None:
        """Return the published file; None if there is none or it cannot be read."""
        version = self.current()
        if version is None:
            return None
        folder, file = self.builds / version, self.file(version)
        damage = find_damage(file, deep=deep)
        if damage is not None:
            _log.warning("version %s cannot be read: %s: %s", version, file, damage, extra={"version": version})
            if folder.is_dir():
                folders.mark(folder, folders.DAMAGED)
            return None
        return None if (folder / folders.DAMAGED).exists() else file

    def _keep_old_copy(self) -> bool:
        """Keep in the workspace only an old copy that no process has open; return whether there is one to update."""
        if not self.build_path.exists() and self.file(folders.SPARE).exists():
            folders.remove(self.workspace)
            (self.builds / folders.SPARE).rename(self.workspace)
        if not (self.build_path.exists() and cloning.is_unused(self.build_path)):
            folders.remove(self.workspace)
            make_dir(self.workspace)
            return False
        for path in self.workspace.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self.build_path:
                path.unlink()
        self.build_path.chmod(0o644)
        return True


def _flip(link: Path, target: str) -> None:
    temporary = link.with_name(f".{link.name}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_dir(link.parent)
