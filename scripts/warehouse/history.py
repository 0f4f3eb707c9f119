"""The history of publications: one line for each version that was published, also of those that are gone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from scripts.warehouse.versions import reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scripts.warehouse.versions import Warehouse


class Publication(msgspec.Struct, frozen=True):
    """One version that was published."""

    version: str
    run_id: str
    triggered_by: str
    built_at: str
    """UTC, ISO 8601."""
    seconds: float
    rows: dict[str, int]
    """Rows of each model."""


def append(target: Warehouse, version: str, about: dict[str, object]) -> None:
    """Add the version that has just been published; readers see whole lines, also when it is killed here."""
    with reading(target.path) as connection:
        rows = dict(connection.execute("select model, row_count from meta.models order by model").fetchall())
    line = msgspec.json.encode(msgspec.convert({**about, "version": version, "rows": rows}, Publication))
    with _file(target).open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(target: Warehouse, *, last: int = 90) -> Sequence[Publication]:
    """Return the last publications, oldest first; a line that was cut off by a crash is left out."""
    path = _file(target)
    found = []
    for line in path.read_bytes().splitlines()[-last:] if path.exists() else ():
        try:
            found.append(msgspec.json.decode(line, type=Publication))
        except msgspec.DecodeError:
            continue
    return found


def _file(target: Warehouse) -> Path:
    return target.root / "history.jsonl"
