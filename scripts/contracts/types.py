"""Types: what a column of a contract is in JSON, in Python and in Arrow, and how its values change places."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.contracts.source import Column, Resource

ROW = "_row"
EXTRA = "_extra"
_INT64 = 2**63
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def arrow_schema(resource: Resource) -> pa.Schema:
    """Return the schema of a resource's Bronze files: its columns, `_extra` (JSON text) and `_row` (int64)."""
    fields = [pa.field(column.name, _arrow_type(column.type)) for column in resource.columns]
    return pa.schema([*fields, pa.field(EXTRA, pa.string()), pa.field(ROW, pa.int64(), nullable=False)])


def split_records(body: bytes | msgspec.Raw) -> list[str]:
    """Return each record of a JSON list as text, as it was received.

    Raises:
        msgspec.DecodeError: The body is not a JSON list.
    """
    try:
        return [bytes(raw).decode() for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # half a surrogate pair is all that strict parsers refuse and JSON texts still hold
        try:
            return [json.dumps(record) for record in json.loads(bytes(body))]
        except (ValueError, TypeError) as error:
            raise msgspec.DecodeError(str(error)) from None


def canonical_json(value: bytes | msgspec.Raw) -> str:
    """Return JSON as text without insignificant white space, its keys in the order received."""
    return msgspec.json.format(bytes(value), indent=-1).decode()


def to_record(row: dict[str, Any], resource: Resource) -> str:
    """Return a Bronze row as the JSON record that reads into the same row."""
    record: dict[str, Any] = {}
    for column in resource.columns:
        value = row[column.name]
        if value is None:
            continue
        record[column.key] = msgspec.Raw(value.encode()) if column.type == "json" else value
    record |= msgspec.json.decode(row[EXTRA] or "{}", type=dict[str, msgspec.Raw])
    return _ENCODER.encode(record).decode()


def to_array(values: Sequence[Any], column: Column, kind: pa.DataType) -> pa.Array:
    """Return decoded values of a column as an Arrow array.

    Raises:
        pa.ArrowException, OverflowError, decimal.DecimalException: A value does not fit the type.
    """
    if column.type == "json":
        values = [None if value is None else canonical_json(value) for value in values]
    elif column.type == "timestamp":
        values = [_utc(value) for value in values]
    elif column.type.startswith("decimal"):
        values = [None if value is None else _to_scale(value, kind) for value in values]
    return pa.array(values, type=kind)


_PYTHON_TYPES: dict[str, Any] = {
    "string": str,
    "integer": Annotated[int, msgspec.Meta(ge=-_INT64, le=_INT64 - 1)],
    "number": float,
    "boolean": bool,
    "date": dt.date,
    "timestamp": dt.datetime,
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


def python_type(column: Column) -> Any:  # noqa: ANN401 — a type expression
    """Return the type that a column's JSON values are decoded to."""
    return _PYTHON_TYPES.get(column.type, decimal.Decimal)


def _arrow_type(name: str) -> pa.DataType:
    if name.startswith("decimal"):
        precision, scale = name.removeprefix("decimal(").removesuffix(")").split(",")
        return pa.decimal128(int(precision), int(scale))
    return _ARROW_TYPES[name]()


def _utc(value: dt.datetime | None) -> dt.datetime | None:
    # a time without an offset counts as UTC; others are converted here, because pyarrow drops the offset
    # where PYARROW_IGNORE_TIMEZONE is set, which importing pandera does
    if value is None or value.tzinfo is dt.UTC:
        return value
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def _to_scale(value: decimal.Decimal, kind: pa.Decimal128Type) -> decimal.Decimal:
    # more digits than the column holds is a misfit: rounding would lose what the source sent
    context = decimal.Context(prec=kind.precision, traps=[decimal.Inexact, decimal.InvalidOperation])
    return value.quantize(decimal.Decimal(1).scaleb(-kind.scale), context=context)
