"""Records: found in a response of any shape that a contract can declare, and returned as one JSON list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from scripts.contracts.json_path import is_singular, outer_place_of, place_of, steps
from scripts.contracts.response import (
    ArrayResponse,
    ColumnarResponse,
    EnvelopeResponse,
    FlatMapResponse,
    KeyedResponse,
    RowsResponse,
)
from scripts.errors import SourceRejectedError
from scripts.extract import formats
from scripts.extract.find import find, find_one
from scripts.extract.flat_maps import flat_records
from scripts.extract.json_text import first_character, split_list, split_object, to_utf8
from scripts.security.outside_text import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scripts.contracts.source import Resource

_SHOWN_KEYS = 8
_LONGEST_KEY = 80


class Found(NamedTuple):
    """The records of a response."""

    records: bytes | list[bytes]
    """One JSON list, or a list of lines that are JSON."""
    document: bytes | None
    """The whole JSON document that contains the records."""


def find_records(body: bytes, resource: Resource, content_type: str = "") -> Found:
    """Return the records of a body.

    Raises:
        SourceRejectedError: The body does not have the shape that the contract declares.
        msgspec.DecodeError: The body is not JSON.
    """
    parts = [_find(part, resource, content_type) for part in formats.open_body(body)]
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part.records, list) for part in parts):
        return Found([line for part in parts if isinstance(part.records, list) for line in part.records], None)
    return Found(_join([item for part in parts for item in split(part.records)]), None)


def split(records: bytes | list[bytes]) -> Sequence[bytes]:
    """Return each record as it was received."""
    return records if isinstance(records, list) else split_list(records)


def key_names(pairs: Sequence[tuple[str, bytes]]) -> str:
    """Return the names of the first keys of an object for a message."""
    return ", ".join(cut(key, _LONGEST_KEY) for key, _ in pairs[:_SHOWN_KEYS]) or "none"


def _find(body: bytes, resource: Resource, content_type: str) -> Found:
    response = resource.response
    if response.format == "ndjson":
        return Found(formats.json_lines(to_utf8(body, content_type)), None)
    if isinstance(response, ArrayResponse) and response.format in {"csv", "tsv"}:
        return Found(formats.csv_records(body, response, resource.columns), None)
    document = _document(body, resource, content_type)
    return Found(_place(document, resource), document)


def _document(body: bytes, resource: Resource, content_type: str) -> bytes:
    if resource.response.format == "xml":
        return formats.xml_document(body, content_type, _listed_elements(resource))
    return to_utf8(body, content_type)


def _listed_elements(resource: Resource) -> set[tuple[str, ...]]:
    """Return the elements of XML that `[*]` follows in the contract's paths: they are lists if they stand once too."""
    paths = [getattr(resource.response, "data_path", None), resource.nested.path if resource.nested else None]
    found: set[tuple[str, ...]] = set()
    names: tuple[str, ...] = ()
    for path in paths:
        for step in steps(path) or () if path else ():
            if step is None:
                found.add(names)
            elif isinstance(step, str):
                names = (*names, step)
    return found


def _place(body: bytes, resource: Resource) -> bytes:
    shape = resource.response
    if isinstance(shape, EnvelopeResponse):
        return _envelope(body, shape, resource)
    if isinstance(shape, RowsResponse):
        return _rows(body, shape, resource)
    if isinstance(shape, FlatMapResponse):
        return b"[%s]" % b",".join(flat_records(body, shape))
    if isinstance(shape, ArrayResponse):
        if first_character(body) == b"{":
            raise _object_for_list(body)
        return body
    found = _inner(body, shape.data_path, resource)
    if isinstance(shape, ColumnarResponse):
        return _columnar(_object(found, shape.shape))
    return _keyed(found, shape) if isinstance(shape, KeyedResponse) else _single(found)


def _envelope(body: bytes, shape: EnvelopeResponse, resource: Resource) -> bytes:
    if is_singular(shape.data_path):
        found = _inner(body, shape.data_path, resource)
        if shape.single == "record" and found is not None and first_character(found) == b"{":
            return _join([found])
        return b"[]" if found is None or first_character(found) == b"n" else _list(found, resource)
    nodes = find(body, shape.data_path)
    if not nodes:
        _check_place(body, shape.data_path, resource)
    if nodes and all(first_character(node) == b"[" for node in nodes):
        nodes = [item for node in nodes for item in split(node)]
    return _join(nodes)


def _check_place(body: bytes, path: str, resource: Resource) -> None:
    """Check that a place for records is there, which is another thing than a place without records.

    Raises:
        SourceRejectedError: It is not there.
    """
    found, outer = _inner(body, place_of(path), resource), outer_place_of(path)
    is_empty = found is None or found.strip() in {b"[]", b"{}", b"null"}
    if not is_empty and not resource.no_rows.missing_list and not find(body, outer):
        raise _nothing_at(body, outer)


def _single(found: bytes | None) -> bytes:
    if found is None or first_character(found) == b"n":
        return b"[]"
    if first_character(found) != b"{":
        raise _other(found, "an object, which is the one record")
    return _join([found])


def _list(found: bytes, resource: Resource) -> bytes:
    if first_character(found) == b"[":
        return found
    if resource.response.format == "xml":
        # an element that appears once is not a list, and white space between its tags is no record
        is_blank = first_character(found) == b'"' and not msgspec.json.decode(found, type=str).strip()
        return _join([] if is_blank else [found])
    raise _other(found, "the list of records, as in the contract")


def _inner(body: bytes, path: str | None, resource: Resource) -> bytes | None:
    """Return the value at a path; None if its absence means that there are no rows."""
    if path is None or path == "$":
        return body
    found = find_one(body, path)
    if found is not None or resource.no_rows.missing_list:
        return found
    raise _nothing_at(body, path)


def _nothing_at(body: bytes, path: str) -> SourceRejectedError:
    if first_character(body) == b"[":
        return SourceRejectedError(
            f"the response has another shape: a list, with nothing at `{path}`",
            expected="an object that holds the records there",
            hint="`response: {shape: array}` where the records are its items, or a path such as `$[1]`",
        )
    return SourceRejectedError(
        f"the response has nothing at `{path}`; its keys are {key_names(split_object(body))}",
        expected="the records there, as in the contract",
        hint="if this means that there are no rows, set `no_rows: {missing_list: true}`; if it is an error, `error`",
    )


def _keyed(found: bytes | None, shape: KeyedResponse) -> bytes:
    records: list[bytes] = []
    # PHP writes an object without keys as an empty list
    is_empty = found is not None and first_character(found) == b"[" and not split(found)
    for key, value in [] if is_empty else _object(found, shape.shape):
        items = split(value) if first_character(value) == b"[" else [value]
        if all(first_character(item) == b"{" for item in items):
            records += [_with_field(item, shape.key_column, key) for item in items]
        else:
            records.append(_encode([(shape.key_column, msgspec.json.encode(key)), (shape.value_column, value)]))
    return _join(records)


def _columnar(level: Sequence[tuple[str, bytes]]) -> bytes:
    columns: dict[str, Sequence[bytes]] = {}
    for name, value in level:
        if first_character(value) != b"[":
            raise _other(value, f"a list at `{name}`, as in every column")
        if name in columns:
            raise SourceRejectedError(f"two columns are called {name}", expected="one of each")
        columns[name] = split(value)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise SourceRejectedError(
            f"the columns have different lengths: {', '.join(f'{name} {size}' for name, size in lengths.items())}",
            expected="one value of each column in every row",
        )
    return _join(_encode(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def _rows(body: bytes, shape: RowsResponse, resource: Resource) -> bytes:
    if shape.data_path is not None and "*" in shape.data_path:
        rows: Sequence[bytes] = find(body, shape.data_path)
    else:
        found = _inner(body, shape.data_path, resource)
        rows = [] if found is None or first_character(found) == b"n" else split(_list(found, resource))
    if shape.names is not None:
        names = list(shape.names)
    elif shape.names_path is not None:
        nodes = find(body, shape.names_path)
        nodes = list(split(nodes[0])) if len(nodes) == 1 and first_character(nodes[0]) == b"[" else nodes
        names = [str(msgspec.json.decode(node)) for node in nodes]
    else:
        names, rows = [str(msgspec.json.decode(name)) for name in split(rows[0])] if rows else [], rows[1:]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise SourceRejectedError(
            f"two columns are called {', '.join(doubled)}", expected="one of each", hint="give `response.names`"
        )
    return _join([_row(names, row) for row in rows])


def _row(names: list[str], row: bytes) -> bytes:
    if first_character(row) != b"[":
        # the row reader quarantines it
        return row
    cells = split(row)
    named = [*names[: len(cells)], *(f"cell {number + 1}" for number in range(len(names), len(cells)))]
    return _encode(zip(named, cells, strict=True))


def _with_field(record: bytes, name: str, text: str) -> bytes:
    """Return a record with one more field. If the record already has that field, the row reader quarantines it."""
    inner = record.strip()[1:-1]
    field = b"%s:%s" % (msgspec.json.encode(name), msgspec.json.encode(text))
    return b"{%s,%s}" % (field, inner) if inner.strip() else b"{%s}" % field


def _encode(fields: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a record. A repeated name stays repeated in it, so that the row reader quarantines it."""
    return b"{%s}" % b",".join(b"%s:%s" % (msgspec.json.encode(name), value) for name, value in fields)


def _object(found: bytes | None, shape: str) -> Sequence[tuple[str, bytes]]:
    if found is None or first_character(found) == b"n":
        return []
    if first_character(found) != b"{":
        raise _other(found, f"an object, as `shape: {shape}` says")
    return split_object(found)


_KINDS = {b"{": "an object", b"[": "a list", b'"': "a text", b"n": "null", b"t": "true", b"f": "false"}


def _other(found: bytes, expected: str) -> SourceRejectedError:
    begin = first_character(found)
    shapes = {
        b"{": "one record is `shape: object`, or `single: record` where that is the list of one; records by key are"
        " `keyed`, lists by column `columnar`"
    }
    return SourceRejectedError(
        f"the response has another shape: {_KINDS.get(begin, 'a number')} where the records are expected",
        expected=expected,
        hint=shapes.get(begin, "check `response` in the contract"),
    )


def _object_for_list(body: bytes) -> SourceRejectedError:
    try:
        pairs, is_lines = split_object(body), False
    except msgspec.DecodeError:
        # a line for each record; a body that is torn stays an error of JSON
        pairs, is_lines = split_object(body.strip().partition(b"\n")[0]), True
    lists = [key for key, value in pairs if first_character(value) == b"["]
    hint = "`shape: object` where it is one record, `envelope` where they lie deeper"
    if is_lines:
        hint = "`response: {shape: array, format: ndjson}` reads a line for each record"
    elif lists:
        hint = f"`response: {{shape: envelope, data_path: {lists[0]}}}` where the records lie there"
    return SourceRejectedError(
        f"the response has another shape: an object with the keys {key_names(pairs)} where the records are expected",
        expected="array as in the contract",
        hint=hint,
    )


def _join(records: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(records) + b"]"
