"""What each version keeps of dbt's manifest: its nodes, tests and sources, and the lineage of its columns.

dbt writes a manifest at every command, with the SQL of that command. The kept one has the SQL of a full build, without
lists of files: `latest_row_per_key('source', 'resource')` and `bronze_rows('source', 'resource')` stand for Bronze.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from scripts.warehouse.column_origins import ModelColumns
from scripts.warehouse.manifest import meta_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.warehouse.versions import Warehouse

FILE = "manifest.json"
"""The name of the file in the folder of a version."""
_KEPT = (
    *("unique_id", "name", "resource_type", "schema", "alias", "identifier", "relation_name", "language"),
    *("original_file_path", "description", "depends_on", "compiled_code", "constraints", "primary_key"),
    *("meta", "source_name", "attached_node", "column_name", "test_metadata"),
)
_KEPT_CONFIG = ("materialized", "unique_key", "meta", "severity", "contract", "incremental_strategy", "full_refresh")


class KeptManifest(msgspec.Struct, frozen=True):
    """The parts of a manifest that a version keeps, by dbt's `unique_id`."""

    nodes: dict[str, dict[str, Any]] = {}
    sources: dict[str, dict[str, Any]] = {}
    columns: dict[str, ModelColumns] = {}
    """What the columns of each model are computed from."""


def read(target: Warehouse, version: str) -> KeptManifest | None:
    """Return what a version keeps; None if it keeps nothing, as versions of earlier releases, or it cannot be read."""
    try:
        return msgspec.json.decode((target.builds / version / FILE).read_bytes(), type=KeptManifest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def keep(manifest: Mapping[str, Any]) -> bytes:
    """Return the parts of a manifest with compiled code that a version keeps, as JSON."""
    # slow to import, and only needed if the project has changed
    from scripts.warehouse.column_lineage import column_lineage  # noqa: PLC0415

    kinds = ("nodes", "sources")
    parts = {kind: {unique_id: _kept(node) for unique_id, node in manifest[kind].items()} for kind in kinds}
    return msgspec.json.encode({**parts, "columns": column_lineage(manifest)})


def _kept(node: Mapping[str, Any]) -> Mapping[str, Any]:
    config = node.get("config") or {}
    return {
        **{key: node[key] for key in _KEPT if node.get(key)},
        "config": {key: config[key] for key in _KEPT_CONFIG if config.get(key)},
        "columns": {name: _kept_column(column) for name, column in (node.get("columns") or {}).items()},
    }


def _kept_column(column: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = {key: column[key] for key in ("name", "data_type", "description", "constraints") if column.get(key)}
    said = says_sensitive(column)
    return kept if said is None else {**kept, "sensitive": said}


def says_sensitive(column: Mapping[str, Any]) -> bool | None:
    """Return whether `meta` of a column in dbt's YAML says that its values are sensitive; None if it says nothing."""
    said = meta_of(column).get("sensitive")
    return None if said is None else bool(said)
