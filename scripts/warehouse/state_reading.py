"""Reads what a warehouse file holds, and which validated partitions its nodes do not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.bronze.ledger import Partition
from scripts.contracts import catalog
from scripts.warehouse.build_state import column_types, is_ours
from scripts.warehouse.database import insert_rows
from scripts.warehouse.ledger_table import PARTITION_COLUMNS, read_ledger
from scripts.warehouse.plan import LAST_SEEN, NodeState, PendingPartition, State, TestState

if TYPE_CHECKING:
    import duckdb

    from scripts.bronze.store import Store
    from scripts.warehouse.project import Project


def read_state(connection: duckdb.DuckDBPyConnection, store: Store, project: Project) -> State:
    """Return what the file holds, and which partitions of the present ledger its nodes do not hold.

    Afterwards, the temporary table `ledger` holds the present ledger.
    """
    if not is_ours(connection):
        connection.execute(f"create or replace temp table ledger ({PARTITION_COLUMNS})")
        read_ledger(connection, store)
        return State({}, {}, _pending(connection, project, is_new=True), catalog.column_types())
    connection.execute("create or replace temp table ledger as select * from _pipeline.partitions")
    read_ledger(connection, store)
    pending = _pending(connection, project, is_new=False)
    return State(_nodes(connection), _tests(connection), pending, catalog.column_types())


def _nodes(connection: duckdb.DuckDBPyConnection) -> dict[str, NodeState]:
    consumed: dict[str, dict[str, str]] = {}
    for node, parent, version in connection.execute("from _pipeline.consumed").fetchall():
        consumed.setdefault(node, {})[parent] = version
    present = {
        f'"{schema}"."{name}"'
        for schema, name in connection.execute(
            "select table_schema, table_name from information_schema.tables"
        ).fetchall()
    }
    with_last_seen = {
        f'"{schema}"."{name}"'
        for schema, name in connection.execute(
            "select schema_name, table_name from duckdb_columns() where lower(column_name) = ?", [LAST_SEEN]
        ).fetchall()
    }
    types = column_types(connection)
    query = (
        "select node, name, kind, relation, fingerprint, data_version, changes_from, keeps_history from _pipeline.nodes"
    )
    return {
        node: NodeState(
            fingerprint=fingerprint,
            data_version=data_version,
            changes_from=changes_from,
            relation=relation,
            keeps_history=keeps_history,
            name=name,
            consumed=consumed.get(node, {}),
            columns=frozenset({LAST_SEEN} if relation in with_last_seen else ()),
            types=types.get(node, {}),
        )
        for node, name, kind, relation, fingerprint, data_version, changes_from, keeps_history in connection.execute(
            query
        ).fetchall()
        if relation in present or kind == "function"
    }


def _tests(connection: duckdb.DuckDBPyConnection) -> dict[str, TestState]:
    inputs: dict[str, dict[str, str]] = {}
    for test, node, version in connection.execute("from _pipeline.test_inputs").fetchall():
        inputs.setdefault(test, {})[node] = version
    rows = connection.execute("select test, fingerprint, status from _pipeline.tests").fetchall()
    return {test: TestState(fingerprint, status, inputs.get(test, {})) for test, fingerprint, status in rows}


def _pending(
    connection: duckdb.DuckDBPyConnection, project: Project, *, is_new: bool
) -> dict[str, list[PendingPartition]]:
    connection.execute("create or replace temp table readers (node varchar, source varchar, resource varchar)")
    insert_rows(connection, "readers", list(project.readers()))
    held = (
        "select null::varchar as node, null::varchar as source, null::varchar as resource, null::date as dt,"
        " null::varchar as content_hash where false"
        if is_new
        else "from _pipeline.held"
    )
    rows = connection.execute(
        f"""
        with held as ({held}),
        last_held as (select node, source, resource, max(dt) as last_held from held group by all),
        wanted as (
            select readers.node, source, resource, dt, ledger.content_hash, ledger.status
            from readers inner join ledger using (source, resource)
        ),
        pending as (
            select node, source, resource, dt, held.content_hash is null as is_new, false as is_removed
            from wanted left join held using (node, source, resource, dt)
            where wanted.status = 'validated' and held.content_hash is distinct from wanted.content_hash
            union all
            select node, source, resource, dt, false, true
            from held inner join readers using (node, source, resource)
            left join wanted using (node, source, resource, dt)
            where wanted.status is distinct from 'validated'
        )
        select node, source, resource, dt, is_new, is_removed, is_new and dt > coalesce(last_held, date '0001-01-01')
        from pending left join last_held using (node, source, resource)
        order by all
        """  # noqa: S608 — one of two texts, and a constant
    ).fetchall()
    found: dict[str, list[PendingPartition]] = {}
    for node, source, resource, day, new, removed, in_order in rows:
        pending = PendingPartition(Partition(source, resource, day), new, removed, in_order)
        found.setdefault(node, []).append(pending)
    return found
