"""The rows of a key in quarantine, found by the fields of their raw JSON."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from scripts.bronze import quarantine
from scripts.contracts.json_path import steps_of
from scripts.errors import BronzeError
from scripts.security.outside_text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bronze.quarantine import QuarantinedRow
    from scripts.bronze.store import Store
    from scripts.explain.project import Resource


class QuarantinedVersion(msgspec.Struct, frozen=True):
    """A row that was received and not admitted."""

    day: dt.date
    position: int
    stage: str
    rule: str
    reason: str
    run_id: str


def find_quarantined(
    store: Store,
    resource: Resource,
    columns: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, str | None],
) -> Sequence[QuarantinedVersion]:
    """Return the quarantined rows of a resource whose fields have some values, in the order of their days.

    Args:
        store: The Bronze folder.
        resource: The resource.
        columns: The columns of its contract, by name.
        values: The wanted values, by column, as DuckDB writes them; `dt` is the day.
    """
    found = []
    day_wanted = values.get("dt")
    fields = {
        steps_of(str(columns.get(name, {}).get("field") or name)): value
        for name, value in values.items()
        if name != "dt"
    }
    if not fields or any(value is None for value in fields.values()):
        return []
    # a file without one of the values cannot have the row
    texts = [_needle(value) for value in fields.values() if value is not None]
    with store.index(trust_folders=True) as index:
        entries = [entry for entry in index.quarantined() if entry.partition[:2] == (resource.source, resource.name)]
    for entry in entries:
        if day_wanted not in (None, str(entry.day)):
            continue
        try:
            content = store.quarantine_content(entry) or b""
            if not all(text in content for text in texts):
                continue
            rows = [row for row in quarantine.decode(content.splitlines(), "") if _matches(row, fields)]
        except BronzeError:
            continue
        found += [_version(row) for row in rows]
    return found


def _version(row: QuarantinedRow) -> QuarantinedVersion:
    day = dt.date.fromisoformat(row.day)
    # the load has masked the values of sensitive columns in the reason
    return QuarantinedVersion(day, row.row, row.stage, row.rule, one_line(row.reason), row.run_id)


def _matches(row: QuarantinedRow, fields: Mapping[tuple[str | int, ...], str | None]) -> bool:
    try:
        record = msgspec.json.decode(row.raw_bytes)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return False
    return all(_text(_value_at(record, steps)) == value for steps, value in fields.items())


def _value_at(record: object, steps: tuple[str | int, ...]) -> object:
    # a key may itself contain dots
    whole = ".".join(map(str, steps))
    if isinstance(record, dict) and whole in record:
        return record[whole]
    value = record
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else None if value is None else str(value)


def _needle(value: str) -> bytes:
    """Return bytes that every file with the value contains: its longest part that JSON writes as it is."""
    parts, part = [""], ""
    for character in value:
        if character.isascii() and character.isalnum():
            part += character
        else:
            parts.append(part)
            part = ""
    return max([*parts, part], key=len).encode()
