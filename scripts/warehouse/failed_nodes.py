"""What the project says about a model or test that failed: description, file and SQL, as the candidate has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scripts.warehouse.failure_messages import compiled_file, manifest_nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_LONGEST_SQL = 50_000


class FailedNode(NamedTuple):
    """A model or test that failed."""

    id: str
    name: str
    kind: str
    description: str
    file: str
    reads: Sequence[str]
    """The names of the models and sources that it reads."""
    sql: str
    """The SQL that dbt ran; empty if dbt could not make it."""


def failed_nodes(ids: Iterable[str], target: Path) -> Sequence[FailedNode]:
    """Return what dbt's last manifest says about nodes; a node that it does not know is left out.

    Args:
        ids: dbt's `unique_id` of each node.
        target: The folder of dbt's files.
    """
    nodes, found = manifest_nodes(target), []
    for unique_id in ids:
        if (node := nodes.get(unique_id)) is None:
            continue
        compiled = compiled_file(node, target)
        sql = compiled.read_text(errors="replace")[:_LONGEST_SQL] if compiled.is_file() else ""
        reads = [name.rpartition(".")[2] for name in node.get("depends_on", {}).get("nodes", [])]
        kind = str(node["resource_type"]).replace("_", " ")
        found.append(
            FailedNode(
                unique_id, node["name"], kind, node.get("description", ""), node["original_file_path"], reads, sql
            )
        )
    return found
