"""Paths into JSON: RFC 9535 JSONPath, or keys with dots between them, checked when the contract is read."""

from __future__ import annotations

import functools
from typing import Annotated

import jsonpath_rfc9535
from jsonpath_rfc9535 import selectors
from jsonpath_rfc9535.segments import JSONPathChildSegment, JSONPathSegment
from pydantic import AfterValidator, Field

Step = str | int | None
"""A key, an index, or None for all values of a level."""


def is_singular(path: str) -> bool:
    """Return whether a path leads to one value at most."""
    found = steps(path)
    return found is not None and None not in found


def steps_of(path: str) -> tuple[str | int, ...]:
    """Return the keys and indices of a singular path."""
    return tuple(step for step in steps(path) or () if step is not None)


def place_of(path: str) -> str:
    """Return the beginning of a path, up to the first step that can lead to more than one value."""
    return _before(path, last=False)


def outer_place_of(path: str) -> str:
    """Return the beginning of a path, up to the last step that can lead to more than one value."""
    return _before(path, last=True)


def _before(path: str, *, last: bool) -> str:
    if not path.startswith("$"):
        return path
    segments = jsonpath_rfc9535.compile(path).segments
    plural = [number for number, segment in enumerate(segments) if not _is_single(segment)]
    end = (plural[-1] if last else plural[0]) if plural else len(segments)
    return "$" + "".join(map(str, segments[:end]))


def _is_single(segment: JSONPathSegment) -> bool:
    is_child = isinstance(segment, JSONPathChildSegment) and len(segment.selectors) == 1
    return is_child and isinstance(segment.selectors[0], (selectors.NameSelector, selectors.IndexSelector))


@functools.lru_cache(maxsize=1024)
def steps(path: str) -> tuple[Step, ...] | None:
    """Return the steps of a path; None if the path uses more than keys, indices and wildcards."""
    if not path.startswith("$"):
        return tuple(path.split("."))
    found: list[Step] = []
    for segment in jsonpath_rfc9535.compile(path).segments:
        selector = segment.selectors[0]
        if not isinstance(segment, JSONPathChildSegment) or len(segment.selectors) > 1:
            return None
        if isinstance(selector, selectors.NameSelector):
            found.append(selector.name)
        elif isinstance(selector, selectors.IndexSelector):
            found.append(selector.index)
        elif isinstance(selector, selectors.WildcardSelector):
            found.append(None)
        else:
            return None
    return tuple(found)


def _valid(path: str) -> str:
    if path.startswith("$"):
        try:
            jsonpath_rfc9535.compile(path)
        except jsonpath_rfc9535.JSONPathError as error:
            message = f"not a JSONPath of RFC 9535: {str(error).splitlines()[0]}"
            raise ValueError(message) from None
    elif "[" in path or "*" in path or not all(path.split(".")):
        message = "give keys with dots between them (`result.items`), or a JSONPath that starts with `$`"
        raise ValueError(message)
    return path


def _valid_singular(path: str) -> str:
    if not is_singular(_valid(path)):
        message = "leads to more than one value: give keys and indices only"
        raise ValueError(message)
    return path


def _valid_first(path: str) -> str:
    found = steps(_valid(path))
    if found is not None and None in found:
        message = "leads to more than one value: give keys and indices, or a filter (`$.link[?@.rel=='next'].href`)"
        raise ValueError(message)
    return path


JsonPath = Annotated[str, Field(min_length=1), AfterValidator(_valid)]
"""A path to one or more values."""
OnePath = Annotated[str, Field(min_length=1), AfterValidator(_valid_singular)]
"""A path to one value at most."""
FirstPath = Annotated[str, Field(min_length=1), AfterValidator(_valid_first)]
"""A path to one value at most, or a filter, whose first value counts."""
