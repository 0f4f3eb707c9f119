"""A DuckDB file: opens it for reading or writing, with errors that say what to do, and checks it for damage."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.errors import LockedError, StorageFullError, WarehouseError, out_of_memory
from scripts.warehouse.bucket_access import register_bucket
from scripts.warehouse.file_access import confine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

_STORAGE_VERSION = "v1.5.0"
_QUIET = "set enable_progress_bar = false"
"""DuckDB's progress bar would be in the output of a command, also in its JSON."""
_REPAIR = "`pipeline rollback`, or rebuild it from Bronze with `pipeline build --full-refresh`"
_IN_USE = "close the program that has it open; `pipeline doctor` checks the folder"
_DAMAGE = ("Corrupt database file", "Could not read enough bytes", "not a valid DuckDB database file", "version number")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a published warehouse for reading; the `with` block reads one version from beginning to end.

    Raises:
        WarehouseError: There is no warehouse, it cannot be opened, or one of its blocks cannot be read.
    """
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    if not path.exists():
        if path.is_symlink():
            raise WarehouseError("the published file is missing", where=str(path), hint=_REPAIR)
        raise WarehouseError("there is no warehouse yet", where=str(path), hint="`pipeline build`")
    opened = False
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            connection.execute(_QUIET)
            opened = True
            yield connection
    except duckdb.Error as error:
        what = "cannot be read" if opened else "cannot be opened"
        message = first_line(error)
        if isinstance(error, duckdb.OutOfMemoryException):
            raise out_of_memory(message) from error
        raise WarehouseError(f"{what}: {message}", where=str(path), hint=repair(message) or _IN_USE) from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a build for writing, with access only to the files of the pipeline and the files that models may read.

    It is checkpointed and closed when the `with` block ends without an error.

    Raises:
        WarehouseError: It cannot be opened or written.
        LockedError: Another process has it open.
        StorageFullError: The disk is full.
    """
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    try:
        with duckdb.connect(str(path), config={"storage_compatibility_version": _STORAGE_VERSION}) as connection:
            connection.execute(_QUIET)
            connection.execute("set TimeZone = 'UTC'")
            # the expected rows of a model are counted by SQL of the project
            register_bucket(connection, settings().bronze_location)
            confine(connection, map(str, [path.parent, *_model_folders()]))
            yield connection
            connection.execute("checkpoint")
    except duckdb.Error as error:
        message = first_line(error)
        if "Conflicting lock is held" in message:
            raise LockedError(
                f"another process has the build's file open: {message}", where=str(path), hint=_IN_USE
            ) from error
        if isinstance(error, duckdb.OutOfMemoryException):
            raise out_of_memory(message) from error
        if is_disk_full(message):
            raise disk_full(path) from error
        raise WarehouseError(
            f"the build cannot be written: {message}",
            where=str(path),
            hint=repair(message) or "`pipeline doctor` checks the disk; the published version has not changed",
        ) from error


def find_damage(path: Path, *, deep: bool = False) -> str | None:
    """Return the damage of a database file, or None if it has none.

    Args:
        path: The file.
        deep: Read every value of every table. DuckDB then compares the checksum of every block in use.

    Raises:
        WarehouseError: The file cannot be opened now, for a reason other than damage.
    """
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    if not path.is_file():
        return "the file is missing"
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            tables = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
            for schema, table in tables if deep else ():
                _read_all(connection, schema, table)
    except duckdb.Error as error:
        message = first_line(error)
        if not repair(message):
            raise WarehouseError(f"cannot be opened: {message}", where=str(path), hint=_IN_USE) from None
        return message
    return None


def is_disk_full(message: str) -> bool:
    """Return whether a message of DuckDB says that the disk is full."""
    return "No space left" in message or "Could not write all required bytes" in message


def disk_full(path: Path) -> StorageFullError:
    """Return the error of a build that needs more space than the disk of `path` has."""
    return StorageFullError(
        "no space left on the disk for the build",
        where=str(path),
        hint="free space, then `pipeline build`; the published version has not changed",
    )


def repair(message: str) -> str:
    """Return how to repair a file for which DuckDB reports `message`; empty if the message reports no damage."""
    return _REPAIR if any(words in message for words in _DAMAGE) else ""


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def insert_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Sequence[object]]) -> None:
    """Insert rows by one statement; `executemany` takes milliseconds for each row."""
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        values = ", ".join(["unnest(?)"] * len(columns))
        connection.execute(f"insert into {table} select {values}", columns)


def number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """Return the number that a query counts."""
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _model_folders() -> Sequence[str | Path]:
    config = settings()
    return [config.dbt_dir, config.bronze_location, config.warehouse_path.with_suffix(""), *config.duckdb_allowed_dirs]


def _read_all(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> None:
    name = ".".join(map(quoted, (schema, table)))
    connection.execute(f"select bit_xor(hash(every)) from {name} as every")  # noqa: S608 — names of its own catalog
    connection.fetchall()
