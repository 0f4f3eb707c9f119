"""Conversion of values, as sources write them, to the JSON of their column's type.

A value that does not fit stays unchanged: the row reader detects it and applies the contract's policy.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import email.utils
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from scripts.contracts.column import Column

_EPOCH_UNITS = {"epoch": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_ODATA = re.compile(r"/Date\((-?\d+)(?:[+-]\d{4})?\)/")
_RFC2822 = re.compile(
    r"(?:[A-Za-z]{3},\s*)?\d{1,2} [A-Za-z]{3} \d{4} \d\d:\d\d(?::\d\d)?"
    r"(?: (?:GMT|UTC?|Z|[ECMP][SD]T|[+-]\d{4})(?: \(.*\))?)?"
)
"""Excludes ambiguous names of zones such as CET, which the standard library reads as UTC."""
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
"""Digits of other scripts, which Python reads as numbers."""
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})


_MISFIT = b'{"misfit":'
"""Around a text that has another form than the contract says, but that the column's type would accept."""
_LENIENT = ("date", "timestamp", "decimal")
_MOST_DIGITS = 400
"""Numbers with more digits or a larger exponent stay as written: no column holds them."""


def unmarked(value: msgspec.Raw) -> msgspec.Raw:
    """Return a value as the source sent it, without the mark of `convert`."""
    text = bytes(value)
    return msgspec.Raw(text[len(_MISFIT) : -1]) if text.startswith(_MISFIT) else value


def convert(raw: msgspec.Raw, column: Column) -> msgspec.Raw:
    """Return a value as JSON of its column's type.

    A value that does not fit stays unchanged; it is marked if the type would accept the text in its own form.
    """
    converted = _convert(raw, column)
    is_misfit = converted is raw and bytes(raw)[:1] == b'"' and column.type.startswith(_LENIENT) and _has_form(column)
    return msgspec.Raw(b"%s%s}" % (_MISFIT, bytes(raw))) if is_misfit else converted


def _has_form(column: Column) -> bool:
    return column.format is not None or column.thousands is not None or column.decimal_mark != "."


def _convert(raw: msgspec.Raw, column: Column) -> msgspec.Raw:
    value = _scalar(raw)
    if value is None:
        return raw
    if any(_is_same(value, raw, null) for null in column.null_values):
        return msgspec.Raw(b"null")
    if column.type == "string":
        return raw
    conversions = {"boolean": _boolean, "json": _json, "date": _time, "timestamp": _time}
    return conversions.get(column.type, _number)(value, raw, column)


def _scalar(raw: msgspec.Raw) -> str | None:
    """Return the text of a string, or a number, true or false as written; None for null, lists and objects."""
    begin = bytes(raw)[:1]
    if begin in {b"{", b"[", b"n", b""}:
        return None
    return msgspec.json.decode(raw, type=str) if begin == b'"' else bytes(raw).decode()


def _is_same(value: str, raw: msgspec.Raw, given: object) -> bool:
    if isinstance(given, str):
        return value == given and bytes(raw)[:1] == b'"'
    return given is not None and msgspec.json.encode(given).decode() == value


def _boolean(value: str, raw: msgspec.Raw, column: Column) -> msgspec.Raw:
    low = value.strip().lower() if column.format == "text" else ""
    if low in _TRUE or any(_is_same(value, raw, given) for given in column.true_values):
        return msgspec.Raw(b"true")
    if low in _FALSE or any(_is_same(value, raw, given) for given in column.false_values):
        return msgspec.Raw(b"false")
    return raw


def _time(value: str, raw: msgspec.Raw, column: Column) -> msgspec.Raw:
    moment = _moment(value.strip(), column.format)
    if moment is None:
        return raw
    text = moment.date().isoformat() if column.type == "date" else moment.isoformat()
    return msgspec.Raw(msgspec.json.encode(text))


def _json(value: str, raw: msgspec.Raw, column: Column) -> msgspec.Raw:
    if column.format != "text":
        return raw
    with contextlib.suppress(msgspec.DecodeError):
        msgspec.json.decode(value)
        return msgspec.Raw(value.encode())
    return raw


def _number(value: str, raw: msgspec.Raw, column: Column) -> msgspec.Raw:
    text = value.strip()
    is_text = bytes(raw)[:1] == b'"'
    if is_text and column.thousands is not None:
        whole, mark, rest = text.partition(column.decimal_mark)
        groups = whole.split(column.thousands)
        if len(groups) > 1 and (len(groups[0].lstrip("+-")) not in {1, 2, 3} or any(len(g) != 3 for g in groups[1:])):  # noqa: PLR2004 — thousands
            return raw
        text = "".join(groups) + mark + rest
    if is_text and column.decimal_mark != ".":
        if "." in text:
            return raw
        text = text.replace(column.decimal_mark, ".")
    if not _NUMBER.fullmatch(text) or not text.isascii() or (number := _decimal(text)) is None:
        return raw
    if column.type == "integer" and number == number.to_integral_value() and abs(number) < 2**63:
        return msgspec.Raw(str(int(number)).encode())
    return msgspec.Raw(str(number).replace("E+", "E").encode())


def _decimal(text: str) -> decimal.Decimal | None:
    with contextlib.suppress(decimal.DecimalException):
        number = decimal.Decimal(text)
        return number if len(text) <= _MOST_DIGITS and abs(number.adjusted()) <= _MOST_DIGITS else None
    return None


def _moment(value: str, form: str | None) -> dt.datetime | None:
    with contextlib.suppress(ValueError, OverflowError, decimal.DecimalException):
        if form is None or _OTHER_DIGIT.search(value):
            return None
        if form in _EPOCH_UNITS:
            return _since_epoch(value, _EPOCH_UNITS[form])
        if form == "odata":
            match = _ODATA.fullmatch(value)
            return _since_epoch(match[1], _EPOCH_UNITS["epoch_ms"]) if match else None
        if form == "rfc2822":
            if not _RFC2822.fullmatch(value):
                return None
            found = email.utils.parsedate_to_datetime(value)
        elif form == "iso":
            found = dt.datetime.fromisoformat(value)
        else:
            found = dt.datetime.strptime(value, form)  # noqa: DTZ007 — without an offset it counts as UTC
        return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)
    return None


def _since_epoch(value: str, microseconds: int) -> dt.datetime | None:
    if not _NUMBER.fullmatch(value) or (number := _decimal(value)) is None:
        return None
    # digits beyond microseconds are cut off, since rounding could change the day
    exact = decimal.Context(prec=3 * _MOST_DIGITS)
    whole = exact.multiply(number, decimal.Decimal(microseconds)).to_integral_value(decimal.ROUND_FLOOR, exact)
    return _EPOCH + dt.timedelta(microseconds=int(whole))
