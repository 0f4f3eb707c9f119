"""Responses: reads rows, total and next page from a body of any declared shape."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import msgspec

from scripts.contracts.pagination import CursorPagination, LinkPagination, NoPagination
from scripts.errors import SourceRejectedError, SourceUnavailableError
from scripts.extract.find import find_one
from scripts.extract.flat_maps import normalize_response
from scripts.extract.json_text import MISREAD, first_character, split_list, split_object, to_utf8
from scripts.extract.links import next_link
from scripts.extract.records import find_records, key_names, split
from scripts.extract.repeats import key_hashes
from scripts.extract.rewrite import Rewriter, Rewritten

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from scripts.contracts.pagination import Pagination
    from scripts.contracts.response import ErrorFlag
    from scripts.contracts.source import Resource
    from scripts.extract.records import Found
    from scripts.extract.rows import Page, Reject, RowReader

__all__ = ["Answer", "RawRows", "ResponseReader", "normalize_response", "shorten"]
_SNIPPET = 160
_SHOWN_CHARACTERS = 40
_ERROR_KEYS, _OK_KEYS = frozenset({"error", "errors", "fault"}), frozenset({"ok", "success"})
_NO_ERROR = frozenset({b"null", b"false", b"0", b'""', b"[]", b"{}", b'"0"'})
_TOTAL = re.compile(r"\s*[0-9]{1,18}\s*", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """The content of one response.

    Attributes:
        page: Its rows.
        records: Number of records in it, before nested lists are opened.
        total: Rows that the API declares for the whole request; None if it declares no total.
        cursor: Cursor of the next page, a text or the JSON of a number; None on the last.
        next_url: Address of the next page; None on the last.
        fingerprint: Equal for pages with equal keys, or with equal records if there are no keys.
        keys: A hash of each row's key, if pages are compared.
        refused: Error to raise if it is the first page; on a later page, its status means that there are no more pages.
        ended: Whether its status means that there are no more pages.
        part: Number of the request of the load that it belongs to.
        more: Whether its flag says that there are more pages; None if the contract has no such flag.
    """

    page: Page | RawPage
    records: int
    total: int | None
    cursor: str | msgspec.Raw | None
    next_url: str | None
    fingerprint: int
    keys: np.ndarray | None = None
    refused: SourceRejectedError | None = None
    ended: bool = False
    part: int = 0
    more: bool | None = None

    @property
    def cursor_text(self) -> str:
        """The cursor as text."""
        return self.cursor if isinstance(self.cursor, str) else bytes(self.cursor or b"").decode()


@dataclasses.dataclass(frozen=True, slots=True)
class RawPage:
    """The undecoded records of one response, from which further requests are built."""

    records: Sequence[bytes]
    rejects: Sequence[Reject] = ()

    @property
    def fetched(self) -> int:
        """Number of records."""
        return len(self.records)


class RawRows:
    """Reads records without decoding them."""

    def read(self, body: bytes) -> RawPage:
        """Return the records of a JSON list."""
        return RawPage(split_list(body))

    def read_each(self, raws: Iterable[bytes]) -> RawPage:
        """Return the page of records that are given one by one."""
        return RawPage(list(raws))


class ResponseReader:
    """Reads the responses of one resource; may be shared by threads."""

    def __init__(self, resource: Resource, rows: RowReader | RawRows) -> None:
        """Prepare the rewriting that the contract asks for."""
        self._resource, self._rows = resource, rows
        self._rewriter = Rewriter(resource)

    def read(
        self,
        body: bytes,
        headers: Mapping[str, str],
        carried: Mapping[str, object] | None = None,
    ) -> Answer:
        """Return the answer of a response; `carried` are columns that each row gets.

        Raises:
            SourceRejectedError: The body does not have the shape that the contract declares, or reports an error.
            SourceUnavailableError: The body reports a transient error.
            DataError: A record does not fit, and the contract's policy for that is `fail`.
            msgspec.DecodeError: The body is not JSON.
        """
        resource = self._resource
        content_type = headers.get("Content-Type") or ""
        try:
            if resource.error is not None:
                _check_error(to_utf8(body, content_type), resource.error)
            found = find_records(body, resource, content_type)
            count = None
            if self._rewriter.is_needed or carried:
                sent = split(found.records)
                count, page = len(sent), self._read_rewritten(self._rewriter.rewrite(sent, carried or {}))
            else:
                page = self._read_rows(found.records)
            keys = self._keys(page)
            if not count and not page.fetched and resource.error is None and found.document is not None:
                _check_undeclared_error(found.document)
            more = _has_more(found.document, resource.pagination)
            return Answer(
                page,
                page.fetched if count is None else count,
                self._total(headers, found.document),
                self._cursor(headers, found, more=more),
                self._next_url(headers, found.document),
                self._fingerprint(found.records, keys),
                keys,
                more=more,
            )
        except msgspec.ValidationError as error:
            raise SourceRejectedError(
                f"the response has another shape: {error}",
                expected=f"{resource.response.shape} as in the contract",
                hint="`response` in the contract says where the records are: array, envelope, object, keyed, columnar,"
                " rows or flat_map; an error with HTTP 200 is declared by `error`",
            ) from None

    def check_retry(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Check whether a refused request can be sent again, as `error.retry_values` says.

        Raises:
            SourceUnavailableError: The body has one of these values.
        """
        flag = self._resource.error
        if flag is None:
            return
        try:
            raw, value = _value_of(to_utf8(body, headers.get("Content-Type") or ""), flag)
        except MISREAD:
            return
        if raw is not None and _is_in(value, flag.retry_values):
            raise SourceUnavailableError(f"the response says that it is an error: `{flag.path}` is {shorten(raw)}")

    def empty(self, refused: SourceRejectedError | None = None) -> Answer:
        """Return the answer of a response whose status means that it has no rows."""
        return Answer(self._rows.read(b"[]"), 0, None, None, None, 0, refused=refused, ended=True)

    def _keys(self, page: Page | RawPage) -> np.ndarray | None:
        resource = self._resource
        if isinstance(page, RawPage) or resource.nested is not None or isinstance(resource.pagination, NoPagination):
            return None
        return key_hashes(page, resource)

    def _fingerprint(self, records: bytes | list[bytes], keys: np.ndarray | None) -> int:
        if isinstance(self._resource.pagination, NoPagination):
            return 0
        if keys is not None and len(keys):
            return hash(keys.tobytes())
        return hash(tuple(records)) if isinstance(records, list) else hash(records)

    def _read_rows(self, records: bytes | list[bytes]) -> Page | RawPage:
        if not isinstance(records, list):
            return self._rows.read(records)
        try:
            page = self._rows.read(b"[" + b",".join(records) + b"]")
        except MISREAD:
            page = None
        # reading each line separately quarantines only a line that is torn or contains more than one record
        if page is not None and page.fetched == len(records):
            return page
        return self._rows.read_each(records)

    def _read_rewritten(self, rewritten: Sequence[Rewritten]) -> Page | RawPage:
        """Return the rows of rewritten records; a rejected record is kept as it was received."""
        page = self._read_rows([row.record for row in rewritten])
        if not page.rejects:
            return page
        rejects = [dataclasses.replace(reject, raw=rewritten[reject.position].raw) for reject in page.rejects]
        return dataclasses.replace(page, rejects=rejects)

    def _total(self, headers: Mapping[str, str], document: bytes | None) -> int | None:
        total = self._resource.total
        if total is None:
            return None
        if total.header is not None:
            place, text = f"header `{total.header}`", headers.get(total.header)
            text = text.rpartition("/")[2] if text is not None else None
        else:
            place = f"`{total.path}`"
            raw = None if document is None else find_one(document, total.path or "")
            text = None if raw is None or raw == b"null" else raw.decode(errors="replace").strip('"')
        if text is None or text.strip() == "*":
            return None
        if not _TOTAL.fullmatch(text):
            raise SourceRejectedError(
                f"the response declares its total as {text[:_SHOWN_CHARACTERS]!r} in {place}",
                expected="a number of rows there, as in the contract",
            )
        return int(text)

    def _next_url(self, headers: Mapping[str, str], document: bytes | None) -> str | None:
        pagination = self._resource.pagination
        if isinstance(pagination, NoPagination):
            try:
                return next_link(headers.get("Link"))
            except SourceRejectedError:
                return None
        if not isinstance(pagination, LinkPagination):
            return None
        if pagination.next_header is not None:
            return headers.get(pagination.next_header) or None
        if pagination.next_path is None:
            return next_link(headers.get("Link"))
        raw = None if document is None else find_one(document, pagination.next_path)
        value = None if raw is None else msgspec.json.decode(raw)
        if value not in (None, "", False) and not isinstance(value, str):
            raise SourceRejectedError(
                f"the response holds {shorten(raw)} at `{pagination.next_path}`", expected="the next page's address"
            )
        return value or None

    def _cursor(self, headers: Mapping[str, str], found: Found, *, more: bool | None) -> str | msgspec.Raw | None:
        pagination = self._resource.pagination
        if not isinstance(pagination, CursorPagination) or more is False:
            return None
        document = found.document
        if pagination.cursor_header is not None:
            cursor: str | msgspec.Raw | None = headers.get(pagination.cursor_header) or None
        elif pagination.cursor_field is not None:
            cursor = _last_value(split(found.records), pagination.cursor_field)
        else:
            cursor = _scalar(find_one(document, pagination.cursor_path or "") if document is not None else None)
        if cursor is None and more:
            place = pagination.cursor_header or pagination.cursor_field or pagination.cursor_path
            raise SourceRejectedError(
                f"there are more pages, and no cursor at `{place}`", hint="check pagination in the contract"
            )
        return cursor


def _last_value(records: Sequence[bytes], path: str) -> str | msgspec.Raw | None:
    """Return the cursor that the last record holds; None where there is no record."""
    if not records:
        return None
    cursor = _scalar(find_one(records[-1], path))
    if cursor is None:
        raise SourceRejectedError(
            f"the last record has nothing at `{path}`, the `cursor_field`; its keys are"
            f" {key_names(split_object(records[-1]))}",
            expected="the cursor of the next page in every record",
            hint="where it lies above the record, let `data_path` lead there, and say `field` in the columns",
        )
    return cursor


def _has_more(document: bytes | None, pagination: Pagination) -> bool | None:
    """Return whether an answer says that there are more pages; None where it is not asked."""
    path = getattr(pagination, "has_more_path", None)
    if path is None or document is None:
        return None
    raw = find_one(document, path)
    text = b"" if raw is None else raw.strip(b'"').lower()
    if text not in {b"true", b"false"}:
        raise SourceRejectedError(f"the response does not say true or false at `{path}`")
    return (text == b"true") == (getattr(pagination, "stop", None) == "has_more_false")


def _scalar(raw: bytes | None) -> str | msgspec.Raw | None:
    """Return a cursor: a text, or a number as written."""
    if raw is None or raw in {b"null", b"false", b'""'}:
        return None
    if raw.startswith(b'"'):
        return msgspec.json.decode(raw, type=str)
    msgspec.json.decode(raw)  # raises an error if it is not JSON
    return msgspec.Raw(raw)


def _value_of(body: bytes, flag: ErrorFlag) -> tuple[bytes | None, Any]:
    """Return the value of an error flag, as received and decoded."""
    raw = find_one(body, flag.path)
    return raw, None if raw is None else msgspec.json.decode(raw)


def _check_error(body: bytes, flag: ErrorFlag) -> None:
    try:
        raw, value = _value_of(body, flag)
    except MISREAD:
        return
    if flag.ok_values is not None:
        is_error = not _is_in(value, flag.ok_values)
    elif flag.error_values is not None:
        is_error = _is_in(value, flag.error_values)
    else:
        is_error = value not in (None, False, 0, "", [], {})
    if not is_error:
        return
    said = find_one(body, flag.message_path) if flag.message_path else None
    text = f"the response says that it is an error: `{flag.path}` is {shorten(raw)}"
    text += "" if said is None else f", {shorten(said)}"
    if _is_in(value, flag.retry_values):
        raise SourceUnavailableError(text)
    raise SourceRejectedError(text, hint="`error` in the contract says which values are errors")


def _check_undeclared_error(document: bytes) -> None:
    """Refuse an answer without rows that looks like an error which the contract does not declare."""
    if first_character(document) != b"{":
        return
    for key, raw in split_object(document):
        is_error = key.lower() in _ERROR_KEYS and raw.strip() not in _NO_ERROR
        if is_error or (key.lower() in _OK_KEYS and raw.strip() == b"false"):
            raise SourceRejectedError(
                f"the response has no rows, and `{key}` is {shorten(raw)}",
                expected="rows, or an answer that does not look like an error",
                hint=f"`error: {{path: {key}}}` in the contract says that it is one,"
                f" `error: {{path: {key}, error_values: []}}` that it is none",
            )


def _is_in(value: object, values: tuple[object, ...]) -> bool:
    return any(value == given and isinstance(value, bool) == isinstance(given, bool) for given in values)


def shorten(raw: bytes | None) -> str:
    """Return a value for a message."""
    text = "missing" if raw is None else " ".join(raw.decode(errors="replace").split())
    return text if len(text) <= _SNIPPET else text[: _SNIPPET - 1] + "…"
