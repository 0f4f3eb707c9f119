"""Responses: from a body of any declared shape to its records, total and next page."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import msgspec

from scripts.contracts.connection import CursorPagination, EnvelopeResponse, FlatMapResponse
from scripts.errors import SourceRejectedError
from scripts.extract.json_text import split_object, to_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.contracts.source import Resource
    from scripts.extract.rows import Page, RowReader

_SHOWN_KEYS = 8
_SHOWN_CHARACTERS = 40
_TOTAL = re.compile(r"\s*[0-9]{1,18}\s*", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What one response says.

    Attributes:
        page: Its records.
        total: Rows that the API declares for the whole request; None where it does not.
        cursor: Cursor of the next page; None on the last.
        next_url: Address of the next page; None on the last.
        fingerprint: Equal for equal bodies.
    """

    page: Page
    total: int | None
    cursor: str | None
    next_url: str | None
    fingerprint: int


def read_answer(
    body: bytes, headers: Mapping[str, str], next_url: str | None, resource: Resource, reader: RowReader
) -> Answer:
    """Return what a response says.

    Raises:
        SourceRejectedError: The body has another shape than the contract says.
        DataError: A record does not fit, and the contract's policy for that is `fail`.
        msgspec.DecodeError: The body is not JSON.
    """
    text = to_utf8(body, headers.get("Content-Type") or "")
    try:
        page = _read_records(text, resource, reader)
        return Answer(page, _total(headers, text, resource), _cursor(text, resource), next_url, hash(body))
    except msgspec.ValidationError as error:
        raise SourceRejectedError(
            f"the response has another shape: {error}", expected=f"{resource.response.shape} as in the contract"
        ) from None


def normalize_response(
    payload: Mapping[str, Any], *, key_column: str = "coin", separator: str = "_", name: str = "prices"
) -> dict[str, list[dict[str, Any]]]:
    """Return a flat map as records: `{"bitcoin_usd": 50000}` gives `{"prices": [{"coin": "bitcoin", "usd": 50000}]}`.

    Fields of one key become one record, in the order received; nested maps (`{"bitcoin": {"usd": 50000}}`) give the
    same. A key without a field keeps its value as `value`, so that nothing is dropped.

    Raises:
        SourceRejectedError: The payload is not a map, or gives a field of one key two values.
    """
    if not hasattr(payload, "items"):
        raise SourceRejectedError(f"the response is {type(payload).__name__}", expected="a map of keys to values")
    records: dict[str, dict[str, Any]] = {}
    for key, value in payload.items():
        nested = hasattr(value, "items")
        subject, field = (key, "") if nested else _subject_and_field(key, separator)
        record = records.setdefault(subject, {key_column: subject})
        for inner, content in value.items() if nested else [(field, value)]:
            if inner in record:
                raise SourceRejectedError(
                    f"`{subject}` has two values for `{inner}`", expected="one value for each field of a key"
                )
            record[inner] = content
    return {name: list(records.values())}


def _subject_and_field(key: str, separator: str) -> tuple[str, str]:
    subject, found, field = key.rpartition(separator)
    return (subject, field) if found and subject and field else (key, "value")


def _read_records(text: bytes, resource: Resource, reader: RowReader) -> Page:
    shape = resource.response
    if isinstance(shape, EnvelopeResponse):
        found = find(text, shape.data_path)
        if found is None:
            keys = ", ".join(key for key, _ in split_object(text)[:_SHOWN_KEYS])
            raise SourceRejectedError(
                f"the response has nothing at `{shape.data_path}`; its keys are {keys or 'none'}",
                expected="the list of records there, as in the contract",
            )
        return reader.read(b"[]" if found == b"null" else found)
    if isinstance(shape, FlatMapResponse):
        return reader.read(b"[%s]" % b",".join(flat_records(text, shape)))
    return reader.read(text)


def flat_records(text: bytes, shape: FlatMapResponse) -> Iterator[bytes]:
    """Yield the records of a flat map as JSON text; two values for one field both stand in it.

    Raises:
        msgspec.DecodeError: The text is no JSON object.
    """
    records: dict[str, list[bytes]] = {}
    for key, value in split_object(text):
        if value.startswith(b"{"):
            # the members as they are, without the braces
            records.setdefault(key, []).append(value[1:-1])
            continue
        subject, field = _subject_and_field(key, shape.separator)
        records.setdefault(subject, []).append(b"%s:%s" % (msgspec.json.encode(field), value))
    name = msgspec.json.encode(shape.key_column)
    for subject, members in records.items():
        filled = [member for member in members if member.strip()]
        yield b"{%s}" % b",".join([b"%s:%s" % (name, msgspec.json.encode(subject)), *filled])


def _total(headers: Mapping[str, str], text: bytes, resource: Resource) -> int | None:
    if resource.total is None:
        return None
    if resource.total.header is not None:
        place, found = f"header `{resource.total.header}`", headers.get(resource.total.header)
    else:
        place, raw = f"`{resource.total.path}`", find(text, resource.total.path or "")
        found = None if raw is None else raw.decode(errors="replace").strip('"')
    if found is None:
        return None
    if not _TOTAL.fullmatch(found):
        raise SourceRejectedError(
            f"the response declares its total as {found[:_SHOWN_CHARACTERS]!r} in {place}",
            expected="a number of rows there, as in the contract",
        )
    return int(found)


def _cursor(text: bytes, resource: Resource) -> str | None:
    pagination = resource.pagination
    if not isinstance(pagination, CursorPagination):
        return None
    if pagination.has_more_path is not None:
        more = find(text, pagination.has_more_path)
        if more not in {b"true", b"false"}:
            raise SourceRejectedError(f"the response does not say true or false at `{pagination.has_more_path}`")
        if more == b"false":
            return None
    raw = find(text, pagination.cursor_path)
    value = None if raw is None else msgspec.json.decode(raw)
    if value in (None, "", False):
        if pagination.has_more_path is not None:
            raise SourceRejectedError(f"there are more pages, and no cursor at `{pagination.cursor_path}`")
        return None
    return str(value)


def find(text: bytes, path: str) -> bytes | None:
    """Return the JSON at a dotted path as it was received, or None where there is nothing.

    Raises:
        SourceRejectedError: Two values stand there.
        msgspec.DecodeError: The text is no JSON.
    """
    found = text
    for key in path.split("."):
        try:
            values = [value for name, value in split_object(found) if name == key]
        except msgspec.ValidationError:
            return None
        if len(values) > 1:
            raise SourceRejectedError(f"the response has {len(values)} values at `{path}`", expected="one")
        if not values:
            return None
        found = values[0]
    return found
