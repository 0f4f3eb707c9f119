"""What every part of an explanation reads: the published file, its project, Bronze and the contracts."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from scripts.bronze.stores import open_store
from scripts.config import settings
from scripts.errors import UsageError, WarehouseError
from scripts.explain.days import Days, read_days
from scripts.explain.explanation import typed
from scripts.explain.loads import Contracts
from scripts.explain.lookup import Condition, columns_of, find_rows, open_version
from scripts.explain.project import ProjectTables, Resource, Table
from scripts.security.outside_text import HIDDEN
from scripts.warehouse import history
from scripts.warehouse.project_reading import read_manifest
from scripts.warehouse.versions import Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from scripts.explain.lookup import Row
    from scripts.warehouse.kept_manifest import KeptManifest

_EARLIER = "version {} was published by an earlier release: the project is shown as dbt read it last"


class Reader:
    """The published version, open for reading, with its project and Bronze."""

    def __init__(
        self,
        connection: DuckDBPyConnection,
        target: Warehouse,
        version: str,
        manifest: KeptManifest,
        notes: list[str],
    ) -> None:
        """Keep what is open; `notes` are about every answer."""
        self.notes = notes
        self._days: dict[tuple[str, str | None], Days] = {}
        self.connection, self.target, self.version, self.manifest = connection, target, version, manifest
        self.tables = ProjectTables(manifest)
        self.store = open_store()
        self.contracts = Contracts(self.store)
        self.built_at = built_at(target, version)

    @functools.cached_property
    def sensitive(self) -> Mapping[str, frozenset[str]]:
        """The sensitive columns of each resource, by `source.resource`."""
        for item in self.tables.resources.values():
            if not self.contracts.columns(item):
                self.notes.append(f"the contract of {item.full_name} cannot be read, so all its values are masked")
        return {item.full_name: self.contracts.sensitive(item) for item in self.tables.resources.values()}

    @functools.cache  # noqa: B019 — one reader per process
    def columns(self, table: Table) -> Mapping[str, str]:
        """Return the type of each column of a table.

        Raises:
            UsageError: The published version does not have the table.
        """
        found = columns_of(self.connection, table.schema, table.identifier)
        if not found:
            raise UsageError(f"version {self.version} does not have {table.name} yet", hint="`pipeline build`")
        return found

    @functools.cache  # noqa: B019 — one reader per process
    def hidden(self, node: str) -> frozenset[str]:
        """Return the columns of a table or resource whose values are not shown."""
        if node in self.tables.resources:
            names: Sequence[str] = [*self.tables.resources[node].types]
        else:
            names = list(self.columns(self.tables.tables[node]))
        return frozenset(self.tables.hidden_columns(node, names, self.sensitive))

    def days(self, resource: Resource, reader: str | None) -> Days:
        """Return the loaded days of a resource."""
        place = (resource.id, reader)
        if place not in self._days:
            self._days[place] = read_days(self.connection, self.store, resource, reader)
        return self._days[place]

    def shown(self, node: str, row: Row, types: Mapping[str, str]) -> dict[str, object]:
        """Return the values of a row for a person, those of sensitive columns masked."""
        hidden = self.hidden(node)
        return {
            name: HIDDEN if name in hidden and value is not None else typed(value, types.get(name, "VARCHAR"))
            for name, value in row.items()
        }

    def shown_condition(self, node: str, condition: Mapping[str, str | None]) -> dict[str, str | None]:
        """Return the values of a condition for a person, those of sensitive columns masked."""
        hidden = self.hidden(node)
        return {name: HIDDEN if name in hidden else value for name, value in condition.items()}

    def find(self, table: Table, conditions: Sequence[Condition], *, limit: int) -> tuple[int, Sequence[Row]]:
        """Return the number of rows of a table that meet all conditions, and the first of them."""
        columns = self.columns(table)
        return find_rows(self.connection, table.relation, columns, conditions, limit=limit, order=table.key)


def built_at(target: Warehouse, version: str) -> str:
    """Return when a version was built: UTC, ISO 8601; empty if it does not tell."""
    return str((history.about(target, version) or {}).get("built_at", "")).replace("+00:00", "Z")


@contextlib.contextmanager
def opened() -> Iterator[Reader]:
    """Open the published version.

    Raises:
        WarehouseError: There is none, or it cannot be read.
    """
    target = Warehouse(settings().warehouse_path)
    version = target.current()
    path = target.path if version is None else target.file(version)
    folders = [] if version is None else [target.files(version)]
    with open_version(path, folders) as connection:
        manifest, is_own = read_manifest(target)
        if version is None or not manifest.nodes:
            raise WarehouseError(
                "the published version does not tell which project it was made from",
                where=str(path),
                hint="`pipeline build --full-tests` publishes one that does",
            )
        yield Reader(connection, target, version, manifest, [] if is_own else [_EARLIER.format(version)])
