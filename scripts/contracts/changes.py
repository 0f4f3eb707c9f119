"""Changes of a contract, and what they mean for days that were loaded before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa

from scripts.contracts.types import arrow_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.contracts.column import Column
    from scripts.contracts.source import Resource

Effect = Literal["compatible", "outdated", "widened", "conflict"]
_DIGITS_OF_INTEGER = 19
_READING = ("format", "thousands", "decimal_mark", "null_values", "true_values", "false_values")
_REQUEST = (
    *("path", "method", "params", "headers", "body", "form", "load", "response", "for_each", "nested"),
    *("base_url", "python", "singer", "dlt"),
)


class Change(NamedTuple):
    """One difference between the contract that a day was loaded with and the current contract."""

    what: str
    effect: Effect
    """`compatible`: old and new days can be mixed. `outdated`: they can be mixed, but loading an old day again would
    give other rows. `widened`: they can be mixed in a table that is rebuilt in full, because the new type of a column
    holds each value of the old type. `conflict`: old and new days must not be mixed."""
    column: str | None = None
    """The present name of the column that has changed, if the change is one of a type."""


class OldColumn(NamedTuple):
    """A column of the contract that a day was loaded with."""

    name: str
    type: str
    key: str
    nullable: bool
    reading: Mapping[str, Any]
    """The keys of the contract that say how its values were read, without keys that were not set."""


def is_wider(before: str, now: str) -> bool:
    """Return whether a type holds each value of another type without a change, and is not the same type."""
    before, now = before.replace(" ", ""), now.replace(" ", "")
    if before == now:
        return False
    if now == "string":
        return before in {"integer", "boolean"}
    if not now.startswith("decimal") or not (before == "integer" or before.startswith("decimal")):
        return False
    old = pa.decimal128(_DIGITS_OF_INTEGER) if before == "integer" else arrow_type(before)
    new = arrow_type(now)
    return bool(new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale)


def old_columns(document: Mapping[str, Any]) -> Sequence[OldColumn]:
    """Return the columns of a resource's stored contract; its other keys are not read."""
    return [
        OldColumn(
            column["name"],
            str(column["type"]).replace(" ", ""),
            column.get("field") or column["name"],
            column.get("nullable", True),
            _reading(column),
        )
        for column in document["columns"]
    ]


def field_of(column: Column) -> str:
    """Return the field of the source's record that a column is read from, as written in the contract."""
    return column.field or column.name


def changes(document: Mapping[str, Any], now: Resource) -> Sequence[Change]:
    """Return the differences between a stored contract and the current one, except in descriptions and rules."""
    before = {column.name: column for column in old_columns(document)}
    found = [change for column in now.columns if (change := _of_column(column, before, now)) is not None]
    renamed = {column.was for column in now.columns} | {
        old.name for column in now.columns if (old := _same_field(column, before, now)) is not None
    }
    present = {column.name for column in now.columns}
    found += [
        Change(f"column `{name}` is gone", "conflict") for name in before if name not in present and name not in renamed
    ]
    if tuple(document["primary_key"]) != now.primary_key:
        found.append(Change(f"the primary key was {', '.join(document['primary_key'])}", "outdated"))
    dumped = now.document
    found += [
        Change(f"`{part}` of the request has changed", "outdated")
        for part in _REQUEST
        if document.get(part) != dumped.get(part)
    ]
    # a stored contract of an old version does not contain this part: nothing is compared
    before_of, now_of = document.get("of_source", dumped["of_source"]), dumped["of_source"]
    found += [
        Change(f"`{part}` of the source has changed", "outdated")
        for part in ("time_zone", "headers")
        if before_of.get(part) != now_of.get(part)
    ]
    return found


def _reading(column: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in column.items() if key in _READING}


def _reading_of(column: Column) -> Mapping[str, Any]:
    return _reading(column.model_dump(mode="json", exclude_defaults=True))


def _of_column(column: Column, before: Mapping[str, OldColumn], now: Resource) -> Change | None:
    old = before.get(column.name)
    if old is None:
        return _of_new_column(column, before, now)
    if old.type != column.type.replace(" ", ""):
        what = f"column `{column.name}` was {old.type} and is {column.type}"
        is_plain = old.key == field_of(column) and not old.reading and not _reading_of(column)
        return Change(what, "widened" if is_plain and is_wider(old.type, column.type) else "conflict", column.name)
    if old.key != field_of(column):
        return Change(
            f"column `{column.name}` was read from field `{old.key}` and is now from `{field_of(column)}`", "conflict"
        )
    if old.reading != _reading_of(column):
        return Change(f"values of column `{column.name}` are read differently", "outdated")
    if old.nullable and not column.nullable:
        return Change(f"column `{column.name}` was nullable", "outdated")
    return None


def _of_new_column(column: Column, before: Mapping[str, OldColumn], now: Resource) -> Change | None:
    if column.was is not None and (old := before.get(column.was)) is not None:
        if old.type != column.type.replace(" ", ""):
            return Change(f"column `{old.name}` was {old.type}, and `{column.name}` is {column.type}", "conflict")
        return Change(f"column `{old.name}` is called `{column.name}` now, as `was` says", "compatible")
    if (same := _same_field(column, before, now)) is not None:
        return Change(f"column `{same.name}` is called `{column.name}` now, without `was: {same.name}`", "conflict")
    effect: Effect = "compatible" if column.nullable else "conflict"
    return Change(f"column `{column.name}` is new{'' if column.nullable else ', and may not be null'}", effect)


def _same_field(column: Column, before: Mapping[str, OldColumn], now: Resource) -> OldColumn | None:
    """Return the old column that was read from the same field as a new column."""
    present = {other.name for other in now.columns}
    return next(
        (
            old
            for old in before.values()
            if column.name not in before and old.key == field_of(column) and old.name not in present
        ),
        None,
    )
