"""Row accounting: checks that a build loses no row and duplicates none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.bronze.loaded_contracts import outdated_days
from scripts.bronze.store import for_each, verify
from scripts.contracts import catalog
from scripts.errors import BronzeError, WarehouseError
from scripts.warehouse import build_state
from scripts.warehouse.database import number
from scripts.warehouse.manifest import LATEST_WINS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import duckdb

    from scripts.bronze.ledger import Partition
    from scripts.bronze.store import Store
    from scripts.warehouse.plan import BuildPlan, State
    from scripts.warehouse.project import Node, Project


def check_bronze(store: Store, partitions: Sequence[Partition]) -> None:
    """Check the Bronze files that a build is about to read.

    Raises:
        BronzeError: A file is truncated, changed, missing or foreign.
        DataError: The counts of a record do not add up.
    """

    def check(partition: Partition) -> None:
        if (entry := store.entry(partition)) is not None and entry.status == "validated":
            entry.check()
            verify(store, entry)

    for _ in for_each(store, check, partitions):
        pass
    if strangers := store.foreign_files():
        raise BronzeError(
            f"no ledger record names {len(strangers)} Parquet files, such as {strangers[0]}",
            where=store.location,
            expected="only files that `pipeline ingest` wrote",
            hint=store.foreign_files_hint(strangers),
        )


def check_contracts(store: Store, project: Project, plan: BuildPlan, state: State) -> None:
    """Check that a build mixes no days that were loaded with contracts that differ in their columns.

    Raises:
        BronzeError: Old days must be loaded again, or tables must be rebuilt in full because a column has a wider type.
    """
    outdated = outdated_days(store, catalog.read_all().sources.values())
    if conflicts := [days for days in outdated if days.is_conflict]:
        raise BronzeError(
            " | ".join(map(str, conflicts)),
            expected="days of one contract, or `was` in the contract if a column was only renamed",
            hint="; ".join(days.remedy for days in conflicts) + "; then `pipeline build --full-refresh`",
        )
    kept = [
        node.node
        for node in plan.made()
        if project.nodes[node.node].strategy and node.mode != "history" and node.node in state.nodes
    ]
    for days in outdated:
        resource = f"{days.source}/{days.resource}"
        now = state.types.get(resource, {})
        built = [state.nodes[node].types.get(resource, {}) for node in kept if resource in _resources(project, node)]
        if any(types.get(column) != now.get(column) for types in built for column in days.widened_columns):
            raise BronzeError(
                str(days),
                expected="tables that were built with the new type",
                hint="`pipeline build --full-refresh` builds them; the published version has not changed."
                f" {days.remedy} instead, if the source has the new type for these days too",
            )


def _resources(project: Project, node: str) -> Sequence[str]:
    return ["/".join(resource) for resource in project.nodes[node].resources]


def count_models(connection: duckdb.DuckDBPyConnection, project: Project, made: Collection[str]) -> None:
    """Count the rows of the nodes that were built, and check each count that follows from another layer.

    The other nodes keep their counts.

    Raises:
        WarehouseError: A row count is not the one that follows from the layer below, or a node lacks a key column.
    """
    known = build_state.counted_models(connection)
    present = build_state.present_nodes(connection)
    counted = []
    for node in project.nodes.values():
        if not node.has_relation or node.id not in present:
            continue
        if node.id not in made and node.id in known:
            counted.append(known[node.id])
            continue
        _check_key(connection, node)
        rows = number(connection, f"select count(*) from {node.relation}")  # noqa: S608 — a node of the project
        expected = _expected_rows(connection, node)
        if expected is not None and rows != expected:
            raise WarehouseError(
                f"model `{node.name}` has {rows} rows",
                where=f"row accounting of {node.path}",
                expected=f"{expected}: {node.expected_rows_reason}",
                hint="correct the model or its `expected_rows_sql`, or rebuild it:"
                " `pipeline build --full-refresh`; the published version has not changed",
            )
        origin = node.resources[0] if node.strategy == LATEST_WINS else (None, None)
        reason = node.expected_rows_reason
        counted.append(
            build_state.ModelRows(node.id, node.name, node.schema, node.relation, rows, expected, reason, *origin)
        )
    build_state.put_models(connection, counted)


def _check_key(connection: duckdb.DuckDBPyConnection, node: Node) -> None:
    if not node.strategy:
        return
    rows = connection.execute(
        "select lower(column_name) from duckdb_columns() where schema_name = ? and table_name = ?",
        [node.schema, node.identifier],
    ).fetchall()
    columns = {row[0] for row in rows}
    if missing := [column for column in node.unique_key if column.lower() not in columns]:
        raise WarehouseError(
            f"model `{node.name}` has no column `{missing[0]}`, which its unique_key names",
            where=node.path,
            expected=f"one of {', '.join(sorted(columns))}",
            hint="correct the unique_key; the published version has not changed",
        )


def _expected_rows(connection: duckdb.DuckDBPyConnection, node: Node) -> int | None:
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    if not node.expected_rows_sql:
        return None
    try:
        return number(connection, node.expected_rows_sql)
    except duckdb.ProgrammingError as error:
        raise WarehouseError(
            f"`expected_rows_sql` of model `{node.name}` fails: {error}",
            where=node.path,
            expected="a query that returns one number",
            hint="correct it in the `meta` of the model, then `pipeline build`; the published version has not changed",
        ) from None
