"""What the versions on Spark hold, as their builder noted it: what is due follows from it without asking the cluster.

Spark's catalog alone decides which versions there are. Each build and rollback reads it, and writes these notes again.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from scripts.bronze.ledger import Partition
from scripts.utils.files import make_dir, storage_errors, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scripts.warehouse.versions import Warehouse


class SparkVersion(msgspec.Struct, frozen=True):
    """A version on Spark."""

    name: str
    project: str
    """The digest of the dbt project that it was built with."""
    partitions: tuple[tuple[Partition, str], ...]
    """The validated partitions of the ledger that it was built from, with the state of their content."""
    built_at: str = ""
    """When it was noted first, in UTC."""

    @property
    def held(self) -> Mapping[Partition, str]:
        """The content of each partition that its tables hold."""
        return dict(self.partitions)


class _Notes(msgspec.Struct, frozen=True):
    published: str | None = None
    versions: tuple[SparkVersion, ...] = ()


def published(target: Warehouse) -> SparkVersion | None:
    """Return the published version; None before the first build, and if the notes are missing."""
    notes = _read(target)
    return next((version for version in notes.versions if version.name == notes.published), None)


def note(target: Warehouse, version: SparkVersion, *, keep: int) -> None:
    """Note the version that was published, and forget all but the newest `keep`."""
    known = _read(target).versions
    others = [other for other in known if other.name != version.name]
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    built_at = next((other.built_at for other in known if other.name == version.name), now)
    version = msgspec.structs.replace(version, built_at=built_at)
    _write(target, _Notes(version.name, tuple([*others, version][-keep:])))


def note_rollback(target: Warehouse, name: str) -> None:
    """Note that a kept version is published again."""
    _write(target, _Notes(name, _read(target).versions))


def _file(target: Warehouse) -> Path:
    return target.root / "spark-versions.json"


def _read(target: Warehouse) -> _Notes:
    try:
        return msgspec.json.decode(_file(target).read_bytes(), type=_Notes)
    except (FileNotFoundError, msgspec.DecodeError):
        # the next build asks the catalog, and writes them again
        return _Notes()


def _write(target: Warehouse, notes: _Notes) -> None:
    with storage_errors(target.root):
        make_dir(target.root)
        write_atomically(_file(target), msgspec.json.encode(notes))
