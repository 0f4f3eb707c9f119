"""Columns of Silver and Gold that are derived from a contract: their names, types and order."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from scripts.contracts.deletes import DELETED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scripts.contracts.column import Column
    from scripts.contracts.source import Resource

GROUPS = ("ids", "strings", "numerics", "booleans", "timestamps", "dates")
_GROUP_OF_TYPE = {
    "string": "strings",
    "json": "strings",
    "boolean": "booleans",
    "timestamp": "timestamps",
    "date": "dates",
}
_TYPES = {"json": "string", "integer": "bigint", "number": "double"}
_ADDED = ("extra_fields_json", "loaded_date", "first_seen_date", "last_seen_date", DELETED)
_NOT_ROW_BY_ROW = {"exists", "over", "sample", "unnest"}
"""Words that are not reserved, but by which a build recognizes a model that does not work row by row."""


class SilverColumn(NamedTuple):
    """A column of a staging model.

    Attributes:
        name: Its name in Silver and Gold.
        expression: The SQL that computes it from a row of Bronze.
        data_type: Its type, by a name that DuckDB and Spark have.
        group: The kind of values, one of `GROUPS`.
        description: Its description in the contract.
        is_required: Whether it must not be null.
    """

    name: str
    expression: str
    data_type: str
    group: str
    description: str
    is_required: bool


def silver_columns(resource_name: str, resource: Resource) -> Sequence[SilverColumn]:
    """Return the columns of a resource's staging model, in the contract's order.

    Columns that every model gets, and columns with `sensitive: drop`, are not among them.
    """
    names = _names(resource_name, resource)
    return [
        # a keyed hash is text
        _silver_column(
            column.model_copy(update={"type": "string"}) if column.sensitive == "hash" else column,
            names[column.name],
            resource,
        )
        for column in resource.columns
        if column.sensitive != "drop"
    ]


def silver_key(resource_name: str, resource: Resource) -> Sequence[str]:
    """Return the columns of Silver that identify a row."""
    names = _names(resource_name, resource)
    return [names.get(column, "loaded_date") for column in resource.primary_key]


def key_tests(key: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """Return the dbt tests of a unique key: those of the model, and those of its columns."""
    if len(key) == 1:
        return [], {key[0]: ["unique"]}
    return [{"unique_combination_of_columns": {"arguments": {"combination_of_columns": list(key)}}}], {}


def singular(name: str) -> str:
    """Return the name of one row of a resource: the singular of the resource's name."""
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def _silver_column(column: Column, name: str, resource: Resource) -> SilverColumn:
    group = _GROUP_OF_TYPE.get(column.type, "numerics")
    is_id = column.name in resource.primary_key or column.name.lower().endswith("id")
    if is_id and column.type in {"string", "integer"}:
        group = "ids"
    kind, value = _TYPES.get(column.type, column.type), _quoted(column.name)
    if group == "ids" and column.type == "integer":
        kind, value = "string", f"cast({value} as string)"
    elif column.type == "timestamp":
        value = f"{{{{ utc_timestamp({value!r}) }}}}"
    expression = name if value == name else f"{value} as {name}"
    return SilverColumn(name, expression, kind, group, column.description, column.name in resource.required)


def _names(resource_name: str, resource: Resource) -> dict[str, str]:
    """Return the name of each column in Silver: in snake case; `id` and reserved words get the resource as a prefix."""
    names: dict[str, str] = {}
    for column in resource.columns:
        taken = {*names.values(), *_ADDED}
        names[column.name] = next(name for name in _candidates(column.name, resource_name) if name not in taken)
    return names


def _candidates(name: str, resource_name: str) -> Iterator[str]:
    """Yield possible names for a column of Silver, better ones first; this never ends."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    own = f"{singular(resource_name)}_{snake}"
    if snake != "id" and snake not in _words():
        yield snake
    yield own
    number = 2
    while True:
        yield f"{own}_{number}"
        number += 1


def _quoted(name: str) -> str:
    return f'"{name}"' if name.lower() in _words() else name


@functools.cache
def _words() -> frozenset[str]:
    """Return the words that cannot be the name of a column without quotation marks."""
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    with duckdb.connect() as connection:
        rows = connection.execute(
            "select keyword_name from duckdb_keywords() where keyword_category in ('reserved', 'type_function')"
        ).fetchall()
    return frozenset({row[0] for row in rows} | _NOT_ROW_BY_ROW)
