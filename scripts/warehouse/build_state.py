"""The state of a build, stored in the warehouse file: the schema `_pipeline`.

    partitions   the ledger as the last build read it
    nodes        each node: its fingerprint and its data version
    consumed     the data version of each parent that a node was built from
    readers      which nodes read which resource of Bronze
    read_types   for each node, the types of the columns of all resources below it when it was last built in full
    held         the content of each partition that each reader holds
    tests        the last result of each test
    models       the row count of each node
    plan         while a build runs: the part of its plan that dbt's macros read

While a build runs, `_pipeline_changes` has one table for each node that is built incrementally: the rows that the build
removed from the node or added to it.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, NamedTuple

from scripts.bronze.ledger import Partition
from scripts.warehouse.database import insert_rows
from scripts.warehouse.file_access import literal
from scripts.warehouse.ledger_table import PARTITION_COLUMNS, read_ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from scripts.bronze.store import Store
    from scripts.warehouse.plan import BuildPlan, State
    from scripts.warehouse.project import Node, Project
    from scripts.warehouse.runner import NodeResult

SCHEMAS = frozenset({"_pipeline", "_pipeline_changes"})
"""The schemas that belong to the pipeline."""
UNSURE = "unsure"
"""Stands for the content hash of a partition that changed while a build read it."""
_TABLES = f"""
create schema if not exists _pipeline;
create schema if not exists _pipeline_changes;
create table if not exists _pipeline.partitions ({PARTITION_COLUMNS});
create table if not exists _pipeline.nodes (
    node varchar, name varchar, kind varchar, relation varchar, fingerprint varchar, data_version varchar,
    changes_from varchar, keeps_history boolean, made_at timestamp
);
create table if not exists _pipeline.consumed (node varchar, parent varchar, data_version varchar);
create table if not exists _pipeline.held (
    node varchar, source varchar, resource varchar, dt date, content_hash varchar
);
create table if not exists _pipeline.readers (node varchar, source varchar, resource varchar);
create table if not exists _pipeline.read_types (node varchar, resource varchar, types varchar);
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


class ModelRows(NamedTuple):
    """The row count of one node, and the layer below that it follows from."""

    node: str
    model: str
    layer: str
    """Its schema."""
    relation: str
    row_count: int
    expected_row_count: int | None
    expected_rows_reason: str | None
    source: str | None
    """The source and resource of a staging model with one row per key of Bronze; None for other nodes."""
    resource: str | None


def is_ours(connection: duckdb.DuckDBPyConnection, *, database: str | None = None) -> bool:
    """Return whether a pipeline build of the present format wrote the open file, or an attached one."""
    return _has_table(connection, "held", database)


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables that are missing."""
    connection.execute(_TABLES)


def keep_ledger(connection: duckdb.DuckDBPyConnection) -> None:
    """Store the ledger that `read_state` read as the ledger of this build."""
    connection.execute("delete from _pipeline.partitions; insert into _pipeline.partitions select * from ledger")


def partitions_of(connection: duckdb.DuckDBPyConnection, resources: Iterable[tuple[str, str]]) -> Sequence[Partition]:
    """Return the validated partitions of some resources in the ledger that `read_state` read."""
    wanted = set(resources)
    rows = connection.execute("select source, resource, dt from ledger where status = 'validated'").fetchall()
    return [Partition(*row) for row in rows if row[:2] in wanted]


def write_plan(connection: duckdb.DuckDBPyConnection, project: Project, plan: BuildPlan, state: State) -> None:
    """Write the plan for dbt's macros; drop the relations that the project no longer builds or that are rebuilt."""
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
    insert_rows(connection, "_pipeline.plan", rows)


def record(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    plan: BuildPlan,
    results: Sequence[NodeResult],
    version: str,
    types: Mapping[str, Mapping[str, str]],
) -> None:
    """Record which nodes were built and the result of each test.

    Args:
        connection: The build's file.
        project: The nodes.
        plan: The plan of the build.
        results: The result of each node and test.
        version: The data version of the nodes that were built.
        types: The type of each column, by resource of Bronze (`source/resource`).
    """
    ended = {result.id: result for result in results}
    for planned in plan.made():
        if planned.node in ended and ended[planned.node].status == "success":
            node = project.nodes[planned.node]
            _record_node(connection, node, planned.mode, version)
            if planned.mode != "incremental":
                _record_types(connection, node, project.bronze_below(node.id), types)
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
    """Return the partitions that changed while the nodes of the plan read them.

    Records for these nodes that the content of the partitions is unsure, so that a build processes them again.
    """
    readers = {planned.node for planned in plan.made() if project.nodes[planned.node].resources}
    if not readers:
        return []
    connection.execute("create or replace temp table ledger as select * from _pipeline.partitions")
    read_ledger(connection, store)
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
    """Delete what only the build needed, before the file is published."""
    connection.execute("update _pipeline.nodes set changes_from = null")
    connection.execute("drop table _pipeline.plan")
    connection.execute("drop schema if exists _pipeline_changes cascade")
    known = {row[0] for row in connection.execute("select test from _pipeline.tests").fetchall()}
    for test in known - project.tests.keys():
        connection.execute("delete from _pipeline.tests where test = ?", [test])
        connection.execute("delete from _pipeline.test_inputs where test = ?", [test])


def held_partitions(connection: duckdb.DuckDBPyConnection) -> Mapping[Partition, str]:
    """Return the content hash of each partition that all nodes hold that read its resource.

    If no node reads a resource, its partitions count as held with the content that the ledger had.
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


def validated_partitions(connection: duckdb.DuckDBPyConnection) -> Mapping[Partition, str]:
    """Return the content hash of each validated partition in the ledger that the build read."""
    rows = connection.execute(
        "select source, resource, dt, content_hash from _pipeline.partitions where status = 'validated'"
    ).fetchall()
    return {Partition(*row[:3]): row[3] for row in rows}


def column_types(connection: duckdb.DuckDBPyConnection) -> Mapping[str, dict[str, dict[str, str]]]:
    """Return, by node and resource, the types of the resource's columns when the node was last built in full."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    # a file of an earlier version of the pipeline has no such table
    if _has_table(connection, "read_types"):
        for node, resource, types in connection.execute("from _pipeline.read_types").fetchall():
            found.setdefault(node, {})[resource] = json.loads(types)
    return found


def put_models(connection: duckdb.DuckDBPyConnection, models: Sequence[ModelRows]) -> None:
    """Replace the row counts of the nodes."""
    connection.execute("delete from _pipeline.models")
    insert_rows(connection, "_pipeline.models", models)


def counted_models(connection: duckdb.DuckDBPyConnection) -> Mapping[str, ModelRows]:
    """Return the row counts of the nodes from the last build."""
    return {row[0]: ModelRows(*row) for row in connection.execute("from _pipeline.models").fetchall()}


def present_nodes(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Return the nodes that the file holds."""
    return {row[0] for row in connection.execute("select node from _pipeline.nodes").fetchall()}


def test_results(connection: duckdb.DuckDBPyConnection) -> Sequence[Mapping[str, object]]:
    """Return the last result of each test, over which rows it ran, and when."""
    rows = connection.execute(
        "select test, name, status, message, rows, strftime(ran_at, '%Y-%m-%dT%H:%M:%SZ')"
        " from _pipeline.tests order by test"
    ).fetchall()
    return [dict(zip(("id", "name", "status", "message", "rows", "ran_at"), row, strict=True)) for row in rows]


def node_results(connection: duckdb.DuckDBPyConnection) -> Sequence[Mapping[str, object]]:
    """Return each node of the file, and when it was built."""
    rows = connection.execute(
        "select node, name, kind, 'success', strftime(made_at, '%Y-%m-%dT%H:%M:%SZ') from _pipeline.nodes order by node"
    ).fetchall()
    return [dict(zip(("id", "name", "kind", "status", "ran_at"), row, strict=True)) for row in rows]


def copy_histories(connection: duckdb.DuckDBPyConnection, previous: Path) -> None:
    """Copy the nodes that keep history from another file into a new one, since they cannot be rebuilt."""
    create_tables(connection)
    connection.execute(f"attach {literal(str(previous))} as previous (read_only)")
    rows = []
    tables = ["nodes", "consumed", "readers", "held"]
    if is_ours(connection, database="previous"):
        if _has_table(connection, "read_types", "previous"):
            tables.append("read_types")
        query = "select node, relation from previous._pipeline.nodes where keeps_history"
        rows = connection.execute(query).fetchall()
    for node, relation in rows:
        connection.execute(f"create schema if not exists {relation.partition('.')[0]}")
        connection.execute(f"create table {relation} as from previous.{relation}")
        for table in tables:
            query = f"insert into _pipeline.{table} select * from previous._pipeline.{table} where node = ?"  # noqa: S608 — one of five names
            connection.execute(query, [node])
    connection.execute("detach previous")


def _has_table(connection: duckdb.DuckDBPyConnection, table: str, database: str | None = None) -> bool:
    query = (
        "select 1 from duckdb_tables() where database_name = coalesce(?, current_database())"
        " and schema_name = '_pipeline' and table_name = ?"
    )
    return bool(connection.execute(query, [database, table]).fetchall())


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
    connection.execute("delete from _pipeline.held where node = ?", [node.id])
    connection.execute("delete from _pipeline.readers where node = ?", [node.id])
    for source, resource in node.resources:
        connection.execute("insert into _pipeline.readers values (?, ?, ?)", [node.id, source, resource])
        connection.execute(
            "insert into _pipeline.held select ?, source, resource, dt, content_hash from _pipeline.partitions"
            " where source = ? and resource = ? and status = 'validated'",
            [node.id, source, resource],
        )


def _forget(connection: duckdb.DuckDBPyConnection, node: str) -> None:
    for table in ("nodes", "consumed", "readers", "read_types", "held", "models"):
        connection.execute(f"delete from _pipeline.{table} where node = ?", [node])  # noqa: S608 — one of six names


def _record_types(
    connection: duckdb.DuckDBPyConnection, node: Node, resources: Iterable[str], types: Mapping[str, Mapping[str, str]]
) -> None:
    connection.execute("delete from _pipeline.read_types where node = ?", [node.id])
    for name in sorted(resources):
        values = [node.id, name, json.dumps(types.get(name, {}))]
        connection.execute("insert into _pipeline.read_types values (?, ?, ?)", values)


def _drop_relation(connection: duckdb.DuckDBPyConnection, relation: str) -> None:
    # the name does not say whether the relation is a table or a view
    schema, _, name = relation.partition('"."')
    kind = connection.execute(
        "select table_type from information_schema.tables where table_schema = ? and lower(table_name) = lower(?)",
        [schema.strip('"'), name.strip('"')],
    ).fetchone()
    if kind is not None:
        connection.execute(f"drop {'view' if kind[0] == 'VIEW' else 'table'} {relation} cascade")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)
