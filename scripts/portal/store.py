"""What the portal keeps between publications: profiles and charts, so that an unchanged table costs nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from scripts.portal.profile import TableProfile
from scripts.utils.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = 1
"""Change it when a profile or the look of a chart changes."""


class KeptProfile(msgspec.Struct, frozen=True):
    """A profile, and of what it is one."""

    data_version: str
    hidden: tuple[str, ...]
    profile: TableProfile


class Kept(msgspec.Struct):
    """The profile of each table, and the charts by their names."""

    format: int = _FORMAT
    version: str = ""
    """The version of the warehouse that was shown last."""
    profiles: dict[str, KeptProfile] = {}
    charts: dict[str, str] = {}

    def profile(self, table: str, data_version: str, hidden: frozenset[str]) -> TableProfile | None:
        """Return the profile of a table if it still holds; an empty `data_version` means that nobody knows."""
        found = self.profiles.get(table)
        holds = found is not None and data_version and found.data_version == data_version
        return found.profile if found is not None and holds and found.hidden == tuple(sorted(hidden)) else None

    def keep(self, table: str, data_version: str, hidden: frozenset[str], found: TableProfile) -> None:
        """Keep the profile of a table."""
        self.profiles[table] = KeptProfile(data_version, tuple(sorted(hidden)), found)


def read(path: Path) -> Kept:
    """Return what is kept in a file; nothing if it cannot be read."""
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        found = msgspec.json.decode(path.read_bytes(), type=Kept)
        if found.format == _FORMAT:
            return found
    return Kept()


def write(path: Path, kept: Kept) -> None:
    """Write what is kept."""
    write_atomically(path, msgspec.json.encode(kept))
