"""The history of publications: one line for each version that was published, also for deleted ones.

Each line is derived from the `build.json` of its version. As long as the version is kept, a line that is missing or
damaged is written again.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

import msgspec

from scripts.utils.files import sync_dir
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scripts.warehouse.runner import NodeResult
    from scripts.warehouse.versions import Warehouse

_log = get_logger("history")


class BuildRecord(msgspec.Struct, frozen=True):
    """The required keys of a `build.json`, which has more keys."""

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
    """Add a line for each kept version that the history lacks; the caller holds the builder's lock."""
    known = {publication.version for publication in read(target, last=None)}
    lines = [
        msgspec.json.encode(publication) + b"\n"
        for version in target.versions()
        if version not in known and (publication := _publication(target, version)) is not None
    ]
    if lines:
        _append(_file(target), b"".join(lines))


def read(target: Warehouse, *, last: int | None = 90) -> Sequence[Publication]:
    """Return the last publications, oldest first, without damaged lines."""
    found = (_decoded(line) for line in _lines(target))
    publications = [publication for publication in found if publication is not None]
    return publications if last is None else publications[-last:]


def damaged_lines(target: Warehouse) -> Sequence[int]:
    """Return the numbers of the lines that cannot be read."""
    return [number for number, line in enumerate(_lines(target), start=1) if line and _decoded(line) is None]


def about(target: Warehouse, version: str) -> dict[str, Any] | None:
    """Return the record of the build that made a version; None if its `build.json` is missing or damaged."""
    try:
        content = (target.builds / version / "build.json").read_bytes()
        msgspec.json.decode(content, type=BuildRecord)
        return msgspec.json.decode(content, type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def all_results(
    results: Sequence[NodeResult], nodes: Sequence[Mapping[str, object]], tests: Sequence[Mapping[str, object]]
) -> Sequence[Mapping[str, object]]:
    """Return the last result of every node and test of a version, from its build or an earlier one."""
    ran = {result.id: result for result in results}
    carried = [
        {"kind": kind, "seconds": 0.0, "message": "", **known}
        for kind, found in (("model", nodes), ("test", tests))
        for known in found
    ]
    return [
        {**known, **(ran[unique_id]._asdict() if unique_id in ran else {}), "ran_now": unique_id in ran}
        for known in carried
        for unique_id in (str(known["id"]),)
    ]


def _publication(target: Warehouse, version: str) -> Publication | None:
    if (found := about(target, version)) is None:
        _log.warning("version %s is not in the history: its build.json cannot be read", version)
        return None
    return msgspec.convert({**found, "version": version}, Publication)


def _append(path: Path, lines: bytes) -> None:
    is_new = not path.exists()
    with path.open("ab+") as file:
        # a power cut may have left an incomplete line: the next line must not be appended to it
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
