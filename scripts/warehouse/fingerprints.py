"""Fingerprints: hashes of everything except the data that determines the table of a node or the result of a test."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_IGNORED_CONFIG = {
    *("docs", "meta", "tags", "group", "access", "enabled", "packages", "event_time", "freshness", "static_analysis"),
    *("batch_size", "concurrent_batches", "full_refresh", "persist_docs"),
}
_IGNORED_TEST_CONFIG = {"enabled", "docs", "meta", "tags", "group", "alias", "schema", "database", "static_analysis"}
_INTERNAL_PACKAGES = {"dbt", "dbt_duckdb"}
_ONLY_COMPILED = {  # the result of these macros is in the compiled code or in the name of the relation
    *("generate_schema_name", "generate_alias_name", "generate_database_name", "source", "ref"),
    *("get_where_subquery", "should_full_refresh", "is_incremental"),
}
_NOT_COMPILED = {"latest_row_per_key", "bronze_rows", "source", "in_affected_keys"}
"""The SQL of these macros depends on the build, so code that is compiled for a fingerprint holds only their call."""
_JINJA_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)


def hash_of(*parts: object) -> str:
    """Return a hash of plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def normalized_sql(text: str) -> str:
    """Return SQL without comments and with one space between words; strings stay unchanged."""
    return " ".join(word for word, _ in sql_words(text))


def sql_words(text: str) -> list[tuple[str, str]]:
    """Return the words of SQL without comments, each with the kind that DuckDB's tokenizer gives it."""
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    encoded = text.encode()
    tokens = duckdb.tokenize(text)
    ends = [*(start for start, _ in tokens[1:]), len(encoded)]
    words = []
    for (start, kind), end in zip(tokens, ends, strict=False):
        word = encoded[start:end].decode(errors="replace").strip()
        if kind is not duckdb.token_type.comment and word:
            words.append((word, kind.name))
    return words


def node_fingerprint(node: Mapping[str, Any], manifest: Mapping[str, Any], dbt_dir: Path) -> str:
    """Return the fingerprint of a model, seed, snapshot or function."""
    config = {key: value for key, value in node["config"].items() if key not in _IGNORED_CONFIG}
    columns = {
        name: {key: column.get(key) for key in ("data_type", "constraints", "quote")}
        for name, column in (node.get("columns") or {}).items()
    }
    is_enforced = ((node.get("config") or {}).get("contract") or {}).get("enforced")
    described = None
    if any((node["config"].get("persist_docs") or {}).values()):
        described = [node.get("description"), {n: c.get("description") for n, c in (node.get("columns") or {}).items()}]
    return hash_of(
        node["resource_type"],
        node.get("database"),
        node.get("schema"),
        node.get("alias"),
        _code(node, dbt_dir),
        config,
        columns if is_enforced or node["resource_type"] != "model" else None,
        node.get("constraints") if is_enforced else None,
        (node["config"].get("meta") or {}).get("affected_by"),
        described,
        _machinery(node, manifest),
    )


def test_fingerprint(node: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Return the fingerprint of a data test."""
    macros = manifest["macros"]
    config = {key: value for key, value in node["config"].items() if key not in _IGNORED_TEST_CONFIG}
    return hash_of(
        normalized_sql(node.get("compiled_code") or node["raw_code"]),
        config,
        sorted(node["depends_on"].get("nodes", [])),
        sorted(_macro_code(macros[name]) for name in _closure(_not_compiled(node, macros), macros)),
    )


def _code(node: Mapping[str, Any], dbt_dir: Path) -> str:
    if node["resource_type"] == "seed":
        # for a large seed, dbt's own checksum covers only its path
        path = dbt_dir / (node.get("root_path") or "") / node["original_file_path"]
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else str(node["checksum"])
    code = node.get("compiled_code") or node.get("raw_code") or ""
    if node.get("language") == "python":
        try:
            return ast.unparse(ast.parse(code))
        except SyntaxError:
            return code
    return normalized_sql(code)


def _machinery(node: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """Return the code of the macros of the project and its packages that dbt runs when it builds the node."""
    macros = manifest["macros"]
    internal = {macro["name"] for macro in macros.values() if macro["package_name"] in _INTERNAL_PACKAGES}
    strategy = f"get_incremental_{(node['config'].get('incremental_strategy') or 'default').replace('+', '_')}_sql"
    materialization = f"materialization_{node['config'].get('materialized')}_"
    hooks = json.dumps([node["config"].get("pre-hook"), node["config"].get("post-hook")])
    roots = [
        unique_id
        for unique_id, macro in macros.items()
        if macro["package_name"] not in _INTERNAL_PACKAGES
        and macro["name"] not in _ONLY_COMPILED
        and (
            macro["name"] == strategy
            or macro["name"].startswith(materialization)
            or macro["name"].removeprefix("default__").removeprefix("duckdb__") in internal
            or re.search(rf"\b{re.escape(macro['name'])}\s*\(", hooks)
        )
    ]
    roots += _not_compiled(node, macros)
    return sorted(_macro_code(macros[name]) for name in _closure(roots, macros))


def _not_compiled(node: Mapping[str, Any], macros: Mapping[str, Any]) -> list[str]:
    called = node["depends_on"].get("macros", [])
    return [name for name in called if name in macros and macros[name]["name"] in _NOT_COMPILED]


def _closure(roots: Iterable[str], macros: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in found or name not in macros or macros[name]["package_name"] in _INTERNAL_PACKAGES:
            continue
        found.add(name)
        waiting += macros[name]["depends_on"].get("macros", [])
    return found


def _macro_code(macro: Mapping[str, Any]) -> str:
    return " ".join(_JINJA_COMMENT.sub(" ", macro["macro_sql"]).split())
