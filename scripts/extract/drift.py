"""Drift: the fields in which a source differs from its contract, counted over a partition."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_log = get_logger("drift")
OTHER_FIELDS = "(other fields)"
_MOST_FIELDS = 100
_MOST_LINES = 10


@dataclasses.dataclass(slots=True)
class Drift:
    """A difference between the contract and what the source sends, counted over a partition."""

    kind: str
    field: str
    action: str
    rows: int
    example: str

    def add(self, other: Drift) -> None:
        """Count the rows of another page."""
        self.rows += other.rows


class DriftCount:
    """Counts the drift of a partition: the first hundred fields by name, all others together."""

    def __init__(self) -> None:
        """Start without drift."""
        self._notes: dict[tuple[str, str], Drift] = {}

    def add(self, found: Mapping[tuple[str, str], Drift]) -> None:
        """Count the drift of a page."""
        for note in found.values():
            counted = note
            if (note.kind, note.field) not in self._notes and len(self._notes) >= _MOST_FIELDS:
                counted = dataclasses.replace(note, field=OTHER_FIELDS, example="")
            self._notes.setdefault((counted.kind, counted.field), dataclasses.replace(counted, rows=0)).add(note)

    def notes(self) -> Sequence[Drift]:
        """Return the drift in the order of kinds and fields."""
        return [note for _, note in sorted(self._notes.items())]


def tell_drift(notes: Sequence[Drift]) -> None:
    """Log the drift of a partition: a line for each of the first ten fields, and one for all others.

    Fields with the policy `discard` are not logged.
    """
    told = [note for note in notes if note.action != "discard"]
    for note in told[:_MOST_LINES]:
        _log.warning(
            "drift: field `%s` is %s in %d rows (policy %s), for example %s",
            note.field,
            note.kind,
            note.rows,
            note.action,
            note.example,
            extra={"drift": note.kind, "field": note.field, "rows": note.rows},
        )
    if more := told[_MOST_LINES:]:
        at_least = "at least " if any(note.field == OTHER_FIELDS for note in told) else ""
        _log.warning(
            "drift: %s%d more fields differ from the contract; the ledger record names the first",
            at_least,
            len(more),
            extra={"fields": len(more), "rows": sum(note.rows for note in more)},
        )
