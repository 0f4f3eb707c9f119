"""Which table is made from which, by dbt's manifest, for tools that show it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from scripts.config import settings
from scripts.warehouse.project_reading import last_project
from scripts.warehouse.runner import target_dir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.warehouse.project import Layer
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


def descriptions(target: Warehouse) -> Mapping[str, str]:
    """Return dbt's description of each node, by its `unique_id`."""
    try:
        nodes = json.loads((target_dir(target) / "manifest.json").read_bytes())["nodes"]
    except (FileNotFoundError, ValueError):
        return {}
    return {unique_id: " ".join(node.get("description", "").split()) for unique_id, node in nodes.items()}


def _from_files() -> Sequence[Table]:
    root = settings().dbt_dir / "models"
    layers: Sequence[tuple[str, Layer]] = [("staging", "silver"), ("history", "silver"), ("marts", "gold")]
    return [
        Table("", layer, path.stem, layer)
        for folder, layer in layers
        for path in sorted((root / folder).rglob("*.sql"))
    ]
