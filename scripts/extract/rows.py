"""Rows: from the records of a response to Arrow, typed by the contract, with what does not fit set aside.

A page of clean records is decoded straight into typed structs. A page with anything else in it is read once more,
record by record, by the same types, so that each record's own misfit decides what happens to it.
"""

from __future__ import annotations

import dataclasses
import decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from scripts.contracts.types import ROW, arrow_schema, canonical_json, python_type, split_records, to_array
from scripts.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scripts.contracts.source import Action, Column, Resource

_EXAMPLE_LENGTH = 80
_ARROW_MISFITS = (pa.ArrowException, OverflowError, decimal.DecimalException)


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
                (name, python_type(column)) if not column.nullable else (name, python_type(column) | None, None)
                for name, column in sorted(names.items(), key=lambda item: item[1].nullable)
            ],
            rename={name: column.key for name, column in names.items()},
            forbid_unknown_fields=True,
            gc=False,
        )
        self._attributes = list(names)
        self._decoder = msgspec.json.Decoder(list[self._struct])  # type: ignore[name-defined]
        self._fields = {column.key: msgspec.json.Decoder(python_type(column)) for column in self._columns}

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
            arrays.append(to_array(values, column, field.type))
        arrays.append(pa.array(extras, type=pa.string()))
        return pa.RecordBatch.from_arrays(arrays, schema=self._body_schema)


class _MisfitError(Exception):
    """A record that goes to quarantine."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


def _shorten(value: msgspec.Raw) -> str:
    text = canonical_json(value)
    return text if len(text) <= _EXAMPLE_LENGTH else text[: _EXAMPLE_LENGTH - 1] + "…"
