"""Search for values in JSON by the paths of a contract; each value is the text as received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonpath_rfc9535
import msgspec

from scripts.contracts.json_path import steps
from scripts.errors import SourceRejectedError
from scripts.extract.json_text import MISREAD, first_character, split_list, split_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.contracts.json_path import Step


_DEEPEST = 200
"""Depth to which filters and descents search text that msgspec does not read; deeper values are not found."""


class AmbiguousPathError(SourceRejectedError):
    """A key of a path appears twice."""


def find(text: bytes, path: str) -> list[bytes]:
    """Return every value at a path, in document order.

    Raises:
        AmbiguousPathError: A key of the path appears twice.
        msgspec.DecodeError: The text is not JSON.
    """
    followed = steps(path)
    if followed is not None:
        return list(_follow(text, followed))
    # for filters, slices and descents, the library finds the locations; the values are cut from the text
    found = jsonpath_rfc9535.compile(path).find(_document(text))
    return [value for node in found for value in _follow(text, node.location)]


def find_one(text: bytes, path: str) -> bytes | None:
    """Return the first value at a path, or None if there is none; see `find`."""
    return next(iter(find(text, path)), None)


def _follow(value: bytes, path: tuple[Step, ...]) -> Iterator[bytes]:
    if not path:
        yield value
        return
    for found, rest in _children(value, path):
        yield from _follow(found, rest)


def _children(value: bytes, path: tuple[Step, ...]) -> Iterator[tuple[bytes, tuple[Step, ...]]]:
    first, rest = path[0], path[1:]
    begin = first_character(value)
    if begin == b"{" and not isinstance(first, int):
        pairs = split_object(value)
        if first is None:
            yield from ((child, rest) for _, child in pairs)
        elif found := [child for key, child in pairs if key == first]:
            if len(found) > 1:
                raise AmbiguousPathError(f"the response has {len(found)} values at `{first}`", expected="one")
            yield found[0], rest
        else:
            yield from _dotted(dict(pairs), path)
    elif begin == b"[" and not isinstance(first, str):
        items = split_list(value)
        if first is None:
            yield from ((item, rest) for item in items)
        elif -len(items) <= first < len(items):
            yield items[first], rest
    elif begin not in {b"{", b"["}:
        # a scalar has no children; decoding raises an error if the text is not JSON
        msgspec.json.decode(value)


def _document(text: bytes) -> Any:  # noqa: ANN401 — any JSON
    try:
        return msgspec.json.decode(text)
    except MISREAD:
        return _readable(text, 0)


def _readable(value: bytes, depth: int) -> Any:  # noqa: ANN401 — any JSON
    """Return the decoded value of JSON, with null in place of each invalid value in it."""
    begin = first_character(value)
    if begin == b"{" and depth < _DEEPEST:
        return {key: _readable(child, depth + 1) for key, child in split_object(value)}
    if begin == b"[" and depth < _DEEPEST:
        return [_readable(item, depth + 1) for item in split_list(value)]
    try:
        return msgspec.json.decode(value)
    except MISREAD:
        return None


def _dotted(level: dict[str, bytes], path: tuple[Step, ...]) -> Iterator[tuple[bytes, tuple[Step, ...]]]:
    """Yield the value of a key that itself contains dots, such as `@odata.nextLink`."""
    for length in range(len(path), 1, -1):
        names = [step for step in path[:length] if isinstance(step, str)]
        if len(names) == length and ".".join(names) in level:
            yield level[".".join(names)], path[length:]
            return
