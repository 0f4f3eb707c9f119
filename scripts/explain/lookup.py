"""Looks up rows in the published file: values as DuckDB writes them, by conditions that it can use to skip data."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from scripts.errors import UsageError
from scripts.warehouse.database import first_line, quoted, reading
from scripts.warehouse.file_access import confine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

Row = dict[str, str | None]
"""The values of a row as text, by column."""


class Condition(NamedTuple):
    """An expression of SQL and the value that it has in the wanted rows."""

    expression: str
    type: str
    value: str | None

    def sql(self) -> str:
        """Return the condition, with a parameter for its value."""
        if self.value is None:
            return f"{self.expression} is null"
        return f"{self.expression} = cast(? as {self.type})"


@contextlib.contextmanager
def open_version(path: Path, folders: Sequence[Path] = ()) -> Iterator[DuckDBPyConnection]:
    """Open a published file so that SQL of the caller can neither write nor read anything else on the machine.

    Args:
        path: The file.
        folders: Folders whose files views of the version read.
    """
    with reading(path) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set python_enable_replacements = false")
        confine(connection, map(str, folders))
        yield connection


def columns_of(connection: DuckDBPyConnection, schema: str, name: str) -> Mapping[str, str]:
    """Return the type of each column of a table or view, in their order; empty if the version lacks it."""
    rows = connection.execute(
        "select column_name, data_type from duckdb_columns() where database_name = current_database()"
        " and schema_name = ? and table_name = ? order by column_index",
        [schema, name],
    ).fetchall()
    return dict(rows)


def find_rows(
    connection: DuckDBPyConnection,
    relation: str,
    columns: Mapping[str, str],
    conditions: Sequence[Condition],
    *,
    limit: int,
    order: Sequence[str] = (),
) -> tuple[int, Sequence[Row]]:
    """Return the number of rows that meet all conditions, and the first of them."""
    where = " and ".join(condition.sql() for condition in conditions) or "true"
    values = [condition.value for condition in conditions if condition.value is not None]
    return _find(connection, relation, columns, where, values, limit, order)


def find_where(
    connection: DuckDBPyConnection,
    relation: str,
    columns: Mapping[str, str],
    where: str,
    *,
    limit: int,
    order: Sequence[str] = (),
) -> tuple[int, Sequence[Row]]:
    """Return the number of rows that meet a condition in SQL, and the first of them.

    Raises:
        UsageError: It is not one condition, or DuckDB cannot evaluate it.
    """
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    try:
        # it parses exactly one expression, so nothing can follow the condition
        duckdb.SQLExpression(where)
        return _find(connection, relation, columns, f"(\n{where}\n)", [], limit, order)
    except duckdb.Error as error:
        names = ", ".join(columns)
        raise UsageError(
            f"--where {where!r}: {first_line(error)}", expected=f"a condition in SQL on the columns {names}"
        ) from None


def checked_value(connection: DuckDBPyConnection, column: str, kind: str, text: str) -> str:
    """Return a value of a key as DuckDB writes values of the column's type.

    Raises:
        UsageError: It is not a value of this type.
    """
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    try:
        row = connection.execute(f"select cast(cast(? as {kind}) as varchar)", [text]).fetchone()
    except duckdb.Error:
        row = None
    if row is None or row[0] is None:
        raise UsageError(f"{text!r} is not a value of the column `{column}`", expected=f"a value of type {kind}")
    return str(row[0])


def _find(
    connection: DuckDBPyConnection,
    relation: str,
    columns: Mapping[str, str],
    where: str,
    values: Sequence[str],
    limit: int,
    order: Sequence[str],
) -> tuple[int, Sequence[Row]]:
    query = f"from {relation} where {where}"
    counted = connection.execute(f"select count(*) {query}", list(values)).fetchone()
    count = int(counted[0]) if counted else 0
    if count == 0 or limit == 0:
        return count, []
    selected = ", ".join(f"cast({quoted(name)} as varchar)" for name in columns)
    by = ", ".join(quoted(name) for name in order if name in columns) or "all"
    found = connection.execute(f"select {selected} {query} order by {by} limit {limit}", list(values)).fetchall()
    return count, [dict(zip(columns, row, strict=True)) for row in found]
