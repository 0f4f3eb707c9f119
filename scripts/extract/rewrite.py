"""Rewriting of records: opens nested lists, adds carried columns, lifts nested fields, converts values.

Only records of resources whose contract asks for it are rewritten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from scripts.contracts.json_path import steps_of
from scripts.errors import SourceRejectedError
from scripts.extract.convert import convert
from scripts.extract.find import find, find_one
from scripts.extract.json_text import MISREAD, has_repeated_key, split_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scripts.contracts.column import Column
    from scripts.contracts.source import Resource

_TEXT_FORMATS = frozenset({"csv", "tsv", "xml"})
Taken = dict[str | int, Any]
"""Steps below a field that are read into columns, level by level; an empty level marks a value."""


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

    def rewrite(self, records: Iterable[bytes], carried: Mapping[str, object]) -> list[bytes]:
        """Return rewritten records; a record that is not an object stays unchanged, for the quarantine.

        Raises:
            SourceRejectedError: A record already has a field with the name of a carried column.
        """
        rows: list[tuple[bytes, Mapping[str, object]]] = [(record, carried) for record in records]
        if self._nested is not None:
            rows = [row for record, _ in rows for row in self._open(record, carried)]
        return [self._rewrite_one(record, extra) for record, extra in rows]

    def _open(self, parent: bytes, carried: Mapping[str, object]) -> list[tuple[bytes, Mapping[str, object]]]:
        nested = self._nested
        if nested is None:
            return []
        found: Sequence[bytes] = find(parent, nested.path)
        extra = dict(carried)
        for name, path in nested.carry.items():
            value = find_one(parent, path)
            extra[name] = msgspec.Raw(b"null" if value is None else value)
        if len(found) == 1 and found[0][:1] == b"[":
            found = split_list(found[0])
        return [(record, extra) for record in found if record != b"null"]

    def _rewrite_one(self, record: bytes, extra: Mapping[str, object]) -> bytes:
        fields = _fields(record)
        if fields is None:
            # the row reader quarantines it
            return record
        if taken := sorted(set(fields) & set(extra)):
            raise SourceRejectedError(
                f"the records already have a field `{taken[0]}`",
                expected="another name in `carry`",
                hint="rename the column in `carry`, or remove it there",
            )
        fields |= extra
        self._lift(record, fields)
        for column in self._converted:
            if column.key in fields:
                value = fields[column.key]
                raw = value if isinstance(value, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(value))
                fields[column.key] = convert(raw, column)
        return msgspec.json.encode(fields)

    def _lift(self, record: bytes, fields: dict[str, Any]) -> None:
        for column in self._lifted:
            if (value := find_one(record, column.field or "")) is not None:
                fields[column.key] = msgspec.Raw(value)
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
    if not taken or begin not in {b"{", b"["}:
        return None if not taken else value
    if begin == b"{":
        level = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        left = {key: _without(item, taken[key]) if key in taken else item for key, item in level.items()}
        rest = {key: item for key, item in left.items() if item is not None}
        return msgspec.Raw(msgspec.json.encode(rest)) if rest else None
    items = msgspec.json.decode(value, type=list[msgspec.Raw])
    parts = [_without(item, taken[place]) if place in taken else item for place, item in enumerate(items)]
    return None if all(part is None for part in parts) else msgspec.Raw(msgspec.json.encode(parts))
