"""Gold as Parquet: one file for each table, in the folder of its version, for tools that do not open DuckDB's file.

    builds/000002/gold/fct_events.parquet     the rows of the version
    builds/000002/gold/tables.json            which tables have a file, and why one has none

The files are written before the version is published and are a part of it: they are published, rolled back and deleted
with it. A table that has not changed is a hard link to the file of the version before.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from scripts.config import settings
from scripts.utils.files import make_dir, storage_errors, write_atomically
from scripts.utils.logging_config import get_logger
from scripts.warehouse import build_state
from scripts.warehouse.database import first_line
from scripts.warehouse.file_access import literal
from scripts.warehouse.manifest import GOLD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import duckdb

    from scripts.warehouse.project import Project
    from scripts.warehouse.versions import Warehouse

_log = get_logger("warehouse")
LIST = "tables.json"
_FILE_NAME = re.compile(r"\w[\w .-]*")


class GoldTable(NamedTuple):
    """A table or view of Gold."""

    name: str
    relation: str
    """Its name in SQL, quoted."""
    data_version: str
    """Another text whenever its rows may be others."""
    row_count: int


class GoldFile(msgspec.Struct, frozen=True):
    """What a version has of a table."""

    table: str
    data_version: str
    row_count: int
    why_missing: str = ""
    """Why there is no file; empty if there is one."""


class GoldFiles(msgspec.Struct, frozen=True):
    """The tables of a version."""

    version: str
    tables: tuple[GoldFile, ...] = ()


def gold_tables(connection: duckdb.DuckDBPyConnection, project: Project) -> Sequence[GoldTable]:
    """Return the tables and views of the schema `gold` in the file of a build."""
    versions = dict(connection.execute("select node, data_version from _pipeline.nodes").fetchall())
    counts = build_state.counted_models(connection)
    return [
        # the rows of a view change with the tables that it reads
        GoldTable(node.identifier, node.relation, _with_parents(project, node.id, versions), counts[node.id].row_count)
        for node in project.nodes.values()
        if node.schema == GOLD and node.id in counts and node.id in versions
    ]


def write(target: Warehouse, connection: duckdb.DuckDBPyConnection, tables: Sequence[GoldTable]) -> None:
    """Write the files of a build that is about to be published.

    Raises:
        StorageError: They cannot be written.
    """
    folder, before = target.workspace / GOLD, None if target.current() is None else target.gold_of("current")
    limit = settings().gold_parquet_max_rows
    with storage_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        make_dir(folder)
        known = {item.table: item for item in read(before).tables} if before else {}
        found = [_file(connection, table, folder, before, known.get(table.name), limit) for table in tables]
        files = GoldFiles(target.next_version(), tuple(sorted(found, key=lambda item: item.table)))
        write_atomically(folder / LIST, msgspec.json.encode(files))


def read(folder: Path) -> GoldFiles:
    """Return the tables of a version; none if the version has no folder of files."""
    try:
        return msgspec.json.decode((folder / LIST).read_bytes(), type=GoldFiles)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return GoldFiles("")


def file_of(folder: Path, table: str) -> Path:
    """Return the path of a table's file."""
    return folder / f"{table}.parquet"


def _file(
    connection: duckdb.DuckDBPyConnection,
    table: GoldTable,
    folder: Path,
    before: Path | None,
    known: GoldFile | None,
    limit: int,
) -> GoldFile:
    found = GoldFile(table.name, table.data_version, table.row_count, _why_none(table, limit))
    if found.why_missing:
        if limit and (known is None or not known.why_missing):
            _log.warning("no Parquet file of %s: %s", table.name, found.why_missing)
        return found
    path = file_of(folder, table.name)
    if before is not None and known is not None and known.data_version == table.data_version:
        with contextlib.suppress(OSError):  # its file was deleted, or the file system has no hard links
            path.hardlink_to(file_of(before, table.name).resolve())
            return found
    return msgspec.structs.replace(found, why_missing=_copy(connection, table, path))


def is_file_name(table: str) -> bool:
    """Return whether the name of a table can be the name of its file."""
    return _FILE_NAME.fullmatch(table) is not None


def _why_none(table: GoldTable, limit: int) -> str:
    if not is_file_name(table.name):
        return "its name cannot be the name of a file"
    if table.row_count > limit or not limit:
        return f"it has {table.row_count:,} rows, more than GOLD_PARQUET_MAX_ROWS ({limit:,})"
    return ""


def _copy(connection: duckdb.DuckDBPyConnection, table: GoldTable, path: Path) -> str:
    """Write a file; return why it cannot be written."""
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    try:
        connection.execute(f"copy (from {table.relation}) to {literal(str(path))} (format parquet, compression zstd)")
    except (duckdb.NotImplementedException, duckdb.BinderException, duckdb.InvalidInputException) as error:
        path.unlink(missing_ok=True)
        _log.warning("no Parquet file of %s: %s", table.name, first_line(error))
        return f"Parquet has no such type: {first_line(error)}"
    path.chmod(0o444)
    return ""


def _with_parents(project: Project, node_id: str, versions: dict[str, str]) -> str:
    node = project.nodes[node_id]
    own = versions.get(node_id, "")
    if node.materialized != "view":
        return own
    return " ".join([own, *(_with_parents(project, parent, versions) for parent in node.parents)])
