"""Every kind of paging, over HTTP, against the sample API: all rows, once, in order, and an empty source."""

import copy
import datetime as dt

import pyarrow.parquet as pq
import pytest

from scripts.contracts.source import Source
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.sample_api import data

DAY = dt.date(2024, 1, 3)
TOTAL = {"header": "X-Total-Count"}
KINDS = {
    "none": {},
    "page": {
        "pagination": {"type": "page", "page_param": "_page", "size_param": "_limit", "page_size": 7, "stop": "total"},
        "total": TOTAL,
    },
    "page_short": {
        "pagination": {
            "type": "page",
            "page_param": "_page",
            "size_param": "_limit",
            "page_size": 11,
            "stop": "short_page",
        }
    },
    "page_empty": {
        "pagination": {
            "type": "page",
            "page_param": "_page",
            "size_param": "_limit",
            "page_size": 11,
            "stop": "empty_page",
        },
        "total": TOTAL,
    },
    "offset": {
        "pagination": {
            "type": "offset",
            "offset_param": "_start",
            "limit_param": "_limit",
            "page_size": 50,
            "stop": "total",
        },
        "total": TOTAL,
    },
    "link": {
        "params": {"_page": 1},
        "pagination": {"type": "link", "stop": "no_next_link", "size_param": "_limit", "page_size": 9},
        "total": TOTAL,
    },
    "cursor": {
        "path": "/cursor/comments",
        "response": {"shape": "envelope", "data_path": "data"},
        "total": {"path": "meta.total"},
        "pagination": {
            "type": "cursor",
            "cursor_param": "cursor",
            "cursor_path": "next_cursor",
            "size_param": "limit",
            "page_size": 97,
            "stop": "no_cursor",
        },
    },
    "cursor_has_more": {
        "path": "/cursor/comments",
        "response": {"shape": "envelope", "data_path": "data"},
        "pagination": {
            "type": "cursor",
            "cursor_param": "cursor",
            "cursor_path": "next_cursor",
            "has_more_path": "has_more",
            "size_param": "limit",
            "page_size": 100,
            "stop": "has_more_false",
        },
    },
}


def source(blog, **changes):
    document = copy.deepcopy(blog.model_dump(mode="json", exclude_defaults=True))
    comments = document["resources"]["comments"]
    for key in ("pagination", "total"):
        comments.pop(key, None)
    comments |= {"primary_key": ["id"], **changes}
    return Source.model_validate(document)


def load(contract, run):
    with Client(contract) as connection:
        return ingest_partition(contract, "comments", DAY, run, connection)


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_arrives_once_and_in_order(kind, api, run, blog):
    entry = load(source(blog, **KINDS[kind]), run)

    sent = [record["id"] for record in data.collection("comments", DAY)]
    table = pq.read_table(run.store.root / entry.path)
    assert table.column("id").to_pylist() == sent
    assert table.column("_row").to_pylist() == list(range(len(sent)))
    assert (entry.fetched, entry.quarantined) == (len(sent), 0)


@pytest.mark.parametrize("kind", ["none", "page", "page_short", "page_empty", "offset", "link"])
def test_an_empty_source_is_an_empty_partition(kind, api, run, blog):
    entry = load(source(blog, path="/empty", **KINDS[kind]), run)

    assert (entry.fetched, entry.bronze, entry.quarantined) == (0, 0, 0)
    table = pq.read_table(run.store.root / entry.path)
    assert table.num_rows == 0
    assert "postId" in table.column_names


def test_the_bytes_do_not_depend_on_the_paging(api, run, blog):
    hashes = {load(source(blog, **KINDS[kind]), run).content_hash for kind in KINDS}

    assert len(hashes) == 1


def test_an_incremental_source_is_asked_for_its_day(api, run, blog):
    document = blog.model_dump(mode="json", exclude_defaults=True)
    document["resources"]["posts"]["load"] = {
        "mode": "incremental",
        "start_param": "created_gte",
        "end_param": "created_lt",
        "format": "%Y-%m-%dT%H:%M:%SZ",
    }
    contract = Source.model_validate(document)
    with Client(contract) as connection:
        entry = ingest_partition(contract, "posts", DAY, run, connection)

    table = pq.read_table(run.store.root / entry.path)
    assert table.num_rows > 0
    assert {moment.date() for moment in table.column("createdAt").to_pylist()} == {DAY}
