"""Rewriting of records: opens nested lists, adds carried columns, lifts nested fields, converts values.

Only records of resources whose contract asks for it are rewritten. Each rewritten record is kept together with the
received one, since the quarantine stores records as received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from scripts.contracts.json_path import steps_of
from scripts.errors import SourceRejectedError
from scripts.extract.convert import convert
from scripts.extract.find import AmbiguousPathError, find, find_one
from scripts.extract.json_text import MISREAD, has_repeated_key, split_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scripts.contracts.column import Column
    from scripts.contracts.source import Resource

_TEXT_FORMATS = frozenset({"csv", "tsv", "xml"})
Taken = dict[str | int, Any]
"""Steps below a field that are read into columns, level by level; an empty level marks a value."""


class Rewritten(NamedTuple):
    """A record as it was received, with its carried columns (`raw`), and after the rewriting (`record`)."""

    raw: bytes
    record: bytes


class Rewriter:
    """Rewrites the records of one resource; may be shared by threads."""

    def __init__(self, resource: Resource) -> None:
        """Collect the columns that the contract asks to rewrite."""
        self._nested = resource.nested
        self._lifted = [column for column in resource.columns if column.is_nested]
        self._converted = [_as_text(column, resource) for column in resource.columns]
        self._converted = [column for column in self._converted if column.is_converted]
        declared = {column.key for column in resource.columns}
        self._taken: Taken = {}
        for column in self._lifted:
            level = self._taken
            for step in steps_of(column.field or ""):
                level = level.setdefault(step, {})
        for key in declared & set(self._taken):
            del self._taken[key]
        self.is_needed = bool(self._nested or self._lifted or self._converted)

    def rewrite(self, records: Iterable[bytes], carried: Mapping[str, object]) -> list[Rewritten]:
        """Return rewritten records; a record that cannot be rewritten stays unchanged, for the quarantine.

        Raises:
            SourceRejectedError: A record already has a field with the name of a carried column.
        """
        return [row for record in records for row in self._open(record, carried)]

    def rewrite_one(self, raw: bytes) -> bytes:
        """Return one record, which is already opened and has its carried columns, after the rewriting."""
        return self._rewrite(raw, {}).record

    def _open(self, parent: bytes, carried: Mapping[str, object]) -> list[Rewritten]:
        """Return the rewritten records of the list within a record, or of the record if no list has to be opened."""
        nested = self._nested
        if nested is None:
            return [self._rewrite(parent, carried)]
        extra = dict(carried)
        try:
            found: Sequence[bytes] = find(parent, nested.path)
            for name, path in nested.carry.items():
                value = find_one(parent, path)
                extra[name] = msgspec.Raw(b"null" if value is None else value)
            if len(found) == 1 and found[0] == b"null":
                found = []
            elif len(found) == 1 and found[0][:1] == b"[":
                found = split_list(found[0])
            elif len(found) == 1 and found[0][:1] != b"{":
                msgspec.json.decode(found[0])  # NaN is no JSON: the record as a whole goes to quarantine
        except AmbiguousPathError:
            return [Rewritten(parent, _said_twice(nested.path))]
        except MISREAD:
            return [Rewritten(parent, parent)]
        return [self._rewrite(record, extra) for record in found]

    def _rewrite(self, record: bytes, extra: Mapping[str, object]) -> Rewritten:
        fields = _fields(record)
        if fields is None:
            # the row reader quarantines it
            return Rewritten(record, record)
        if taken := sorted(set(fields) & set(extra)):
            raise SourceRejectedError(
                f"the records already have a field `{taken[0]}`",
                expected="another name in `carry`",
                hint="rename the column in `carry`, or remove it there",
            )
        raw = _with_fields(record, extra) if extra else record
        fields |= {name: _as_raw(value) for name, value in extra.items()}
        try:
            return Rewritten(raw, self._rewrite_fields(raw, fields))
        except MISREAD:
            # the row reader handles a value that cannot be read
            return Rewritten(raw, raw)

    def _rewrite_fields(self, raw: bytes, fields: dict[str, msgspec.Raw]) -> bytes:
        for column in self._lifted:
            try:
                value = find_one(raw, column.field or "")
            except AmbiguousPathError:
                return _said_twice(column.key)
            if value is None:
                continue
            if column.key in fields and bytes(fields[column.key]) != value:
                # the path leads to one value, and a key equal to the path has another: keep both
                return _said_twice(column.key)
            fields[column.key] = msgspec.Raw(value)
        self._take(fields)
        for column in self._converted:
            if column.key in fields:
                fields[column.key] = convert(fields[column.key], column)
        return msgspec.json.encode(fields) if self._lifted or self._converted else raw

    def _take(self, fields: dict[str, Any]) -> None:
        """Remove the values that were lifted from the fields that contained them."""
        for key, below in self._taken.items():
            if isinstance(key, str) and key in fields:
                rest = _without(fields.pop(key), below)
                if rest is not None:
                    fields[key] = rest


def _fields(record: bytes) -> dict[str, Any] | None:
    """Return the fields of a record; None if it is not an object, or repeats a field."""
    try:
        fields: dict[str, Any] = msgspec.json.decode(record, type=dict[str, msgspec.Raw])
    except MISREAD:
        return None
    return None if has_repeated_key(record, fields) else fields


def _with_fields(record: bytes, extra: Mapping[str, object]) -> bytes:
    """Return a record, which is an object, with more fields; the other fields stay as received."""
    inner, added = record.strip()[1:-1].strip(), msgspec.json.encode(extra)[1:-1]
    return b"{%s,%s}" % (added, inner) if inner else b"{%s}" % added


def _said_twice(key: str) -> bytes:
    """Return a record that repeats a field: the row reader quarantines it and names the field."""
    name = msgspec.json.encode(key)
    return b"{%s:null,%s:null}" % (name, name)


def _as_raw(value: object) -> msgspec.Raw:
    return value if isinstance(value, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(value))


def _as_text(column: Column, resource: Resource) -> Column:
    """Return a column as text to convert, if the format only has text."""
    if resource.response.format not in _TEXT_FORMATS or column.format is not None:
        return column
    if column.type in {"date", "timestamp"}:
        return column.model_copy(update={"format": "iso"})
    return column if column.type == "string" else column.model_copy(update={"format": "text"})


def _without(value: msgspec.Raw, taken: Taken) -> msgspec.Raw | None:
    """Return a value without the parts that are read into columns; None if nothing is left."""
    begin = bytes(value)[:1]
    if not taken or begin == b"n":
        # null where the contract names a field within: the column is null
        return None
    if begin not in {b"{", b"["}:
        return value
    if begin == b"{":
        level = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        left = {key: _without(item, taken[key]) if key in taken else item for key, item in level.items()}
        rest = {key: item for key, item in left.items() if item is not None}
        return msgspec.Raw(msgspec.json.encode(rest)) if rest else None
    items = msgspec.json.decode(value, type=list[msgspec.Raw])
    parts = [_without(item, taken[place]) if place in taken else item for place, item in enumerate(items)]
    return None if all(part is None for part in parts) else msgspec.Raw(msgspec.json.encode(parts))
