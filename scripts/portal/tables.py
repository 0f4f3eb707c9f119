"""What the portal knows of the tables of Gold: from the published file, its history, dbt's manifest and contracts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from scripts.contracts import catalog
from scripts.portal import changes, store
from scripts.portal.origins import Field, Origins
from scripts.portal.profile import ColumnProfile, TableProfile, profile
from scripts.portal.steps import Steps, steps_of
from scripts.warehouse import build_state, gold_files, history, lineage
from scripts.warehouse.failing_rows import shown_columns
from scripts.warehouse.kept_manifest import says_sensitive
from scripts.warehouse.manifest import GOLD, description_of, unique_key
from scripts.warehouse.runner import target_dir
from scripts.warehouse.versions import reading

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    import duckdb

    from scripts.warehouse.gold_files import GoldFile
    from scripts.warehouse.versions import Warehouse


class Test(NamedTuple):
    """A test of a table, with its last result."""

    name: str
    column: str
    """Empty for a test of the whole table."""
    status: str
    message: str
    ran_at: str
    """UTC, ISO 8601; empty if it has not run."""

    @property
    def is_good(self) -> bool:
        """Whether the test passed."""
        return self.status == "pass"


class Column(NamedTuple):
    """A column of a table."""

    profile: ColumnProfile
    description: str
    is_new: bool
    tests: Sequence[Test]
    fields: Sequence[Field]
    """The fields of contracts that it is computed from; empty if they are not known."""


class Freshness(NamedTuple):
    """The last day of a resource that a table is made from."""

    source: str
    resource: str
    last_day: dt.date | None
    owner: str
    limit_hours: float | None


class Exposure(NamedTuple):
    """What uses a table, as the dbt project says."""

    label: str
    kind: str
    description: str
    owner: str
    url: str


class Table(NamedTuple):
    """A table or view of Gold in the published version."""

    name: str
    node: str
    """dbt's `unique_id`; empty if the project no longer has it."""
    description: str
    owner: str
    profile: TableProfile
    columns: Sequence[Column]
    key: Sequence[str]
    tests: Sequence[Test]
    freshness: Sequence[Freshness]
    exposures: Sequence[Exposure]
    change: changes.Change
    steps: Steps
    file: GoldFile | None

    @property
    def last_day(self) -> dt.date | None:
        """The oldest of the last days of what it is made from."""
        days = [item.last_day for item in self.freshness]
        return min((day for day in days if day is not None), default=None) if None not in days else None


class Published(NamedTuple):
    """The published version."""

    version: str
    built_at: str
    """UTC, ISO 8601."""
    run_id: str
    tables: Sequence[Table]


def read_published(target: Warehouse, kept: store.Kept) -> Published:
    """Return what is known about the published version.

    Args:
        target: The warehouse.
        kept: Profiles that were made before; the new ones are added.

    Raises:
        WarehouseError: There is no published version, or it cannot be read.
    """
    version = target.current() or ""
    about = history.about(target, version) or {"nodes": [], "built_at": "", "run_id": ""}
    manifest = _manifest(target)
    files = {item.table: item for item in gold_files.read(target.gold_of(version)).tables}
    earlier = [name for name in target.versions() if name < version]
    with reading(target.file(version)) as connection:
        if earlier:
            changes.attach(connection, target.file(earlier[-1]))
        reader = _Reader(target, connection, manifest, about, files, earlier[-1] if earlier else "", kept)
        rows = connection.execute(
            "select table_name, table_type = 'VIEW' from information_schema.tables"
            " where table_catalog = current_database() and table_schema = ? order by table_name",
            [GOLD],
        ).fetchall()
        tables = [reader.table(str(name), is_view=bool(is_view)) for name, is_view in rows]
    return Published(version, str(about["built_at"]), str(about["run_id"]), tables)


class _Reader:
    """Reads one table after another from the open version."""

    def __init__(
        self,
        target: Warehouse,
        connection: duckdb.DuckDBPyConnection,
        manifest: Mapping[str, Any],
        about: Mapping[str, Any],
        files: Mapping[str, GoldFile],
        before: str,
        kept: store.Kept,
    ) -> None:
        self._connection = connection
        self._manifest = manifest
        self._results = {result["id"]: result for result in about["nodes"]}
        self._files = files
        self._before = before
        self._kept = kept
        self._shown = shown_columns()
        self._origins = Origins(target, target.current() or "")
        self._versions = self._data_versions("")
        self._old_versions = self._data_versions("before.") if before else {}
        self._days = _last_days(connection)
        self._lineage = lineage.tables(target)

    def table(self, name: str, *, is_view: bool) -> Table:
        """Return what is known about a table or view."""
        relation = f'"{GOLD}"."{name}"'
        node_id, data_version = self._versions.get(relation, ("", ""))
        node = self._manifest["nodes"].get(node_id, {})
        about = {column.lower(): found for column, found in (node.get("columns") or {}).items()}
        fields = {
            column: self._origins.fields(node_id, column) for column in changes.columns(self._connection, relation)
        }
        hidden = self._hidden(fields, about)
        made = self._kept.profile(name, data_version if not is_view else "", hidden)
        if made is None:
            made = profile(self._connection, relation, hidden)
            self._kept.keep(name, data_version if not is_view else "", hidden, made)
        key = unique_key(node) if node else ()
        change = self._change(relation, key, is_same=bool(data_version) and not is_view)
        tests = self._tests(node_id)
        steps = steps_of(self._lineage, f"{GOLD}/{name}", self._manifest)
        columns = [
            Column(
                found,
                description_of(about.get(found.name.lower(), {})),
                found.name in change.columns_added,
                [test for test in tests if test.column.lower() == found.name.lower()],
                fields.get(found.name) or (),
            )
            for found in made.columns
        ]
        return Table(
            name,
            node_id if node else "",
            description_of(node),
            self._owner(node),
            made,
            columns,
            key,
            tests,
            self._freshness(steps.resources),
            self._exposures(node_id),
            change,
            steps,
            self._files.get(name),
        )

    def _data_versions(self, prefix: str) -> Mapping[str, tuple[str, str]]:
        import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

        try:
            query = f"select relation, node, data_version from {prefix}_pipeline.nodes"  # noqa: S608 — one of two names
            rows = self._connection.execute(query).fetchall()
        except duckdb.Error:
            # another program has written the file
            return {}
        return {str(relation): (str(node), str(version)) for relation, node, version in rows}

    def _hidden(
        self, origins: Mapping[str, Sequence[Field] | None], about: Mapping[str, Mapping[str, Any]]
    ) -> frozenset[str]:
        """Return the columns whose values are not shown.

        `meta: {sensitive: …}` of a column in dbt decides; otherwise, the fields that the column is computed from; and
        if these are not known, its name.
        """
        found = set()
        for name, fields in origins.items():
            said = says_sensitive(about.get(name.lower(), {}))
            if said is not None:
                is_hidden = said
            elif fields is not None:
                is_hidden = any(field.is_sensitive for field in fields)
            else:
                is_hidden = self._shown is not None and name.lower() not in self._shown
            if is_hidden:
                found.add(name)
        return frozenset(found)

    def _change(self, relation: str, key: Sequence[str], *, is_same: bool) -> changes.Change:
        old, new = self._old_versions.get(relation), self._versions.get(relation)
        if is_same and old is not None and new is not None and old[1] == new[1]:
            return changes.unchanged(self._connection, relation, self._before)
        had = self._connection.execute(
            "select column_name, data_type from duckdb_columns()"
            " where database_name = 'before' and '\"' || schema_name || '\".\"' || table_name || '\"' = ?"
            " order by column_index",
            [relation],
        ).fetchall()
        return changes.compare(self._connection, relation, key, self._before, {str(n): str(t) for n, t in had})

    def _tests(self, node_id: str) -> Sequence[Test]:
        found = []
        for unique_id, test in self._manifest["nodes"].items():
            if test["resource_type"] != "test" or not node_id:
                continue
            attached = test.get("attached_node")
            if attached != node_id and (attached or node_id not in test["depends_on"]["nodes"]):
                continue
            result = self._results.get(unique_id, {})
            name = (test.get("test_metadata") or {}).get("name") or test["name"]
            column = str(test.get("column_name") or "").strip('"')
            status = str(result.get("status", "has not run"))
            found.append(Test(name, column, status, str(result.get("message", "")), str(result.get("ran_at", ""))))
        return sorted(found, key=lambda test: (test.is_good, test.column, test.name))

    def _owner(self, node: Mapping[str, Any]) -> str:
        """Return the owner that the model names: of its group, or as `meta.owner`; empty without one."""
        for group in self._manifest.get("groups", {}).values():
            if node.get("group") and group["name"] == node["group"]:
                owner = group.get("owner") or {}
                return " ".join(filter(None, [owner.get("name"), owner.get("email") and f"<{owner['email']}>"]))
        return str((node.get("meta") or {}).get("owner") or "")

    def _freshness(self, resources: Sequence[tuple[str, str]]) -> Sequence[Freshness]:
        sources = catalog.read_all().sources
        found = []
        for source, resource in resources:
            contract = sources.get(source)
            known = contract.resources.get(resource) if contract else None
            limit = known.freshness.error_after_hours if known else None
            owner = contract.owner if contract else ""
            found.append(Freshness(source, resource, self._days.get((source, resource)), owner, limit))
        return found

    def _exposures(self, node_id: str) -> Sequence[Exposure]:
        return [
            Exposure(
                item.get("label") or item["name"],
                item["type"],
                description_of(item),
                str((item.get("owner") or {}).get("name") or (item.get("owner") or {}).get("email") or ""),
                str(item.get("url") or ""),
            )
            for item in self._manifest.get("exposures", {}).values()
            if node_id and node_id in item["depends_on"]["nodes"]
        ]


def _manifest(target: Warehouse) -> Mapping[str, Any]:
    try:
        found: dict[str, Any] = json.loads((target_dir(target) / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return {"nodes": {}}
    return found


def _last_days(connection: duckdb.DuckDBPyConnection) -> Mapping[tuple[str, str], dt.date]:
    days: dict[tuple[str, str], dt.date] = {}
    for partition in build_state.held_partitions(connection):
        at = (partition.source, partition.resource)
        days[at] = max(partition.day, days.get(at, partition.day))
    return days
