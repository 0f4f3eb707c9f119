"""Flat maps: `{"bitcoin_usd": 50000}` as one record per key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from scripts.errors import SourceRejectedError
from scripts.extract.json_text import split_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.contracts.response import FlatMapResponse


def normalize_response(
    payload: Mapping[str, Any], *, key_column: str = "coin", separator: str = "_", name: str = "prices"
) -> dict[str, list[dict[str, Any]]]:
    """Return a flat map as records: `{"bitcoin_usd": 50000}` gives `{"prices": [{"coin": "bitcoin", "usd": 50000}]}`.

    Fields of one key become one record, in the order received; nested maps (`{"bitcoin": {"usd": 50000}}`) give the
    same. A key without a field keeps its value as `value`, so that nothing is dropped.

    Raises:
        SourceRejectedError: The payload is not a map, or contains two values for one field of a key.
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


def flat_records(text: bytes, shape: FlatMapResponse) -> Iterator[bytes]:
    """Yield the records of a flat map as JSON text; if a field has two values, its record contains both.

    Raises:
        msgspec.DecodeError: The text is not a JSON object.
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
