"""The published project: its tables, their keys, and which rows of one table the rows of another are computed from."""

from __future__ import annotations

import difflib
import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from scripts.errors import UsageError
from scripts.warehouse.database import quoted
from scripts.warehouse.manifest import affected_by, description_of, is_bronze, meta_of, node_parents, unique_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.warehouse.kept_manifest import KeptManifest

_BUILT = ("model", "seed", "snapshot")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DAYS = {"dt": ("dt", "last_seen_date")}
"""The columns of Silver that hold the day of a row of Bronze."""


class Link(NamedTuple):
    """Which rows of an upstream table, or of a resource of Bronze, a row of a table is computed from."""

    parent: str
    """dbt's `unique_id`."""
    pairs: Sequence[tuple[str, str]]
    """A column of the table, and the expression of SQL that has the same value in the rows of the parent. Empty if the
    project does not tell which rows they are."""
    how: str


class Table(NamedTuple):
    """A table or view of the published version."""

    id: str
    name: str
    """`schema.table`."""
    schema: str
    identifier: str
    kind: str
    key: tuple[str, ...]
    description: str
    path: str

    @property
    def relation(self) -> str:
        """Its name, quoted."""
        return f"{quoted(self.schema)}.{quoted(self.identifier)}"


class Resource(NamedTuple):
    """A resource of Bronze, as dbt's sources describe it."""

    id: str
    source: str
    name: str
    types: Mapping[str, str]
    """The type of each column."""
    primary_key: tuple[str, ...]
    renamed: Mapping[str, str]
    """The old name of each column that days have which were loaded before it was renamed."""
    hashed: frozenset[str]

    @property
    def full_name(self) -> str:
        """`source.resource`."""
        return f"{self.source}.{self.name}"


class ProjectTables:
    """The tables and resources of a kept manifest."""

    def __init__(self, manifest: KeptManifest) -> None:
        """Keep the manifest."""
        self._manifest = manifest
        self._plain: dict[str, Any] = {"nodes": manifest.nodes, "sources": manifest.sources}
        self.tables = {
            unique_id: self._table(node)
            for unique_id, node in manifest.nodes.items()
            if node["resource_type"] in _BUILT and node["config"].get("materialized") != "ephemeral"
        }
        self.resources = {
            unique_id: _resource(source) for unique_id, source in manifest.sources.items() if is_bronze(source)
        }

    def find(self, name: str) -> Table | Resource:
        """Return the table or resource of a name such as `fct_events`, `gold.fct_events` or `source.resource`.

        Raises:
            UsageError: There is none, or there is more than one.
        """
        wanted = name.lower().strip()
        found: list[Table | Resource] = [
            table
            for table in self.tables.values()
            if wanted in {table.name.lower(), table.identifier.lower(), self._manifest.nodes[table.id]["name"].lower()}
        ]
        found = found or [resource for resource in self.resources.values() if wanted == resource.full_name.lower()]
        if len(found) == 1:
            return found[0]
        names = [table.name for table in self.tables.values()] + [item.full_name for item in self.resources.values()]
        if found:
            several = ", ".join(sorted(item.name for item in found))
            raise UsageError(f"`{name}` is the name of several tables", expected=f"one of {several}")
        short = {known.partition(".")[2]: known for known in names}
        near = difflib.get_close_matches(wanted, [*names, *short], n=3, cutoff=0.5)
        shown = list(dict.fromkeys(short.get(known, known) for known in near)) or sorted(names)
        raise UsageError(f"the published version has no table `{name}`", expected=f"one of {', '.join(shown)}")

    def parents(self, table: str) -> Sequence[str]:
        """Return the tables, resources and other sources that a table reads."""
        return node_parents(self._manifest.nodes[table], self._plain)

    def children(self, parent: str) -> Sequence[Table]:
        """Return the tables that read a table or a resource."""
        return [table for table in self.tables.values() if parent in self.parents(table.id)]

    def links(self, table: Table) -> Sequence[Link]:
        """Return for each table and resource that a table reads which of its rows a row is computed from."""
        return [
            self._link_to_resource(table, self.resources[parent])
            if parent in self.resources
            else self._link(table, parent)
            for parent in self.parents(table.id)
            if parent in self.resources or parent in self.tables
        ]

    def links_of_values(self, table: Table, columns: Sequence[str]) -> Sequence[Link]:
        """Return for the parents that some columns come from, which rows have the values of these columns.

        Columns that are computed from several values, or by a function, are left out of the pairs.
        """
        same, origins = self._same(table.id), self._manifest.columns.get(table.id)
        named = {
            item.node: None
            for column in columns
            if origins is not None and column in origins.columns
            for item in origins.columns[column].inputs
        }
        found = []
        for link in self.links(table):
            if link.pairs and {column for column, _ in link.pairs} <= set(columns):
                found.append(link)
            else:
                pairs = [
                    (name, quoted(column))
                    for (read, column), name in same.items()
                    if read == link.parent and name in columns
                ]
                found.append(Link(link.parent, pairs, "by the lineage of its columns"))
        return [link for link in found if link.parent in named] or found

    def filters(self, table: str) -> Sequence[str]:
        """Return the conditions by which the SQL of a table leaves rows out."""
        found = self._manifest.columns.get(table)
        return found.filters if found is not None else ()

    def day_columns(self, table: str) -> tuple[str, str] | None:
        """Return the columns of a staging model with the first and the last day of a row; None for other tables."""
        first, last = (self._same(table).get((parent, name)) for parent, name in self._days_of(table))
        return (first, last) if first and last else None

    def hidden_columns(self, node: str, names: Sequence[str], sensitive: Mapping[str, frozenset[str]]) -> set[str]:
        """Return the columns of a table or resource whose values are computed from sensitive columns of a contract.

        `meta: {sensitive: …}` of a column in dbt's YAML decides about it, and about what is computed from it.
        If the lineage of a column is not known, it is hidden if a sensitive column is anywhere below it.

        Args:
            node: The table or resource.
            names: Its columns.
            sensitive: The sensitive columns of each resource, by `source.resource`.
        """
        is_hidden = functools.lru_cache(maxsize=None)(lambda place, column: self._is_hidden(place, column, is_hidden))
        self._sensitive = sensitive
        return {name for name in names if is_hidden(node, name)}

    def resources_below(self, node: str) -> set[str]:
        """Return the resources that a table or resource is computed from."""
        if node in self.resources:
            return {node}
        if node not in self._manifest.nodes:
            return set()
        return set().union(*(self.resources_below(parent) for parent in self.parents(node)))

    def _is_hidden(self, node: str, column: str, again: Any) -> bool:  # noqa: ANN401 — the cached form of this function
        if node in self.resources:
            sensitive = self._sensitive.get(self.resources[node].full_name, frozenset())
            # a field that the contract does not name may be a sensitive one under another name
            return column in sensitive or (column == "_extra" and bool(sensitive))
        described = self._manifest.nodes.get(node, {}).get("columns") or {}
        said = {name.lower(): about.get("sensitive") for name, about in described.items()}.get(column.lower())
        if said is not None:
            return bool(said)
        found = self._manifest.columns.get(node)
        if found is None:
            return False
        origin = found.columns.get(column)
        if found.problem or origin is None or not origin.is_whole:
            return any(self._sensitive.get(self.resources[item].full_name) for item in self.resources_below(node))
        return any(again(item.node, item.column) for item in origin.inputs if item.column and item.kind != "rows")

    def _table(self, node: Mapping[str, Any]) -> Table:
        identifier = node.get("alias") or node["name"]
        return Table(
            node["unique_id"],
            f"{node['schema']}.{identifier}",
            node["schema"],
            identifier,
            node["resource_type"],
            self._key(node),
            description_of(node),
            node.get("original_file_path", ""),
        )

    def _key(self, node: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the columns that identify a row: by configuration, constraint or test; empty if nothing says so."""
        if key := unique_key(node):
            return key
        for constraint in node.get("constraints") or ():
            if constraint.get("type") == "primary_key" and constraint.get("columns"):
                return tuple(constraint["columns"])
        columns = (node.get("columns") or {}).values()
        if key := tuple(
            column["name"]
            for column in columns
            if any(constraint.get("type") == "primary_key" for constraint in column.get("constraints") or ())
        ):
            return key
        return next(self._tested_keys(node), ()) or tuple(node.get("primary_key") or ())

    def _tested_keys(self, node: Mapping[str, Any]) -> Any:  # noqa: ANN401 — an iterator of tuples
        for test in self._manifest.nodes.values():
            about = test.get("test_metadata") or {}
            if test.get("attached_node") != node["unique_id"]:
                continue
            arguments = about.get("kwargs") or {}
            if about.get("name") == "unique" and (column := test.get("column_name") or arguments.get("column_name")):
                yield (str(column).strip('"'),)
            elif about.get("name") == "unique_combination_of_columns":
                yield tuple(str(name).strip('"') for name in arguments.get("combination_of_columns") or ())

    def _link(self, table: Table, parent: str) -> Link:
        upstream = self._manifest.nodes[parent]
        declared = affected_by(self._manifest.nodes[table.id]).get(upstream["name"])
        if declared and len(declared) == len(table.key):
            pairs = [(column, _expression(text)) for column, text in zip(table.key, declared, strict=True)]
            return Link(parent, pairs, "by `affected_by` of the model")
        return self._by_columns(table, parent, self.tables[parent].key, "by the lineage of its columns")

    def _link_to_resource(self, table: Table, resource: Resource) -> Link:
        return self._by_columns(table, resource.id, resource.primary_key, "by the primary key of the contract")

    def _by_columns(self, table: Table, parent: str, key: Sequence[str], how: str) -> Link:
        same = self._same(table.id)
        names = [
            next((same[parent, name] for name in _DAYS.get(column, (column,)) if (parent, name) in same), None)
            for column in key
        ]
        if key and all(names):
            return Link(parent, [(name, quoted(column)) for name, column in zip(names, key, strict=True) if name], how)
        mapped = [(name, column) for (read, column), name in same.items() if read == parent and name in table.key]
        return Link(parent, [(name, quoted(column)) for name, column in mapped], how if mapped else "")

    def _same(self, table: str) -> Mapping[tuple[str, str], str]:
        """Return the columns of a table that have the value of one column of one parent, by that parent and column."""
        found = self._manifest.columns.get(table)
        return {
            (origin.inputs[0].node, origin.inputs[0].column): name
            for name, origin in reversed((found.columns if found is not None else {}).items())
            if len(origin.inputs) == 1 and origin.inputs[0].kind == "same" and origin.inputs[0].column
        }

    def _days_of(self, table: str) -> Sequence[tuple[str, str]]:
        read = next((parent for parent in self.parents(table) if parent in self.resources), "")
        return [(read, "first_seen_date"), (read, "last_seen_date")]


def _resource(source: Mapping[str, Any]) -> Resource:
    about = meta_of(source)
    return Resource(
        source["unique_id"],
        source["source_name"],
        source["name"],
        {name: column.get("data_type", "varchar") for name, column in source["columns"].items()},
        tuple(about["primary_key"]),
        about.get("renamed") or {},
        frozenset(about.get("hashed") or ()),
    )


def _expression(text: str) -> str:
    """Return a column or an expression of `affected_by` as SQL."""
    return quoted(text) if _NAME.fullmatch(text) else f"({text})"
