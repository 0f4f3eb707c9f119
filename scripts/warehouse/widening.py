"""Widening: gives columns of tables that keep history a wider type, since these tables cannot be built again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.contracts.changes import is_wider
from scripts.contracts.source_yaml import sql_type
from scripts.utils.logging_config import get_logger
from scripts.warehouse.database import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import duckdb

    from scripts.warehouse.plan import BuildPlan, State
    from scripts.warehouse.project import Project

_log = get_logger("build")


def widen_histories(connection: duckdb.DuckDBPyConnection, project: Project, plan: BuildPlan, state: State) -> None:
    """Widen the columns of histories whose columns in Bronze have a wider type than when the history was last built.

    A column is found by its name and its old type. Without this, DuckDB would cast new values to the old type: the
    text `007` would become the number 7.
    """
    for node in plan.made():
        if node.mode != "history" or node.node not in state.nodes:
            continue
        relation = project.nodes[node.node].relation
        schema, _, table = relation.replace('"', "").partition(".")
        columns = dict(
            connection.execute(
                "select column_name, data_type from duckdb_columns() where schema_name = ? and table_name = ?",
                [schema, table],
            ).fetchall()
        )
        for name, before, now in _widened(state.nodes[node.node].types, state.types):
            if columns.get(name) == sql_type(before).replace(" ", "").upper():
                connection.execute(f"alter table {relation} alter column {quoted(name)} set data type {sql_type(now)}")
                _log.info("column `%s` of %s has the type %s now", name, node.name, now)


def _widened(
    known: Mapping[str, Mapping[str, str]], present: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, str, str]]:
    for resource, types in known.items():
        for column, before in types.items():
            now = present.get(resource, {}).get(column, before)
            if is_wider(before, now):
                yield column, before, now
