"""Which table is made from which, by dbt's manifest, for tools that show it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from scripts.config import settings
from scripts.warehouse.manifest import description_of
from scripts.warehouse.project_reading import last_project
from scripts.warehouse.runner import target_dir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.warehouse.project import Layer
    from scripts.warehouse.runner import NodeResult
    from scripts.warehouse.versions import Warehouse


class Table(NamedTuple):
    """A table or view of Silver or Gold."""

    id: str
    """dbt's `unique_id` of its model; empty before dbt has compiled the project."""
    schema: str
    identifier: str
    layer: Layer
    reads: tuple[str, ...] = ()
    """The tables (`schema/identifier`) and resources (`bronze/source/resource`) that it reads."""
    bronze: frozenset[str] = frozenset()
    """The resources (`source/resource`) that its rows come from, directly or through other tables."""

    @property
    def name(self) -> str:
        """`schema/identifier`."""
        return f"{self.schema}/{self.identifier}"


class Exposure(NamedTuple):
    """Something that uses tables, such as a dashboard, as `exposures.yml` describes it."""

    name: str
    description: str
    reads: tuple[str, ...]
    """The tables (`schema/identifier`) that it uses."""


def tables(target: Warehouse) -> Sequence[Table]:
    """Return the tables, as dbt last compiled the project; before that, the files of the models without what they read.

    Each table comes after those that it reads.
    """
    project = last_project(target)
    if project is None:
        return _from_files()
    names = {node.id: f"{node.schema}/{node.identifier}" for node in project.nodes.values() if node.has_relation}
    return [
        Table(
            node.id,
            node.schema,
            node.identifier,
            node.layer,
            (
                *(f"bronze/{source}/{resource}" for source, resource in node.resources),
                *(names[parent] for parent in node.parents if parent in names),
            ),
            frozenset(project.bronze_below(node.id)),
        )
        for node in project.nodes.values()
        if node.has_relation
    ]


def exposures(target: Warehouse) -> Sequence[Exposure]:
    """Return what uses the tables, as dbt last compiled the project; none before that."""
    names = {table.id: table.name for table in tables(target) if table.id}
    return [
        Exposure(
            found["name"],
            description_of(found),
            tuple(names[parent] for parent in found["depends_on"]["nodes"] if parent in names),
        )
        for _, found in sorted(_manifest(target).get("exposures", {}).items())
    ]


def table_facts(target: Warehouse, results: Sequence[NodeResult]) -> Mapping[str, Mapping[str, Any]]:
    """Return dbt's description of each node, its seconds in a build, and its tests by status, by its `unique_id`."""
    nodes = _manifest(target).get("nodes", {})
    facts: dict[str, dict[str, Any]] = {
        unique_id: {"description": description_of(node), "seconds": None, "tests": {}}
        for unique_id, node in nodes.items()
    }
    for result in results:
        tested = nodes.get(result.id, {}).get("attached_node") if result.kind == "test" else None
        if tested in facts:
            counts = facts[tested]["tests"]
            counts[result.status] = counts.get(result.status, 0) + 1
        elif result.kind != "test" and result.id in facts:
            facts[result.id]["seconds"] = round(result.seconds, 2)
    return facts


def _manifest(target: Warehouse) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads((target_dir(target) / "manifest.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _from_files() -> Sequence[Table]:
    root = settings().dbt_dir / "models"
    layers: Sequence[tuple[str, Layer]] = [("staging", "silver"), ("history", "silver"), ("marts", "gold")]
    return [
        Table("", layer, path.stem, layer)
        for folder, layer in layers
        for path in sorted((root / folder).rglob("*.sql"))
    ]
