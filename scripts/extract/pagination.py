"""Pagination: fetches the pages of a request in order, as many at the same time as the settings allow."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from scripts.contracts.pagination import (
    CursorPagination,
    LinkPagination,
    NoPagination,
    OffsetPagination,
    PagePagination,
)
from scripts.errors import SourceRejectedError
from scripts.extract.ahead import pages_ahead
from scripts.extract.transport import join_url, without_query
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future

    from scripts.contracts.source import Resource
    from scripts.extract.request import Request
    from scripts.extract.responses import Answer

    Get = Callable[[Request], Answer]

_log = get_logger("pagination")


def walk(
    request: Request, resource: Resource, get: Get, executor: Executor | None = None, *, ahead: int = 1
) -> Iterator[Answer]:
    """Yield the answer of every page of a request in order; at most `ahead` pages are fetched in advance.

    Raises:
        SourceRejectedError: A page repeats, too many pages are empty, or a link leads to another host.
    """
    pagination = resource.pagination
    if isinstance(pagination, NoPagination):
        yield _only_page(get(request))
        return
    if isinstance(pagination, (PagePagination, OffsetPagination)):
        answers = _Numbers(request, pagination, get, executor, ahead).answers()
    elif isinstance(pagination, LinkPagination):
        answers = _refuse_repeats(request, _Links(request, pagination, get).answers(), pagination.max_empty_pages)
    else:
        answers = _refuse_repeats(request, _Cursors(request, pagination, get).answers(), pagination.max_empty_pages)
    limit = pagination.max_pages
    if limit is None:
        yield from answers
        return
    # one more page than the limit is fetched, to know whether the limit leaves any page out
    for number, answer in enumerate(answers, start=1):
        if number > limit.pages:
            _log.warning("max_pages: %d pages were read, the others are left out (%s)", limit.pages, limit.reason)
            return
        yield dataclasses.replace(answer, total=None)


class _Numbers:
    """Pages by number or offset."""

    def __init__(
        self,
        request: Request,
        pagination: PagePagination | OffsetPagination,
        get: Get,
        executor: Executor | None,
        ahead: int,
    ) -> None:
        self._request, self._pagination, self._get = request, pagination, get
        self._executor, self._ahead = executor, ahead
        self._seen = 0
        self._size = self._full = pagination.page_size
        self._fingerprints: dict[int, int] = {}
        self._previous: Answer | None = None

    def answers(self) -> Iterator[Answer]:
        """Yield the answers up to the last page."""
        first = self._get(self._numbered(0))
        if first.refused is not None:
            raise first.refused
        yield first
        if first.ended or (first.records == 0 and not first.more) or self._is_complete(first):
            return
        # a source may limit or ignore the requested page size
        self._size = first.records or self._size
        self._note(first, 1)
        for number, answer in enumerate(self._in_order(first), start=2):
            if self._is_over(answer, number):
                return
            yield answer
            self._note(answer, number)
            if self._is_complete(answer):
                return

    def _later(self, number: int) -> Answer:
        try:
            return self._get(self._numbered(number))
        except SourceRejectedError as error:
            if status := re.match(r"HTTP (4\d\d)", error.what):
                error.hint = (
                    f"if the source answers so after its last page, `end_status: [{status[1]}]` in pagination ends the"
                    f" load there; else {error.hint}"
                )
            raise

    def _numbered(self, number: int) -> Request:
        return self._request.placing(self._pagination.send_in, number_params(self._pagination, number, self._size))

    def _note(self, answer: Answer, number: int) -> None:
        self._seen += answer.records
        self._fingerprints.setdefault(answer.fingerprint, number)
        self._previous = answer

    def _is_complete(self, answer: Answer) -> bool:
        """Return whether the declared total says that this was the last page."""
        if answer.more is not None:
            return not answer.more
        if answer.total is None or (self._pagination.stop == "empty_page" and self._seen):
            return False
        return (self._seen or answer.records) >= answer.total

    def _is_over(self, answer: Answer, number: int) -> bool:
        """Return whether an answer says that the page before it was the last.

        Raises:
            SourceRejectedError: The page repeats an earlier one.
        """
        if answer.ended or (answer.records == 0 and not answer.more):
            return True
        last = self._previous
        if answer.fingerprint in self._fingerprints:
            clamped = last is not None and answer.fingerprint == last.fingerprint and self._is_short(last)
            if self._pagination.stop == "repeated_page" or (clamped and answer.total is None):
                return True
            raise SourceRejectedError(
                f"page {number} is the same as page {self._fingerprints[answer.fingerprint]}",
                where=self._request.url,
                expected="another page",
                hint="check the names of the paging parameters in the contract; if the source returns its last page for"
                " every later number, set `stop: repeated_page` or `total`",
            )
        is_told = answer.total is not None or answer.more is not None or self._pagination.stop == "empty_page"
        if not is_told and last is not None and self._is_short(last):
            _log.warning(
                "page %d has %d rows of %d, and another page followed: the source caps or filters its pages",
                number - 1,
                last.records,
                self._full,
            )
        self._full = self._size
        return False

    def _is_short(self, answer: Answer) -> bool:
        return answer.records < self._full

    def _in_order(self, first: Answer) -> Iterator[Answer]:
        """Yield the answers after the first; when the caller stops reading, pending requests are canceled."""
        is_known = first.total is not None and self._pagination.stop == "total"
        known = math.ceil((first.total or 0) / self._size) if is_known else None
        numbers = iter(range(1, known)) if known else itertools.count(1)
        if self._executor is None or first.more is not None:
            # a source that says whether there is more may refuse to be asked for a page that it does not have
            yield from (self._later(number) for number in numbers)
            return
        # if no total declares the number of pages, begin with one page, since a short collection has no others
        wanted = self._ahead if known else 1
        pending: collections.deque[Future[Answer]] = collections.deque()
        answer = first
        try:
            while True:
                more = itertools.islice(numbers, max(0, pages_ahead(wanted, answer) - len(pending)))
                pending.extend(self._executor.submit(self._later, number) for number in more)
                if not pending:
                    return
                answer = pending.popleft().result()
                wanted = min(self._ahead, wanted * 2) if known or not self._is_short(answer) else 1
                yield answer
        finally:
            for future in pending:
                future.cancel()


def number_params(pagination: PagePagination | OffsetPagination, number: int, size: int) -> dict[str, Any]:
    """Return the parameters that request page `number`, counted from zero, with `size` rows per page."""
    if isinstance(pagination, OffsetPagination):
        asked: dict[str, Any] = {pagination.offset_param: pagination.first_offset + number * size}
        return asked | ({pagination.limit_param: size} if pagination.limit_param else {})
    asked = {pagination.page_param: pagination.first_page + number}
    return asked | ({pagination.size_param: pagination.page_size} if pagination.size_param else {})


class _Links:
    """Pages whose answers contain the address of the next page."""

    def __init__(self, request: Request, pagination: LinkPagination, get: Get) -> None:
        self._start, self._pagination, self._get = request, pagination, get

    def answers(self) -> Iterator[Answer]:
        """Yield the answers up to the one without a next address."""
        pagination, start = self._pagination, self._start
        size = {pagination.size_param: pagination.page_size} if pagination.size_param else {}
        request = start.placing(pagination.send_in, size)
        end = _End(pagination, start.url)
        while True:
            answer = self._get(request)
            yield answer
            if answer.next_url is None or end.is_at(answer):
                _warn_of_full_page(answer, pagination, "next address")
                return
            url = _same_host(start.url, join_url(request.url, answer.next_url))
            if end.is_repeated(url, f"the next link leads back to {url}"):
                return
            request = dataclasses.replace(request, url=url, params={})


class _Cursors:
    """Pages whose answers contain the cursor of the next page."""

    def __init__(self, request: Request, pagination: CursorPagination, get: Get) -> None:
        self._start, self._pagination, self._get = request, pagination, get

    def answers(self) -> Iterator[Answer]:
        """Yield the answers up to the one without a cursor."""
        pagination = self._pagination
        size = {pagination.size_param: pagination.page_size} if pagination.size_param else {}
        start = self._start.placing(pagination.send_in, size)
        request = (
            start.placing("template", {pagination.cursor_param: ""}) if pagination.send_in == "template" else start
        )
        end = _End(pagination, start.url)
        while True:
            answer = self._get(request)
            yield answer
            if answer.cursor is None or end.is_at(answer):
                _warn_of_full_page(answer, pagination, "cursor")
                return
            if end.is_repeated(answer.cursor_text, f"cursor `{answer.cursor_text}` repeats"):
                return
            request = start.placing(pagination.send_in, {pagination.cursor_param: answer.cursor})


_NO_LAST_PAGE = "if the source names a next page on its last one too, set `stop: empty_page` in pagination, or `total`"


class _End:
    """Whether pages that name a next page have come to their end."""

    def __init__(self, pagination: LinkPagination | CursorPagination, where: str) -> None:
        self._ends_empty, self._where = pagination.stop == "empty_page", where
        self._rows = 0
        self._has_all = False
        """Whether the declared total of rows has come."""
        self._visited: set[str] = set()

    def is_at(self, answer: Answer) -> bool:
        """Return whether an answer, the next one to count, is the last page although it names another one."""
        self._rows += answer.records
        self._has_all = answer.total is not None and self._rows >= answer.total
        return answer.ended or (not answer.records and (self._ends_empty or self._has_all))

    def is_repeated(self, place: str, problem: str) -> bool:
        """Return whether the next page was already requested, after all declared rows.

        Raises:
            SourceRejectedError: It was, and no total says that all rows have come.
        """
        if place not in self._visited:
            self._visited.add(place)
            return False
        if not self._has_all:
            raise SourceRejectedError(problem, where=self._where, expected="a last page", hint=_NO_LAST_PAGE)
        return True


def _refuse_repeats(request: Request, answers: Iterator[Answer], most_empty: int) -> Iterator[Answer]:
    pages: dict[int, int] = {}
    empty = 0
    for number, answer in enumerate(answers, start=1):
        if answer.refused is not None and number == 1:
            raise answer.refused
        empty = 0 if answer.records else empty + 1
        if empty > most_empty:
            raise SourceRejectedError(
                f"{empty} consecutive pages have no rows",
                where=request.url,
                expected="rows, or a last page",
                hint="check how the contract's pagination finds the next page; with `stop: empty_page` the first page"
                " without rows is the last one, `max_empty_pages` allows more of them",
            )
        if answer.records and answer.fingerprint in pages:
            raise SourceRejectedError(
                f"page {number} is the same as page {pages[answer.fingerprint]}",
                where=request.url,
                expected="another page",
                hint="check the names of the paging parameters in the contract",
            )
        pages[answer.fingerprint] = number
        yield answer


def _only_page(answer: Answer) -> Answer:
    if answer.next_url is not None:
        _log.warning(
            "the answer names a next page (%s), but the contract's pagination is `none`: rows may be missing;"
            " `pagination: {type: link}` loads it",
            answer.next_url,
        )
    return answer


def _warn_of_full_page(answer: Answer, pagination: LinkPagination | CursorPagination, what: str) -> None:
    if answer.ended or answer.more is False:
        return
    if answer.records >= pagination.page_size and pagination.size_param and answer.total is None:
        _log.warning(
            "the last page is full (%d rows) and has no %s: rows may be missing; check pagination in the contract",
            answer.records,
            what,
        )


_PORTS = {"http": 80, "https": 443}


def _same_host(start: str, url: str) -> str:
    """Return a URL of the host of the first request; `http` is replaced by `https` if the first request used that."""
    before, after = urllib.parse.urlsplit(start), urllib.parse.urlsplit(url)
    if before.scheme == "https" and after.scheme == "http" and after.port in (None, 80):
        after = after._replace(scheme="https", netloc=after.hostname or "")
    places = [(part.scheme, part.hostname, part.port or _PORTS.get(part.scheme)) for part in (before, after)]
    if places[0] != places[1] or after.username:
        raise SourceRejectedError(
            f"the next link leads to {without_query(url)}",
            where=without_query(start),
            expected="a page of the same host and scheme",
        )
    return urllib.parse.urlunsplit(after)
