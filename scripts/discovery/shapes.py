"""Shapes: where the records of an answer are, guessed from the answer itself."""

from __future__ import annotations

import csv
import io
import re
from typing import Any, NamedTuple

import msgspec

from scripts.extract.formats import open_body, xml_document
from scripts.extract.json_text import MISREAD

_USUAL = ("data", "results", "items", "records", "value", "rows", "list", "features", "observations", "entries")
_DEPTH = 6
_PLAIN = re.compile(r"[A-Za-z_]\w*")
_DAY_OR_ID = re.compile(r"\d{4}-\d{2}-\d{2}.*|\d+|[0-9a-f-]{16,}")
_DELIMITERS = ",;\t|"


class Shape(NamedTuple):
    """A guess about an answer.

    Attributes:
        response: The contract's `response`.
        why: The reason, as text.
        names: Names of the columns, if the first line contains them.
    """

    response: dict[str, Any]
    why: str
    names: tuple[str, ...] = ()


def guess_shape(body: bytes, content_type: str) -> Shape | None:
    """Return where the records of a body are; None if it contains none."""
    part = next(open_body(body))
    text = part.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        return _within(msgspec.json.decode(xml_document(part)), {"format": "xml"})
    try:
        return _within(msgspec.json.decode(text), {})
    except MISREAD:
        pass
    lines = text.splitlines()
    try:
        if lines and all(isinstance(msgspec.json.decode(line), dict) for line in lines[:20] if line.strip()):
            return Shape({"shape": "array", "format": "ndjson"}, "each line is a JSON object")
    except MISREAD:
        pass
    return _csv(text, content_type)


def _csv(text: bytes, content_type: str) -> Shape | None:
    encoding = "utf-8"
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        encoding = "cp1252"
        decoded = text.decode(encoding, errors="replace")
    head = decoded[:20_000].rpartition("\n")[0] or decoded
    try:
        delimiter = csv.Sniffer().sniff(head, _DELIMITERS).delimiter
    except csv.Error:
        delimiter = ","
    rows = list(csv.reader(io.StringIO(head), delimiter=delimiter))
    if not rows or (len(rows[0]) < 2 and "csv" not in content_type):  # noqa: PLR2004 — one column is any text
        return None
    response: dict[str, Any] = {"shape": "array", "format": "tsv" if delimiter == "\t" else "csv"}
    response |= {"delimiter": delimiter} if delimiter not in ",\t" else {}
    response |= {"encoding": encoding} if encoding != "utf-8" else {}
    why = f"lines of {len(rows[0])} cells, separated by {delimiter!r}; the first line contains their names"
    return Shape(response, why, tuple(rows[0]))


def _within(value: Any, base: dict[str, Any]) -> Shape | None:  # noqa: ANN401 — any JSON
    if isinstance(value, list):
        return _list(value, [], base)
    if not isinstance(value, dict):
        return None
    found = sorted(_candidates(value, []), key=lambda item: item[0])
    if found:
        return found[0][1]._replace(response={**found[0][1].response, **base})
    empty = _empty_list(value, [])
    if empty is not None:
        return Shape({"shape": "envelope", "data_path": path_text(empty), **base}, "it contains an empty list")
    return Shape({"shape": "object", **base}, "the body is one object without a list of objects")


def _candidates(value: dict[str, Any], path: list[str], depth: int = 0) -> list[tuple[tuple[int, int, int], Shape]]:
    """Return the shapes that an object may have; better shapes have smaller numbers."""
    found = []
    if (shape := _columnar(value, path)) is not None or (shape := _keyed(value, path)) is not None:
        found.append(((1, depth, 0), shape))
    for key, child in value.items():
        usual = _USUAL.index(key) if key in _USUAL else len(_USUAL)
        if isinstance(child, list) and (listed := _list(child, [*path, key], {})) is not None:
            # a list of objects is better than a list of lists; then a usual name is better, then a longer list
            kind = 0 if child and isinstance(child[0], dict) else 2
            found.append(((kind, depth, usual * 1_000_000 - len(child)), listed))
        elif isinstance(child, dict) and depth < _DEPTH:
            found += _candidates(child, [*path, key], depth + 1)
    return found


def _list(items: list[Any], path: list[str], base: dict[str, Any]) -> Shape | None:
    if not items:
        return None if path else Shape({"shape": "array", **base}, "the body is an empty list")
    if all(isinstance(item, dict) for item in items):
        if all(set(item) <= {"node", "cursor"} and isinstance(item.get("node"), dict) for item in items):
            place = f"$.{'.'.join(path)}[*].node"
            return Shape({"shape": "envelope", "data_path": place, **base}, f"{len(items)} records are in `node`")
        keys = {"shape": "envelope", "data_path": path_text(path)} if path else {"shape": "array"}
        return Shape({**keys, **base}, f"a list of {len(items)} objects")
    if all(isinstance(item, list) for item in items) and len(items) > 1:
        keys = {"shape": "rows", **({"data_path": path_text(path)} if path else {})}
        named = all(isinstance(cell, str) for cell in items[0])
        names = {} if named else {"names": [f"value_{number}" for number in range(1, len(items[0]) + 1)]}
        why = "the first list contains the names" if named else "the lists have no names: rename `value_1` and so on"
        return Shape({**keys, **names, **base}, f"{len(items)} lists; {why}")
    return None


def _columnar(value: dict[str, Any], path: list[str]) -> Shape | None:
    lists = [item for item in value.values() if isinstance(item, list)]
    is_even = len(lists) == len(value) > 1 and len({len(item) for item in lists}) == 1
    if not is_even or any(isinstance(cell, (dict, list)) for item in lists for cell in item[:5]):
        return None
    place = {"data_path": path_text(path)} if path else {}
    return Shape({"shape": "columnar", **place}, f"{len(lists)} lists of the same length")


def _keyed(value: dict[str, Any], path: list[str]) -> Shape | None:
    if not value or not all(_DAY_OR_ID.fullmatch(key) for key in value):
        return None
    kind = list if all(isinstance(item, list) for item in value.values()) else dict
    inner = [item for items in value.values() for item in items] if kind is list else list(value.values())
    if not inner or not all(isinstance(item, dict) for item in inner):
        return None
    place = {"data_path": path_text(path)} if path else {}
    column = "day" if "-" in next(iter(value)) else "key"
    return Shape({"shape": "keyed", "key_column": column, **place}, f"{len(value)} keys look like ids or days")


def _empty_list(value: dict[str, Any], path: list[str]) -> list[str] | None:
    for key in sorted(value, key=lambda name: _USUAL.index(name) if name in _USUAL else len(_USUAL)):
        if value[key] == []:
            return [*path, key]
    return None


def path_text(path: list[str]) -> str:
    """Return keys as a path of a contract."""
    if all(_PLAIN.fullmatch(key) for key in path):
        return ".".join(path)
    return "$" + "".join(f"['{key}']" for key in path)
