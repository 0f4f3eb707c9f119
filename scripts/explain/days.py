"""The days of a resource: which the published version holds, and the state of the others."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Literal, NamedTuple

from scripts.bronze import attempts, ledger
from scripts.bronze.ledger import Partition
from scripts.errors import BronzeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from scripts.bronze.ledger import LedgerEntry
    from scripts.bronze.store import Store
    from scripts.explain.project import Resource

State = Literal["published", "loaded again", "not published", "not validated", "rule broken", "removed"]


class Day(NamedTuple):
    """One loaded day of a resource."""

    day: dt.date
    state: State
    path: str
    contract_version: str

    @property
    def is_published(self) -> bool:
        """Whether the published version was built from the rows that are in its file now."""
        return self.state == "published"

    @property
    def next_step(self) -> str:
        """What has to be done until the published version has its rows; empty if it has them."""
        return _NEXT[self.state]


class Days(NamedTuple):
    """All loaded days of a resource, in order, and those that failed to load."""

    days: Sequence[Day]
    failed: Mapping[dt.date, str]
    """The error of each day whose last load failed."""

    def missing(self, until: dt.date) -> Sequence[dt.date]:
        """Return the days from the first loaded day to `until` that are not loaded."""
        if not self.days:
            return []
        known = {day.day for day in self.days if day.state != "removed"}
        first = self.days[0].day
        every = (first + dt.timedelta(days=number) for number in range((until - first).days + 1))
        return [day for day in every if day not in known]


_NEXT: Mapping[State, str] = {
    "published": "",
    "loaded again": "`pipeline build` publishes the rows that were loaded again",
    "not published": "`pipeline build` publishes it",
    "not validated": "`pipeline validate`, then `pipeline build`",
    "rule broken": "correct the source or the rule, then load the day again",
    "removed": "load the day again",
}


def read_days(connection: DuckDBPyConnection, store: Store, resource: Resource, reader: str | None = None) -> Days:
    """Return the loaded days of a resource.

    Only records of the ledger that changed since the published build are read.

    Args:
        connection: The published file.
        store: The Bronze folder.
        resource: The resource.
        reader: The node that reads it; by default, any node.
    """
    held = dict(
        connection.execute(
            "select dt, any_value(content_hash) from _pipeline.held where (source, resource) = (?, ?)"
            " and (? is null or node = ?) group by dt",
            [resource.source, resource.name, reader, reader],
        ).fetchall()
    )
    rows = connection.execute(
        "select dt, record_signature, status, content_hash, path, contract_version from _pipeline.partitions"
        " where (source, resource) = (?, ?)",
        [resource.source, resource.name],
    ).fetchall()
    built = {row[0]: row[1:] for row in rows}
    found: dict[dt.date, Day] = {}
    signatures = store.records().signatures((resource.source, resource.name))
    for text, signature in signatures.items():
        day = dt.date.fromisoformat(text)
        known = built.get(day)
        if known is None or known[0] != signature:
            entry = read_entry(store, resource, day)
            if entry is None:
                continue
            known = (signature, entry.status, entry.content_state, entry.path, entry.contract_version)
        _, status, content, path, version = known
        found[day] = Day(day, _state(status, content, held.get(day)), path, version)
    for day in held:
        if day not in found:
            found[day] = Day(day, "removed", "", "")
    return Days([found[day] for day in sorted(found)], _failed(store, resource))


def read_entry(store: Store, resource: Resource, day: dt.date) -> LedgerEntry | None:
    """Return the record of a day; None if there is none that can be read."""
    try:
        return store.entry(Partition(resource.source, resource.name, day))
    except BronzeError:
        return None


def _state(status: str, content: str, held: str | None) -> State:
    if status == "failed":
        return "rule broken"
    if held is None:
        return "not published" if status == "validated" else "not validated"
    if status != "validated":
        return "not validated"
    return "published" if held == content else "loaded again"


def _failed(store: Store, resource: Resource) -> Mapping[dt.date, str]:
    found = {}
    for name in store.documents(f"_attempts/{resource.source}/{resource.name}"):
        day = ledger.day_of_file(name.rpartition("/")[2])
        if day is not None and (attempt := attempts.read(store.document(name))) is not None:
            found[day] = attempt.message
    return found
