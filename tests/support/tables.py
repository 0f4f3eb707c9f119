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


def tables_and_views(path: Path) -> dict[str, tuple[dict[str, str], list[tuple[Any, ...]]]]:
    """Return the columns with their types and the sorted rows of all that people can query; nothing without a file."""
    if not path.exists():
        return {}
    with duckdb.connect(str(path), read_only=True) as connection:
        columns: dict[str, dict[str, str]] = {}
        for schema, table, column, kind in connection.execute(
            "select schema_name, table_name, column_name, data_type from duckdb_columns()"
            " where database_name = current_database() and not internal"
            " and not starts_with(schema_name, '_pipeline') and not ends_with(schema_name, '__audit') order by all"
        ).fetchall():
            columns.setdefault(f'"{schema}"."{table}"', {})[column] = kind
        found = {}
        for name, kinds in columns.items():
            names = ", ".join(f'"{column}"' for column in kinds)
            found[name] = (kinds, connection.execute(f"select {names} from {name} order by all").fetchall())
        return found


def rows_that_differ(warehouse: Path, spark_tables: Path, version: str) -> dict[str, int]:
    """Return, for each table and view of Silver and Gold, how many rows only one of DuckDB and Spark has.

    Args:
        warehouse: The published file of DuckDB.
        spark_tables: The folder in which Spark keeps the tables, as Parquet.
        version: The version on Spark.
    """
    found = {}
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_schema in ('silver', 'gold')"
        ).fetchall()
        for schema, table in names:
            ours, files = f"{schema}.{table}", spark_tables / f"{schema}__{version}.db" / table / "*.parquet"
            columns = ", ".join(f'"{row[0]}"' for row in connection.execute(f"describe {ours}").fetchall())
            theirs = f"read_parquet('{files}')"
            counts = [
                connection.execute(
                    f"select count(*) from (select {columns} from {one} except all select {columns} from {other})"
                ).fetchone()
                for one, other in ((ours, theirs), (theirs, ours))
            ]
            found[ours] = sum(count[0] for count in counts if count)
    return found
