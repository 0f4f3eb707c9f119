"""What a warehouse file knows about itself: the bookkeeping schema `_pipeline`.

    partitions   the ledger as the last build saw it
    nodes        each node: its fingerprint, and the version of its data
    consumed     which data of its parents each node was made from
    readers      which nodes read which resource of Bronze
    held         which state of which partition each of them holds
    tests        how each test ended when it ran last
    models       the rows of each node
    plan         while a build runs, what dbt's macros have to know of its plan

While a build runs, `_pipeline_changes` has a table for each node that is made by its changes: the rows that were taken
away from it or put into it.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from scripts.bronze.ledger import Partition
from scripts.warehouse import ledger_table
from scripts.warehouse.plan import LAST_SEEN, BuildPlan, NodeState, PendingPartition, State, TestState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from scripts.bronze.store import Store
    from scripts.warehouse.project import Node, Project
    from scripts.warehouse.runner import NodeResult

SCHEMAS = frozenset({"_pipeline", "_pipeline_changes"})
"""The schemas that belong to the pipeline."""
UNSURE = "unsure"
"""Stands for the content hash of a partition that changed while a build read it."""
_TABLES = f"""
create schema if not exists _pipeline;
create schema if not exists _pipeline_changes;
create table if not exists _pipeline.partitions ({ledger_table.COLUMNS});
create table if not exists _pipeline.nodes (
    node varchar, name varchar, kind varchar, relation varchar, fingerprint varchar, data_version varchar,
    changes_from varchar, keeps_history boolean, made_at timestamp
);
create table if not exists _pipeline.consumed (node varchar, parent varchar, data_version varchar);
create table if not exists _pipeline.held (
    node varchar, source varchar, resource varchar, dt date, content_hash varchar
);
create table if not exists _pipeline.readers (node varchar, source varchar, resource varchar);
create table if not exists _pipeline.tests (
    test varchar, name varchar, fingerprint varchar, status varchar, message varchar, rows varchar, ran_at timestamp
);
create table if not exists _pipeline.test_inputs (test varchar, node varchar, data_version varchar);
create table if not exists _pipeline.models (
    node varchar, model varchar, layer varchar, relation varchar, row_count bigint, expected_row_count bigint,
    expected_rows_reason varchar, source varchar, resource varchar
);
create or replace table _pipeline.plan (
    node varchar, mode varchar, changes varchar, compare_last_seen boolean
);
"""

# what is loaded again and not validated yet stays as it was, unless the node was made without it
_DELETE_HELD = """
delete from _pipeline.held as held
where node = ? and (? or content_hash = ? or not exists (
    select 1 from _pipeline.partitions as seen
    where (seen.source, seen.resource, seen.dt) = (held.source, held.resource, held.dt) and seen.status <> 'validated'
))
"""


def is_ours(connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether the file was built by this kind of build."""
    query = "select count(*) from duckdb_tables() where schema_name = '_pipeline' and table_name = 'held'"
    return _number(connection, query) > 0


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables that are missing."""
    connection.execute(_TABLES)


def read_state(connection: duckdb.DuckDBPyConnection, store: Store, project: Project) -> State:
    """Return what the file holds, and which partitions of the present ledger its nodes do not hold.

    The ledger as it is now is then in the temporary table `ledger`.
    """
    if not is_ours(connection):
        connection.execute(f"create or replace temp table ledger ({ledger_table.COLUMNS})")
        ledger_table.read_ledger(connection, store, {})
        return State({}, {}, _pending(connection, project, is_new=True))
    connection.execute("create or replace temp table ledger as select * from _pipeline.partitions")
    known = connection.execute("select source, resource, dt, record_signature from ledger").fetchall()
    ledger_table.read_ledger(connection, store, {Partition(*row[:3]): row[3] for row in known})
    return State(_nodes(connection), _tests(connection), _pending(connection, project, is_new=False))


def keep_ledger(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the ledger that `read_state` saw the one that the build reads."""
    connection.execute("delete from _pipeline.partitions; insert into _pipeline.partitions select * from ledger")


def partitions_of(connection: duckdb.DuckDBPyConnection, resources: Iterable[tuple[str, str]]) -> Sequence[Partition]:
    """Return the validated partitions of some resources in the ledger that `read_state` saw."""
    wanted = set(resources)
    rows = connection.execute("select source, resource, dt from ledger where status = 'validated'").fetchall()
    return [Partition(*row) for row in rows if row[:2] in wanted]


def write_plan(connection: duckdb.DuckDBPyConnection, project: Project, plan: BuildPlan, state: State) -> None:
    """Drop what the project does not make any more and what is made in full, and write what dbt's macros ask for."""
    create_tables(connection)
    keep_ledger(connection)
    for drop in plan.drops:
        _drop_relation(connection, drop.relation)
    vanished = [unique_id for unique_id in state.nodes if unique_id not in project.nodes]
    for unique_id in vanished:
        _forget(connection, unique_id)
    rows: list[tuple[str, str, str | None, bool]] = []
    for planned in plan.nodes:
        node, known = project.nodes[planned.node], state.nodes.get(planned.node)
        changes = f'_pipeline_changes."{node.id}"'
        if planned.mode == "full":
            for relation in {node.relation, known.relation if known else node.relation}:
                _drop_relation(connection, relation)
            connection.execute(f"drop table if exists {changes}")
            _forget(connection, node.id)
        elif planned.mode == "incremental" and (known is None or known.changes_from is None):
            connection.execute(f"create or replace table {changes} as select * from {node.relation} limit 0")  # noqa: S608 — a node of the project
        is_told = planned.mode == "incremental" or (known is not None and known.changes_from and planned.mode == "skip")
        if planned.mode != "skip" or is_told:
            compare = node.id in plan.compare_last_seen
            rows.append((node.id, planned.mode, changes if is_told else None, compare))
    rows += [(test.test, test.rows, None, False) for test in plan.run_tests()]
    if rows:
        connection.executemany("insert into _pipeline.plan values (?, ?, ?, ?)", rows)


def record(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    plan: BuildPlan,
    results: Sequence[NodeResult],
    version: str,
) -> None:
    """Note which nodes were made and how each test ended.

    Args:
        connection: The build's file.
        project: The nodes.
        plan: What the build set out to do.
        results: How each node and test ended.
        version: The data version of the nodes that were made.
    """
    ended = {result.id: result for result in results}
    for planned in plan.made():
        if planned.node in ended and ended[planned.node].status == "success":
            _record_node(connection, project.nodes[planned.node], planned.mode, version)
    current = dict(connection.execute("select node, data_version from _pipeline.nodes").fetchall())
    for test_plan in plan.run_tests():
        if (result := ended.get(test_plan.test)) is None or result.status == "skipped":
            continue
        test = project.tests[test_plan.test]
        connection.execute("delete from _pipeline.tests where test = ?", [test.id])
        connection.execute("delete from _pipeline.test_inputs where test = ?", [test.id])
        values = [test.id, test.name, test.fingerprint, result.status, result.message, test_plan.rows, _now()]
        connection.execute("insert into _pipeline.tests values (?, ?, ?, ?, ?, ?, ?)", values)
        for parent in test.parents:
            connection.execute(
                "insert into _pipeline.test_inputs values (?, ?, ?)", [test.id, parent, current.get(parent)]
            )


def doubt(
    connection: duckdb.DuckDBPyConnection, store: Store, project: Project, plan: BuildPlan
) -> Sequence[Partition]:
    """Return the partitions that the nodes of the plan read and that are not in that state any more.

    The nodes are noted to hold them in an unsure state, so that a build makes up for it.
    """
    readers = {planned.node for planned in plan.made() if project.nodes[planned.node].resources}
    if not readers:
        return []
    known = connection.execute("select source, resource, dt, record_signature from _pipeline.partitions").fetchall()
    connection.execute("create or replace temp table ledger as select * from _pipeline.partitions")
    ledger_table.read_ledger(connection, store, {Partition(*row[:3]): row[3] for row in known})
    rows = connection.execute(
        "select distinct held.source, held.resource, held.dt from _pipeline.held as held"
        " left join ledger using (source, resource, dt)"
        " inner join _pipeline.partitions as seen using (source, resource, dt)"
        " where list_contains(?, held.node) and seen.content_hash = held.content_hash and seen.status = 'validated'"
        " and (ledger.status is distinct from 'validated' or ledger.content_hash is distinct from held.content_hash)",
        [sorted(readers)],
    ).fetchall()
    for source, resource, day in rows:
        connection.execute(
            "update _pipeline.held set content_hash = ?"
            " where list_contains(?, node) and (source, resource, dt) = (?, ?, ?)",
            [UNSURE, sorted(readers), source, resource, day],
        )
    return [Partition(*row) for row in rows]


def finish(connection: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Clear what only the build needed: the file is about to be published."""
    connection.execute("update _pipeline.nodes set changes_from = null")
    connection.execute("drop table _pipeline.plan")
    connection.execute("drop schema if exists _pipeline_changes cascade")
    known = {row[0] for row in connection.execute("select test from _pipeline.tests").fetchall()}
    for test in known - project.tests.keys():
        connection.execute("delete from _pipeline.tests where test = ?", [test])
        connection.execute("delete from _pipeline.test_inputs where test = ?", [test])


def held_partitions(connection: duckdb.DuckDBPyConnection) -> Mapping[Partition, str]:
    """Return the state of each partition that every node of the version that reads its resource holds.

    A partition of a resource that no node reads is held as the ledger had it.
    """
    if not is_ours(connection):
        return {}
    rows = connection.execute(
        """
        with reader_counts as (
            select source, resource, count(*) as reader_count from _pipeline.readers group by all
        )
        select source, resource, dt, any_value(content_hash)
        from _pipeline.held inner join reader_counts using (source, resource)
        group by source, resource, dt, reader_count
        having count(*) = reader_count and count(distinct content_hash) = 1 and any_value(content_hash) <> ?
        union all
        select source, resource, dt, content_hash
        from _pipeline.partitions anti join reader_counts using (source, resource)
        where status = 'validated'
        """,
        [UNSURE],
    ).fetchall()
    return {Partition(*row[:3]): row[3] for row in rows}


def copy_histories(connection: duckdb.DuckDBPyConnection, previous: Path) -> None:
    """Bring into a new file the nodes of another one that keep history, since they cannot be made again."""
    create_tables(connection)
    connection.execute(f"attach '{str(previous).replace(chr(39), chr(39) * 2)}' as previous (read_only)")
    rows = connection.execute("select node, relation from previous._pipeline.nodes where keeps_history").fetchall()
    for node, relation in rows:
        connection.execute(f"create schema if not exists {relation.partition('.')[0]}")
        connection.execute(f"create table {relation} as from previous.{relation}")
        for table in ("nodes", "consumed", "readers", "held"):
            query = f"insert into _pipeline.{table} select * from previous._pipeline.{table} where node = ?"  # noqa: S608 — one of four names
            connection.execute(query, [node])
    connection.execute("detach previous")


def _record_node(connection: duckdb.DuckDBPyConnection, node: Node, mode: str, version: str) -> None:
    before = connection.execute(
        "select data_version, changes_from from _pipeline.nodes where node = ?", [node.id]
    ).fetchone()
    changes_from = (before[1] or before[0]) if before and mode == "incremental" else None
    connection.execute("delete from _pipeline.nodes where node = ?", [node.id])
    connection.execute("delete from _pipeline.consumed where node = ?", [node.id])
    values = [node.id, node.name, node.kind, node.relation, node.fingerprint, version, changes_from]
    connection.execute(
        "insert into _pipeline.nodes values (?, ?, ?, ?, ?, ?, ?, ?, ?)", [*values, node.keeps_history, _now()]
    )
    connection.execute(
        "insert into _pipeline.consumed select ?, node, data_version from _pipeline.nodes where list_contains(?, node)",
        [node.id, list(node.parents)],
    )
    connection.execute(_DELETE_HELD, [node.id, mode == "full", UNSURE])
    connection.execute("delete from _pipeline.readers where node = ?", [node.id])
    for source, resource in node.resources:
        connection.execute("insert into _pipeline.readers values (?, ?, ?)", [node.id, source, resource])
        connection.execute(
            "insert into _pipeline.held select ?, source, resource, dt, content_hash from _pipeline.partitions"
            " where source = ? and resource = ? and status = 'validated'",
            [node.id, source, resource],
        )


def _forget(connection: duckdb.DuckDBPyConnection, node: str) -> None:
    for table in ("nodes", "consumed", "readers", "held", "models"):
        connection.execute(f"delete from _pipeline.{table} where node = ?", [node])  # noqa: S608 — one of five names


def _drop_relation(connection: duckdb.DuckDBPyConnection, relation: str) -> None:
    # the name is unknown to what kind of relation it belongs
    schema, _, name = relation.partition('"."')
    kind = connection.execute(
        "select table_type from information_schema.tables where table_schema = ? and lower(table_name) = lower(?)",
        [schema.strip('"'), name.strip('"')],
    ).fetchone()
    if kind is not None:
        connection.execute(f"drop {'view' if kind[0] == 'VIEW' else 'table'} {relation} cascade")


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
    readers = [list(reader) for reader in project.readers()]
    if readers:
        connection.executemany("insert into readers values (?, ?, ?)", readers)
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
            where wanted.status is null or (wanted.status <> 'validated' and held.content_hash = '{UNSURE}')
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


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
