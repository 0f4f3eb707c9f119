"""What is wrong with the installation of Airflow: its API server notes it in a file, and health names it.

A DAG file that cannot be read, or a missing pool, stops runs without a failed run that could tell it.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from scripts.config import settings
from scripts.monitoring.overdue import Problem
from scripts.utils.files import make_dir, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class _Note(msgspec.Struct, frozen=True):
    checked_at: dt.datetime
    findings: dict[str, str]


def note(findings: Mapping[str, str]) -> None:
    """Replace the findings by the present ones, by the name of the check."""
    path = _path()
    make_dir(path.parent)
    write_atomically(path, msgspec.json.encode(_Note(dt.datetime.now(dt.UTC), dict(findings))))


def problems() -> Sequence[Problem]:
    """Return the findings as problems; empty if Airflow was never started, or all was well when it was last checked."""
    path = _path()
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Note)
    except (FileNotFoundError, msgspec.DecodeError):
        return []
    seen = f"as of {found.checked_at:%Y-%m-%d %H:%M} (UTC)"
    return [Problem(f"airflow {name}", f"Airflow, {name}: {text}; {seen}") for name, text in found.findings.items()]


def _path() -> Path:
    return settings().data_dir / "airflow" / "findings.json"
