"""Rows: converts the records of a response to Arrow by the contract's types, and sets aside records that do not fit.

A page whose records all fit is decoded directly into typed structs. Any other page is read again, record by record,
with the same types, so that the contract's policy is applied to each record separately.
"""

from __future__ import annotations

import collections
import dataclasses
import operator
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from scripts.contracts.types import ROW, MisfitError, arrow_schema, compact, to_array, wire_type
from scripts.errors import DataError
from scripts.extract.convert import unmarked
from scripts.extract.drift import Drift
from scripts.extract.json_text import MISREAD, count_escaped, count_keys, has_repeated_key, split_list, split_object
from scripts.security.outside_text import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scripts.contracts.column import Column
    from scripts.contracts.source import Action, Resource

_EXAMPLE_LENGTH = 80
_NULL = b"null"
_UNREAD = (*MISREAD, MisfitError)


@dataclasses.dataclass(frozen=True, slots=True)
class Reject:
    """A record that is not admitted, with the rule that it breaks and the reason as text."""

    position: int
    rule: str
    reason: str
    raw: bytes


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
        """Compile the contract's columns into decoders and an Arrow schema."""
        self._resource = resource
        self._sensitive = frozenset(column.key for column in resource.columns if column.sensitive)
        self._columns = resource.columns
        self._keys = frozenset(column.key for column in resource.columns)
        self.schema = arrow_schema(resource)
        self._body_schema = pa.schema([field for field in self.schema if field.name != ROW])
        self._attributes = [f"c{position}" for position in range(len(self._columns))]
        self._getters = [operator.attrgetter(attribute) for attribute in self._attributes]
        self._required = resource.required
        self._decoder = self._decode_to("Record", None)
        self._sent = self._decode_to("SentFields", msgspec.UNSET)
        self._fields = {column.key: msgspec.json.Decoder(wire_type(column)) for column in self._columns}

    def read(self, body: bytes) -> Page:
        """Return the page of a JSON list of records, in UTF-8.

        Raises:
            DataError: A record does not fit, and the contract's policy for that is `fail`.
            SourceRejectedError: The body opens more than a thousand brackets and does not close them.
            msgspec.ValidationError: The body is not a list.
            msgspec.DecodeError: The body is not JSON.
        """
        try:
            records = self._decoder.decode(body)
            batch = self._to_batch(
                [list(map(get, records)) for get in self._getters],
                [None] * len(records),
            )
            if self._is_clean(body, batch):
                return Page(batch, range(len(records)), (), {})
        except _UNREAD:
            pass
        return self.read_each(split_list(body))

    def read_each(self, raws: Iterable[bytes]) -> Page:
        """Return the page of records that are given one by one as JSON text; see `read`."""
        rows: list[_Row] = []
        rejects: list[Reject] = []
        for position, raw in enumerate(raws):
            try:
                rows.append(self._read_one(position, raw))
            except _SetAside as found:
                rejects.append(Reject(position, found.rule, str(found), raw))
        for column in self._columns:
            rows = self._fit(rows, column, rejects)
        batch = self._to_batch(
            [[row.values.get(column.key) for row in rows] for column in self._columns],
            [compact(msgspec.json.encode(row.kept)) if row.kept else None for row in rows],
        )
        drift: dict[tuple[str, str], Drift] = {}
        for row in rows:
            for note in row.notes:
                drift.setdefault((note.kind, note.field), dataclasses.replace(note, rows=0)).add(note)
        rejects.sort(key=lambda reject: reject.position)
        return Page(batch, [row.position for row in rows], rejects, drift)

    def _decode_to(self, name: str, absent: object) -> msgspec.json.Decoder[Any]:
        """Return a decoder of lists of records, with `absent` for a field that a record lacks."""
        null = None if absent is None else None | msgspec.UnsetType
        required, optional = [], []
        for attribute, column in zip(self._attributes, self._columns, strict=True):
            kind = wire_type(column)
            if column.name in self._required:
                required.append((attribute, kind))
            else:
                # raw JSON includes null, and msgspec does not allow it in a union
                optional.append((attribute, kind if kind is msgspec.Raw else kind | null, absent))
        rename = {attribute: column.key for attribute, column in zip(self._attributes, self._columns, strict=True)}
        record = msgspec.defstruct(name, [*required, *optional], rename=rename, forbid_unknown_fields=True, gc=False)
        return msgspec.json.Decoder(list[record])  # type: ignore[valid-type]

    def _is_clean(self, body: bytes, batch: pa.RecordBatch) -> bool:
        """Return whether no record of a decoded body lacks a required value or repeats a field.

        msgspec silently keeps the last value of a repeated key. If no key repeats, a body has as many keys as its
        records have fields.
        """
        columns = zip(self._columns, batch.columns, strict=False)
        if any(values.null_count for column, values in columns if column.name in self._required):
            return False
        nested = b",".join(
            value.encode()
            for column, values in zip(self._columns, batch.columns, strict=False)
            if column.type == "json"
            for value in values.drop_null().to_pylist()
        )
        nulls = sum(values.null_count for values in batch.columns[: len(self._columns)])
        surplus = count_keys(body) - batch.num_rows * len(self._columns) + nulls - count_keys(nested)
        if surplus > 0:
            surplus -= count_escaped(body) - count_escaped(nested)
        if surplus > 0 and nulls:
            records = self._sent.decode(body)
            surplus -= nulls - sum(
                value is msgspec.UNSET for record in records for value in msgspec.structs.astuple(record)
            )
        return bool(surplus <= 0)

    def _read_one(self, position: int, raw: bytes) -> _Row:
        fields = _decode_fields(raw)
        row = _Row(position, raw, fields)
        for key, value in fields.items():
            if key not in self._keys:
                self._apply(row, self._resource.on_unknown, "unknown", key, "is not in the contract")
                if self._resource.on_unknown == "evolve":
                    row.kept[key] = value
        for column in self._columns:
            found = fields.get(column.key)
            if found is None or bytes(found) == _NULL:
                if column.name in self._required:
                    action = self._policy(column, self._resource.on_missing)
                    reason = "is missing" if found is None else "is null, but must not be"
                    self._apply(row, action, "missing", column.key, reason)
                continue
            try:
                row.values[column.key] = self._fields[column.key].decode(found)
            except MISREAD as error:
                self._set_null(row, column, error)
        return row

    def _fit(self, rows: list[_Row], column: Column, rejects: list[Reject]) -> list[_Row]:
        """Return the rows that stay after the policy is applied to the values that do not fit a column's type."""
        try:
            to_array([row.values.get(column.key) for row in rows], column)
        except MisfitError:
            return [row for row in rows if self._fits(row, column, rejects)]
        return rows

    def _fits(self, row: _Row, column: Column, rejects: list[Reject]) -> bool:
        try:
            to_array([row.values.get(column.key)], column)
        except MisfitError as error:
            try:
                self._set_null(row, column, error)
            except _SetAside as found:
                rejects.append(Reject(row.position, found.rule, str(found), row.raw))
                return False
        return True

    def _set_null(self, row: _Row, column: Column, error: Exception) -> None:
        """Apply the contract's policy to a value that does not fit its column."""
        found = row.fields[column.key] = unmarked(row.fields[column.key])
        action = self._policy(column, self._resource.on_mistyped)
        shown = HIDDEN if column.sensitive else _shorten(found)
        words = "" if column.sensitive else f" ({_words(error)})"
        self._apply(row, action, "mistyped", column.key, f"is {shown}, expected {column.type}{words}")
        row.values[column.key] = None
        if action == "evolve":
            row.kept[column.key] = found

    def _policy(self, column: Column, action: Action) -> Action:
        # a row without its key can't be admitted under any policy
        needed = column.name in self._resource.primary_key
        return "quarantine" if needed and action in {"evolve", "discard"} else action

    def _apply(self, row: _Row, action: Action, kind: str, key: str, reason: str) -> None:
        message = f"field `{_shorten_text(key)}` {reason}"
        if action == "fail":
            raise DataError(message, expected="the contract's fields (its policy for this is `fail`)")
        if action == "quarantine":
            raise _SetAside(kind, message)
        example = "" if key not in row.fields else HIDDEN if self._is_hidden(key) else _shorten(row.fields[key])
        row.notes.append(Drift(kind, _shorten_text(key), action, 1, example))

    def _is_hidden(self, key: str) -> bool:
        """Return whether values of a field are never shown; an unknown field may be a renamed sensitive field."""
        return key in self._sensitive or (key not in self._keys and bool(self._sensitive))

    def _to_batch(self, columns: Sequence[Sequence[Any]], extras: Sequence[str | None]) -> pa.RecordBatch:
        arrays = [to_array(values, column) for values, column in zip(columns, self._columns, strict=True)]
        return pa.RecordBatch.from_arrays([*arrays, pa.array(extras, type=pa.string())], schema=self._body_schema)


@dataclasses.dataclass(slots=True)
class _Row:
    """A record that becomes a row: the values of its columns by key, and the fields that go to `_extra`."""

    position: int
    raw: bytes
    fields: dict[str, msgspec.Raw]
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    kept: dict[str, msgspec.Raw] = dataclasses.field(default_factory=dict)
    notes: list[Drift] = dataclasses.field(default_factory=list)


class _SetAside(Exception):  # noqa: N818 — not an error, but an expected result for a record
    """A record goes to quarantine."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


def _decode_fields(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        if not raw.isascii():
            raw.decode()
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise _SetAside("not_an_object", "the record is not a JSON object") from None
    except MISREAD as error:
        raise _SetAside("malformed", f"the record is not valid JSON: {_words(error)}") from None
    if has_repeated_key(raw, fields):
        count = collections.Counter(key for key, _ in split_object(raw))
        key, _ = count.most_common(1)[0]
        raise _SetAside("repeated_key", f"field `{_shorten_text(key)}` appears {count[key]} times")
    return fields


def _words(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.object[error.start]:#04x} is not UTF-8"
    # the message of msgspec for half a surrogate pair
    text = str(error)
    return "it ends too early, or holds half a surrogate pair" if text == "Input data was truncated" else text


def _shorten(value: msgspec.Raw) -> str:
    return _shorten_text(bytes(value)[: 4 * _EXAMPLE_LENGTH].decode(errors="replace"))


def _shorten_text(text: str) -> str:
    return text if len(text) <= _EXAMPLE_LENGTH else text[: _EXAMPLE_LENGTH - 1] + "…"
