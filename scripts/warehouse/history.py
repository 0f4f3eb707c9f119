"""The history of publications: one line for each version that was published, also of those that are gone.

What a version says of itself, its `build.json`, is the truth; the lines are derived from it. A line that is missing or
damaged is written again as long as the version is kept.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

import msgspec

from scripts.utils.files import sync_dir
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scripts.warehouse.versions import Warehouse

_log = get_logger("history")


class BuildRecord(msgspec.Struct, frozen=True):
    """What has to stand in a `build.json`; there is more."""

    run_id: str
    triggered_by: str
    built_at: dt.datetime
    seconds: float
    nodes: list[dict[str, Any]]
    rows: dict[str, int] = {}


class Publication(msgspec.Struct, frozen=True):
    """One version that was published."""

    version: str
    run_id: str
    triggered_by: str
    built_at: str
    """UTC, ISO 8601."""
    seconds: float
    rows: dict[str, int] = {}
    """Rows of each model."""


def complete(target: Warehouse) -> None:
    """Add the kept versions that the history lacks; the caller holds the builder's lock."""
    known = {publication.version for publication in read(target, last=None)}
    lines = [
        msgspec.json.encode(publication) + b"\n"
        for version in target.versions()
        if version not in known and (publication := _publication(target, version)) is not None
    ]
    if lines:
        _append(_file(target), b"".join(lines))


def read(target: Warehouse, *, last: int | None = 90) -> Sequence[Publication]:
    """Return the last publications, oldest first; a line that is damaged is left out."""
    found = (_decoded(line) for line in _lines(target))
    publications = [publication for publication in found if publication is not None]
    return publications if last is None else publications[-last:]


def damaged_lines(target: Warehouse) -> Sequence[int]:
    """Return the numbers of the lines that cannot be read."""
    return [number for number, line in enumerate(_lines(target), start=1) if line and _decoded(line) is None]


def about(target: Warehouse, version: str) -> dict[str, Any] | None:
    """Return what a version says of the build that made it; None where its `build.json` is missing or damaged."""
    try:
        content = (target.builds / version / "build.json").read_bytes()
        msgspec.json.decode(content, type=BuildRecord)
        return msgspec.json.decode(content, type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _publication(target: Warehouse, version: str) -> Publication | None:
    if (found := about(target, version)) is None:
        _log.warning("version %s is not in the history: its build.json cannot be read", version)
        return None
    return msgspec.convert({**found, "version": version}, Publication)


def _append(path: Path, lines: bytes) -> None:
    is_new = not path.exists()
    with path.open("ab+") as file:
        # a line that a power cut tore must not take the next one with it
        file.seek(0, os.SEEK_END)
        if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
            file.write(b"\n")
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_dir(path.parent)


def _lines(target: Warehouse) -> Sequence[bytes]:
    path = _file(target)
    return path.read_bytes().split(b"\n") if path.exists() else []


def _decoded(line: bytes) -> Publication | None:
    try:
        return msgspec.json.decode(line, type=Publication)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _file(target: Warehouse) -> Path:
    return target.root / "history.jsonl"
