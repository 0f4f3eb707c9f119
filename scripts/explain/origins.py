"""Follows a row down: the rows of other tables that it was computed from, and their rows in Bronze."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

from scripts.explain.bronze_rows import key_condition, read_versions, stretches
from scripts.explain.explanation import BronzeOrigin, Row, Rows
from scripts.explain.loads import read_load
from scripts.explain.lookup import Condition
from scripts.explain.quarantined import find_quarantined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.explain.bronze_rows import Version
    from scripts.explain.days import Day
    from scripts.explain.lookup import Row as Values
    from scripts.explain.project import Link, Resource, Table
    from scripts.explain.reader import Reader

_MOST_ROWS = 60
"""Rows that one answer follows in all."""
_MOST_LOADS = 20
_NO_KEY = "which rows cannot be told: the table does not have all columns of the contract's primary key unchanged"
_NO_LINK = (
    "which rows cannot be told: the model declares no `affected_by` for it, and no column of its key comes from it"
)


class _Wanted(NamedTuple):
    """Rows of Bronze that belong to an answer."""

    origin: BronzeOrigin
    resource: Resource
    reader: str | None
    key: Mapping[str, str | None]
    first: dt.date | None
    last: dt.date | None
    """The day whose row the table has."""
    has_history: bool
    """Whether all days are read; otherwise, only the last one."""


class Follower:
    """Follows the rows of one answer; `finish` reads Bronze once for each resource."""

    def __init__(self, reader: Reader, *, limit: int) -> None:
        """Follow at most `limit` rows of each table for each row."""
        self._reader = reader
        self._limit = limit
        self._followed = 0
        self._wanted: list[_Wanted] = []

    def follow(self, table: Table, values: Values, *, has_history: bool) -> Row:
        """Return a row with the rows that it was computed from; the rows of Bronze are added by `finish`."""
        self._followed += 1
        reader = self._reader
        row = Row(reader.shown(table.id, values, reader.columns(table)))
        for link in reader.tables.links(table):
            resource = reader.tables.resources.get(link.parent)
            if resource is not None:
                row.bronze.append(self._bronze(table, values, link, resource, has_history=has_history))
            else:
                row.origins.append(self._rows(table, values, link, has_history=has_history))
        return row

    def follow_key(self, resource: Resource, key: Mapping[str, str | None], reader: str | None) -> BronzeOrigin:
        """Return the rows of a key in Bronze; `finish` adds them."""
        origin = BronzeOrigin(resource.full_name, self._reader.shown_condition(resource.id, key))
        self._wanted.append(_Wanted(origin, resource, reader, key, None, None, has_history=True))
        return origin

    def finish(self) -> None:
        """Read the rows of Bronze, the loads and the quarantine."""
        groups: dict[tuple[str, str | None, bool], list[_Wanted]] = {}
        for wanted in self._wanted:
            groups.setdefault((wanted.resource.id, wanted.reader, wanted.has_history), []).append(wanted)
        for group in groups.values():
            self._read(group)
        self._wanted.clear()

    def _rows(self, table: Table, values: Values, link: Link, *, has_history: bool) -> Rows:
        reader = self._reader
        parent, types = reader.tables.tables[link.parent], reader.columns(table)
        if not link.pairs:
            return Rows(parent.name, link.how, {}, 0, note=_NO_LINK)
        conditions = [
            Condition(expression, types.get(column, "VARCHAR"), values.get(column)) for column, expression in link.pairs
        ]
        room = self._limit if self._followed < _MOST_ROWS else 0
        count, rows = reader.find(parent, conditions, limit=room)
        followed = [self.follow(parent, item, has_history=has_history and count == 1) for item in rows]
        own = {column: values.get(column) for column, _ in link.pairs}
        shown = reader.shown_condition(table.id, own)
        names = [expression.strip('"') for _, expression in link.pairs]
        return Rows(parent.name, link.how, dict(zip(names, shown.values(), strict=True)), count, followed)

    def _bronze(
        self, table: Table, values: Values, link: Link, resource: Resource, *, has_history: bool
    ) -> BronzeOrigin:
        if len(link.pairs) != len(resource.primary_key):
            return BronzeOrigin(resource.full_name, {}, note=_NO_KEY)
        key = {expression.strip('"'): values.get(column) for column, expression in link.pairs}
        first, last = self._bounds(table, values)
        origin = BronzeOrigin(resource.full_name, self._reader.shown_condition(resource.id, key))
        self._wanted.append(_Wanted(origin, resource, table.id, key, first, last, has_history or last is None))
        return origin

    def _bounds(self, table: Table, values: Values) -> tuple[dt.date | None, dt.date | None]:
        names = self._reader.tables.day_columns(table.id)
        if names is None or not all(values.get(name) for name in names):
            return None, None
        first, last = (dt.date.fromisoformat(str(values[name])) for name in names)
        return first, last

    def _read(self, group: Sequence[_Wanted]) -> None:
        """Read the rows of several keys of a resource at once."""
        reader, resource = self._reader, group[0].resource
        days = {day.day: day for day in reader.days(resource, group[0].reader).days if day.state != "removed"}
        read = {day for wanted in group for day in _days_to_read(wanted, days)}
        keys = [_conditions(resource, wanted.key) for wanted in group]
        # keyed hashes tell only DuckDB which rows belong to a key
        at_once = not resource.hashed.intersection(resource.primary_key)
        wanted_days = [days[day] for day in sorted(read)]
        versions = read_versions(reader.store, resource, wanted_days, keys) if at_once else []
        for wanted, key in zip(group, keys, strict=True):
            own = (
                [version for version in versions if _has_key(version, wanted.key)]
                if at_once
                else read_versions(reader.store, resource, wanted_days, [key])
            )
            self._fill(wanted, own, days, [day for day in wanted_days if day.day in _days_to_read(wanted, days)])

    def _fill(
        self, wanted: _Wanted, versions: Sequence[Version], days: Mapping[dt.date, Day], read: Sequence[Day]
    ) -> None:
        reader, resource, origin = self._reader, wanted.resource, wanted.origin
        own_days = {day.day for day in read}
        versions = [version for version in versions if version.day in own_days]
        hidden = set(reader.hidden(resource.id)) | (reader.sensitive[resource.full_name] & set(resource.types))
        origin.loaded_days = len(days)
        origin.days_read = len(read)
        origin.days_with_key = len({version.day for version in versions})
        origin.stretches = list(
            stretches(versions, days, hidden, wanted.last or self._last_published(wanted, versions, days))
        )
        last = [stretch for stretch in origin.stretches if stretch.wins] or origin.stretches[-1:]
        shown = [stretch for stretch in origin.stretches[-_MOST_LOADS:] if stretch not in last] + last
        origin.loads = [
            load
            for stretch in shown
            if (load := read_load(reader.store, reader.contracts, resource, stretch.last, stretch.position))
        ]
        if not wanted.has_history:
            return
        columns = reader.contracts.columns(resource)
        if not resource.hashed.intersection(wanted.key):
            origin.quarantined = list(find_quarantined(reader.store, resource, columns, wanted.key))

    def _last_published(
        self, wanted: _Wanted, versions: Sequence[Version], days: Mapping[dt.date, Day]
    ) -> dt.date | None:
        """Return the last published day with the key, if a staging model takes it; other models may use every day."""
        tables = self._reader.tables
        if wanted.reader is None or tables.day_columns(wanted.reader) is None:
            return None
        return max((version.day for version in versions if days[version.day].is_published), default=None)


def _days_to_read(wanted: _Wanted, days: Mapping[dt.date, Day]) -> set[dt.date]:
    """Return the days that may have the key, and those that the published version does not have yet."""
    if "dt" in wanted.key:
        return {day for day in days if str(day) == wanted.key["dt"]}
    if wanted.last is None or wanted.first is None:
        return set(days)
    if not wanted.has_history:
        return {wanted.last} & set(days)
    return {day for day, about in days.items() if wanted.first <= day <= wanted.last or not about.is_published}


def _conditions(resource: Resource, key: Mapping[str, str | None]) -> Sequence[Condition]:
    return [key_condition(resource, column, value) for column, value in key.items() if column != "dt"]


def _has_key(version: Version, key: Mapping[str, str | None]) -> bool:
    return all(
        version.values.get(column) == value if column != "dt" else str(version.day) == value
        for column, value in key.items()
    )
