"""Explains a key or a condition: the row, where it comes from, or why it is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.errors import UsageError
from scripts.explain.absence import Absence
from scripts.explain.explanation import Explanation, Rows, TestOutcome
from scripts.explain.explanation import Row as ExplainedRow
from scripts.explain.lookup import Condition, checked_value, find_where
from scripts.explain.origins import Follower
from scripts.explain.project import Resource, Table
from scripts.explain.reader import opened
from scripts.security.outside_text import one_line
from scripts.warehouse.database import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.explain.reader import Reader


def explain(name: str, key: Sequence[str] = (), *, where: str | None = None, limit: int = 3) -> Explanation:
    """Return where the rows with a key, or with a condition, come from; for a key that is not there, why.

    Args:
        name: A table of Silver or Gold, such as `fct_events`, or a resource, such as `jsonplaceholder.posts`.
        key: The values of its key, in the order in which the key is declared.
        where: A condition in SQL, instead of a key.
        limit: Rows of each table that are followed.

    Raises:
        UsageError: There is no such table, the key does not fit, or the condition cannot be evaluated.
        WarehouseError: There is no published version.
    """
    with opened() as reader:
        found = reader.tables.find(name)
        if bool(key) == (where is not None):
            raise UsageError("needs either the values of the key or --where", expected=_usage(found))
        follower = Follower(reader, limit=limit)
        if isinstance(found, Resource):
            return _explain_resource(reader, follower, found, key, where)
        return _explain_table(reader, follower, found, key, where, limit)


def _explain_table(
    reader: Reader, follower: Follower, table: Table, key: Sequence[str], where: str | None, limit: int
) -> Explanation:
    columns = reader.columns(table)
    values: Mapping[str, str | None] = {}
    if where is None:
        values = _key_values(reader, table, key)
        conditions = [Condition(quoted(column), columns[column], value) for column, value in values.items()]
        count, rows = reader.find(table, conditions, limit=limit)
    else:
        count, rows = find_where(reader.connection, table.relation, columns, where, limit=limit, order=table.key)
    asked = Rows(table.name, "", dict(values) if where is None else {}, count)
    asked.rows = [follower.follow(table, row, has_history=count == 1) for row in rows]
    answer = _answer(reader, table.name, table.description, asked, where)
    if count == 0:
        if where is None:
            absence = Absence(reader, follower)
            absence.explain(table, values)
            answer.absent = absence.findings
            asked.rows = [ExplainedRow({}, absence.origins)] if absence.origins else []
        else:
            answer.notes.append("no row meets the condition; ask for a key to see why it is not there")
    follower.finish()
    answer.tests = _tests(reader, [table.id, *_tables_of(reader, asked)])
    return answer


def _explain_resource(
    reader: Reader, follower: Follower, resource: Resource, key: Sequence[str], where: str | None
) -> Explanation:
    if where is not None:
        raise UsageError("--where needs a table of Silver or Gold", where=resource.full_name, expected=_usage(resource))
    names = resource.primary_key
    _check_count(resource.full_name, names, key)
    values: dict[str, str | None] = {
        column: checked_value(reader.connection, column, resource.types.get(column, "varchar"), text)
        for column, text in zip(names, key, strict=True)
    }
    readers = sorted(reader.tables.children(resource.id), key=lambda table: reader.tables.day_columns(table.id) is None)
    origin = follower.follow_key(resource, values, readers[0].id if readers else None)
    follower.finish()
    asked = Rows(resource.full_name, "", dict(origin.key), 1 if origin.stretches else 0)
    asked.rows = [ExplainedRow({}, [], [origin])] if origin.stretches else []
    answer = _answer(reader, resource.full_name, "", asked, None)
    if not origin.stretches:
        absence = Absence(reader, follower)
        absence.explain_resource(resource, values)
        answer.absent = absence.findings
    names_of_readers = ", ".join(table.name for table in readers)
    answer.notes.append(f"read by {names_of_readers}" if readers else "no model reads it")
    return answer


def _answer(reader: Reader, name: str, description: str, asked: Rows, where: str | None) -> Explanation:
    words = (
        where if where is not None else ", ".join(f"{column} = {value}" for column, value in asked.condition.items())
    )
    return Explanation(
        f"{name} where {one_line(words)}", reader.version, reader.built_at, description, asked, notes=reader.notes
    )


def _key_values(reader: Reader, table: Table, key: Sequence[str]) -> Mapping[str, str | None]:
    columns = reader.columns(table)
    if not table.key or not set(table.key) <= set(columns):
        raise UsageError(
            f"{table.name} declares no key",
            expected=f"--where with a condition on {', '.join(columns)}",
            hint="`unique_key`, a primary key or a test `unique` would declare it",
        )
    _check_count(table.name, table.key, key)
    return {
        column: checked_value(reader.connection, column, columns[column], text)
        for column, text in zip(table.key, key, strict=True)
    }


def _check_count(name: str, columns: Sequence[str], key: Sequence[str]) -> None:
    if len(key) != len(columns):
        raise UsageError(f"{len(key)} values for the key of {name}", expected=f"{len(columns)}: {', '.join(columns)}")


def _usage(found: Table | Resource) -> str:
    names = found.primary_key if isinstance(found, Resource) else found.key
    name = found.full_name if isinstance(found, Resource) else found.name
    values = " ".join(column.upper() for column in names)
    return f"`pipeline explain {name} {values}`" if names else f"`pipeline explain {name} --where …`"


def _tables_of(reader: Reader, rows: Rows) -> Sequence[str]:
    """Return the tables that an answer shows, below the one that was asked for."""
    names: dict[str, None] = {}
    for row in rows.rows:
        for origin in row.origins:
            names |= {origin.table: None, **dict.fromkeys(_tables_of(reader, origin))}
    ids = {table.name: table.id for table in reader.tables.tables.values()}
    return [ids.get(name, name) for name in names]


def _tests(reader: Reader, tables: Sequence[str]) -> list[TestOutcome]:
    """Return the last result of each test of some tables."""
    ended = {
        row[0]: row[1:]
        for row in reader.connection.execute(
            "select test, status, rows, strftime(ran_at, '%Y-%m-%dT%H:%M:%SZ'), message from _pipeline.tests"
        ).fetchall()
    }
    nodes = reader.manifest.nodes
    found: list[TestOutcome] = []
    seen: set[str] = set()
    for table in dict.fromkeys(tables):
        for unique_id, node in nodes.items():
            own = node.get("attached_node") or next(iter((node.get("depends_on") or {}).get("nodes") or ()), None)
            if node["resource_type"] != "test" or unique_id in seen or own != table:
                continue
            seen.add(unique_id)
            status, rows, ran_at, message = ended.get(unique_id, ("never ran", "", "", ""))
            name = reader.tables.tables[table].name
            found.append(TestOutcome(name, node["name"], status, rows or "", ran_at or "", one_line(message or "")))
    return found
