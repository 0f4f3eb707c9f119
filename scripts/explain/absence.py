"""Why a row is not in a table: never sent, in quarantine, deleted, overwritten, not loaded, not published, left out."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from scripts.errors import WarehouseError
from scripts.explain.bronze_rows import key_condition, read_versions
from scripts.explain.days import read_entry
from scripts.explain.explanation import Finding, Rows
from scripts.explain.loads import moment_text
from scripts.explain.lookup import Condition, columns_of, find_rows
from scripts.explain.quarantined import find_quarantined
from scripts.explain.reader import built_at
from scripts.security.outside_text import HIDDEN
from scripts.utils.days import range_text, ranges, today
from scripts.warehouse import build_state
from scripts.warehouse.database import quoted, reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bronze.ledger import Partition
    from scripts.explain.bronze_rows import Version
    from scripts.explain.days import Day, Days
    from scripts.explain.lookup import Row
    from scripts.explain.origins import Follower
    from scripts.explain.project import Link, Resource, Table
    from scripts.explain.reader import Reader

_SHOWN = 3
_SHOWN_DAYS = 5


class Absence:
    """Searches for a key that a table does not have."""

    def __init__(self, reader: Reader, follower: Follower) -> None:
        """Search in what a reader has open; rows that are found further down are followed."""
        self._reader = reader
        self._follower = follower
        self.findings: list[Finding] = []
        self.origins: list[Rows] = []
        """Rows of other tables that have the key."""

    def explain(self, table: Table, values: Mapping[str, str | None]) -> None:
        """Find out why a table has no row with some values."""
        self._trace(table, values)
        self._earlier_versions(table, values)
        if not self.findings:
            self.findings.append(
                Finding(f"why {table.name} has no such row cannot be told from the lineage of its key")
            )

    def explain_resource(self, resource: Resource, values: Mapping[str, str | None]) -> None:
        """Find out why Bronze has no row with some values."""
        days = self._reader.days(resource, None)
        self._not_sent(resource, values, days, has_rows=False)

    def _trace(self, table: Table, values: Mapping[str, str | None]) -> None:
        reader = self._reader
        for link in reader.tables.links_of_values(table, list(values)):
            pairs = [(column, expression) for column, expression in link.pairs if column in values]
            if not pairs:
                continue
            if (resource := reader.tables.resources.get(link.parent)) is not None:
                self._in_bronze(
                    table, resource, {expression.strip('"'): values[column] for column, expression in pairs}
                )
            else:
                self._in_table(table, link, pairs, values)

    def _in_table(
        self, table: Table, link: Link, pairs: Sequence[tuple[str, str]], values: Mapping[str, str | None]
    ) -> None:
        reader = self._reader
        parent, types = reader.tables.tables[link.parent], reader.columns(table)
        conditions = [
            Condition(expression, types.get(column, "VARCHAR"), values[column]) for column, expression in pairs
        ]
        count, rows = reader.find(parent, conditions, limit=_SHOWN)
        below = {expression.strip('"'): values[column] for column, expression in pairs}
        names = self._named(parent.id, below)
        rest = [column for column in values if column not in {name for name, _ in pairs}]
        if count == 0:
            if known := {name: value for name, value in below.items() if name in reader.columns(parent)}:
                self._trace(parent, known)
            self.findings.append(Finding(f"so {parent.name}, which {table.name} reads, has no row with {names}"))
            return
        followed = [self._follower.follow(parent, row, has_history=count == 1) for row in rows]
        self.origins.append(Rows(parent.name, link.how, reader.shown_condition(parent.id, below), count, followed))
        deleted = sorted({day for row in rows if (day := row.get("deleted_date"))})
        what = f"{parent.name} has {_number(count, 'row')} with {names}"
        if deleted:
            what += f", deleted at the source: {', '.join(deleted)} is the first complete load without it"
        if rest:
            self.findings.append(
                Finding(
                    f"{what}; {', '.join(rest)} of {table.name} is computed from other values, which are not the same"
                )
            )
        else:
            filters = "; ".join(reader.tables.filters(table.id))
            left_out = f", but the SQL of {table.name} leaves it out" + (f" ({filters})" if filters else "")
            self.findings.append(Finding(what + left_out, f"read {table.path}" if table.path else ""))

    def _in_bronze(self, table: Table, resource: Resource, values: Mapping[str, str | None]) -> None:
        reader = self._reader
        days = reader.days(resource, table.id)
        by_day = {day.day: day for day in days.days}
        found = self._versions(resource, values, days.days)
        names = self._named(resource.id, values)
        published = [version for version in found if by_day[version.day].is_published]
        if published:
            self._overwritten_or_left_out(table, resource, values, published, by_day)
        waiting: dict[str, list[Day]] = {}
        for day in dict.fromkeys(version.day for version in found):
            if not by_day[day].is_published:
                waiting.setdefault(by_day[day].state, []).append(by_day[day])
        for state, some in waiting.items():
            self.findings.append(
                Finding(
                    f"Bronze of {resource.full_name} has {names} on {_days([day.day for day in some])},"
                    f" which the published version does not have ({state})",
                    some[0].next_step,
                )
            )
        self._not_sent(resource, values, days, has_rows=bool(found))

    def _not_sent(self, resource: Resource, values: Mapping[str, str | None], days: Days, *, has_rows: bool) -> None:
        """Add what quarantine says, and the days that may have the row and are not loaded."""
        reader = self._reader
        names = self._named(resource.id, values)
        rejected = (
            []
            if resource.hashed.intersection(values)
            else find_quarantined(reader.store, resource, reader.contracts.columns(resource), values)
        )
        for row in rejected[-_SHOWN:]:
            since = f"{resource.full_name} sent it on {row.day} (position {row.position}), and it is in quarantine"
            self.findings.append(
                Finding(
                    f"{since}: {row.reason}", "correct the contract or the source, then `pipeline quarantine replay`"
                )
            )
        loaded = [day for day in days.days if day.state != "removed"]
        if not rejected and not has_rows and loaded:
            first, last = loaded[0].day, loaded[-1].day
            self.findings.append(
                Finding(
                    f"{resource.full_name} never sent {names}: none of the {_number(len(loaded), 'loaded day')}"
                    f" ({first} to {last}) has it"
                )
            )
        if removed := [day.day for day in days.days if day.state == "removed"]:
            self.findings.append(
                Finding(f"the published version has {_days(removed)} of {resource.full_name}, whose load was removed")
            )
        if has_rows:
            return
        self._not_loaded(resource, days)

    def _not_loaded(self, resource: Resource, days: Days) -> None:
        yesterday = today() - dt.timedelta(days=1)
        missing = days.missing(yesterday)
        if missing or not days.days:
            command = f"`pipeline backfill --source {resource.source} --resource {resource.name}"
            first, last = (missing[0], missing[-1]) if missing else (yesterday, yesterday)
            what = f"{_days(missing)} of {resource.full_name} is not loaded" if missing else "no day is loaded"
            self.findings.append(Finding(what, f"{command} --start-date {first} --end-date {last}`"))
        for day, error in list(days.failed.items())[-_SHOWN:]:
            self.findings.append(Finding(f"the last load of {resource.full_name} {day} failed: {error}"))

    def _overwritten_or_left_out(
        self,
        table: Table,
        resource: Resource,
        values: Mapping[str, str | None],
        published: Sequence[Version],
        by_day: Mapping[dt.date, Day],
    ) -> None:
        """Compare the rows that have the values with the last version of their keys."""
        for version in list({self._key(resource, version): version for version in published}.values())[:_SHOWN]:
            key = {column: version.values.get(column) for column in resource.primary_key if column != "dt"}
            every = self._versions(resource, key, [day for day in by_day.values() if day.is_published]) or [version]
            last = every[-1]
            differing = [column for column in values if column != "dt" and last.values.get(column) != values[column]]
            is_hashed = resource.hashed.intersection(values)
            if differing and not is_hashed:
                now = {column: last.values.get(column) for column in differing}
                self.findings.append(
                    Finding(
                        f"a later version overwrote it: {resource.full_name} with {self._named(resource.id, key)} has"
                        f" {self._named(resource.id, now)} on {last.day}, after {version.day}"
                    )
                )
            else:
                filters = "; ".join(self._reader.tables.filters(table.id))
                self.findings.append(
                    Finding(
                        f"Bronze of {resource.full_name} has it on {version.day} (position {version.position}),"
                        f" but the SQL of {table.name} leaves it out" + (f" ({filters})" if filters else ""),
                        f"read {table.path}" if table.path else "",
                    )
                )

    def _versions(self, resource: Resource, values: Mapping[str, str | None], days: Sequence[Day]) -> Sequence[Version]:
        conditions = [key_condition(resource, name, value) for name, value in values.items() if name != "dt"]
        wanted = [day for day in days if values.get("dt") in (None, str(day.day))]
        if not conditions:
            return []
        return read_versions(self._reader.store, resource, wanted, [conditions])

    def _earlier_versions(self, table: Table, values: Mapping[str, str | None]) -> None:
        """Add what the last kept version that has the row says about it."""
        reader = self._reader
        for version in reversed([name for name in reader.target.versions() if name < reader.version]):
            try:
                with reading(reader.target.file(version)) as connection:
                    columns = columns_of(connection, table.schema, table.identifier)
                    if not set(values) <= set(columns):
                        continue
                    conditions = [Condition(quoted(name), columns[name], value) for name, value in values.items()]
                    count, rows = find_rows(connection, table.relation, columns, conditions, limit=1)
                    held = build_state.held_partitions(connection)
            except WarehouseError:
                continue
            if count:
                built = built_at(reader.target, version)
                self.findings.append(
                    Finding(f"version {version}, built {built}, has it{self._since(table, rows[0], held)}")
                )
                return

    def _since(self, table: Table, row: Row, held: Mapping[Partition, str]) -> str:
        """Return whether the last day of a row has other content now than an earlier version holds, as text."""
        names = self._reader.tables.day_columns(table.id)
        day = row.get(names[1]) if names else None
        resource = next(
            (
                found
                for link in self._reader.tables.links(table)
                if (found := self._reader.tables.resources.get(link.parent))
            ),
            None,
        )
        if day is None or resource is None:
            return ""
        entry = read_entry(self._reader.store, resource, dt.date.fromisoformat(day))
        if entry is None:
            return f"; its last day was {day}, whose load was removed"
        is_other = held.get(entry.partition, entry.content_state) != entry.content_state
        again = f", which was loaded again at {moment_text(entry.loaded_at)} (run {entry.run_id})" if is_other else ""
        return f"; its last day was {day}{again}"

    def _key(self, resource: Resource, version: Version) -> tuple[str | None, ...]:
        return tuple(
            version.values.get(column) if column != "dt" else str(version.day) for column in resource.primary_key
        )

    def _named(self, node: str, values: Mapping[str, str | None]) -> str:
        hidden = self._reader.hidden(node)
        return " and ".join(
            f"{name} = {HIDDEN if name in hidden else 'null' if value is None else repr(value)}"
            for name, value in values.items()
        )


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _days(days: Sequence[dt.date]) -> str:
    """Return days as text; those that follow one another as a range."""
    found = ranges(days)
    texts = [range_text(first, last) for first, last in found[:_SHOWN_DAYS]]
    more = f" and {len(found) - _SHOWN_DAYS} more ranges" if len(found) > _SHOWN_DAYS else ""
    return ", ".join(texts) + more
