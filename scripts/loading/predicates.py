"""Predicates: each rule on a column as a function of Arrow values that marks the values that break it."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from scripts.contracts.types import arrow_schema
from scripts.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.contracts.column import Column
    from scripts.contracts.rules import Rule
    from scripts.contracts.source import Resource

Test: TypeAlias = "Callable[[pa.Array], pa.Array]"
"""Marks the values that break a rule; null if the rule does not apply."""


class Predicate(NamedTuple):
    """One test of a rule on one column. A rule with two bounds has two; a value breaks at most one of them."""

    rule: str
    column: str
    part: int
    """Number of the predicate among those of its rule."""
    broken: Test


def compile_predicates(resource: Resource) -> Sequence[Predicate]:
    """Return the predicates of a resource's rules on columns, in contract order.

    Raises:
        ContractError: A rule cannot be evaluated on its column's type.
    """
    schema = arrow_schema(resource)
    return [
        Predicate(rule.name, rule.column, part, broken)
        for rule in resource.rules
        if rule.column is not None
        for part, broken in enumerate(_tests(rule, resource.column(rule.column), schema.field(rule.column).type))
    ]


def _tests(rule: Rule, column: Column, kind: pa.DataType) -> Sequence[Test]:
    if rule.not_null is not None:
        return [lambda values: values.is_null()]
    if rule.accepted_values is not None:
        accepted = comparable(_accepted(rule, column, kind))
        return [lambda values: pc.and_(values.is_valid(), pc.invert(pc.is_in(comparable(values), accepted)))]
    if rule.pattern is not None:
        return [lambda values: pc.invert(pc.match_substring_regex(values, rule.pattern))]
    if rule.length is not None:
        bounds = rule.length
        return [lambda values: _outside(pc.utf8_length(values), bounds.min, bounds.max)]
    if rule.range is not None:
        low, high = rule.range.min, rule.range.max
        return [
            *([] if low is None else [_bound_test(pc.less, low, kind, decimal.ROUND_CEILING)]),
            *([] if high is None else [_bound_test(pc.greater, high, kind, decimal.ROUND_FLOOR)]),
        ]
    return []


def comparable(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return values such that equal numbers have equal bits: -0.0 and 0.0 are equal, but their bits differ."""
    return pc.add(values, 0.0) if pa.types.is_floating(values.type) else values


def _outside(values: pa.Array, low: float | None, high: float | None) -> pa.Array:
    tests = [pc.less(values, pa.scalar(low))] if low is not None else []
    tests += [pc.greater(values, pa.scalar(high))] if high is not None else []
    return tests[0] if len(tests) == 1 else pc.or_(*tests)


def _bound_test(compare: Callable[..., pa.Array], bound: float, kind: pa.DataType, rounding: str) -> Test:
    """Return the comparison with a bound, which is converted to the column's type, so that no value is rounded."""
    if pa.types.is_floating(kind):
        return lambda values: compare(values, pa.scalar(bound, kind))
    scale = kind.scale if pa.types.is_decimal(kind) else 0
    context = decimal.Context(prec=400)
    exact = decimal.Decimal(str(bound)).quantize(decimal.Decimal(1).scaleb(-scale), rounding=rounding, context=context)
    try:
        limit = pa.scalar(exact if pa.types.is_decimal(kind) else int(exact), kind)
    except (pa.ArrowInvalid, OverflowError):
        # the bound is outside the range of the type: all values are on the same side of it
        is_broken = (exact > 0) == (compare is pc.less)
        return lambda values: pc.if_else(values.is_valid(), is_broken, pa.scalar(None, pa.bool_()))
    return lambda values: compare(values, limit)


def _accepted(rule: Rule, column: Column, kind: pa.DataType) -> pa.Array:
    """Return the accepted values of a rule in the type of its column."""
    values = []
    for value in rule.accepted_values or ():
        try:
            values.append(pa.scalar(_convert(value, column.type), kind))
        except (TypeError, ValueError, OverflowError, decimal.DecimalException):
            raise ContractError(
                f"rule `{rule.name}`: accepted value {value!r} is {_kind_of(value)}",
                expected=f"values like those of column `{column.name}`, which is {column.type}",
                hint="put text into quotes: YAML reads yes, no, on and off as booleans"
                if isinstance(value, bool)
                else "correct the value",
            ) from None
    return pa.array(values, kind)


def _convert(value: object, kind: str) -> Any:  # noqa: ANN401, PLR0911 — one for each type of column
    is_bool = isinstance(value, bool)
    if kind == "boolean" and is_bool:
        return value
    if kind in {"string", "json"} and isinstance(value, str):
        return value
    if kind == "integer" and not is_bool and isinstance(value, (int, float)) and value == int(value):
        return int(value)
    if kind == "number" and not is_bool and isinstance(value, (int, float)):
        return float(value)
    if kind.startswith("decimal") and not is_bool:
        return decimal.Decimal(str(value))
    if kind == "date" and isinstance(value, str):
        return dt.date.fromisoformat(value)
    if kind == "timestamp" and isinstance(value, str):
        moment = dt.datetime.fromisoformat(value)
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    raise TypeError


def _kind_of(value: object) -> str:
    return {bool: "a boolean", str: "text", int: "a whole number", float: "a number"}[type(value)]
