"""`sources new`: what it finds out about the documented shapes of real APIs, and what a load then makes of it."""

import datetime as dt
import json

import pyarrow.parquet as pq
import pytest
import yaml

from scripts import config
from scripts.admin import new_source, source_changes
from scripts.contracts import catalog
from scripts.contracts.model_files import generated_models
from scripts.contracts.source import Source
from scripts.discovery.openapi import list_endpoints
from scripts.discovery.shapes import guess_shape
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
    assert "the last page has 1 rows" in pages.text
    assert "missing or null in 15 of 30 rows" in text
    assert len(asked) < 12


def test_the_next_page_is_found_among_links(discover):
    def answer(ask):
        start = int(ask.query.get("start", 0))
        links = [{"rel": "self", "href": "x"}, *([{"rel": "next", "href": f"?start={start + 2}"}] if start < 4 else [])]
        return ok({"features": [{"id": start + i} for i in range(2)], "links": links})

    with answering(answer) as (base, _):
        _, found = discover(base, "/items")

    assert found[0].keys["pagination"] == {"type": "link", "next_path": "$.links[?@.rel=='next'].href"}


def test_a_flag_that_says_whether_there_is_more_is_used(discover):
    def answer(ask):
        start, size = (int(ask.query.get("page", 1)) - 1), int(ask.query.get("pagesize", 30))
        found = [{"id": i} for i in range(60)][start * size : (start + 1) * size]
        return ok({"items": found, "has_more": (start + 1) * size < 60})

    with answering(answer) as (base, _):
        _, found = discover(base, "/items")

    expected = {"type": "page", "page_param": "page", "size_param": "pagesize", "page_size": 100}
    assert found[0].keys["pagination"] == {**expected, "has_more_path": "has_more", "stop": "has_more_false"}


def test_a_parameter_that_a_source_does_not_know_is_tried_once(discover):
    def answer(ask):
        if set(ask.query) - {"limit"}:
            return 500, JSON, b"{}"
        return ok([{"id": i} for i in range(2 if ask.query else 9)])

    with answering(answer) as (base, asked):
        discover(base, "/items")

    queries = [str(sorted(ask.query)) for ask in asked]
    assert max(map(queries.count, set(queries))) <= 3


def test_what_cannot_be_told_stands_as_choices(discover):
    with answering(lambda _: ok([{"id": i} for i in range(5)])) as (base, _):
        text, _ = discover(base, "/items")

    assert "# pages (unknown): 5 rows were received, and no sign of more was found" in text
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


@pytest.mark.parametrize("kind", ["link", "cursor"])
@pytest.mark.parametrize("ends", ["named", "unnamed"])
def test_pages_are_followed_to_their_end(kind, ends, discover, run):
    """A source that names a next page on its last one too needs `stop: empty_page`: the load by the contract works."""

    def answer(ask):
        page = int(ask.query.get("cursor", 0))
        rows = [{"id": 3 * page + number} for number in range(3)] if page < 3 else []
        more = page < 2 if ends == "unnamed" else True
        where = {"next": f"/items?cursor={page + 1}"} if kind == "link" else {"cursor": str(page + 1)}
        return ok({"items": rows, **(where if more else {})})

    with answering(answer) as (base, _):
        text, found = discover(base, "/items")
        source = Source.model_validate(yaml.safe_load(text))
        with Client(source) as connection:
            entry = ingest_partition(source, found[0].name, TODAY, run, connection)

    assert f"page {4 if ends == 'named' else 3} {'has no rows' if ends == 'named' else 'is the last'}" in text
    assert ("stop: empty_page" in text) is (ends == "named")
    assert entry.bronze == 9


def test_a_list_that_is_an_object_in_some_rows_is_no_table_of_its_own(discover):
    body = [{"id": 1, "lines": [{"sku": "a"}, {"sku": "b"}]}, {"id": 2, "lines": {"sku": "c"}}]
    with answering(lambda _: ok(body)) as (base, _):
        text, _ = discover(base, "/items")

    assert "name: lines" in text


@pytest.mark.parametrize(
    "body",
    [
        [{"added_at": "2024-01-01T00:00:00Z", "track": {"id": f"t{n}"}} for n in range(9)],
        [{"metric": {"instance": f"i{n}"}, "value": 1.5} for n in range(3)],
    ],
)
def test_a_key_that_tells_no_rows_apart_is_called_a_guess(body, discover):
    with answering(lambda _: ok(body)) as (base, _):
        text, _ = discover(base, "/items")

    assert "key (unknown): no column or pair of columns tells" in text
    assert "Identifies the row" not in text


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


def write(base, path="/v1/orders", auth=None):
    """Write the source `demo` as the command does, and return its file."""
    text, _ = new_source.discover_source(
        "demo", [new_source.parse_address(base + path)], new_source.parse_auth(auth), "me@example.com"
    )
    return new_source.write_source("demo", text)


def changes_of(base, *paths):
    """Return what differs between the contract and the answers at some paths."""
    source = catalog.pick("demo")
    found = new_source.discover_all(source, [new_source.parse_address(base + path) for path in paths])
    return source_changes.find_changes(source, found)


def test_files_are_written_once(project, env):
    env("DEMO_TOKEN", "secret")
    with answering(orders) as (base, _):
        written = write(base, auth="bearer:DEMO_TOKEN")
        with pytest.raises(UsageError, match="already exists"):
            write(base)
        assert changes_of(base, "/v1/orders") == []

    names = {path.name for path in written}
    assert {"demo.yml", ".env.example", "stg_demo__lines.sql", "fct_demo__orders.sql", "fct_demo__orders.yml"} <= names
    assert "DEMO_TOKEN=" in (project / ".env.example").read_text()


def test_a_changed_source_is_shown_and_what_is_new_is_added(project, env):
    """New columns, also of a nested list, and a new resource are added; what else differs is only said."""
    with answering(orders) as (base, _):
        env("DEMO_BASE_URL", base)
        path = write(base)[0]
    text = path.read_text().replace("rate_limit:", "# kept as it is\nrate_limit:")
    path.write_text(text)

    def changed(ask):
        if ask.path == "/customers":
            return ok([{"id": 1, "name": "Una"}, {"id": 2, "name": "Val"}])
        answer = json.loads(orders(ask)[2])
        for row in answer["orders"]:
            del row["tags"]
            row |= {"dt": "a day", "total": "free"}
            row["lines"][0]["note"] = "new"
        return ok(answer)

    with answering(changed) as (base, _):
        env("DEMO_BASE_URL", base)
        changes = changes_of(base, "/v1/orders", "/customers")
        source_changes.add_changes(path, [change for change in changes if change.is_addition])
        again = changes_of(base, "/v1/orders", "/customers")

    told = [change.text for change in changes]
    assert told[:2] == ["new: orders.source_dt (string)", "gone: orders.tags: none of 30 rows has it"]
    assert told[2].startswith("other: orders: 30 of 30 rows would go to quarantine, the first since field `total` is")
    assert told[3:] == ["new: lines.note (string)", "new: resource customers with 2 columns"]
    assert [change.text for change in again] == told[1:3]
    source = catalog.pick("demo")
    assert source.resources["lines"].column("note").nullable
    assert source.resources["orders"].column("source_dt").field == "dt"
    assert source.resources["customers"].primary_key == ("id",)
    lines = path.read_text().splitlines()
    assert "# kept as it is" in lines
    assert [line for line in text.splitlines() if line not in lines] == []


def test_a_contract_on_one_line_is_left_to_a_person(project, env):
    with answering(lambda _: ok([{"id": 1, "name": "Una"}, {"id": 2, "name": "Val"}])) as (base, _):
        env("DEMO_BASE_URL", base)
        path = write(base, "/items")[0]
        document = yaml.safe_load(path.read_text())
        del document["resources"]["items"]["columns"][1]
        path.write_text(json.dumps(document))
        catalog.forget()
        changes = changes_of(base, "/items")
    before = path.read_text()

    with pytest.raises(UsageError, match=r"add by hand: - \{name: name, type: string"):
        source_changes.add_changes(path, changes)

    assert path.read_text() == before


def test_an_address_of_another_api_is_refused(project):
    with answering(orders) as (base, _), answering(orders) as (other, _):
        write(base)
        with pytest.raises(UsageError, match="another name for the source"):
            changes_of(other, "/v1/orders")


def test_models_stay_generated_until_their_first_line_is_deleted(project):
    with answering(orders) as (base, _):
        written = write(base)
    source = catalog.pick("demo")
    models = [path for path in written if path.name.startswith(("stg_", "fct_"))]
    assert sorted(generated_models(source)) == sorted(models)
    staging = next(path for path in models if path.name == "stg_demo__orders.sql")

    staging.write_text(staging.read_text().partition("\n")[2])

    assert sorted({*models} - {*generated_models(source)}) == [staging]
    assert "cast(id as string) as order_id" in staging.read_text()


def test_words_that_are_no_names_are_renamed_in_silver(project):
    """A field called like a word of SQL, or like a column that the pipeline adds, gives SQL that runs."""
    row = {"order": 1, "group": "a", "sample": 2, "lastSeenDate": "2024-01-01", "HTMLUrl": "x", "id": 3, "items_id": 4}
    with answering(lambda _: ok([row, {**row, "order": 2, "id": 4}])) as (base, _):
        written = write(base, "/items")

    text = next(path for path in written if path.name == "stg_demo__items.sql").read_text()
    assert '"group" as item_group' in text
    assert 'cast("order" as string) as item_order' in text or '"order" as item_order' in text
    assert '"sample" as item_sample' in text
    assert "lastSeenDate as item_last_seen_date" in text
    assert "HTMLUrl as html_url" in text


def test_resources_and_lists_of_one_name_get_names_of_their_own(project):
    """Two paths may end in the same word, and a nested list may be called like another resource."""

    def answer(ask):
        return ok([{"id": i, "orders": [{"sku": "a"}, {"sku": "b"}]} for i in range(3)])

    with answering(answer) as (base, _):
        addresses = [new_source.parse_address(base + path) for path in ("/v1/orders", "/v2/orders")]
        text, _ = new_source.discover_source("demo", addresses, {"type": "none"}, "me@example.com")

    source = Source.model_validate(yaml.safe_load(text))
    assert list(source.resources) == ["orders", "order_orders", "v2_orders", "v2_order_orders"]


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


@pytest.mark.parametrize("body", [b'{"a": "\xe9"}', b"[" * 5000, b'{"a": 1}\n{"b": "\xff"}'])
def test_a_body_that_is_no_json_has_no_shape(body):
    assert guess_shape(body, "application/json") is None
