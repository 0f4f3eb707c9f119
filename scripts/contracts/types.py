"""Types of a contract's columns: their form in JSON, Python and Arrow, and the conversions between these."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.contracts.column import Column
    from scripts.contracts.source import Resource

ROW = "_row"
EXTRA = "_extra"
_INT64 = 2**63
_PLAIN_DECIMAL = r"^-?(0|[1-9][0-9]*)([.][0-9]+)?$"
_DECIMAL = r"^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?$"
_MOST_DIGITS = 38
_TIMESTAMP = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?$"
_USUAL_LENGTH = len("2024-01-31T23:59:59Z")
_LONG_FRACTION = r"([.][0-9]{6})[0-9]+"
_NO_OFFSET = r"^(.{19}(?:[.][0-9]+)?)$"
_FIRST_MOMENT, _LAST_MOMENT = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Bounds of the years 1 to 9999 in microseconds since 1970; Python, pandas and DuckDB support these years."""
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def arrow_schema(resource: Resource) -> pa.Schema:
    """Return the schema of a resource's Bronze files: its columns, `_extra` (JSON text) and `_row` (int64)."""
    fields = [pa.field(column.name, arrow_type(column.type)) for column in resource.columns]
    return pa.schema([*fields, pa.field(EXTRA, pa.string()), pa.field(ROW, pa.int64(), nullable=False)])


def to_record(row: dict[str, Any], resource: Resource) -> str:
    """Return a Bronze row as a JSON record; reading that record gives the same row."""
    record: dict[str, Any] = {}
    for column in resource.columns:
        value = row[column.name]
        if value is None:
            continue
        record[column.key] = msgspec.Raw(value.encode()) if column.type == "json" else value
    record |= msgspec.json.decode(row[EXTRA] or "{}", type=dict[str, msgspec.Raw])
    return _ENCODER.encode(record).decode()


class MisfitError(ValueError):
    """A column's type cannot hold its values without changing them."""


def to_array(values: Sequence[Any], column: Column) -> pa.Array:
    """Return the values of a column, decoded as `wire_type`, as an Arrow array.

    Values are not rounded. Digits of a time beyond microseconds are cut off.

    Raises:
        MisfitError: A value does not fit the type.
    """
    kind = arrow_type(column.type)
    convert = _CONVERTERS.get("decimal" if pa.types.is_decimal(kind) else column.type)
    try:
        return convert(values, kind) if convert else pa.array(values, type=kind)
    except (pa.ArrowException, OverflowError, UnicodeDecodeError) as error:
        raise MisfitError(str(error).splitlines()[0]) from None


def wire_type(column: Column) -> Any:  # noqa: ANN401 — a type expression
    """Return the type that a column's JSON values are decoded to; `to_array` converts the decoded values."""
    return _WIRE_TYPES.get(column.type, msgspec.Raw)


def compact(raw: bytes | msgspec.Raw) -> str:
    """Return JSON as text without insignificant white space, its keys in the order received."""
    return msgspec.json.format(bytes(raw), indent=-1).decode()


_WIRE_TYPES: dict[str, Any] = {
    "string": str,
    "integer": Annotated[int, msgspec.Meta(ge=-_INT64, le=_INT64 - 1)],
    "number": float,
    "boolean": bool,
    "date": dt.date,
    "timestamp": str,
    "json": msgspec.Raw,
}
_ARROW_TYPES: dict[str, Callable[[], pa.DataType]] = {
    "string": pa.string,
    "integer": pa.int64,
    "number": pa.float64,
    "boolean": pa.bool_,
    "date": pa.date32,
    "timestamp": lambda: pa.timestamp("us", tz="UTC"),
    "json": pa.string,
}


def arrow_type(name: str) -> pa.DataType:
    """Return the type of Arrow for a type of the contract, such as `decimal(10,2)`."""
    if name.startswith("decimal"):
        precision, scale = name.removeprefix("decimal(").removesuffix(")").split(",")
        return pa.decimal128(int(precision), int(scale))
    return _ARROW_TYPES[name]()


def _to_json(values: Sequence[msgspec.Raw | None], kind: pa.DataType) -> pa.Array:
    return pa.array(
        [None if value is None or bytes(value) == b"null" else compact(value) for value in values], type=kind
    )


def _to_decimals(values: Sequence[msgspec.Raw | None], kind: pa.Decimal128Type) -> pa.Array:
    texts = pa.array([_unquoted(value) for value in values], type=pa.string())
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    # with more than 38 digits, including those after the point, Arrow silently reads another number
    if longest + kind.scale <= _MOST_DIGITS and pc.all(pc.match_substring_regex(texts, _PLAIN_DECIMAL)).as_py():
        with contextlib.suppress(pa.ArrowInvalid):
            return texts.cast(kind)
    _require(texts, _DECIMAL, "is not a decimal number")
    exact = [None if text is None else _to_scale(text, kind) for text in texts.to_pylist()]
    return pa.array(exact, type=kind)


def _to_timestamps(values: Sequence[str | None], kind: pa.TimestampType) -> pa.Array:
    texts = pa.array(values, type=pa.string())
    lengths = pc.min_max(pc.binary_length(texts)).as_py()
    if lengths["min"] != lengths["max"] or lengths["min"] != _USUAL_LENGTH:
        # Arrow also reads shorter forms; none of them has the usual length
        _require(texts, _TIMESTAMP, "is not a time of the form 2024-01-31T23:59:59Z")
    try:
        moments = texts.cast(kind)
    except pa.ArrowInvalid:
        texts = pc.replace_substring_regex(pc.utf8_upper(texts), _LONG_FRACTION, r"\1")
        # a time without an offset counts as UTC
        moments = pc.replace_substring_regex(texts, _NO_OFFSET, r"\1Z").cast(kind)
    bounds = pc.min_max(moments.cast(pa.int64())).as_py()
    if bounds["min"] is not None and not _FIRST_MOMENT <= bounds["min"] <= bounds["max"] <= _LAST_MOMENT:
        raise MisfitError("is not a moment in the years 1 to 9999")
    return moments


def _require(texts: pa.Array, pattern: str, reason: str) -> None:
    if pc.all(pc.match_substring_regex(texts, pattern)).as_py() is False:
        raise MisfitError(reason)


def _unquoted(value: msgspec.Raw | None) -> bytes | None:
    if value is None or (raw := bytes(value)) == b"null":
        return None
    if not raw.startswith(b'"'):
        return raw
    return msgspec.json.decode(raw, type=str).encode() if b"\\" in raw else raw[1:-1]


def _to_scale(text: str, kind: pa.Decimal128Type) -> decimal.Decimal:
    context = decimal.Context(prec=kind.precision, traps=[decimal.Inexact, decimal.InvalidOperation])
    try:
        return decimal.Decimal(text).quantize(decimal.Decimal(1).scaleb(-kind.scale), context=context)
    except decimal.DecimalException:
        raise MisfitError("more digits than the decimal column holds") from None


_CONVERTERS: dict[str, Callable[[Any, Any], pa.Array]] = {
    "json": _to_json,
    "decimal": _to_decimals,
    "timestamp": _to_timestamps,
}
