"""`sources new`: what it finds out about the documented shapes of real APIs, and what a load then makes of it."""

import datetime as dt
import json
import re

import pyarrow.parquet as pq
import pytest
import yaml

from scripts import config
from scripts.admin import new_source
from scripts.contracts import catalog
from scripts.contracts.source import Source
from scripts.contracts.staging_model import staging_files
from scripts.discovery.openapi import list_endpoints
from scripts.errors import SourceRejectedError, UsageError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from tests.support.answering import answering
from tests.support.shapes import JSON, SHAPES, ok

TODAY = dt.datetime.now(dt.UTC).date()
ROWS = 7
ADDRESSES = {
    "django_rest": "/items",
    "fred": "/items?series_id=GNPCA&file_type=json&offset=0&limit=100",
    "ndjson_file": "/day.ndjson",
    "csv_file": "/day.csv",
    "json_gz_file": "/day.json.gz",
    "jsonl_gz_file": "/day.jsonl.gz",
    "rss": "/feed",
    "stripe_charges": "/items",
    "shopify_orders": "/items?limit=2",
    "github_issues": "/repos/o/r/issues?per_page=2",
    "jira_v3": "/items",
    "airtable": "/items",
    "google_places": "/items",
    "nasa_neo": "/items",
    "open_meteo": "/v1/archive?start_date=2024-01-01&hourly=temperature_2m",
    "hubspot_objects": "/items?archived=false",
    "coingecko_markets": "/items?per_page=100",
}
AUTHS = {
    "fred": "query:api_key=DEMO_TOKEN",
    "shopify_orders": "header:X-Shopify-Access-Token=DEMO_TOKEN",
    "airtable": "bearer:DEMO_TOKEN",
    "google_places": "query:key=DEMO_TOKEN",
    "nasa_neo": "query:api_key=DEMO_TOKEN",
}


@pytest.fixture
def discover(env):
    env("DEMO_TOKEN", "secret")

    def discover_at(base, path, auth=None):
        addresses = [new_source.parse_address(base + path)]
        return new_source.discover_source("demo", addresses, new_source.parse_auth(auth), "me@example.com")

    return discover_at


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_load_by_the_written_contract_is_complete(name, discover, run):
    answered = SHAPES[name][2]
    with answering(lambda ask: answered(ask, ROWS)) as (base, _):
        text, found = discover(base, ADDRESSES[name], AUTHS.get(name))
        source = Source.model_validate(yaml.safe_load(text))
        with Client(source) as connection:
            entry = ingest_partition(source, found[0].name, TODAY, run, connection)

    assert (entry.fetched, entry.quarantined) == (ROWS, 0)
    assert pq.read_table(run.store.root / entry.path).column("_extra").null_count == ROWS


def orders(ask):
    start, size = int(ask.query.get("skip", 0)), int(ask.query.get("limit", 30))
    rows = [
        {
            "id": i,
            "customerName": "x" if i % 2 else None,
            "total": 1.5,
            "isPaid": True,
            "createdAt": "2024-01-01T10:00:00Z",
            "tags": ["a"],
            "lines": [{"sku": "a", "count": 1}, {"sku": "b", "count": 2}],
        }
        for i in range(1, 96)
    ]
    return ok({"orders": rows[start : start + size], "total": 95, "skip": start, "limit": size})


def test_everything_is_found_and_proven(discover):
    with answering(orders) as (base, asked):
        text, found = discover(base, "/v1/orders")

    source = yaml.safe_load(text)
    resource = source["resources"]["orders"]
    assert resource["response"] == {"shape": "envelope", "data_path": "orders"}
    assert resource["total"] == {"path": "total"}
    assert resource["pagination"]["offset_param"] == "skip"
    assert resource["pagination"]["stop"] == "total"
    assert resource["primary_key"] == ["id"]
    types = {column["name"]: column["type"] for column in resource["columns"]}
    assert types == {
        "id": "integer",
        "customerName": "string",
        "total": "number",
        "isPaid": "boolean",
        "createdAt": "timestamp",
        "tags": "json",
        "lines": "json",
    }
    assert resource["children"]["lines"]["primary_key"] == ["parent_id", "sku"]
    (pages,) = [finding for finding in found[0].findings if finding.about == "pages"]
    assert pages.sure == "proven"
    assert "the last page has the 1 rows" in pages.text
    assert "missing or null in 15 of 30 rows" in text
    assert len(asked) < 12


def test_what_cannot_be_told_stands_as_choices(discover):
    with answering(lambda _: ok([{"id": i} for i in range(5)])) as (base, _):
        text, _ = discover(base, "/items")

    assert "# pages (unknown): 5 rows came, and nothing says that there are more" in text
    assert "    # pagination: {type: cursor" in text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, {"Content-Type": "text/html"}, b"hello"), "nothing that could be rows"),
        (ok([]), "holds no row"),
        ((401, JSON, b"{}"), "HTTP 401"),
    ],
    ids=["text", "empty", "denied"],
)
def test_an_answer_without_rows_is_refused(answer, words, discover):
    with answering(lambda _: answer) as (base, _), pytest.raises(SourceRejectedError, match=words):
        discover(base, "/items")


@pytest.mark.parametrize("text", ["bearer", "bearer:", "digest:X", "basic:A", "header:X"])
def test_an_auth_that_is_not_understood_is_refused(text):
    with pytest.raises(UsageError, match="bearer:TOKEN_NAME"):
        new_source.parse_auth(text)


@pytest.fixture
def project(monkeypatch, tmp_path):
    """A project folder without sources."""
    for folder in ("sources", "dbt"):
        (tmp_path / folder).mkdir()
    (tmp_path / ".env.example").write_text("A=1\n")
    monkeypatch.setattr(catalog, "SOURCES_DIR", tmp_path / "sources")
    monkeypatch.setattr(new_source, "PROJECT_DIR", tmp_path)
    monkeypatch.setattr(config.Settings, "dbt_dir", property(lambda _: tmp_path / "dbt"))
    return tmp_path


def test_files_are_written_once_and_new_columns_added(project, discover):
    with answering(orders) as (base, _):
        text, found = discover(base, "/v1/orders", "bearer:DEMO_TOKEN")
        written = new_source.write_source("demo", text)
    names = sorted(path.name for path in written)
    assert ".env.example" in names
    assert "stg_demo__lines.sql" in names
    assert "DEMO_TOKEN=" in (project / ".env.example").read_text()
    with pytest.raises(UsageError, match="already exists"):
        new_source.write_source("demo", text)

    path = project / "sources" / "demo.yml"
    assert new_source.find_changes(catalog.read(path), found) == []
    found[0].keys["columns"].append({"name": "note", "type": "string", "description": "Text."})
    (change,) = new_source.find_changes(catalog.read(path), found)
    new_source.add_columns(path, [change])
    assert catalog.read(path).resources["orders"].column("note").nullable
    assert new_source.find_changes(catalog.read(path), found) == []


def test_a_staging_model_stays_generated_until_its_first_line_is_deleted(project, discover):
    with answering(orders) as (base, _):
        text, _ = discover(base, "/v1/orders")
    written = new_source.write_source("demo", text)
    source = catalog.read(project / "sources" / "demo.yml")
    model = next(path for path in written if path.name == "stg_demo__orders.sql")
    assert model in staging_files(source)

    model.write_text(model.read_text().partition("\n")[2])

    assert model not in staging_files(source)
    assert re.search(r'cast\("id" as varchar\) as order_id', model.read_text())


def test_the_lists_of_an_openapi_description_are_offered():
    array = {"type": "array", "items": {}}
    answer = {"get": {"responses": {"200": {"content": {"application/json": {"schema": array}}}}}}
    page = {"type": "object", "properties": {"data": {"$ref": "#/components/schemas/List"}}}
    paged = {"get": {"responses": {"200": {"content": {"application/json": {"schema": page}}}}}}
    single = {"get": {"responses": {"200": {"content": {"application/json": {"schema": {"type": "object"}}}}}}}
    document = {
        "paths": {"/orders": answer, "/orders/{id}": single, "/shops": paged, "/health": single, "/x/{id}/y": answer},
        "components": {"schemas": {"List": array}},
    }

    assert list_endpoints(json.dumps(document)) == ["/orders", "/shops"]
