"""Formats: conversion of a body in gzip, zip, CSV, XML or lines of JSON to JSON."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import xml.parsers.expat
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import msgspec
import xmltodict

from scripts.errors import SourceRejectedError
from scripts.extract.json_text import to_utf8
from scripts.extract.transport import check_unpacked, most_unpacked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from scripts.contracts.column import Column
    from scripts.contracts.response import ArrayResponse

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_ODD = re.compile("[\udc80-\udcff]")
"""Bytes that are not text, as `surrogateescape` decodes them."""
_XML_ENCODING = re.compile(rb"\s*<\?xml[^>]*\sencoding\s*=", re.ASCII)
csv.field_size_limit(sys.maxsize)
_PYTHON_HINT = "no `format` reads that; a generator can: `python: scripts/sources/NAME.py:FUNCTION` instead of `path`"
_BINARY = (b"PAR1", b"Obj\x01", b"%PDF", b"\xd0\xcf\x11\xe0")
"""How Parquet, Avro, PDF and old Excel files begin."""
_FORMAT_HINTS = (
    (("spreadsheet", "excel", "parquet", "avro", "pdf", "protobuf", "image/"), _PYTHON_HINT),
    (("tab-separated", "/tsv"), "`response: {shape: array, format: tsv}` reads that"),
    (("csv",), "`response: {shape: array, format: csv}` reads that"),
    (("ndjson", "jsonl", "json-seq", "json-lines"), "`response: {shape: array, format: ndjson}` reads that"),
    (("/xml", "+xml"), "`response: {shape: envelope, format: xml, data_path: …}` reads that"),
)


def open_body(body: bytes) -> Iterator[bytes]:
    """Yield the contents of a body: each file of a zip archive, in the order of their names, or the body without gzip.

    Raises:
        SourceRejectedError: The archive is broken, or larger than the settings allow.
    """
    try:
        if body.startswith(_GZIP):
            yield from open_body(_gunzip(body))
        elif body.startswith(_ZIP):
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                members = sorted((item for item in archive.infolist() if not item.is_dir()), key=lambda i: i.filename)
                check_unpacked(sum(member.file_size for member in members), len(body))
                for member in members:
                    yield from open_body(archive.read(member))
        else:
            yield body
    except (zlib.error, zipfile.BadZipFile, EOFError, OSError) as error:
        raise SourceRejectedError(f"the compressed body is broken: {error}", expected="gzip or zip") from None


def csv_records(body: bytes, response: ArrayResponse, columns: Iterable[Column]) -> bytes:
    """Return CSV as a JSON list of records of texts; a cell beyond the header is `cell N`, an empty one is null.

    Bytes of another encoding stay unchanged in their record, and the row reader quarantines it.

    Raises:
        SourceRejectedError: The header has another encoding, or the body is not CSV.
    """
    text, is_clean = _csv_text(body, response)
    delimiter = response.delimiter or ("\t" if response.format == "tsv" else ",")
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        names = list(response.header) if response.header is not None else next(lines, [])
        records = [_csv_record(names, cells, is_clean=is_clean) for cells in lines if cells]
    except csv.Error as error:
        raise SourceRejectedError(f"line {lines.line_num} is not CSV: {error}") from None
    declared = {column.key for column in columns}
    if names and declared and declared.isdisjoint(names):
        raise SourceRejectedError(
            f"the first line of the body, {','.join(names)[:80]!r}, names none of the contract's fields",
            expected=f"a header with {', '.join(sorted(declared)[:8])}",
            hint="check `response.delimiter`, or give the names in `response.header`",
        )
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise SourceRejectedError(
            f"two columns are called {', '.join(doubled)}", expected="one of each", hint="give `response.header`"
        )
    return msgspec.json.encode(records)


def json_lines(body: bytes) -> list[bytes]:
    """Return the lines of a body that are not empty."""
    return [line for line in body.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]


def refuse_format(body: bytes, content_type: str) -> None:
    """Refuse a body that could not be read, where it is whole and of another format than the contract says.

    Raises:
        SourceRejectedError: It is; the hint says what the contract has to say. A web page may be a proxy's, and pass.
    """
    kind = content_type.partition(";")[0].strip().lower()
    hints = [hint for words, hint in _FORMAT_HINTS if any(word in kind for word in words)]
    if body.startswith(_BINARY):
        hints = [_PYTHON_HINT]
    if hints:
        raise SourceRejectedError(
            f"the body is not JSON, but {kind or 'of a binary format'}",
            expected="the contract's `response`",
            hint=hints[0],
        )


def xml_document(body: bytes, content_type: str = "", lists: Collection[tuple[str, ...]] = ()) -> bytes:
    """Return XML as JSON: elements by name, a list if a name appears more than once, attributes with `@`.

    The encoding is that of the document; if it declares none, that of the content type. `lists` are the elements that
    are a list even if they appear once, each with the names of the elements around it.

    Raises:
        SourceRejectedError: The body is not XML.
    """
    text = body if _XML_ENCODING.match(body) else to_utf8(body, content_type)

    def is_listed(path: Any, key: str, _: Any) -> bool:  # noqa: ANN401 — a list of pairs, whatever its stub says
        return (*(element[0] for element in path), key) in lists

    try:
        return msgspec.json.encode(
            xmltodict.parse(
                text, disable_entities=True, strip_whitespace=False, postprocessor=_keep_text, force_list=is_listed
            )
        )
    except (xml.parsers.expat.ExpatError, ValueError) as error:
        raise SourceRejectedError(f"the body is not XML: {error}", expected="`response.format: xml`") from None
    except RecursionError:
        raise SourceRejectedError("the XML is nested too deeply", expected="records, as elements") from None


def _csv_text(body: bytes, response: ArrayResponse) -> tuple[str, bool]:
    """Return a body as text, and whether all of it is valid text; invalid text is only accepted in records."""
    encoding = "utf-8-sig" if response.encoding == "utf-8" else response.encoding
    try:
        return body.decode(encoding), True
    except UnicodeDecodeError as error:
        problem = SourceRejectedError(
            f"the body is not {response.encoding}: {error.reason} at byte {error.start}",
            expected="the contract's `response.encoding`",
            hint="give the encoding in the contract, for example `encoding: cp1252`",
        )
    try:
        text = body.decode(encoding, "surrogateescape")
    except UnicodeDecodeError:
        raise problem from None
    if response.header is None and _ODD.search(text.partition("\n")[0]):
        raise problem
    return text, False


def _csv_record(names: list[str], cells: list[str], *, is_clean: bool) -> dict[str, str | None] | msgspec.Raw:
    named = [*names[: len(cells)], *(f"cell {number + 1}" for number in range(len(names), len(cells)))]
    pairs = zip(named, (cell or None for cell in cells), strict=True)
    if is_clean and len(cells) <= len(names):
        return dict(pairs)
    # keep a column with the name of a cell beyond the header, and a cell that is not text
    members = (f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=False)}" for name, value in pairs)
    return msgspec.Raw(f"{{{','.join(members)}}}".encode("utf-8", "surrogateescape"))


def _keep_text(_: object, key: str, value: Any) -> Any:  # noqa: ANN401 — as xmltodict calls it
    """Return an item of an element; None for the white space between elements."""
    return None if key == "#text" and value is not None and not value.strip() else (key, value)


def _gunzip(body: bytes) -> bytes:
    opened, rest, most = bytearray(), body, most_unpacked(len(body))
    while rest:
        # a gzip file may hold several parts
        reader = zlib.decompressobj(wbits=31)
        opened += reader.decompress(rest, most + 1 - len(opened))
        check_unpacked(len(opened), len(body))
        if not reader.eof:
            message = "it ends too early"
            raise EOFError(message)
        rest = reader.unused_data.lstrip(b"\x00")
    return bytes(opened)
