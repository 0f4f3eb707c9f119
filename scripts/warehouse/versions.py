"""The warehouse: versions of one DuckDB file, of which a link names the published one.

    warehouse.duckdb -> warehouse/current/warehouse.duckdb      what people open, read-only
    warehouse/current -> builds/000002                          flipped by publish and rollback
    warehouse/builds/000001/  000002/                           the last versions
    warehouse/builds/.next/                                     where a build works; nobody reads it
    warehouse/.lock                                             held by the one builder

A reader keeps the version that it opened. A build that fails or is killed leaves nothing that a reader can see.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shutil
from typing import TYPE_CHECKING

from scripts.errors import UsageError, WarehouseError
from scripts.utils.files import locked, make_dir, storage_errors, sync_dir, sync_file
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

_log = get_logger("warehouse")
_FICLONE = 0x40049409
_CHUNK = 1 << 24
_STORAGE_VERSION = "v1.5.0"


@dataclasses.dataclass(frozen=True)
class Warehouse:
    """Where the versions of a warehouse lie; `path` is what people open."""

    path: Path

    @property
    def root(self) -> Path:
        """The folder of the versions."""
        return self.path.with_suffix("")

    @property
    def lock(self) -> Path:
        """The lock of the one builder."""
        return self.root / ".lock"

    @property
    def workspace(self) -> Path:
        """The folder in which a build works, the same for every build."""
        return self.root / "builds" / ".next"

    @property
    def scratch(self) -> Path:
        """The folder in which DuckDB keeps what does not fit into memory while it builds."""
        return self.root / "builds" / ".scratch"

    @property
    def build_path(self) -> Path:
        """The file that a build works on."""
        return self.workspace / self.path.name

    def versions(self) -> Sequence[str]:
        """Return the kept versions, the oldest first."""
        folder = self.root / "builds"
        return sorted(path.name for path in folder.glob("[0-9]*") if path.is_dir()) if folder.is_dir() else []

    def current(self) -> str | None:
        """Return the published version, or None before the first publish."""
        link = self.root / "current"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None  # noqa: PTH115, PTH119 — the link's text

    @contextlib.contextmanager
    def building(self, *, purpose: str, timeout: float) -> Iterator[int]:
        """Hold the builder's lock for the block; yields its descriptor, for a child process to inherit.

        Raises:
            LockedError: Another builder held it for all of `timeout` seconds.
        """
        with storage_errors(self.root), locked(self.lock, purpose=purpose, timeout=timeout) as handle:
            yield handle

    def clone(self) -> Path:
        """Return a private copy of the published version, or the path of a file that does not exist yet."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.rmtree(self.workspace, ignore_errors=True)
        make_dir(self.workspace)
        if (version := self.current()) is not None:
            _copy(self.root / "builds" / version / self.path.name, self.build_path)
        return self.build_path

    def publish(self, *, keep: int) -> str:
        """Make the build the version that people open, and return its name; older ones beyond `keep` go.

        Raises:
            WarehouseError: The build was not closed: its write-ahead log is still there.
        """
        if (leftover := self.build_path.with_name(self.path.name + ".wal")).exists():
            raise WarehouseError(
                "the build was not closed: a write-ahead log is left",
                where=str(leftover),
                hint="stop whatever has the file open, then `pipeline build`",
            )
        versions = self.versions()
        version = f"{int(versions[-1]) + 1 if versions else 1:06d}"
        self.build_path.chmod(0o444)
        for file in self.workspace.iterdir():
            sync_file(file)
        sync_dir(self.workspace)
        self.workspace.rename(self.root / "builds" / version)
        sync_dir(self.root / "builds")
        self.point_to(version)
        self._prune(keep)
        return version

    def point_to(self, version: str) -> None:
        """Make a kept version the one that people open."""
        _flip(self.root / "current", f"builds/{version}")
        if not self.path.is_symlink():
            if self.path.exists():
                raise WarehouseError(
                    "is a file, not the link to the published version",
                    where=str(self.path),
                    hint="move it away, then `pipeline build`",
                )
            _flip(self.path, f"{self.root.name}/current/{self.path.name}")

    def rollback(self, version: str | None = None) -> str:
        """Go back to the version before the published one, or to `version`, and return its name.

        Raises:
            UsageError: There is no such version.
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
        self.point_to(target)
        return target

    def old_versions(self, keep: int) -> Sequence[str]:
        """Return the versions beyond the newest `keep`, the oldest first; never the published one."""
        current = self.current()
        return [name for name in self.versions() if name != current][: -(keep - 1)]

    def _prune(self, keep: int) -> None:
        for name in self.old_versions(keep):
            shutil.rmtree(self.root / "builds" / name, ignore_errors=True)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a published warehouse for reading; the block sees one version from beginning to end.

    Raises:
        WarehouseError: There is none, or it can't be opened.
    """
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    if not path.exists():
        raise WarehouseError("there is no warehouse yet", where=str(path), hint="`pipeline build`")
    try:
        connection = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise WarehouseError(
            f"cannot be opened: {str(error).splitlines()[0]}",
            where=str(path),
            hint="`pipeline rollback`, or rebuild it from Bronze with `pipeline build --full-refresh`",
        ) from None
    with connection:
        yield connection


@contextlib.contextmanager
def writing(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a build for writing; it is checkpointed and closed when the block ends well."""
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    try:
        with duckdb.connect(str(path), config={"storage_compatibility_version": _STORAGE_VERSION}) as connection:
            connection.execute("set TimeZone = 'UTC'")
            yield connection
            connection.execute("checkpoint")
    except duckdb.Error as error:
        raise WarehouseError(
            f"the build cannot be written: {str(error).splitlines()[0]}",
            where=str(path),
            hint="`pipeline doctor` checks the disk; what is published has not changed",
        ) from error


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as original, target.open("wb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        except OSError:
            # a file system without reflinks
            shutil.copyfileobj(original, copy, _CHUNK)
            copy.flush()


def _flip(link: Path, target: str) -> None:
    temporary = link.with_name(f".{link.name}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_dir(link.parent)
