"""The rows of a key in Bronze: its versions by day and position, which one wins, and what changed from day to day.

DuckDB opens the files of the days in question and skips each row group whose statistics exclude the key.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from scripts.explain.lookup import Condition
from scripts.security.outside_text import HIDDEN
from scripts.warehouse.bucket_access import register_bucket
from scripts.warehouse.database import quoted
from scripts.warehouse.file_access import confine
from scripts.warehouse.pseudonyms import hand_over_key, pseudonym_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scripts.bronze.store import Store
    from scripts.explain.days import Day
    from scripts.explain.project import Resource

_FILE = "file of the partition"
_DAY_LENGTH = len("2024-01-01")
_MOST_ROWS = 20_000
"""A key of which a source sends more rows is not followed completely."""


class Version(NamedTuple):
    """One row of Bronze."""

    day: dt.date
    position: int
    """Position of the row among all that the source sent for the day."""
    values: Mapping[str, str | None]


class Stretch(msgspec.Struct, frozen=True):
    """Consecutive loaded days whose last row of a key is the same."""

    first: dt.date
    last: dt.date
    days: int
    position: int
    """Position of the row on the last day."""
    rows: int
    """Rows of the key on the last day; the last one counts."""
    changed: dict[str, tuple[str | None, str | None]]
    """The values of the stretch before and of this one, by column."""
    state: str
    """`published`, or why the published version does not have these rows."""
    wins: bool
    """Whether the table has this version, and no other."""


def read_versions(
    store: Store, resource: Resource, days: Iterable[Day], keys: Sequence[Sequence[Condition]]
) -> Sequence[Version]:
    """Return the rows of Bronze that meet all conditions of one of some keys, in the order in which later ones win.

    Args:
        store: The Bronze folder.
        resource: The resource.
        days: The days whose files are read.
        keys: The conditions of each key; see `key_condition`.
    """
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    read = [day for day in days if day.path and store.holds(day.path)]
    if not read or not keys:
        return []
    paths = [f"{store.location}/{day.path}" for day in read]
    by_name = len({day.contract_version for day in read}) > 1
    where = " or ".join(f"({' and '.join(condition.sql() for condition in key)})" for key in keys)
    values = [condition.value for key in keys for condition in key if condition.value is not None]
    selected = f"{quoted(_FILE)}, _row, cast(columns(* exclude ({quoted(_FILE)}, _row)) as varchar)"
    files = f"read_parquet(?, hive_partitioning = false, filename = '{_FILE}', union_by_name = {by_name})"
    query = f"select {selected} from {files} where {where} limit {_MOST_ROWS}"  # noqa: S608 — names of a contract
    with duckdb.connect() as connection:
        connection.execute("set enable_progress_bar = false; set TimeZone = 'UTC'")
        if resource.hashed:
            hand_over_key(connection, pseudonym_key())
        register_bucket(connection, store.location)
        confine(connection, [store.location])
        found = connection.execute(query, [paths, *values])
        names = [column[0] for column in found.description or ()][2:]
        rows = found.fetchall()
    versions = [
        Version(_day_of(row[0]), int(row[1]), _renamed(dict(zip(names, row[2:], strict=True)), resource))
        for row in rows
    ]
    return sorted(versions, key=lambda version: (version.day, version.position))


def key_condition(resource: Resource, column: str, value: str | None) -> Condition:
    """Return the condition that a column of Bronze has a value of Silver."""
    kind = resource.types.get(column, "varchar")
    if column in resource.hashed:
        # Silver has keyed hashes, so no statistics can be used: every row of the days is read
        inner = f"sha256(getvariable('pseudonym_inner') || encode(cast({quoted(column)} as varchar)))"
        return Condition(f"sha256(getvariable('pseudonym_outer') || unhex({inner}))", "varchar", value)
    if (old := resource.renamed.get(column)) is not None:
        return Condition(f"coalesce(*columns(lambda name: name in ('{column}', '{old}')))", kind, value)
    return Condition(quoted(column), kind, value)


def stretches(
    versions: Sequence[Version], days: Mapping[dt.date, Day], hidden: set[str], winner: dt.date | None
) -> Sequence[Stretch]:
    """Return the versions of one key as stretches of days without a change.

    Args:
        versions: The rows of the key, in order.
        days: The loaded days.
        hidden: Columns whose values are not shown.
        winner: The day whose row the table has; None if no single one counts.
    """
    by_day: dict[dt.date, list[Version]] = {}
    for version in versions:
        by_day.setdefault(version.day, []).append(version)
    found: list[Stretch] = []
    before: Version | None = None
    for day, rows in by_day.items():
        last = rows[-1]
        changed = {} if before is None else _changes(before, last, hidden)
        known = found[-1] if found else None
        state = days[day].state
        if known is not None and not changed and known.state == state and not _has_gap(known.last, day, days):
            found[-1] = msgspec.structs.replace(
                known, last=day, days=known.days + 1, position=last.position, rows=len(rows), wins=day == winner
            )
        else:
            found.append(Stretch(day, day, 1, last.position, len(rows), changed, state, day == winner))
        before = last
    return found


def _has_gap(first: dt.date, last: dt.date, days: Mapping[dt.date, Day]) -> bool:
    """Return whether a day between two days is loaded: the key is not in its file."""
    return any(first < day < last for day in days) if (last - first).days > 1 else False


def _changes(before: Version, now: Version, hidden: set[str]) -> dict[str, tuple[str | None, str | None]]:
    return {
        name: (HIDDEN, HIDDEN) if name in hidden else (before.values.get(name), now.values.get(name))
        for name in dict.fromkeys([*before.values, *now.values])
        if before.values.get(name) != now.values.get(name)
    }


def _renamed(values: dict[str, str | None], resource: Resource) -> Mapping[str, str | None]:
    for name, old in resource.renamed.items():
        if old in values:
            earlier = values.pop(old)
            values[name] = values.get(name) if values.get(name) is not None else earlier
    return values


def _day_of(path: str) -> dt.date:
    return dt.date.fromisoformat(path.rpartition("/dt=")[2][:_DAY_LENGTH])
