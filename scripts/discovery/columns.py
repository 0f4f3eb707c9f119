"""Columns: names, types and the primary key, guessed from some rows."""

from __future__ import annotations

import datetime as dt
import email.utils
import itertools
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESERVED = frozenset({"dt", "_row", "_extra", "first_seen_date", "last_seen_date"})
_USUAL_KEYS = ("id", "uuid", "guid", "key", "code", "sku", "slug", "ts")
_LIFTED = ("properties", "fields", "attributes")
_TIME_NAME = re.compile(r"time|date|_at$|At$|created|updated|modified|since|until|timestamp|^ts$", re.IGNORECASE)
_FULL_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?")
_ISO = re.compile(r"\d{8}T\d{4,6}Z?|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(Z|[+-]\d\d:?\d\d)?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_ODATA = re.compile(r"/Date\(-?\d+([+-]\d{4})?\)/")
_RFC2822 = re.compile(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} .*")
_EPOCH = (1e9, 2e10)
_EPOCH_MS = (1e12, 2e13)
Column = dict[str, Any]


def guess_columns(rows: Sequence[dict[str, Any]], *, is_text: bool = False) -> list[Column]:
    """Return the columns of some rows, in the order of their fields; `is_text` if the format only has text."""
    columns: list[Column] = []
    for field in dict.fromkeys(field for row in rows for field in row):
        values = [row[field] for row in rows if row.get(field) is not None]
        if field in _LIFTED and values and all(isinstance(value, dict) for value in values):
            for inner in dict.fromkeys(name for value in values for name in value):
                below = [value[inner] for value in values if value.get(inner) is not None]
                columns.append(_column(inner, f"$['{field}']['{inner}']", below, columns, is_text=is_text))
        else:
            columns.append(_column(field, field, values, columns, is_text=is_text))
    return columns


def guess_key(rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> tuple[list[str], bool]:
    """Return the columns that identify a row, and whether they are unique in the given rows."""
    scalars = [column for column in columns if column["type"] in {"string", "integer", "date", "timestamp"}]
    direct = [column for column in scalars if not str(column.get("field", "")).startswith("$[")]

    def rank(column: Column) -> tuple[int, int]:
        name = column["name"].lower()
        usual = _USUAL_KEYS.index(name) if name in _USUAL_KEYS else len(_USUAL_KEYS)
        return (usual if usual < len(_USUAL_KEYS) else usual + (not name.endswith("id")), direct.index(column))

    ordered = sorted(direct, key=rank)
    groups = itertools.chain(((column,) for column in ordered), itertools.combinations(ordered, 2))
    for group in groups:
        values = [tuple(row.get(_field(column)) for column in group) for row in rows]
        if rows and all(None not in value for value in values) and len(set(values)) == len(values):
            return [column["name"] for column in group], True
    plain = [column for column in columns if column["type"] != "json"]
    return [column["name"] for column in ordered[:3] or plain[:1] or columns[:1]], False


def _field(column: Column) -> str:
    return str(column.get("field", column["name"]))


def _column(field: str, path: str, values: list[Any], before: list[Column], *, is_text: bool) -> Column:
    name = _name(field, {column["name"].lower() for column in before})
    kind = _text_type(values, field) if is_text else _type(values, field)
    column: Column = {"name": name, **kind}
    if path != name:
        column["field"] = path if re.fullmatch(r"\w+", path) or path.startswith("$") else f"$['{path}']"
    return column


def _name(field: str, taken: set[str]) -> str:
    name = re.sub(r"\W+", "_", field.strip(), flags=re.ASCII).strip("_") or "value"
    name = name if re.match(r"[A-Za-z_]", name) else f"n{name}"
    name = f"source_{name.strip('_')}" if name.lower() in _RESERVED else name
    number = 2
    unique = name
    while unique.lower() in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique


def _type(values: list[Any], field: str) -> dict[str, str]:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return {"type": "boolean"}
    if kinds == {int}:
        return _whole_number(values, field)
    if kinds and kinds <= {int, float}:
        return {"type": "number"}
    if kinds == {str}:
        return _text(values)
    # no values, or values of several types: JSON keeps any value
    return {"type": "json"}


def _whole_number(values: list[int], field: str) -> dict[str, str]:
    if any(abs(value) >= 2**63 for value in values):
        return {"type": "decimal(38, 0)"}
    if _TIME_NAME.search(field):
        for name, (low, high) in (("epoch", _EPOCH), ("epoch_ms", _EPOCH_MS)):
            if all(low <= value < high for value in values):
                return {"type": "timestamp", "format": name}
    return {"type": "integer"}


def _text(values: list[str]) -> dict[str, str]:
    if all(_FULL_TIME.fullmatch(value) for value in values):
        return {"type": "timestamp"}
    if all(_DAY.fullmatch(value) and _is_iso(value) for value in values):
        return {"type": "date"}
    forms = (
        ("odata", _ODATA.fullmatch),
        ("rfc2822", lambda value: _RFC2822.fullmatch(value) and email.utils.parsedate_to_datetime(value)),
        ("iso", lambda value: (_ISO.fullmatch(value) or _FULL_TIME.fullmatch(value)) and _is_iso(value)),
    )
    for name, fits in forms:
        if all(fits(value) for value in values):
            return {"type": "timestamp", "format": name}
    return {"type": "string"}


def _is_iso(value: str) -> bool:
    try:
        dt.datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _text_type(values: list[Any], field: str) -> dict[str, str]:
    if not values or not all(isinstance(value, str) for value in values):
        return {"type": "string" if not values else "json"}
    if all(re.fullmatch(r"-?(0|[1-9]\d{0,17})", value) for value in values):
        return {"type": "integer"}
    if all(re.fullmatch(r"-?\d{1,15}(\.\d+)?", value) and not re.match(r"-?0\d", value) for value in values):
        return {"type": "number"}
    if all(value.lower() in {"true", "false"} for value in values):
        return {"type": "boolean"}
    return _text(values) if field else {"type": "string"}
