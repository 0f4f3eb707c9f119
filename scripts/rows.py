"""Rows: from the records of a response to Arrow, typed by the contract, with what does not fit set aside.

A page of clean records is decoded straight into typed structs. A page with anything else in it is read once more,
record by record, by the same types, so that each record's own misfit decides what happens to it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import json
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pyarrow as pa

from scripts.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scripts.contracts import Action, Column, Resource

ROW = "_row"
EXTRA = "_extra"
_INT64 = 2**63
_EXAMPLE_LENGTH = 80
_ARROW_MISFITS = (pa.ArrowException, OverflowError, decimal.DecimalException)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


@dataclasses.dataclass(frozen=True, slots=True)
class Reject:
    """A record that is not admitted, with the rule that it breaks and the reason in words."""

    position: int
    rule: str
    reason: str
    raw: str


@dataclasses.dataclass(slots=True)
class Drift:
    """A difference between the contract and what the source sends, counted over a partition."""

    kind: str
    field: str
    action: str
    rows: int
    example: str

    def add(self, other: Drift) -> None:
        """Count the rows of another page."""
        self.rows += other.rows


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """The records of one response, in the order in which they were received.

    Attributes:
        batch: Admitted rows with the contract's columns and `_extra`.
        positions: Place of each row of `batch` among all records of the page.
        rejects: Records that were not admitted.
        drift: Differences from the contract by (kind, field).
    """

    batch: pa.RecordBatch
    positions: Sequence[int]
    rejects: Sequence[Reject]
    drift: dict[tuple[str, str], Drift]

    @property
    def fetched(self) -> int:
        """Number of records that the source sent: the admitted and the rejected ones."""
        return int(self.batch.num_rows) + len(self.rejects)


class RowReader:
    """Reads records of one resource; may be shared by threads."""

    def __init__(self, resource: Resource) -> None:
        """Compile the contract's columns into a decoder and an Arrow schema."""
        self._resource = resource
        self._columns = resource.columns
        self._by_key = {column.key: column for column in resource.columns}
        self.schema = arrow_schema(resource)
        self._body_schema = pa.schema([field for field in self.schema if field.name != ROW])
        names = {f"c{position}": column for position, column in enumerate(self._columns)}
        self._struct = msgspec.defstruct(
            "Record",
            [
                (name, _python_type(column)) if not column.nullable else (name, _python_type(column) | None, None)
                for name, column in sorted(names.items(), key=lambda item: item[1].nullable)
            ],
            rename={name: column.key for name, column in names.items()},
            forbid_unknown_fields=True,
            gc=False,
        )
        self._attributes = list(names)
        self._decoder = msgspec.json.Decoder(list[self._struct])  # type: ignore[name-defined]
        self._fields = {column.key: msgspec.json.Decoder(_python_type(column)) for column in self._columns}

    def read(self, body: bytes | msgspec.Raw) -> Page:
        """Return the records of a JSON list.

        Raises:
            DataError: A record does not fit, and the contract's policy for that is `fail`.
            msgspec.DecodeError: The body is not JSON.
        """
        try:
            records = self._decoder.decode(body)
            return Page(self._to_batch(records, [None] * len(records)), range(len(records)), (), {})
        except (msgspec.DecodeError, *_ARROW_MISFITS):
            return self.read_each(split_records(body))

    def read_each(self, raws: Iterable[str]) -> Page:
        """Return records that are given one by one as JSON text; see `read`."""
        admitted, rejects = [], []
        drift: dict[tuple[str, str], Drift] = {}
        for position, raw in enumerate(raws):
            try:
                admitted.append((position, raw, *self._read_one(raw, drift)))
            except _MisfitError as misfit:
                rejects.append(Reject(position, misfit.rule, str(misfit), raw))
        try:
            batch = self._to_batch([row[2] for row in admitted], [row[3] for row in admitted])
        except _ARROW_MISFITS:
            admitted = [row for row in admitted if self._fits_arrow(row, rejects)]
            batch = self._to_batch([row[2] for row in admitted], [row[3] for row in admitted])
        return Page(batch, [row[0] for row in admitted], sorted(rejects, key=lambda reject: reject.position), drift)

    def _fits_arrow(self, row: tuple[int, str, Any, str | None], rejects: list[Reject]) -> bool:
        position, raw, record, extra = row
        try:
            self._to_batch([record], [extra])
        except _ARROW_MISFITS as error:
            digits = isinstance(error, decimal.DecimalException)
            detail = "more digits than the decimal column holds" if digits else str(error).splitlines()[0]
            reason = f"a value does not fit its column: {detail}"
            if self._resource.on_mistyped == "fail":
                raise DataError(reason, expected="the contract's types (its policy for this is `fail`)") from None
            rejects.append(Reject(position, "mistyped", reason, raw))
            return False
        return True

    def _read_one(self, raw: str, drift: dict[tuple[str, str], Drift]) -> tuple[Any, str | None]:
        try:
            fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        except msgspec.ValidationError:
            raise _MisfitError("not_an_object", "the record is not a JSON object") from None
        except msgspec.DecodeError as error:
            raise _MisfitError("malformed", f"the record is not valid JSON: {error}") from None
        values: dict[str, Any] = {}
        kept: dict[str, msgspec.Raw] = {}
        noted: list[Drift] = []
        for key, value in fields.items():
            if key not in self._by_key:
                self._apply(self._resource.on_unknown, "unknown", key, "is not in the contract", value, noted)
                if self._resource.on_unknown == "evolve":
                    kept[key] = value
        for attribute, column in zip(self._attributes, self._columns, strict=True):
            found = fields.get(column.key)
            if found is None or bytes(found) == b"null":
                values[attribute] = None
                if not column.nullable:
                    self._apply(
                        self._policy(column, self._resource.on_missing),
                        "missing",
                        column.key,
                        "is missing" if found is None else "is null, and may not be",
                        found,
                        noted,
                    )
                continue
            try:
                values[attribute] = self._fields[column.key].decode(found)
            except msgspec.DecodeError as error:
                values[attribute] = None
                action = self._policy(column, self._resource.on_mistyped)
                reason = f"is {_shorten(found)}, expected {column.type} ({error})"
                self._apply(action, "mistyped", column.key, reason, found, noted)
                if action == "evolve":
                    kept[column.key] = found
        for event in noted:
            drift.setdefault((event.kind, event.field), dataclasses.replace(event, rows=0)).add(event)
        extra = canonical_json(msgspec.json.encode(kept)) if kept else None
        return self._struct(**values), extra

    def _policy(self, column: Column, action: Action) -> Action:
        # a row without its key can't be admitted under any policy
        needed = column.name in self._resource.primary_key
        return "quarantine" if needed and action in {"evolve", "discard"} else action

    def _apply(
        self, action: Action, kind: str, key: str, reason: str, value: msgspec.Raw | None, noted: list[Drift]
    ) -> None:
        message = f"field `{key}` {reason}"
        if action == "fail":
            raise DataError(message, expected="the contract's fields (its policy for this is `fail`)")
        if action == "quarantine":
            raise _MisfitError(kind, message)
        noted.append(Drift(kind, key, action, 1, "" if value is None else _shorten(value)))

    def _to_batch(self, records: Sequence[Any], extras: Sequence[str | None]) -> pa.RecordBatch:
        arrays = []
        for attribute, column, field in zip(self._attributes, self._columns, self._body_schema, strict=False):
            values = [getattr(record, attribute) for record in records]
            if column.type == "json":
                values = [None if value is None else canonical_json(value) for value in values]
            elif column.type == "timestamp":
                values = [_utc(value) for value in values]
            elif column.type.startswith("decimal"):
                values = [None if value is None else _to_scale(value, field.type) for value in values]
            arrays.append(pa.array(values, type=field.type))
        arrays.append(pa.array(extras, type=pa.string()))
        return pa.RecordBatch.from_arrays(arrays, schema=self._body_schema)


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


class _MisfitError(Exception):
    """A record that goes to quarantine."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


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


def _python_type(column: Column) -> Any:  # noqa: ANN401 — a type expression
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


def _shorten(value: msgspec.Raw) -> str:
    text = canonical_json(value)
    return text if len(text) <= _EXAMPLE_LENGTH else text[: _EXAMPLE_LENGTH - 1] + "…"
