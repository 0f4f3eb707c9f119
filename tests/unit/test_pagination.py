"""Paging over scripted answers; `tests/integration/test_paging.py` does it over HTTP."""

import concurrent.futures

import pyarrow as pa
import pytest

from scripts.contracts.source import Resource
from scripts.errors import SourceRejectedError
from scripts.extract.pagination import walk
from scripts.extract.request import Request
from scripts.extract.responses import Answer
from scripts.extract.rows import Page

URL = "http://api.invalid/x"


def resource(pagination, total=None):
    return Resource.model_validate(
        {
            "description": "x",
            "path": "/x",
            "primary_key": ["id"],
            "columns": [{"name": "id", "type": "integer", "nullable": False, "description": "x"}],
            "pagination": pagination,
            **({"total": total} if total else {}),
        }
    )


class Source:
    """A collection of `size` rows, served in pages."""

    def __init__(self, size, *, declares=True, cap=None, deaf=False):
        self.size, self.declares, self.cap, self.deaf = size, declares, cap, deaf
        self.asked = []

    def get(self, request):
        params = request.params
        self.asked.append(params)
        limit = min(params.get("limit", 10), self.cap or 10**9)
        start = params["offset"] if "offset" in params else (params["page"] - 1) * limit
        if self.deaf:
            start = 0
        ids = list(range(start, min(start + limit, self.size)))
        batch = pa.record_batch({"id": pa.array(ids, pa.int64())})
        page = Page(batch, range(len(ids)), (), {})
        return Answer(page, len(ids), self.size if self.declares else None, None, None, hash(str(ids)))


def fetched(source, contract):
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        answers = list(walk(Request(URL), contract, source.get, executor, ahead=3))
    return [row for answer in answers for row in answer.page.batch.column("id").to_pylist()]


KINDS = {
    "page": {"type": "page", "page_param": "page", "size_param": "limit", "page_size": 10},
    "offset": {"type": "offset", "offset_param": "offset", "limit_param": "limit", "page_size": 10},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", ["total", "short_page", "empty_page"])
@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 95, 100])
def test_every_row_comes_once_and_in_order(kind, stop, size):
    contract = resource({**KINDS[kind], "stop": stop}, {"header": "X-Total-Count"} if stop == "total" else None)

    assert fetched(Source(size, declares=stop == "total"), contract) == list(range(size))


@pytest.mark.parametrize("size", [0, 9, 10, 25])
def test_where_no_total_is_declared_after_all_a_short_page_is_the_last(size):
    contract = resource({**KINDS["page"], "stop": "total"}, {"header": "X-Total-Count"})

    assert fetched(Source(size, declares=False), contract) == list(range(size))


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_caps_the_page_size_loses_nothing(kind):
    contract = resource({**KINDS[kind], "stop": "total"}, {"header": "X-Total-Count"})

    assert fetched(Source(35, cap=4), contract) == list(range(35))


def test_with_a_total_no_page_too_many_is_asked_for():
    source = Source(30)

    fetched(source, resource({**KINDS["page"], "stop": "total"}, {"header": "X-Total-Count"}))

    assert sorted(params["page"] for params in source.asked) == [1, 2, 3]


def test_a_source_that_does_not_know_the_parameter_is_refused():
    with pytest.raises(SourceRejectedError, match="page 2 is the same as page 1"):
        fetched(Source(100, deaf=True), resource({**KINDS["page"], "stop": "total"}, {"header": "X-Total-Count"}))


def chain(total=None, empty=(), **steps):
    def get(request):
        url = request.url
        key = request.params.get("cursor", url)
        ids = [] if key in empty else [1]
        batch = pa.record_batch({"id": pa.array(ids, pa.int64())})
        cursor, next_url = steps.get("cursors", {}).get(key), steps.get("links", {}).get(url)
        return Answer(Page(batch, range(len(ids)), (), {}), len(ids), total, cursor, next_url, hash(key))

    return get


def follow(get, contract):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return list(walk(Request(URL), contract, get, executor, ahead=1))


def test_links_are_followed_to_the_page_without_one():
    get = chain(links={URL: "/x?p=2", "http://api.invalid/x?p=2": "?p=3"})

    assert len(follow(get, resource({"type": "link", "stop": "no_next_link"}))) == 3


@pytest.mark.parametrize(
    ("target", "words"),
    [("https://evil.invalid/x", "leads to https://evil.invalid"), ("?p=1", "leads back to")],
    ids=["another_host", "a_loop"],
)
def test_a_link_that_leads_astray_is_refused(target, words):
    get = chain(links={URL: target, "http://api.invalid/x?p=1": "?p=1"})

    with pytest.raises(SourceRejectedError, match=words):
        follow(get, resource({"type": "link", "stop": "no_next_link"}))


CURSOR = {"type": "cursor", "cursor_param": "cursor", "cursor_path": "next", "stop": "no_cursor"}


def test_cursors_are_followed_to_the_page_without_one():
    assert len(follow(chain(cursors={URL: "a", "a": "b"}), resource(CURSOR))) == 3


def test_a_cursor_that_comes_again_is_refused():
    with pytest.raises(SourceRejectedError, match=r"cursor `a` repeats.*`stop: empty_page`"):
        follow(chain(cursors={URL: "a", "a": "a"}), resource(CURSOR))


LINK = {"type": "link", "stop": "no_next_link"}
SECOND = f"{URL}?p=2"


@pytest.mark.parametrize("more", ["another page", "the same page"])
@pytest.mark.parametrize("stop", ["empty_page", "a total"])
def test_a_source_that_always_names_a_next_page_has_an_end(more, stop):
    total = 1 if stop == "a total" else None
    counted = {"header": "X-Total-Count"} if total else None
    changes = {} if total else {"stop": stop}
    cursors = chain(total, ["a"], cursors={URL: "a", "a": "b" if more == "another page" else "a"})
    links = chain(total, [SECOND], links={URL: SECOND, SECOND: "/x?p=3" if more == "another page" else "/x?p=2"})

    assert [answer.records for answer in follow(cursors, resource(CURSOR | changes, counted))] == [1, 0]
    assert [answer.records for answer in follow(links, resource(LINK | changes, counted))] == [1, 0]


def test_a_cursor_that_comes_again_after_all_rows_of_the_total_is_the_end():
    get = chain(2, cursors={URL: "a", "a": "a"}, links={URL: SECOND, SECOND: "/x?p=2"})
    counted = {"header": "X-Total-Count"}

    assert len(follow(get, resource(CURSOR, counted))) == 2
    assert len(follow(get, resource(LINK, counted))) == 2


def test_a_page_that_is_refused_after_the_first_names_the_key_for_that():
    def get(request):
        if request.params["page"] > 1:
            raise SourceRejectedError("HTTP 400 Bad Request", hint="check `params`")
        return Source(25).get(request)

    with pytest.raises(SourceRejectedError, match=r"`end_status: \[400\]`.*check `params`"):
        follow(get, resource({**KINDS["page"], "stop": "short_page"}))


def test_pages_are_fetched_only_a_few_ahead_of_their_reader():
    """So memory does not grow with the number of pages."""
    source, contract = Source(1000), resource({**KINDS["page"], "stop": "total"}, {"header": "X-Total-Count"})
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        answers = walk(Request(URL), contract, source.get, executor, ahead=3)
        for taken in range(1, 20):
            next(answers)
            assert len(source.asked) <= taken + 4
        answers.close()


def test_without_a_total_one_page_more_than_needed_is_asked_for():
    source = Source(25, declares=False)

    fetched(source, resource({**KINDS["page"], "stop": "short_page"}))

    assert len(source.asked) == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [4, 8, 35, 40])
def test_without_a_total_a_capped_page_size_loses_nothing(kind, size):
    contract = resource({**KINDS[kind], "stop": "short_page"})

    assert fetched(Source(size, declares=False, cap=4), contract) == list(range(size))


class Clamping(Source):
    """A collection whose last page comes for every later number."""

    def get(self, request):
        last = max(0, (self.size - 1) // 10) + 1
        return super().get(Request(request.url, {**request.params, "page": min(request.params["page"], last)}))


@pytest.mark.parametrize(("size", "stop"), [(25, "short_page"), (25, "repeated_page"), (30, "repeated_page")])
def test_a_source_that_clamps_the_number_has_an_end(size, stop):
    assert fetched(Clamping(size, declares=False), resource({**KINDS["page"], "stop": stop})) == list(range(size))


@pytest.mark.parametrize("stop", ["short_page", "empty_page"])
def test_a_full_page_that_comes_again_is_refused(stop):
    with pytest.raises(SourceRejectedError, match=r"page 4 is the same as page 3.*repeated_page"):
        fetched(Clamping(30, declares=False), resource({**KINDS["page"], "stop": stop}))


def test_a_limit_on_pages_ends_with_its_reason(caplog):
    limit = {"pages": 2, "reason": "the source serves 20 rows at most"}

    assert len(fetched(Source(50), resource({**KINDS["page"], "stop": "short_page", "max_pages": limit}))) == 20
    assert "serves 20 rows at most" in caplog.text
