"""Pagination: the requests that a contract's paging asks for, in order, as many at a time as the settings allow."""

from __future__ import annotations

import collections
import itertools
import math
import urllib.parse
from typing import TYPE_CHECKING, Any

from scripts.contracts.connection import (
    CursorPagination,
    LinkPagination,
    NoPagination,
    OffsetPagination,
    PagePagination,
)
from scripts.errors import SourceRejectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from scripts.contracts.source import Resource
    from scripts.extract.responses import Answer


def walk(
    url: str,
    params: dict[str, Any],
    resource: Resource,
    get: Callable[[str, dict[str, Any]], Answer],
    executor: Executor,
    *,
    ahead: int,
) -> Iterator[Answer]:
    """Yield the answer of every page of a request, in order, at most `ahead` of them fetched before they are taken.

    Raises:
        SourceRejectedError: Paging can't come to an end: a page repeats, or leads to another host.
    """
    pagination = resource.pagination
    if isinstance(pagination, NoPagination):
        yield get(url, params)
    elif isinstance(pagination, LinkPagination):
        yield from _follow_links(url, params, pagination, get)
    elif isinstance(pagination, CursorPagination):
        yield from _follow_cursor(url, params, pagination, get)
    else:
        yield from _refuse_repeats(url, _count_pages(url, params, pagination, get, executor, ahead))


def _count_pages(
    url: str,
    params: dict[str, Any],
    pagination: PagePagination | OffsetPagination,
    get: Callable[[str, dict[str, Any]], Answer],
    executor: Executor,
    ahead: int,
) -> Iterator[Answer]:
    first = get(url, params | number_params(pagination, 0, pagination.page_size))
    yield first
    seen, size = first.page.fetched, pagination.page_size
    if seen == 0 or (first.total is not None and seen >= first.total):
        return
    if first.total is not None:
        # a source may cap, or ignore, the page size that it is asked for
        size = seen if seen != size else size
    elif pagination.stop != "empty_page" and seen < size:
        return
    known = None if first.total is None or pagination.stop != "total" else math.ceil(first.total / size)
    numbers = itertools.count(1) if known is None else range(1, known)
    requests = (params | number_params(pagination, number, size) for number in numbers)
    for answer in _in_order(executor, ahead, url, requests, get):
        yield answer
        seen += answer.page.fetched
        if answer.page.fetched == 0:
            return
        if pagination.stop == "total" and answer.total is not None:
            if seen >= answer.total:
                return
        elif pagination.stop != "empty_page" and answer.page.fetched < size:
            return


def number_params(pagination: PagePagination | OffsetPagination, number: int, size: int) -> dict[str, Any]:
    """Return the parameters that ask for page `number`, counted from zero, of pages of `size` rows."""
    if isinstance(pagination, OffsetPagination):
        return {pagination.offset_param: number * size, pagination.limit_param: size}
    asked = {pagination.page_param: pagination.first_page + number}
    return asked | ({pagination.size_param: pagination.page_size} if pagination.size_param else {})


def _in_order(
    executor: Executor,
    ahead: int,
    url: str,
    requests: Iterator[dict[str, Any]],
    get: Callable[[str, dict[str, Any]], Answer],
) -> Iterator[Answer]:
    """Yield answers in the order of their requests; a request that is still waiting when nobody reads on is dropped."""
    pending = collections.deque(executor.submit(get, url, params) for params in itertools.islice(requests, ahead))
    try:
        while pending:
            answer = pending.popleft().result()
            pending.extend(executor.submit(get, url, params) for params in itertools.islice(requests, 1))
            yield answer
    finally:
        for future in pending:
            future.cancel()


def _refuse_repeats(url: str, answers: Iterator[Answer]) -> Iterator[Answer]:
    last = None
    for number, answer in enumerate(answers):
        if answer.page.fetched and answer.fingerprint == last:
            raise SourceRejectedError(
                f"page {number + 1} is the same as page {number}",
                where=url,
                expected="another page",
                hint="check the names of the paging parameters in the contract",
            )
        last = answer.fingerprint
        yield answer


def _follow_links(
    url: str, params: dict[str, Any], pagination: LinkPagination, get: Callable[[str, dict[str, Any]], Answer]
) -> Iterator[Answer]:
    start = url
    if pagination.size_param:
        params = params | {pagination.size_param: pagination.page_size}
    visited = set()
    while True:
        answer = get(url, params)
        yield answer
        if answer.next_url is None:
            return
        url, params = urllib.parse.urljoin(url, answer.next_url), {}
        if urllib.parse.urlsplit(url)[:2] != urllib.parse.urlsplit(start)[:2]:
            raise SourceRejectedError(
                f"the Link header leads to {url}", where=start, expected="a page of the same host and scheme"
            )
        if url in visited:
            raise SourceRejectedError(f"the Link header leads back to {url}", where=start, expected="a last page")
        visited.add(url)


def _follow_cursor(
    url: str, params: dict[str, Any], pagination: CursorPagination, get: Callable[[str, dict[str, Any]], Answer]
) -> Iterator[Answer]:
    if pagination.size_param:
        params = params | {pagination.size_param: pagination.page_size}
    visited = set()
    asked = dict(params)
    while True:
        answer = get(url, asked)
        yield answer
        if answer.cursor is None:
            return
        if answer.cursor in visited:
            raise SourceRejectedError(f"cursor `{answer.cursor}` comes again", where=url, expected="a last page")
        visited.add(answer.cursor)
        asked = params | {pagination.cursor_param: answer.cursor}
