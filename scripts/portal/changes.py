"""What changed in a table between two versions: rows by key, and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from scripts.warehouse.database import number, quoted
from scripts.warehouse.file_access import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb

_MOST_ROWS = 2_000_000
"""The rows of larger tables are counted and not compared."""


class Change(msgspec.Struct, frozen=True):
    """The difference of a table from that of the version before."""

    before: str
    """The version before; empty if none is kept or it has no such table."""
    rows_before: int = 0
    rows_now: int = 0
    added: int | None = None
    """None if the rows were not compared: the table has no key, or too many rows."""
    changed: int | None = None
    removed: int | None = None
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    types_changed: tuple[str, ...] = ()


def compare(
    connection: duckdb.DuckDBPyConnection, relation: str, key: Sequence[str], version: str, before: Mapping[str, str]
) -> Change:
    """Return the difference of a table from the table of the same name in the database attached as `before`.

    Args:
        connection: The open warehouse.
        relation: The quoted name of the table.
        key: The columns that identify a row; empty if there are none.
        version: The name of the version before.
        before: The columns of the table before, with their types; empty if there was no such table.
    """
    now = columns(connection, relation)
    if not before:
        return Change("", rows_now=_count(connection, relation))
    old = f"before.{relation}"
    found = Change(
        version,
        _count(connection, old),
        _count(connection, relation),
        columns_added=tuple(name for name in now if name not in before),
        columns_removed=tuple(name for name in before if name not in now),
        types_changed=tuple(
            f"{name}: {before[name]} to {now[name]}" for name in now if name in before and before[name] != now[name]
        ),
    )
    if not key or not set(key) <= set(now) & set(before) or max(found.rows_before, found.rows_now) > _MOST_ROWS:
        return found
    both = [name for name in now if name in before]
    names, compared = ", ".join(map(quoted, key)), ", ".join(f"cast({quoted(name)} as varchar)" for name in both)
    same = " and ".join(f"old.{quoted(name)} is not distinct from new.{quoted(name)}" for name in key)
    row = connection.execute(
        f"with new as (select {names}, hash({compared}) as __hash from {relation}),"  # noqa: S608 — names of their own catalogs
        f" old as (select {names}, hash({compared}) as __hash from {old})"
        " select count(*) filter (old.__hash is null), count(*) filter (old.__hash <> new.__hash),"
        f" count(*) filter (new.__hash is null) from new full join old on {same}"
    ).fetchone() or (None, None, None)
    return msgspec.structs.replace(found, added=row[0], changed=row[1], removed=row[2])


def unchanged(connection: duckdb.DuckDBPyConnection, relation: str, version: str) -> Change:
    """Return the difference of a table that is the same as in the version before."""
    rows = _count(connection, relation)
    return Change(version, rows, rows, 0, 0, 0)


def attach(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Attach the file of a version as `before`, for reading."""
    connection.execute(f"attach {literal(str(path))} as before (read_only)")


def columns(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Return the columns of a table with their types."""
    return {str(row[0]): str(row[1]) for row in connection.execute(f"describe {relation}").fetchall()}


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    return number(connection, f"select count(*) from {relation}")  # noqa: S608 — the same
