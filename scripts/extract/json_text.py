"""Splitting of JSON text into its values and keys as received, without rewriting them.

`msgspec` reads valid text in one step, but it refuses a whole text for one invalid value (half a surrogate pair, NaN, a
byte that is not UTF-8, a thousand brackets). Such text is split here by its brackets, commas and quotation marks alone,
so that all other values are still read.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, NoReturn

import msgspec
import numpy as np

from scripts.errors import SourceRejectedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MISREAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of msgspec for text that it does not read, including `msgspec.ValidationError` for another type."""

_MARKS = (
    # longer marks first: the mark of UTF-32 begins with the mark of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^\s"';]+)""", re.IGNORECASE)
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]', re.DOTALL)
_KEY_END = re.compile(rb'"[ \t\r\n]*:')
_ESCAPED_KEY_END = re.compile(rb'(?<!\\)(\\+)":')
_SPACE = b" \t\r\n"
_CLOSES = {b"[": b"]", b"{": b"}"}
_CLOSINGS = frozenset(_CLOSES.values())
_NAMES = {b"[": "array", b"{": "object"}
_FAR = 256
_DEEPEST = 1000
_QUOTE, _COLON = ord('"'), ord(":")


def to_utf8(body: bytes, content_type: str = "") -> bytes:
    """Return a body as UTF-8 without a byte order mark.

    The encoding is that of the mark, else the charset of the content type, else UTF-16 or UTF-32 by their zero bytes,
    else UTF-8.

    Raises:
        SourceRejectedError: The charset is unknown.
        msgspec.DecodeError: The body is not text in its charset.
    """
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return _recode(body[len(mark) :], encoding)
    declared = _CHARSET.search(content_type)
    return _recode(body, declared[1] if declared else _encoding_of_zeros(body))


def split_list(text: bytes) -> Sequence[bytes]:
    """Return each value of a JSON list as it was received.

    Raises:
        msgspec.ValidationError: The text is not a list.
        msgspec.DecodeError: The text ends too early, or is not JSON.
        SourceRejectedError: It opens more than a thousand brackets and does not close them.
    """
    try:
        return [bytes(raw) for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]
    except msgspec.ValidationError:
        raise
    except MISREAD:
        return [value for _, value in _cut(text, b"[")]


def first_character(value: bytes) -> bytes:
    """Return the first character of a JSON value after white space, which says what kind of value it is."""
    return value[:32].lstrip()[:1]


def split_object(text: bytes) -> Sequence[tuple[str, bytes]]:
    """Return each key of a JSON object with its value as received; a repeated key is returned each time.

    Raises:
        msgspec.ValidationError: The text is not an object.
        msgspec.DecodeError: The text ends too early, or is not JSON.
        SourceRejectedError: It opens more than a thousand brackets and does not close them.
    """
    try:
        fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise
    except MISREAD:
        return [(_key(key), value) for key, value in _cut(text, b"{")]
    if _count_members(text, fields.values()) == len(fields):
        return [(key, bytes(value)) for key, value in fields.items()]
    return [(_key(key), value) for key, value in _cut(text, b"{")]


def has_repeated_key(text: bytes, fields: dict[str, msgspec.Raw]) -> bool:
    """Return whether a JSON object repeats a key; `fields` are its decoded fields, and nested objects do not count."""
    # every key ends with a quotation mark and a colon: if there are as many of these as fields, no key repeats
    return len(_KEY_END.findall(text)) != len(fields) and len(_cut(text, b"{")) != len(fields)


def count_keys(text: bytes) -> int:
    """Return the number of keys in JSON text at all depths, including text in strings that looks like a key."""
    codes = np.frombuffer(text, np.uint8)
    colons, before = codes[1:] == _COLON, codes[:-1]
    found = int(np.count_nonzero(colons & (before == _QUOTE)))
    for place in np.flatnonzero(colons & (before <= _SPACE[0])).tolist():
        found += text[max(0, place - _FAR) : place + 1].rstrip(_SPACE)[-1:] in {b'"', b""}
    return found


def count_escaped(text: bytes) -> int:
    """Return how many of the keys that `count_keys` finds are text in a string, after an escaped quotation mark."""
    return sum(len(match[1]) % 2 for match in _ESCAPED_KEY_END.finditer(text))


def _recode(body: bytes, encoding: str) -> bytes:
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise _unknown_charset(encoding) from None
    if name in {"utf-8", "ascii"}:
        return body
    try:
        # half a surrogate pair must only affect the record that contains it
        errors = "surrogatepass" if name.startswith(("utf-16", "utf-32")) else "strict"
        return body.decode(name, errors).encode("utf-8", "surrogatepass")
    except LookupError:
        # a codec of Python that is no charset, such as `hex`
        raise _unknown_charset(encoding) from None
    except (UnicodeError, ValueError) as error:
        raise msgspec.DecodeError(f"the body is not text in {name}: {error}") from None


def _unknown_charset(encoding: str) -> SourceRejectedError:
    return SourceRejectedError(
        f"the response has the charset {encoding!r}, which is unknown",
        expected="UTF-8, or a charset that Python knows",
    )


def _encoding_of_zeros(body: bytes) -> str:
    # JSON begins with an ASCII character and contains no zero byte, so zeros show the width of a character
    zeros = tuple(byte == 0 for byte in body[:4])
    widths: dict[tuple[bool, ...], str] = {
        (False, True, False, True): "utf-16-le",
        (True, False, True, False): "utf-16-be",
        (False, True, True, True): "utf-32-le",
        (True, True, True, False): "utf-32-be",
    }
    return widths.get(zeros, "utf-8")


def _count_members(text: bytes, values: Iterable[msgspec.Raw]) -> int:
    # large values are cut out first, so that the remaining text is short
    for value in values:
        raw = bytes(value)
        if len(raw) > _FAR:
            start = text.find(raw[:_FAR])
            if text.startswith(raw, start):
                text = text[:start] + b"0" + text[start + len(raw) :]
    return len(_cut(text, b"{"))


def _cut(text: bytes, opening: bytes) -> list[tuple[bytes, bytes]]:
    """Return the values of a JSON list, or of an object with their keys, split by brackets and commas."""
    start = len(text) - len(text.lstrip(_SPACE))
    found = text[start : start + 1]
    if found != opening:
        if found in _CLOSES:
            raise msgspec.ValidationError(f"Expected `{_NAMES[opening]}`, got `{_NAMES[found]}`")
        _refuse("it does not begin with a bracket")
    parts: list[tuple[bytes, bytes]] = []
    begin, colon = start + 1, -1
    for mark, place in _outer_marks(text, start):
        if mark == b":":
            colon = place if colon < 0 else colon
            continue
        _add(parts, text, begin, colon, place, opening)
        begin, colon = place + 1, -1
    if text[begin:].strip(_SPACE):
        _refuse(f"more text after its end (byte {begin})")
    return parts


def _outer_marks(text: bytes, start: int) -> Iterator[tuple[bytes, int]]:
    """Yield the commas, colons and the end of the value that begins at `start`, without those of nested values."""
    expected = bytearray()
    for match in _TOKEN.finditer(text, start):
        token = match[0]
        if token in _CLOSES:
            expected += _CLOSES[token]
        elif token in _CLOSINGS:
            if not expected or expected.pop() != token[0]:
                _refuse(f"a bracket too many (byte {match.start()})")
            if not expected:
                yield token, match.start()
                return
        elif len(expected) == 1 and token in {b",", b":"}:
            yield token, match.start()
    if len(expected) > _DEEPEST:
        raise SourceRejectedError(
            f"the response opens {len(expected)} brackets and does not close them", expected="records, as JSON"
        )
    _refuse("it ends too early")


def _add(parts: list[tuple[bytes, bytes]], text: bytes, begin: int, colon: int, end: int, opening: bytes) -> None:
    key = text[begin:colon].strip(_SPACE) if colon >= 0 and opening == b"{" else b""
    value = text[colon + 1 if key else begin : end].strip(_SPACE)
    if not value and not parts and text[end : end + 1] in b"]}":
        return
    if not value or (opening == b"{" and not key):
        _refuse(f"a part without a value (byte {end})")
    parts.append((key, value))


def _key(text: bytes) -> str:
    try:
        return msgspec.json.decode(text, type=str)
    except MISREAD:
        return text.decode(errors="backslashreplace")


def _refuse(message: str) -> NoReturn:
    raise msgspec.DecodeError(f"JSON is malformed: {message}")
