"""The answer of `explain` as plain data: a row, the rows that it was computed from, and why a row is not there."""

from __future__ import annotations

from typing import Any

import msgspec

from scripts.explain.bronze_rows import Stretch
from scripts.explain.loads import Load
from scripts.explain.quarantined import QuarantinedVersion


class BronzeOrigin(msgspec.Struct):
    """The rows of one key in Bronze."""

    resource: str
    key: dict[str, str | None]
    loaded_days: int = 0
    """Loaded days of the resource."""
    days_with_key: int = 0
    """Days whose file has the key, among those that were read."""
    days_read: int = 0
    """The other published days are known not to have it, or were not asked for."""
    stretches: list[Stretch] = []
    loads: list[Load] = []
    """The load of the last day of each stretch that is shown; the last one is the load of the row that counts."""
    quarantined: list[QuarantinedVersion] = []
    note: str = ""


class Rows(msgspec.Struct):
    """The rows of one table that a row was computed from, or that a caller asked for."""

    table: str
    how: str
    condition: dict[str, str | None]
    count: int
    rows: list[Row] = []
    note: str = ""


class Row(msgspec.Struct):
    """A row of a table, with the rows that it was computed from."""

    values: dict[str, Any]
    """Values of sensitive columns are masked."""
    origins: list[Rows] = []
    bronze: list[BronzeOrigin] = []


class Finding(msgspec.Struct, frozen=True):
    """A reason why a row is not there."""

    what: str
    next: str = ""


class TestOutcome(msgspec.Struct, frozen=True):
    """The last result of a test in the published version."""

    table: str
    name: str
    status: str
    rows: str
    """Over which rows it ran: `all` or `changed`."""
    ran_at: str
    message: str


class Explanation(msgspec.Struct):
    """The answer about a key or a condition."""

    asked: str
    version: str
    built_at: str
    description: str
    found: Rows
    absent: list[Finding] = []
    """Why no row is there, the most certain reason first; empty if there is one."""
    tests: list[TestOutcome] = []
    notes: list[str] = []


class ColumnStep(msgspec.Struct):
    """A column of a table, and how it is computed."""

    table: str
    column: str
    type: str = ""
    description: str = ""
    how: str = ""
    """How it becomes the column above it: `same`, `computed`, `aggregated` or `rows`."""
    steps: list[tuple[str, str]] = []
    """The expressions, from the last to the first: the column that each computes, and its SQL."""
    filters: list[str] = []
    """If it is computed from many rows: the conditions by which the SQL of the table leaves rows out."""
    inputs: list[ColumnStep] = []
    field: dict[str, Any] = {}
    """For a column of Bronze: the field of the source's record, its type in the contract, whether it is sensitive."""
    note: str = ""


class ColumnExplanation(msgspec.Struct):
    """The answer about a column."""

    version: str
    built_at: str
    column: ColumnStep


def plain(value: object) -> object:
    """Return an answer as plain data for JSON."""
    return msgspec.to_builtins(value, str_keys=True)


def typed(value: str | None, kind: str) -> object:
    """Return a value that DuckDB wrote as text as a number or boolean, if JSON holds it without a loss."""
    if value is None:
        return None
    if kind in _INTEGERS:
        return int(value)
    if kind == "BOOLEAN":
        return value == "true"
    if kind in {"DOUBLE", "FLOAT"}:
        number = float(value)
        return number if number - number == 0 else value
    return value


_INTEGERS = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
}
