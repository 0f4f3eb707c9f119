"""The access of the dbt project's SQL: files in a few folders, and nothing else of the machine or the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

_HARMLESS = ("TimeZone", "memory_limit", "threads", "preserve_insertion_order")
"""Settings that SQL may still change: the profile sets them for each connection, and a hook of a model may set them."""


def confine(connection: duckdb.DuckDBPyConnection, folders: Iterable[str]) -> None:
    """Limit a database to files in `folders` and forbid extensions, until it is closed.

    The limit does not apply to its own file and to the files that it spills to `temp_directory`.
    """
    names = ", ".join(literal(folder) for folder in folders)
    for statement in (
        "set autoinstall_known_extensions = false",
        "set autoload_known_extensions = false",
        "set allow_persistent_secrets = false",
        f"set allowed_directories = [{names}]",
        f"set allowed_configs = [{', '.join(map(literal, _HARMLESS))}]",
        # after this statement, DuckDB refuses another list of folders
        "set enable_external_access = false",
        "set lock_configuration = true",
    ):
        connection.execute(statement)


def literal(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
