"""Profiles: what a table of the published version holds, column by column, in numbers."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING

import msgspec

from scripts.portal import changes
from scripts.warehouse.database import number, quoted

if TYPE_CHECKING:
    import duckdb

_BINS = 20
_FEW = 12
"""A column of numbers or days with at most as many values is shown value by value."""
_FEW_TEXTS = 200
"""The most different texts of which the most frequent are shown; of other columns, the lengths."""
_DAY_SECONDS = 86400
_TOP = 5
_SAMPLED_ROWS = 200_000
_LONGEST_VALUE = 60
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_FLOATS = ("UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
_TEXTS = ("VARCHAR", "BOOLEAN", "UUID", "ENUM")


class Bin(msgspec.Struct, frozen=True):
    """A part of a distribution: a value, or the beginning of a range."""

    label: str
    count: int
    is_rest: bool = False
    """It stands for all values that are not shown."""


class ColumnProfile(msgspec.Struct, frozen=True):
    """What a column holds."""

    name: str
    type: str
    null_count: int = 0
    distinct_count: int = 0
    """Approximate in large tables."""
    smallest: str = ""
    largest: str = ""
    shape: str = ""
    """What the bins are: `values`, values in `order`, `ranges`, or `lengths` of texts; empty without bins."""
    bins: tuple[Bin, ...] = ()
    hidden: bool = False
    """Its values are sensitive: the profile has only counts."""


class TableProfile(msgspec.Struct, frozen=True):
    """What a table holds."""

    row_count: int
    columns: tuple[ColumnProfile, ...]
    sample: tuple[tuple[str | None, ...], ...] = ()
    """A few rows; values of hidden columns are left out."""
    is_sampled: bool = False
    """The distributions are those of a sample of the rows."""


def profile(
    connection: duckdb.DuckDBPyConnection, relation: str, hidden: frozenset[str], *, sample_rows: int = 8
) -> TableProfile:
    """Return the profile of a table or view.

    Args:
        connection: The open warehouse.
        relation: The quoted name of the table.
        hidden: The columns whose values must not appear.
        sample_rows: How many rows are shown.
    """
    columns = list(changes.columns(connection, relation).items())
    total = number(connection, f"select count(*) from {relation}")  # noqa: S608 — names of its own catalog
    is_sampled, is_large = total > 5 * _SAMPLED_ROWS, total > _SAMPLED_ROWS
    distinct = "approx_count_distinct({})" if is_large else "count(distinct {})"
    parts = [f"count({quoted(name)}), {distinct.format(quoted(name))}" for name, _ in columns]
    row = connection.execute(f"select {', '.join(parts)} from {relation}").fetchone() or ()  # noqa: S608 — the same
    place = f"(from {relation} using sample {_SAMPLED_ROWS} rows (reservoir, 1))" if is_sampled else relation
    found = []
    for at, (name, kind) in enumerate(columns):
        present, different = int(row[2 * at]), min(int(row[2 * at]), int(row[2 * at + 1]))
        known = ColumnProfile(name, kind, total - present, different, hidden=name in hidden)
        is_plain = different > 1 and (different < present or not kind.startswith(_TEXTS)) and not known.hidden
        if different == 1 and not known.hidden:
            query = f"select any_value({quoted(name)}) from {relation}"  # noqa: S608 — the same
            only = _shown((connection.execute(query).fetchone() or ("",))[0]) or ""
            known = msgspec.structs.replace(known, smallest=only, largest=only)
        found.append(_with_bins(connection, place, known) if is_plain else known)
    rows = connection.execute(f"select * from {relation} limit {int(sample_rows)}").fetchall()  # noqa: S608 — the same
    sample = tuple(
        tuple(None if columns[at][0] in hidden else _shown(value) for at, value in enumerate(values)) for values in rows
    )
    return TableProfile(total, tuple(found), sample, is_sampled)


def _with_bins(connection: duckdb.DuckDBPyConnection, place: str, known: ColumnProfile) -> ColumnProfile:
    column, family = quoted(known.name), known.type.partition("(")[0]
    if known.type.endswith("]"):
        return known
    in_order = family in _NUMBERS or family == "DATE"
    if (known.distinct_count <= _FEW and in_order) or (family in _TEXTS and known.distinct_count <= _FEW_TEXTS):
        return _of_values(connection, place, column, known, in_order=in_order)
    if family in (*_NUMBERS, *_FLOATS):
        return _of_ranges(connection, place, column, f"cast({column} as double)", known)
    if family == "DATE" or family.startswith("TIMESTAMP"):
        return _of_ranges(connection, place, column, f"epoch({column})", known)
    if family == "VARCHAR":
        return _of_ranges(connection, place, f"length({column})", f"length({column})", known, shape="lengths")
    return known


def _of_values(
    connection: duckdb.DuckDBPyConnection, place: str, column: str, known: ColumnProfile, *, in_order: bool
) -> ColumnProfile:
    order = "1" if in_order else "2 desc, 1"
    query = f"select {column}, count(*) from {place} where {column} is not null group by 1 order by {order}"  # noqa: S608 — the same
    rows = connection.execute(query).fetchall()
    shown = rows if len(rows) <= (_FEW if in_order else _TOP + 1) else rows[:_TOP]
    bins = [Bin(_shown(value) or "", int(count)) for value, count in shown]
    if rest := rows[len(shown) :]:
        bins.append(Bin(f"{len(rest)} others", sum(int(count) for _, count in rest), is_rest=True))
    return msgspec.structs.replace(known, shape="order" if in_order else "values", bins=tuple(bins))


def _of_ranges(
    connection: duckdb.DuckDBPyConnection,
    place: str,
    column: str,
    number: str,
    known: ColumnProfile,
    *,
    shape: str = "ranges",
) -> ColumnProfile:
    is_finite = f"isfinite(cast({number} as double))"
    query = f"select min({column}), max({column}), min({number}), max({number}) from {place} where {is_finite}"  # noqa: S608 — the same
    smallest, largest, low, high = connection.execute(query).fetchone() or (None,) * 4
    if low is None or high is None or not low < high or not math.isfinite(float(high) - float(low)):
        return known
    low, high = float(low), float(high)
    width = _width(low, high, smallest)
    at = f"least(cast(floor(({number} - {low!r}) / {width!r}) as integer), {_BINS - 1})"
    query = f"select {at}, count(*) from {place} where {is_finite} group by 1"  # noqa: S608 — the same
    counted = {int(row[0]): int(row[1]) for row in connection.execute(query).fetchall()}
    bins = tuple(Bin(_edge(low + step * width, smallest), counted.get(step, 0)) for step in range(max(counted) + 1))
    return msgspec.structs.replace(
        known, smallest=_shown(smallest) or "", largest=_shown(largest) or "", shape=shape, bins=bins
    )


def _width(low: float, high: float, like: object) -> float:
    """Return the width of a bin; whole numbers and days are not divided."""
    if isinstance(like, dt.date) and not isinstance(like, dt.datetime):
        return _DAY_SECONDS * math.ceil(((high - low) / _DAY_SECONDS + 1) / _BINS)
    if isinstance(like, int):
        return float(math.ceil((high - low + 1) / _BINS))
    return (high - low) / _BINS


def _edge(value: float, like: object) -> str:
    if isinstance(like, dt.date):
        moment = dt.datetime.fromtimestamp(value, dt.UTC)
        return moment.strftime("%Y-%m-%d %H:%M" if isinstance(like, dt.datetime) else "%Y-%m-%d")
    return f"{value:,.0f}" if isinstance(like, int) else f"{value:,.4g}"


def _shown(value: object) -> str | None:
    if value is None:
        return None
    text = f"{value:,.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def share_of_nulls(column: ColumnProfile, row_count: int) -> str:
    """Return the share of rows without a value, in words."""
    if not column.null_count:
        return "0 %"
    share = 100 * column.null_count / row_count
    return "< 0.1 %" if share < 0.1 else f"{share:.3g} %"  # noqa: PLR2004 — what the text says
