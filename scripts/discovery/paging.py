"""Paging: how an API pages, guessed from an answer and proven by asking for another page."""

from __future__ import annotations

import functools
import itertools
import re
import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

from scripts.discovery.findings import Finding
from scripts.discovery.shapes import path_text
from scripts.errors import PipelineError, SourceRejectedError
from scripts.extract.links import next_link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_SMALL = 2
_SIZE = 100
_MOST_REQUESTS = 30
_MOST_FOLLOWED = 12
"""How many pages of links or cursors are followed to see how they end."""
_NEXT = re.compile(r"^(next|next_?(page_?)?(url|link|href)|nextRecordsUrl|@odata\.nextLink|__next)$", re.IGNORECASE)
_CURSOR = re.compile(r"cursor|token|^after$|^offset$|continuation|^next$", re.IGNORECASE)
_MORE = re.compile(r"^(has_?(more|next(_?page)?))$", re.IGNORECASE)
_LAST = re.compile(r"^(is_?last|last|done)$", re.IGNORECASE)
_TOTAL = re.compile(
    r"^(total(_?(count|size|results|items|records|rows))?|count|@odata\.count|__count|rowCount|element_count)$",
    re.IGNORECASE,
)
_TOTAL_HEADERS = ("X-Total-Count", "X-Total", "Total-Count", "X-WP-Total", "Content-Range")
_CURSOR_PARAMS = (
    "cursor",
    "after",
    "page_token",
    "pageToken",
    "pagetoken",
    "start_cursor",
    "offset",
    "nextPageToken",
    "next",
    "continuation",
)
_PAIRS = (
    ("_page", "_limit"), ("page", "per_page"), ("page", "limit"), ("page", "page_size"), ("page", "size"),
    ("page", "pageSize"), ("page", "pagesize"), ("page[number]", "page[size]"),
)  # fmt: skip
_OFFSETS = (
    ("skip", "limit"), ("offset", "limit"), ("_start", "_limit"), ("startAt", "maxResults"), ("$offset", "$limit"),
    ("$skip", "$top"), ("offset", "count"),
)  # fmt: skip


class Asked(NamedTuple):
    """An answer: its headers, its document and its records."""

    headers: Mapping[str, str]
    document: Any
    records: list[Any]


class Paging(NamedTuple):
    """The paging of a source.

    Attributes:
        pagination: The contract's `pagination`; empty for one page.
        total: The contract's `total`; empty if none is declared.
        findings: The facts from which it follows.
        choices: Lines for the contract that a person has to decide about.
    """

    pagination: dict[str, Any]
    total: dict[str, Any]
    findings: list[Finding]
    choices: list[str]


def find_paging(first: Asked, ask: Callable[..., Asked]) -> Paging:
    """Return how a source pages; `ask(url=None, **params)` sends a further request."""
    total, declared = _find_total(first)
    findings = []
    for attempt in (_by_link, _by_address, _by_cursor, _by_last_row, _by_number):
        pagination, finding = attempt(first, ask, declared)
        if finding is not None:
            findings.append(finding)
        if pagination:
            if pagination["type"] in {"page", "offset"}:
                if not total:
                    total, declared = _total_of_small_page(first, ask, pagination)
                flag, _ = _flag(first)
                pagination |= {"stop": "total"} if total else flag or {"stop": "short_page"}
            if total:
                findings.append(Finding("total", "likely", f"{total} declares {declared}"))
            return Paging(pagination, total, findings, [])
    count = len(first.records)
    if declared is not None and declared > count:
        findings.append(
            Finding("pages", "unknown", f"{declared} rows are declared, {count} received, and the paging is unknown")
        )
    elif declared == count:
        findings.append(Finding("pages", "likely", f"all {count} declared rows were received at once"))
    else:
        findings.append(Finding("pages", "unknown", f"{count} rows were received, and no sign of more was found"))
    choices = [] if declared == count and count else [
        "pagination: {type: page, page_param: page, size_param: per_page, page_size: 100, stop: short_page}",
        "pagination: {type: offset, offset_param: offset, limit_param: limit, page_size: 100, stop: short_page}",
        "pagination: {type: cursor, cursor_param: cursor, cursor_path: next_cursor, stop: no_cursor}",
    ]  # fmt: skip
    return Paging({}, total if declared is not None and declared >= count else {}, findings, choices)


def _by_link(first: Asked, ask: Callable[..., Asked], _: int | None) -> tuple[dict[str, Any], Finding | None]:
    try:
        address = next_link(first.headers.get("Link"))
    except SourceRejectedError:
        return {}, None
    if address is None:
        return {}, None
    return _follow(first, ask, lambda asked: next_link(asked.headers.get("Link")), {"type": "link"}, "the Link header")


def _by_address(first: Asked, ask: Callable[..., Asked], _: int | None) -> tuple[dict[str, Any], Finding | None]:
    for name, links in first.document.items() if isinstance(first.document, dict) else ():
        if (found := _next_of_links(links)) is not None:
            relation, key, _address = found
            place = f"$.{name}[?@.{relation}=='next'].{key}"
            keys = {"type": "link", "next_path": place}
            return _follow(first, ask, functools.partial(_address_in, name), keys, f"`{place}`")
    for path, value in _leaves(first.document):
        if _NEXT.match(path[-1]) and isinstance(value, str) and re.match(r"https?://|/|\?", value):
            place = path_text(path)
            keys = {"type": "link", "next_path": place}
            return _follow(first, ask, functools.partial(_address_at, path), keys, f"`{place}`")
    return {}, None


def _next_of_links(links: Any) -> tuple[str, str, str] | None:  # noqa: ANN401 — any JSON
    """Return the keys of the relation and the address of the next page in a list of links, and the address."""
    for link in links if isinstance(links, list) else ():
        for relation, key in itertools.product(("rel", "relation"), ("href", "url")) if isinstance(link, dict) else ():
            if link.get(relation) == "next" and isinstance(link.get(key), str):
                return relation, key, link[key]
    return None


def _address_at(path: Sequence[str], asked: Asked) -> str | None:
    found: str | None = _at(asked.document, path)
    return found


def _address_in(name: str, asked: Asked) -> str | None:
    found = _next_of_links(_at(asked.document, [name]))
    return None if found is None else found[2]


def _at(document: Any, path: Sequence[str]) -> Any:  # noqa: ANN401 — any JSON
    """Return the value at a path of keys; None if there is none."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _follow(
    first: Asked,
    ask: Callable[..., Asked],
    next_of: Callable[[Asked], str | None],
    pagination: dict[str, Any],
    place: str,
) -> tuple[dict[str, Any], Finding | None]:
    try:
        second = ask(next_of(first))
    except PipelineError as error:
        return {}, Finding("pages", "unknown", f"{place} names a next page, which fails: {error}")
    if second.records == first.records:
        return {}, Finding("pages", "unknown", f"{place} names a next page, which is the same")
    stop, text = _end_of(second, lambda asked: ask(next_of(asked)) if next_of(asked) else None)
    return pagination | stop, Finding(
        "pages", "proven", f"{place} names the next page, which has {len(second.records)} other rows; {text}"
    )


def _end_of(second: Asked, further: Callable[[Asked], Asked | None]) -> tuple[dict[str, Any], str]:
    """Follow the pages after the second one; return how paging stops, if not by itself, and a sentence about it."""
    page = second
    for number in range(2, _MOST_FOLLOWED):
        if not page.records:
            return {"stop": "empty_page"}, f"page {number} has no rows, and names a next page"
        try:
            following = further(page)
        except PipelineError as error:
            return {}, f"page {number + 1} fails: {error}"
        if following is None:
            return {}, f"page {number} is the last"
        page = following
    return {}, f"the pages after number {_MOST_FOLLOWED} were not requested"


def _by_cursor(first: Asked, ask: Callable[..., Asked], _: int | None) -> tuple[dict[str, Any], Finding | None]:
    flag = _flag(first)
    for path, value in _leaves(first.document):
        if (
            not _CURSOR.search(path[-1])
            or not isinstance(value, (str, int))
            or isinstance(value, bool)
            or value in ("", 0)
        ):
            continue
        own = re.sub(r"^(next_?|end_?)", "", path[-1], flags=re.IGNORECASE)
        own = own[:1].lower() + own[1:]
        for name in dict.fromkeys((own, path[-1], *_CURSOR_PARAMS)):
            second = _try(ask, {name: value})
            if second is not None and second.records and second.records != first.records and _is_other(first, second):
                place = path_text(path)
                keys = {"type": "cursor", "cursor_param": name, "cursor_path": place, "stop": "no_cursor"}
                stop, text = _end_of(second, _by_value(ask, name, path))
                told = f"`{name}={value}` from `{place}` gives other rows; {text}{flag[1]}"
                return keys | stop, Finding("pages", "proven", told)
    return {}, None


def _by_value(ask: Callable[..., Asked], name: str, path: Sequence[str]) -> Callable[[Asked], Asked | None]:
    """Return a function that requests the page after another one by the cursor at a path."""

    def further(asked: Asked) -> Asked | None:
        cursor = _at(asked.document, path)
        return None if cursor in (None, "", False) else ask(None, **{name: cursor})

    return further


def _by_last_row(first: Asked, ask: Callable[..., Asked], _: int | None) -> tuple[dict[str, Any], Finding | None]:
    keys, _text = _flag(first)
    last = first.records[-1] if first.records and isinstance(first.records[-1], dict) else {}
    if not keys or keys["stop"] != "has_more_false" or "id" not in last:
        return {}, None
    for name in ("starting_after", "after", "after_id", "since_id"):
        second = _try(ask, {name: last["id"]})
        if second is not None and second.records and _is_other(first, second):
            found = {"type": "cursor", "cursor_param": name, "cursor_field": "id", **keys}
            return found, Finding("pages", "proven", f"`{name}` with the last row's `id` gives other rows")
    return {}, None


def _by_number(first: Asked, ask: Callable[..., Asked], declared: int | None) -> tuple[dict[str, Any], Finding | None]:
    """Request small pages by the usual parameters, until the second page contains the rows after the first."""
    if len(first.records) <= _SMALL:
        return {}, None
    known = str(first.document)[:100_000] if isinstance(first.document, dict) else ""
    pairs = [("offset", *pair) for pair in _OFFSETS] + [("page", *pair) for pair in _PAIRS]
    # parameters that the answer names are tried first
    pairs.sort(key=lambda pair: -sum(f"'{name.strip('$_')}'" in known for name in pair[1:]))
    sizes: dict[str, bool] = {}
    for kind, number, size in pairs[:_MOST_REQUESTS]:
        if size not in sizes:
            small = _try(ask, {size: _SMALL})
            sizes[size] = small is not None and small.records == first.records[:_SMALL]
        if not sizes[size]:
            continue
        for beginning in (1, 0) if kind == "page" else (0,):
            asked = _SMALL if kind == "offset" else beginning + 1
            second = _try(ask, {number: asked, size: _SMALL})
            if second is None or second.records != first.records[_SMALL : 2 * _SMALL]:
                continue
            keys = _numbered(kind, number, size, beginning)
            text = f"`{number}={asked}&{size}={_SMALL}` gives rows 3 and 4"
            return keys, Finding("pages", "proven", text + _last_page(kind, number, size, beginning, ask, declared))
    return _without_size(first, ask)


def _without_size(first: Asked, ask: Callable[..., Asked]) -> tuple[dict[str, Any], Finding | None]:
    for name in ("page", "_page", "p"):
        second = _try(ask, {name: 2})
        if second is not None and second.records and _is_other(first, second):
            keys = {"type": "page", "page_param": name, "size_param": None, "page_size": len(first.records)}
            return keys, Finding("pages", "proven", f"`{name}=2` gives {len(second.records)} other rows")
    return {}, None


def _numbered(kind: str, number: str, size: str, beginning: int) -> dict[str, Any]:
    if kind == "offset":
        return {"type": "offset", "offset_param": number, "limit_param": size, "page_size": _SIZE}
    keys = {"type": "page", "page_param": number, "size_param": size, "page_size": _SIZE}
    return keys | ({"first_page": 0} if beginning == 0 else {})


def _last_page(
    kind: str, number: str, size: str, beginning: int, ask: Callable[..., Asked], declared: int | None
) -> str:
    """Return a sentence about the page of the last declared row."""
    if not declared:
        return ""
    last = (declared - 1) // _SMALL
    found = _try(ask, {number: last * _SMALL if kind == "offset" else last + beginning, size: _SMALL})
    wanted = declared - last * _SMALL
    if found is not None and len(found.records) == wanted:
        return f"; the last page has {wanted} rows, as expected for {declared} rows in total"
    return (
        f"; the last page has {'no' if found is None else len(found.records)} rows, expected {wanted}"
        f" of {declared} rows in total"
    )


def _find_total(first: Asked) -> tuple[dict[str, Any], int | None]:
    count = len(first.records)
    for name in _TOTAL_HEADERS:
        text = (first.headers.get(name) or "").rpartition("/")[2].strip()
        if text.isdecimal() and int(text) >= count:
            return {"header": name}, int(text)
    for path, value in _leaves(first.document):
        text = str(value)
        if _TOTAL.match(path[-1]) and not isinstance(value, bool) and text.isdecimal() and int(text) >= count:
            # `count` is often the number of rows on the page
            if path[-1].lower() == "count" and int(text) == count:
                continue
            return {"path": path_text(path)}, int(text)
    return {}, None


def _total_of_small_page(
    first: Asked, ask: Callable[..., Asked], pagination: dict[str, Any]
) -> tuple[dict[str, Any], int | None]:
    """Return the total that a page declares, if a whole answer declares none."""
    size = pagination.get("size_param") or pagination.get("limit_param")
    number = pagination.get("page_param") or pagination.get("offset_param")
    begin = pagination.get("first_page", 1) if pagination["type"] == "page" else 0
    small = _try(ask, {str(number): begin, str(size): _SMALL}) if size else None
    total, declared = _find_total(small) if small is not None else ({}, None)
    return (total, declared) if declared is not None and declared >= len(first.records) else ({}, None)


def _flag(first: Asked) -> tuple[dict[str, Any], str]:
    for path, value in _leaves(first.document):
        if isinstance(value, bool) and (_MORE.match(path[-1]) or _LAST.match(path[-1])):
            stop = "has_more_false" if _MORE.match(path[-1]) else "is_last_true"
            return {"has_more_path": path_text(path), "stop": stop}, f"; `{path_text(path)}` is {value}"
    return {}, ""


def _try(ask: Callable[..., Asked], params: dict[str, Any]) -> Asked | None:
    try:
        return ask(None, **params)
    except PipelineError:
        return None


def _is_other(first: Asked, second: Asked) -> bool:
    return not any(record in first.records for record in second.records)


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[list[str], Any]]:  # noqa: ANN401 — any JSON
    """Yield the values in objects, but not in lists, each with the keys that lead to it."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(child, (*path, key))
    elif path and not isinstance(value, list):
        yield [*path], value


def same_place(base: str, address: str) -> str:
    """Return the full URL of an address in an answer."""
    return urllib.parse.urljoin(base, address)
