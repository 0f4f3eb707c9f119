"""Reading a published warehouse whole, to compare it with another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def tables(path: Path, schemas: Sequence[str] = ("silver", "gold")) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of every table of some schemas, sorted, by the table's name."""
    with duckdb.connect(str(path), read_only=True) as connection:
        names = connection.execute(
            "select schema_name, table_name from duckdb_tables() where list_contains(?, schema_name) order by all",
            [list(schemas)],
        ).fetchall()
        return {
            f"{schema}.{name}": connection.execute(f"select * from {schema}.{name} order by all").fetchall()
            for schema, name in names
        }
