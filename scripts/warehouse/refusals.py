"""Models that a build refuses before it builds anything: it could not keep them equal to a full refresh."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from scripts.errors import WarehouseError
from scripts.warehouse.build_state import SCHEMAS
from scripts.warehouse.manifest import (
    REPLACE_AFFECTED_KEYS,
    STRATEGIES,
    affected_by,
    is_bronze,
    node_parents,
    unique_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_STRATEGIES_OF_DBT = {"append", "delete+insert", "merge", "microbatch", "default"}
_STORED = {"table", "incremental", "external", "snapshot", "seed"}
_CHECKED = {"model", "seed", "snapshot"}
_ADDED_COLUMNS = ("first_seen_date", "last_seen_date")
_DELETED = "deleted_date"

Node = dict[str, Any]
Refusal = tuple[str, str]
"""The problem, and the remedy."""


def check_project(manifest: Mapping[str, Any]) -> None:
    """Check every node and test of the project.

    Raises:
        WarehouseError: A node cannot be kept up to date, or dbt leaves a test out; the message names it, its file and
            the remedy.
    """
    checks = (_schema, _external, _bronze, _strategy, _affected_by, _added_columns, _deletes)
    found = [
        (node, refusal)
        for node in manifest["nodes"].values()
        for check in (checks if node["resource_type"] in _CHECKED else (_left_out,))
        for refusal in check(node, manifest)
    ]
    if not found:
        return
    node, (what, remedy) = found[0]
    more = f" (and {len(found) - 1} more: {', '.join(other['name'] for other, _ in found[1:4])})" if found[1:] else ""
    raise WarehouseError(
        f"{node['resource_type']} `{node['name']}` {what}{more}",
        where=node["original_file_path"],
        hint=f"{remedy}; nothing was built, the published version has not changed",
    )


def _schema(node: Node, _: Mapping[str, Any]) -> Iterator[Refusal]:
    if str(node.get("schema")).lower() in SCHEMAS:
        yield (
            f"uses the schema `{node['schema']}`, which the pipeline reserves for its own tables",
            "choose another schema",
        )


def _external(node: Node, _: Mapping[str, Any]) -> Iterator[Refusal]:
    location = node["config"].get("location")
    if node["config"].get("materialized") == "external" and location:
        yield (
            f"is `external` with the location `{location}`, where readers would see it before the tests have passed",
            "remove `location`: the build then writes the file into the version and publishes both together",
        )


def _bronze(node: Node, manifest: Mapping[str, Any]) -> Iterator[Refusal]:
    names = [
        f"{source['source_name']}.{source['name']}"
        for parent in node_parents(node, manifest)
        if (source := manifest["sources"].get(parent)) and is_bronze(source)
    ]
    materialized = node["config"].get("materialized")
    if names and materialized not in {*_STORED, "ephemeral"}:
        yield (
            f"is a {materialized} on source {names[0]}: it would show days that are not validated",
            "make it a table, or let it read a staging model",
        )
    elif names and node.get("language") == "python":
        yield (
            f"is a Python model on source {names[0]}: it would see days that are not validated",
            "let it read a staging model",
        )


def _strategy(node: Node, manifest: Mapping[str, Any]) -> Iterator[Refusal]:
    config = node["config"]
    if config.get("materialized") != "incremental" or node["resource_type"] != "model":
        return
    strategy = config.get("incremental_strategy") or "default"
    macros = {macro["name"] for macro in manifest["macros"].values()}
    if strategy not in _STRATEGIES_OF_DBT and f"get_incremental_{strategy.replace('+', '_')}_sql" not in macros:
        known = ", ".join(sorted({*STRATEGIES, *_STRATEGIES_OF_DBT}))
        yield f"has the unknown incremental_strategy `{strategy}`", f"choose one of {known}"
    elif strategy in STRATEGIES and not unique_key(node):
        yield (
            f"has the incremental_strategy `{strategy}` and no unique_key",
            "name the columns that identify a row, config(unique_key=…), or make it config(materialized='table')",
        )


def _affected_by(node: Node, manifest: Mapping[str, Any]) -> Iterator[Refusal]:
    written = affected_by(node)
    if node["config"].get("incremental_strategy") != REPLACE_AFFECTED_KEYS or not written:
        return
    if not isinstance(written, dict) or not all(isinstance(columns, list) for columns in written.values()):
        yield "has an `affected_by` that is not a list of columns for each model", "write {'model': ['column', …]}"
        return
    read = {manifest["nodes"][parent]["name"] for parent in node_parents(node, manifest) if parent in manifest["nodes"]}
    for name, columns in written.items():
        if name not in read and name in _ephemeral(node, manifest):
            yield (
                f"has an `affected_by` that names `{name}`, which is ephemeral and has no table of its changes",
                f"name what it reads through `{name}`: {', '.join(sorted(read)) or 'nothing'}",
            )
        elif name not in read:
            yield (
                f"has an `affected_by` that names `{name}`, which it does not read",
                f"name a model that it reads: {', '.join(sorted(read)) or 'it reads none'}",
            )
        elif len(columns) != len(unique_key(node)):
            yield (
                f"has an `affected_by` of {len(columns)} columns of `{name}` for a key of {len(unique_key(node))}",
                f"name one column for each of {', '.join(unique_key(node))}",
            )


def _ephemeral(node: Node, manifest: Mapping[str, Any]) -> set[str]:
    """Return the names of the ephemeral models that a node reads."""
    parents = [manifest["nodes"].get(parent, {}) for parent in node["depends_on"]["nodes"]]
    return {parent["name"] for parent in parents if parent.get("config", {}).get("materialized") == "ephemeral"}


def _added_columns(node: Node, manifest: Mapping[str, Any]) -> Iterator[Refusal]:
    if not re.search(r"\blatest_row_per_key\s*\(", node.get("raw_code") or ""):
        return
    for parent in node_parents(node, manifest):
        source = manifest["sources"].get(parent)
        added = (*_ADDED_COLUMNS, *([_DELETED] if source and _tells_deletes(source) else ()))
        for column in added if source else ():
            if column in {name.lower() for name in source["columns"]}:
                yield (
                    f"reads {source['name']}, whose column `{column}` has the name of a column that the macro adds",
                    "give the column another `name` in the contract, and the name in the source as its `field`",
                )


def _deletes(node: Node, manifest: Mapping[str, Any]) -> Iterator[Refusal]:
    code = node.get("raw_code") or ""
    if not re.search(r"\blatest_row_per_key\s*\(", code) or re.search(rf"\b{_DELETED}\b", code):
        return
    for parent in node_parents(node, manifest):
        source = manifest["sources"].get(parent)
        if source and _tells_deletes(source):
            yield (
                f"reads {source['name']}, whose contract has `deletes`, and does not select `{_DELETED}`",
                f"add `{_DELETED}` after `last_seen_date`, or remove `deletes` from the contract",
            )


def _left_out(test: Node, manifest: Mapping[str, Any]) -> Iterator[Refusal]:
    # dbt disables such a test and warns; a test that a person disables is not among the nodes. The tests of a disabled
    # model in its own YAML file are disabled with it
    if test["resource_type"] != "test" or test["config"].get("enabled", True):
        return
    if test.get("attached_node") not in manifest.get("disabled", {}):
        names = {node["name"] for node in manifest["nodes"].values() if node["resource_type"] in _CHECKED}
        missing = ", ".join(f"`{ref['name']}`" for ref in test["refs"] if ref["name"] not in names)
        yield (
            f"reads {missing}, which is disabled or does not exist: dbt leaves the test out",
            "enable what it reads, or disable the test",
        )


def _tells_deletes(source: Mapping[str, Any]) -> bool:
    return bool((source["config"].get("meta") or {}).get("deletes"))
