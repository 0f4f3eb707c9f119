"""Responses: from a body of any declared shape to its records, total and next page."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from scripts.contracts.connection import CursorPagination, EnvelopeResponse, FlatMapResponse
from scripts.errors import SourceRejectedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.contracts.source import Resource
    from scripts.extract.rows import Page, RowReader

_SHOWN_KEYS = 8


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
    try:
        records, envelope = _records(body, resource)
        page = reader.read(records)
        return Answer(page, _total(headers, envelope, resource), _cursor(envelope, resource), next_url, hash(body))
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
        SourceRejectedError: The payload is not a map.
    """
    if not hasattr(payload, "items"):
        raise SourceRejectedError(f"the response is {type(payload).__name__}", expected="a map of keys to values")
    records: dict[str, dict[str, Any]] = {}
    for key, value in payload.items():
        if hasattr(value, "items"):
            records.setdefault(key, {key_column: key}).update(value)
            continue
        subject, found, field = key.rpartition(separator)
        if not found or not subject or not field:
            subject, field = key, "value"
        records.setdefault(subject, {key_column: subject})[field] = value
    return {name: list(records.values())}


def _records(body: bytes, resource: Resource) -> tuple[bytes | msgspec.Raw, bytes | None]:
    """Return the JSON list of records, and the body where it holds more than that."""
    shape = resource.response
    if isinstance(shape, EnvelopeResponse):
        found = _at(body, shape.data_path)
        if found is None:
            keys = ", ".join(list(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))[:_SHOWN_KEYS])
            raise SourceRejectedError(
                f"the response has nothing at `{shape.data_path}`; its keys are {keys or 'none'}",
                expected="the list of records there, as in the contract",
            )
        return (b"[]" if bytes(found) == b"null" else found), body
    if isinstance(shape, FlatMapResponse):
        payload = _raw_map(body)
        records = normalize_response(payload, key_column=shape.key_column, separator=shape.separator)["prices"]
        return msgspec.json.encode(records), body
    return body, None


def _raw_map(body: bytes) -> dict[str, Any]:
    payload = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return {
        key: msgspec.json.decode(value, type=dict[str, msgspec.Raw]) if bytes(value).startswith(b"{") else value
        for key, value in payload.items()
    }


def _total(headers: Mapping[str, str], envelope: bytes | None, resource: Resource) -> int | None:
    if resource.total is None:
        return None
    if resource.total.header is not None:
        place, found = f"header `{resource.total.header}`", headers.get(resource.total.header)
    else:
        place = f"`{resource.total.path}`"
        raw = _at(envelope, resource.total.path or "") if envelope else None
        found = None if raw is None else bytes(raw).decode().strip('"')
    if found is None:
        return None
    if not found.strip().isdigit():
        raise SourceRejectedError(
            f"the response declares its total as {found!r} in {place}",
            expected="a number of rows there, as in the contract",
        )
    return int(found)


def _cursor(envelope: bytes | None, resource: Resource) -> str | None:
    pagination = resource.pagination
    if not isinstance(pagination, CursorPagination) or envelope is None:
        return None
    if pagination.has_more_path is not None:
        more = _at(envelope, pagination.has_more_path)
        if more is None or bytes(more) not in {b"true", b"false"}:
            raise SourceRejectedError(f"the response does not say true or false at `{pagination.has_more_path}`")
        if bytes(more) == b"false":
            return None
    raw = _at(envelope, pagination.cursor_path)
    value = None if raw is None else msgspec.json.decode(raw)
    if value in (None, "", False):
        if pagination.has_more_path is not None:
            raise SourceRejectedError(f"there are more pages, and no cursor at `{pagination.cursor_path}`")
        return None
    return str(value)


def _at(body: bytes | msgspec.Raw, path: str) -> msgspec.Raw | None:
    """Return the JSON at a dotted path, or None where there is nothing."""
    found: bytes | msgspec.Raw = body
    for key in path.split("."):
        try:
            level = msgspec.json.decode(found, type=dict[str, msgspec.Raw])
        except msgspec.ValidationError:
            return None
        if key not in level:
            return None
        found = level[key]
    return msgspec.Raw(bytes(found))
