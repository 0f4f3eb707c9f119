"""Answers of a source to one load: for each parent or value, each window and each page."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import contextvars
import dataclasses
import functools
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from scripts.config import settings
from scripts.contracts.load import IncrementalLoad
from scripts.contracts.pagination import NoPagination
from scripts.errors import PipelineError, SourceRejectedError, SourceUnavailableError, TransientError
from scripts.extract import retries
from scripts.extract.drift import Drift
from scripts.extract.find import AmbiguousPathError, find_one
from scripts.extract.formats import refuse_format
from scripts.extract.generators import generated_pages
from scripts.extract.json_text import MISREAD
from scripts.extract.pagination import walk
from scripts.extract.request import as_text, build_request
from scripts.extract.responses import RawPage, RawRows, ResponseReader, shorten
from scripts.extract.windows import windows
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

    import requests

    from scripts.contracts.source import Resource, Source
    from scripts.extract.client import Client
    from scripts.extract.request import Request
    from scripts.extract.responses import Answer
    from scripts.extract.rows import RowReader
    from scripts.extract.windows import Window

_log = get_logger("answers")
_NO_CONTENT = 204
_PARTIAL_CONTENT = 206
"""What a source may say of each page but the last."""
_FIRST_REFUSAL, _FIRST_SERVER_ERROR = 400, 500
_NAMED = 5
"""The most failed parents that a message names."""


class Asked(NamedTuple):
    """One repetition of a request: the values of its templates, and the columns that its rows get from them."""

    variables: Mapping[str, str]
    carried: Mapping[str, object]

    def __str__(self) -> str:
        """Return the variables as text."""
        return ", ".join(f"{name} {value}" for name, value in self.variables.items())


class Fetcher:
    """Fetches one day of one source."""

    def __init__(
        self,
        source: Source,
        day: dt.date,
        client: Client,
        attempts: retries.Retries,
        since: dt.datetime | None = None,
    ) -> None:
        """Keep the values that all requests share; `since` is the watermark of the loaded resource."""
        self._source, self._day, self._client = source, day, client
        self._attempts, self._since = attempts, since
        self._context = contextvars.copy_context()

    def answers(self, name: str, rows: RowReader) -> Iterator[Answer]:
        """Yield the answers of a resource, in order.

        Raises:
            SourceRejectedError, SourceUnavailableError: See `retries.fetch`; or requests for some parents failed.
        """
        resource = self._source.resources[name]
        reader = ResponseReader(resource, rows)
        if resource.path is not None:
            yield from self._answers(resource, reader)
            return
        client = self._client.for_resource(resource)
        yield reader.empty()
        for body in generated_pages(resource, self._day, client, self._attempts):
            yield reader.read(body, {})

    def _answers(self, resource: Resource, reader: ResponseReader) -> Iterator[Answer]:
        ahead = min(settings().api_concurrency, self._source.concurrency or 64, resource.concurrency or 64)
        with concurrent.futures.ThreadPoolExecutor(ahead, thread_name_prefix="fetch") as executor:
            try:
                if resource.for_each is None:
                    yield from self._pages(resource, reader, Asked({}, {}), executor, ahead)
                else:
                    yield from self._fan_out(resource, reader, executor, ahead)
            except BaseException:
                # also if the caller stops reading: requests that wait for a retry give up
                self._attempts.stopped.set()
                raise

    def _fan_out(
        self, resource: Resource, reader: ResponseReader, executor: concurrent.futures.Executor, ahead: int
    ) -> Iterator[Answer]:
        """Yield the answers for each parent or value in order; several are fetched at the same time."""
        wanted = self._asked(resource)
        pending: collections.deque[tuple[Asked, concurrent.futures.Future[list[Answer]]]] = collections.deque()
        failed: dict[str, PipelineError] = {}
        count = 0
        try:
            while True:
                for asked in itertools.islice(wanted, max(0, ahead - len(pending))):
                    pending.append((asked, executor.submit(self._all_pages, resource, reader, asked)))
                if not pending:
                    break
                asked, future = pending.popleft()
                try:
                    answers = future.result()
                except (SourceRejectedError, SourceUnavailableError) as error:
                    _log.error("%s: %s", asked, error)
                    failed[str(asked)] = error
                    continue
                for answer in answers:
                    yield dataclasses.replace(answer, part=answer.part + count)
                count += 1 + max((answer.part for answer in answers), default=0)
        finally:
            for _, future in pending:
                future.cancel()
        if failed:
            yield from self._failed(failed, resource, reader, is_all=not count)

    def _failed(
        self, failed: Mapping[str, PipelineError], resource: Resource, reader: ResponseReader, *, is_all: bool
    ) -> Iterator[Answer]:
        first = next(iter(failed.values()))
        if resource.for_each is None or resource.for_each.on_error == "fail" or is_all:
            names = "; ".join(itertools.islice(failed, _NAMED)) + ("; …" if len(failed) > _NAMED else "")
            kind = SourceUnavailableError if isinstance(first, TransientError) else SourceRejectedError
            raise kind(
                f"the requests for {len(failed)} of the parents or values failed ({names}); the first: {first}",
                hint="if such an answer means no rows, set `no_rows: {status: [404]}`;"
                " to load the others only, set `for_each: {on_error: skip}`",
            )
        empty = reader.empty()
        page = empty.page
        if isinstance(page, RawPage):
            return
        for name, error in failed.items():
            _log.warning("skipped: %s", name)
            drift = {("skipped", name): Drift("skipped", name, "skip", 0, str(error)[:80])}
            yield dataclasses.replace(empty, page=dataclasses.replace(page, drift=drift))

    def _asked(self, resource: Resource) -> Iterator[Asked]:
        """Yield the distinct repetitions of a request."""
        each = resource.for_each
        if each is None:
            yield Asked({}, {})
            return
        seen = set()
        for taken in self._taken(resource) if each.resource else [{}]:
            for row, combination in itertools.product(each.rows or ({},), itertools.product(*each.values.values())):
                found = {**taken, **row, **dict(zip(each.values, combination, strict=True))}
                variables = {name: as_text(value) for name, value in found.items()}
                if (key := tuple(variables.values())) not in seen:
                    seen.add(key)
                    yield Asked(variables, {column: found[name] for column, name in each.carry.items()})

    def _taken(self, resource: Resource) -> Iterator[dict[str, object]]:
        """Yield the variables that are taken from each row of the parent: texts, and numbers as written."""
        each = resource.for_each
        if each is None or each.resource is None:
            return
        parent = self._source.resources[each.resource]
        for answer in self._answers(parent, ResponseReader(parent, RawRows())):
            for record in answer.page.records if isinstance(answer.page, RawPage) else ():
                yield {name: _variable(record, path, each.resource) for name, path in each.take.items()}

    def _all_pages(self, resource: Resource, reader: ResponseReader, asked: Asked) -> list[Answer]:
        return list(self._pages(resource, reader, asked, None, 1))

    def _pages(
        self,
        resource: Resource,
        reader: ResponseReader,
        asked: Asked,
        executor: concurrent.futures.Executor | None,
        ahead: int,
    ) -> Iterator[Answer]:
        """Yield the answers of all windows; each window is a separate part."""
        parts = itertools.count()
        for window in windows(resource.load, self._day, self._source.time_zone):
            yield from self._window(resource, reader, asked, window, parts, executor, ahead)

    def _window(
        self,
        resource: Resource,
        reader: ResponseReader,
        asked: Asked,
        window: Window,
        parts: Iterator[int],
        executor: concurrent.futures.Executor | None,
        ahead: int,
    ) -> Iterator[Answer]:
        client = self._client.for_resource(resource)
        request = build_request(
            self._source, resource, client.base_url, self._day, window, asked.variables, self._since
        )
        get = functools.partial(self._get, resource, reader, client, asked)
        answers = walk(request, resource, get, executor, ahead=ahead)
        size = resource.load.window if isinstance(resource.load, IncrementalLoad) else None
        if size is None or size.halve_at is None:
            part = next(parts)
            yield from (dataclasses.replace(answer, part=part) if part else answer for answer in answers)
            return
        kept = _kept(answers, size.halve_at)
        if kept is not None:
            part = next(parts)
            yield from (dataclasses.replace(answer, part=part) for answer in kept)
            return
        halves = window.halves()
        if halves is None:
            raise SourceRejectedError(
                f"the second from {window.start.isoformat()} has {size.halve_at} rows or more",
                where=request.url,
                expected="fewer rows than `halve_at` in a second",
            )
        for half in halves:
            yield from self._window(resource, reader, asked, half, parts, executor, ahead)

    def _get(
        self, resource: Resource, reader: ResponseReader, client: Client, asked: Asked, request: Request
    ) -> Answer:
        empty = {_NO_CONTENT, *resource.no_rows.status}
        last = () if isinstance(resource.pagination, NoPagination) else resource.pagination.end_status
        partial = () if isinstance(resource.pagination, NoPagination) else (_PARTIAL_CONTENT,)
        # a refusal may say in its body that trying again helps
        refusals = range(_FIRST_REFUSAL, _FIRST_SERVER_ERROR) if resource.error and resource.error.retry_values else ()
        content = request.content
        headers = {**request.headers, **content.pop("headers", {})}

        def send(url: str, **arguments: Any) -> requests.Response:  # noqa: ANN401 — the arguments of requests
            return client.send(request.method, url, **arguments, **content)

        def parse(response: requests.Response) -> Answer:
            if response.status_code in empty:
                return reader.empty()
            if response.status_code in refusals:
                reader.check_retry(response.content, response.headers)
                if response.status_code not in last:
                    retries.check_status(response)
            if response.status_code in last:
                try:
                    retries.check_status(response)
                except SourceRejectedError as error:
                    error.where = error.where or request.url
                    return reader.empty(error)
            if resource.no_rows.missing_list and not response.content.strip():
                return reader.empty()
            try:
                return reader.read(response.content, response.headers, asked.carried)
            except msgspec.DecodeError:
                refuse_format(response.content, response.headers.get("Content-Type") or "")
                raise

        return self._context.copy().run(
            retries.fetch,
            send,
            request.url,
            parse,
            params=request.query,
            headers=headers,
            retries=self._attempts,
            passing=empty | {*last, *partial, *refusals},
        )


def _kept(answers: Iterator[Answer], most: int) -> list[Answer] | None:
    """Return the answers of a window; None if they reach the limit of rows that the source returns."""
    kept: list[Answer] = []
    rows = 0
    with contextlib.closing(answers):  # type: ignore[type-var]
        for answer in answers:
            kept.append(answer)
            rows += answer.records
            if max(rows, answer.total or 0) >= most:
                return None
    return kept


def _variable(record: bytes, path: str, parent: str) -> object:
    """Return the value of a variable in a row of the parent."""
    raw: bytes | None = None
    value: object = None
    try:
        raw = find_one(record, path)
        value = None if raw is None else msgspec.json.decode(raw, type=str | int | float | bool | None)
    except (AmbiguousPathError, *MISREAD):
        value = None
    # such a value in a path would lead to another collection
    if raw is None or value is None or value in {"", ".", ".."}:
        raise SourceRejectedError(
            f"a row of the parent `{parent}` has {shorten(raw)} at `{path}`",
            expected="a text, a number or a boolean for each variable of `for_each.take`",
        )
    return value if isinstance(value, str) else msgspec.Raw(raw)
