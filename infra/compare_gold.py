"""The effect of a change on Gold, as Markdown for a pull request.

    python infra/compare_gold.py BASE HEAD     the data folders of `make demo` before the change and with it

Both sides were built from the same input. The comment names a table or an exposure if its SQL changed, or the SQL of a
model that it is built from. It compares the rows by the key of the table. The exit code is always 0: it only informs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

Manifest = dict[str, Any]
MARKER = "<!-- compare-gold -->"
"""The text by which the workflow finds its comment, to replace it."""
_EXAMPLES = 3


class Difference(NamedTuple):
    """The differences of one table."""

    table: str
    added: int
    removed: int
    changed: int
    columns: str
    examples: list[str]


def main(base: Path, head: Path) -> str:
    """Return the comment."""
    old, new = (json.loads((side / "warehouse/dbt/manifest.json").read_text()) for side in (base, head))
    touched = touched_nodes(old, new)
    names = {node["name"] for key, node in new["nodes"].items() if key in touched and node["schema"] == "gold"}
    exposures = [
        e.get("label") or e["name"] for e in new["exposures"].values() if touched & set(e["depends_on"]["nodes"])
    ]
    keys = {node["name"]: node["config"].get("unique_key") for node in [*old["nodes"].values(), *new["nodes"].values()]}
    lines = [MARKER, "### What this does to Gold", ""]
    lines.append(f"Tables that it touches: {_list(names)}. Exposures: {_list(exposures)}.")
    differences = compare(base / "warehouse.duckdb", head / "warehouse.duckdb", keys)
    if not differences:
        return "\n".join([*lines, "", "On the demo's data no row of Gold differs."])
    lines += [
        "",
        "On the demo's data:",
        "",
        "| table | rows added | removed | changed | columns |",
        "|---|--:|--:|--:|---|",
    ]
    lines += [
        f"| `{d.table}` | {d.added} | {d.removed} | {d.changed} | {d.columns or 'the same'} |" for d in differences
    ]
    examples = [f"- `{d.table}` {example}" for d in differences for example in d.examples]
    return "\n".join([*lines, *(["", "For example:", "", *examples] if examples else [])])


def touched_nodes(old: Manifest, new: Manifest) -> set[str]:
    """Return the nodes whose SQL is new or changed, and all nodes that are built from them."""

    def content(manifest: Manifest, key: str) -> object:
        node = manifest["nodes"].get(key)
        return node and (node["checksum"]["checksum"], node["config"])

    macros_differ = {k: m["macro_sql"] for k, m in old["macros"].items() if m["package_name"] == "data_pipeline"} != {
        k: m["macro_sql"] for k, m in new["macros"].items() if m["package_name"] == "data_pipeline"
    }
    models = [key for key, node in new["nodes"].items() if node["resource_type"] in {"model", "snapshot"}]
    found = {key for key in models if macros_differ or content(old, key) != content(new, key)}
    waiting = list(found)
    while waiting:
        for child in new["child_map"].get(waiting.pop(), []):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def compare(base: Path, head: Path, keys: dict[str, Any]) -> list[Difference]:
    """Return the tables of Gold that differ between two warehouses."""
    with duckdb.connect() as connection:
        for name, path in (("base", base), ("head", head)):
            connection.execute(f"attach '{path}' as {name} (read_only)")
        found = [_columns(connection, name) for name in ("base", "head")]
        tables = sorted(found[0].keys() | found[1].keys())
        differences = [_compare(connection, t, found[0].get(t), found[1].get(t), keys.get(t)) for t in tables]
    return [d for d in differences if d.added or d.removed or d.changed or d.columns]


def _columns(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, dict[str, str]]:
    rows = connection.execute(
        """
        select table_name, column_name, data_type from duckdb_columns()
        where database_name = ? and schema_name = 'gold'
        """,
        [database],
    ).fetchall()
    tables: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        tables.setdefault(table, {})[column] = kind
    return tables


def _compare(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    old: dict[str, str] | None,
    new: dict[str, str] | None,
    key: str | list[str] | None,
) -> Difference:
    def count(query: str) -> int:
        row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    if old is None or new is None:
        side, word = ("head", "a new table") if old is None else ("base", "the table is gone")
        rows = count(f'select count(*) from {side}.gold."{table}"')  # noqa: S608 — names of our own tables
        return Difference(table, rows if old is None else 0, 0 if old is None else rows, 0, word, [])
    words = [f"+ `{name}`" for name in new if name not in old] + [f"- `{name}`" for name in old if name not in new]
    words += [f"`{name}` {old[name]} → {new[name]}" for name in new if name in old and old[name] != new[name]]
    names = [key] if isinstance(key, str) else key or [name for name in new if name in old]
    on = " and ".join(f'b."{name}" is not distinct from h."{name}"' for name in names)
    sides = f'base.gold."{table}" as b full join head.gold."{table}" as h on {on}'
    is_new, is_gone = "b.rowid is null", "h.rowid is null"
    shared = [name for name in new if name in old and name not in names]
    differs = " or ".join(f'b."{name}" is distinct from h."{name}"' for name in shared) or "false"
    changed = f"not ({is_new}) and not ({is_gone}) and ({differs})"
    label = " || ', ' || ".join(f'coalesce(b."{name}", h."{name}")::varchar' for name in names)
    example = " || ' ' || ".join(
        f'case when b."{name}" is distinct from h."{name}" then \'{name}: \' || coalesce(b."{name}"::varchar, \'null\')'
        f" || ' → ' || coalesce(h.\"{name}\"::varchar, 'null') else '' end"
        for name in shared
    )
    examples = []
    if shared:
        query = f"select {label}, trim({example}) from {sides} where {changed} order by 1 limit {_EXAMPLES}"  # noqa: S608 — the same
        examples = [f"{where}: {what}" for where, what in connection.execute(query).fetchall()]
    query = f"select count(*) from {sides} where "  # noqa: S608 — the same
    counts = count(query + is_new), count(query + is_gone), count(query + changed)
    return Difference(table, *counts, ", ".join(words), examples)


def _list(names: set[str] | list[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
