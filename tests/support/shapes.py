"""The documented shapes of real APIs, each with the contract that loads it and a server that answers like it.

`SHAPES[name]` is (contract of the resource, keys of the source, answer). `answer(ask, rows)` returns
(status, headers, body) for one request, where `rows` is how many rows the API has.
"""

from __future__ import annotations

import gzip
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from .answering import Answer, Ask

    Keys = dict[str, Any]
    """A part of a contract."""
    Answering = Callable[[Ask, int], Answer]

JSON = {"Content-Type": "application/json"}
PAGE = 2
ID = {"name": "id", "type": "integer", "nullable": False, "description": "Key."}


class Shape(NamedTuple):
    """An API."""

    contract: Keys
    source: Keys
    answer: Answering


SHAPES: dict[str, Shape] = {}


def shape(name: str, contract: Keys, **source: Any) -> Callable[[Answering], Answering]:
    """Keep the function as what answers for an API."""

    def keep(answer: Answering) -> Answering:
        SHAPES[name] = Shape(contract, source, answer)
        return answer

    return keep


def ok(value: object, **headers: str) -> Answer:
    return 200, {**JSON, **headers}, json.dumps(value).encode()


def ids(rows: int, start: int = 0, size: int = 10**9) -> list[int]:
    """Return the ids of one page, from 1."""
    return list(range(1, rows + 1))[start : start + size]


def records(rows: int, start: int = 0, size: int = 10**9, name: str = "id") -> list[Keys]:
    """Return the records of one page that have nothing but an id."""
    return [{name: i} for i in ids(rows, start, size)]


def column(name: str, kind: str = "string", **more: Any) -> Keys:
    return {"name": name, "type": kind, "description": name, **more}


def resource(*columns: Keys, key: tuple[str, ...] = ("id",), path: str = "/items", **more: Any) -> Keys:
    return {"description": "x", "path": path, "primary_key": list(key), "columns": list(columns) or [ID], **more}


def envelope(path: str, **more: Any) -> Keys:
    return {"shape": "envelope", "data_path": path, **more}


def cursor(param: str, *, stop: str = "no_cursor", size_param: str | None = None, **more: Any) -> Keys:
    """Return a pagination by cursors; with `size_param`, of pages of `PAGE` records."""
    size = {"size_param": size_param, "page_size": PAGE} if size_param else {}
    return {"type": "cursor", "cursor_param": param, "stop": stop, **size, **more}


def offset(stop: str, **more: Any) -> Keys:
    """Return a pagination by offsets, of pages of `PAGE` records."""
    return {"type": "offset", "page_size": PAGE, "stop": stop, **more}


def number_page(ask: Ask, name: str = "page", first: int = 1) -> int:
    return int(ask.query.get(name, first)) - first


@shape(
    "github_issues",
    resource(
        ID,
        column("title"),
        params={"per_page": PAGE, "since": "{day}"},
        path="/repos/o/r/issues",
        pagination={"type": "link"},
    ),
)
def github_issues(ask: Ask, rows: int) -> Answer:
    page = number_page(ask)
    more = (page + 1) * PAGE < rows
    link = {"Link": f'<{ask.base}/repositories/7/issues?page={page + 2}>; rel="next"'} if more else {}
    return ok([{"id": i, "title": "t"} for i in ids(rows, page * PAGE, PAGE)], **link)


@shape(
    "stripe_charges",
    resource(
        {**ID, "type": "string"},
        column("created", "timestamp", format="epoch"),
        response=envelope("data"),
        pagination=cursor(
            "starting_after", cursor_field="id", has_more_path="has_more", stop="has_more_false", size_param="limit"
        ),
    ),
)
def stripe_charges(ask: Ask, rows: int) -> Answer:
    start = int(ask.query.get("starting_after", "ch_0").removeprefix("ch_"))
    data = [{"id": f"ch_{i}", "created": 1704067200 + i} for i in ids(rows, start, PAGE)]
    return ok({"data": data, "has_more": start + PAGE < rows})


@shape(
    "shopify_orders",
    resource(
        ID,
        response=envelope("orders"),
        params={"status": "any", "limit": PAGE},
        pagination={"type": "link"},
    ),
    auth={"type": "api_key", "value_env": "DEMO_TOKEN", "header": "X-Shopify-Access-Token"},
)
def shopify_orders(ask: Ask, rows: int) -> Answer:
    if ask.headers.get("X-Shopify-Access-Token") != "secret":
        return 401, JSON, b'{"errors": "no token"}'
    if "page_info" in ask.query and "status" in ask.query:
        return 400, JSON, b'{"errors": "no other parameter"}'
    start = int(ask.query.get("page_info", 0))
    orders = [{"id": i, "line_items": [{"sku": "a"}]} for i in ids(rows, start, PAGE)]
    target = f"<{ask.base}/items?limit=2&page_info={start + PAGE}>"
    return ok({"orders": orders}, **({"Link": f'{target}; rel="next"'} if start + PAGE < rows else {}))


@shape(
    "hubspot_objects",
    resource(
        {**ID, "format": "text"},
        column("email", field="properties.email"),
        params={"archived": False, "limit": PAGE},
        response=envelope("results"),
        pagination=cursor("after", cursor_path="paging.next.after"),
    ),
)
def hubspot_objects(ask: Ask, rows: int) -> Answer:
    if ask.query["archived"] != "false":
        return 400, JSON, b'{"message": "archived has to be true or false"}'
    start = int(ask.query.get("after", 0))
    found = [{"id": str(i), "properties": {"email": "a@b.c"}} for i in ids(rows, start, PAGE)]
    more = {"paging": {"next": {"after": str(start + PAGE)}}} if start + PAGE < rows else {}
    return ok({"results": found, **more})


OAUTH = {
    "type": "oauth2",
    "token_url": "BASE/token",
    "client_id_env": "DEMO_CLIENT",
    "client_secret_env": "DEMO_TOKEN",
    "scope": "read",
}


def token(ask: Ask) -> Answer:
    """Answer the token request of a client that knows its secret."""
    if "grant_type=client_credentials" not in ask.text or "Basic" not in ask.headers.get("Authorization", ""):
        return 400, JSON, b'{"error": "invalid_client"}'
    return ok({"access_token": "tok", "token_type": "Bearer", "expires_in": 3600})


def authorized(answer: Answering) -> Answering:
    def guarded(ask: Ask, rows: int) -> Answer:
        if ask.path == "/token":
            return token(ask)
        return answer(ask, rows) if ask.headers.get("Authorization") == "Bearer tok" else (401, JSON, b"{}")

    return guarded


@shape(
    "salesforce_query",
    resource(
        ID,
        column("created", "timestamp", field="CreatedDate"),
        path="/query",
        params={"q": "select Id from Order where CreatedDate >= {start}"},
        response=envelope("records"),
        total={"path": "totalSize"},
        pagination={"type": "link", "next_path": "nextRecordsUrl"},
    ),
    auth=OAUTH,
)
@authorized
def salesforce_query(ask: Ask, rows: int) -> Answer:
    start = int(ask.path.rpartition("-")[2]) if "-" in ask.path else 0
    found = [{"id": i, "CreatedDate": "2024-01-01T10:00:00.000+0000"} for i in ids(rows, start, PAGE)]
    done = start + PAGE >= rows
    more = {} if done else {"nextRecordsUrl": f"/services/query/01g-{start + PAGE}"}
    return ok({"totalSize": rows, "done": done, "records": found, **more})


@shape(
    "microsoft_graph",
    resource(
        ID,
        params={"$top": PAGE, "$count": True},
        response=envelope("value"),
        total={"path": "$['@odata.count']"},
        pagination={"type": "link", "next_path": "$['@odata.nextLink']"},
    ),
    auth=OAUTH,
)
@authorized
def microsoft_graph(ask: Ask, rows: int) -> Answer:
    start = int(ask.query.get("$skiptoken", 0))
    more = {"@odata.nextLink": f"{ask.base}/items?$skiptoken={start + PAGE}"} if start + PAGE < rows else {}
    return ok({"@odata.count": rows, "value": records(rows, start, PAGE), **more})


@shape(
    "django_rest",
    resource(response=envelope("results"), total={"path": "count"}, pagination={"type": "link", "next_path": "next"}),
)
def django_rest(ask: Ask, rows: int) -> Answer:
    page = number_page(ask)
    following = f"{ask.base}/items?page={page + 2}" if (page + 1) * PAGE < rows else None
    return ok({"count": rows, "next": following, "results": records(rows, page * PAGE, PAGE)})


@shape(
    "django_rest_without_count",
    resource(
        response=envelope("results"),
        pagination={"type": "page", "size_param": None, "page_size": PAGE, "stop": "short_page"},
    ),
)
def django_rest_without_count(ask: Ask, rows: int) -> Answer:
    page = number_page(ask)
    if page and page * PAGE >= rows:
        return 404, JSON, b'{"detail": "Invalid page."}'
    return ok({"results": records(rows, page * PAGE, PAGE)})


@shape(
    "notion_query",
    resource(
        method="POST",
        body={"filter": {"timestamp": "created_time", "created_time": {"on_or_after": "{day}"}}},
        response=envelope("results"),
        pagination=cursor(
            "start_cursor",
            send_in="body",
            cursor_path="next_cursor",
            has_more_path="has_more",
            stop="has_more_false",
            size_param="page_size",
        ),
    ),
)
def notion_query(ask: Ask, rows: int) -> Answer:
    body = json.loads(ask.text)
    if ask.method != "POST" or body["filter"]["created_time"]["on_or_after"] != "2024-01-01" or body["page_size"] != 2:
        return 400, JSON, b"{}"
    start = int(body.get("start_cursor", 0))
    more = start + PAGE < rows
    found = records(rows, start, PAGE)
    return ok({"results": found, "has_more": more, "next_cursor": str(start + PAGE) if more else None})


@shape(
    "graphql_github",
    resource(
        path="/graphql",
        method="POST",
        body={
            "query": 'query($after: String) { repository(name: "r") { issues(first: 2, after: $after) {edges{node{id}}'
            " pageInfo{hasNextPage endCursor}} } }",
            "variables": {"after": None},
        },
        response=envelope("$.data.repository.issues.edges[*].node"),
        error={"path": "errors", "message_path": "$.errors[0].message"},
        pagination=cursor(
            "variables.after",
            send_in="body",
            cursor_path="data.repository.issues.pageInfo.endCursor",
            has_more_path="data.repository.issues.pageInfo.hasNextPage",
            stop="has_more_false",
        ),
    ),
)
def graphql_github(ask: Ask, rows: int) -> Answer:
    body = json.loads(ask.text)
    if "{edges{node{id}}" not in body["query"]:
        return ok({"errors": [{"message": "Parse error"}]})
    start = int(body["variables"]["after"] or 0)
    edges = [{"node": {"id": i}} for i in ids(rows, start, PAGE)]
    info = {"hasNextPage": start + PAGE < rows, "endCursor": str(start + PAGE)}
    return ok({"data": {"repository": {"issues": {"edges": edges, "pageInfo": info}}}})


@shape(
    "jira_v2",
    resource(
        response=envelope("issues"),
        total={"path": "total"},
        pagination=offset("total", offset_param="startAt", limit_param="maxResults", page_size=1000),
    ),
)
def jira_v2(ask: Ask, rows: int) -> Answer:
    start, size = int(ask.query["startAt"]), min(int(ask.query["maxResults"]), PAGE)
    found = records(rows, start, size)
    return ok({"startAt": start, "maxResults": size, "total": rows, "issues": found})


@shape(
    "jira_v3",
    resource(
        response=envelope("issues"),
        pagination=cursor(
            "nextPageToken",
            cursor_path="nextPageToken",
            has_more_path="isLast",
            stop="is_last_true",
            size_param="maxResults",
        ),
    ),
)
def jira_v3(ask: Ask, rows: int) -> Answer:
    start = int(ask.query.get("nextPageToken", 0))
    last = start + PAGE >= rows
    more = {} if last else {"nextPageToken": str(start + PAGE)}
    return ok({"issues": records(rows, start, PAGE), "isLast": last, **more})


@shape(
    "slack_history",
    resource(
        {**ID, "field": "ts"},
        column("channel"),
        path="/conversations.history",
        params={"channel": "{channel}", "limit": PAGE},
        for_each={"values": {"channel": ["C1"]}, "carry": {"channel": "channel"}},
        response=envelope("messages"),
        error={"path": "ok", "ok_values": [True], "message_path": "error", "retry_values": ["ratelimited"]},
        pagination=cursor("cursor", cursor_path="response_metadata.next_cursor"),
    ),
)
def slack_history(ask: Ask, rows: int) -> Answer:
    if ask.query["channel"] != "C1":
        return ok({"ok": False, "error": "channel_not_found"})
    start = int(ask.query.get("cursor", 0))
    more = str(start + PAGE) if start + PAGE < rows else ""
    messages = records(rows, start, PAGE, name="ts")
    return ok({"ok": True, "messages": messages, "response_metadata": {"next_cursor": more}})


@shape(
    "google_sheets",
    resource(
        {**ID, "format": "text"},
        column("note"),
        response={"shape": "rows", "data_path": "values"},
        no_rows={"missing_list": True},
    ),
    auth=OAUTH,
)
@authorized
def google_sheets(_ask: Ask, rows: int) -> Answer:
    values = [["id", "note"], *([str(i), "x"] if i % 2 else [str(i)] for i in ids(rows))]
    return ok({"range": "A1:Z", **({"values": values} if rows else {})})


@shape(
    "google_analytics",
    resource(
        {**ID, "field": "$.dimensionValues[0].value", "format": "text"},
        column("users", "integer", field="$.metricValues[0].value", format="text"),
        path="/v1beta/properties/1:runReport",
        method="POST",
        body={
            "dateRanges": [{"startDate": "{day}", "endDate": "{day}"}],
            "dimensions": [{"name": "id"}],
            "metrics": [{"name": "users"}],
        },
        response=envelope("rows"),
        no_rows={"missing_list": True},
        total={"path": "rowCount"},
        pagination=offset("total", send_in="body"),
    ),
)
def google_analytics(ask: Ask, rows: int) -> Answer:
    body = json.loads(ask.text)
    if body["dateRanges"][0]["startDate"] != "2024-01-01":
        return 400, JSON, b"{}"
    found = [
        {"dimensionValues": [{"value": str(i)}], "metricValues": [{"value": "3"}]}
        for i in ids(rows, body["offset"], body["limit"])
    ]
    heads = {"dimensionHeaders": [{"name": "id"}], "metricHeaders": [{"name": "users"}]}
    return ok({**heads, "rowCount": rows, **({"rows": found} if found else {})})


@shape(
    "usgs_earthquakes",
    resource(
        ID,
        column("happened_at", "timestamp", field="properties.time", format="epoch_ms"),
        column("longitude", "number", field="$.geometry.coordinates[0]"),
        params={"format": "geojson", "orderby": "time"},
        load={"mode": "incremental", "start_param": "starttime", "end_param": "endtime", "format": "%Y-%m-%dT%H:%M:%S"},
        response=envelope("$.features[*]"),
        pagination=offset("short_page", first_offset=1),
    ),
)
def usgs_earthquakes(ask: Ask, rows: int) -> Answer:
    if (ask.query["starttime"], ask.query["endtime"]) != ("2024-01-01T00:00:00", "2024-01-02T00:00:00"):
        return 400, JSON, b"{}"
    start = int(ask.query["offset"])
    if start < 1:
        return 400, {"Content-Type": "text/plain"}, b"offset counts from 1"
    feature = {"properties": {"time": 1704103200123, "mag": 1.5}, "geometry": {"coordinates": [-117.5, 33.5, 10]}}
    found = [{"type": "Feature", "id": i, **feature} for i in ids(rows, start - 1, int(ask.query["limit"]))]
    return ok({"type": "FeatureCollection", "metadata": {"count": len(found)}, "features": found})


@shape(
    "socrata",
    resource(
        {**ID, "format": "text"},
        column("amount", "decimal(12, 2)"),
        params={"$order": ":id"},
        pagination=offset("short_page", offset_param="$offset", limit_param="$limit"),
    ),
)
def socrata(ask: Ask, rows: int) -> Answer:
    start, size = int(ask.query["$offset"]), int(ask.query["$limit"])
    return ok([{"id": str(i), "amount": "1.50"} for i in ids(rows, start, size)])


@shape(
    "coingecko_markets",
    resource(pagination={"type": "page", "page_size": PAGE, "stop": "short_page"}, params={"vs_currency": "usd"}),
)
def coingecko_markets(ask: Ask, rows: int) -> Answer:
    size = int(ask.query["per_page"])
    return ok(records(rows, number_page(ask) * size, size))


@shape(
    "coingecko_chart",
    resource(
        column("coin", nullable=False),
        {**ID, "name": "moment", "type": "timestamp", "format": "epoch_ms"},
        column("price", "number"),
        key=("coin", "moment"),
        path="/coins/{coin}/market_chart",
        params={"days": 1},
        for_each={"values": {"coin": ["bitcoin"]}, "carry": {"coin": "coin"}},
        response={"shape": "rows", "data_path": "prices", "names": ["moment", "price"]},
    ),
)
def coingecko_chart(ask: Ask, rows: int) -> Answer:
    if ask.path != "/coins/bitcoin/market_chart":
        return 404, JSON, b"{}"
    return ok({"prices": [[1704067200000 + i, 42000.5] for i in ids(rows)], "market_caps": []})


@shape(
    "open_meteo",
    resource(
        {**ID, "name": "time", "type": "timestamp", "format": "iso"},
        column("temperature_2m", "number"),
        key=("time",),
        path="/v1/archive",
        params={"hourly": "temperature_2m", "start_date": "{day}", "end_date": "{day}"},
        response={"shape": "columnar", "data_path": "hourly"},
    ),
)
def open_meteo(ask: Ask, rows: int) -> Answer:
    if ask.query["start_date"] != "2024-01-01":
        return 400, JSON, b'{"error": true, "reason": "start_date"}'
    times = [f"2024-01-01T{i:02d}:00" for i in ids(rows)]
    return ok({"latitude": 52.5, "hourly": {"time": times, "temperature_2m": [1.5 for _ in times]}})


@shape(
    "wikimedia_pageviews",
    resource(
        {**ID, "field": "rank"},
        column("article"),
        path="/metrics/pageviews/top/en.wikipedia/all-access/{day:%Y/%m/%d}",
        response=envelope("$.items[*].articles"),
        no_rows={"status": [404]},
    ),
)
def wikimedia_pageviews(ask: Ask, rows: int) -> Answer:
    if not ask.path.endswith("/all-access/2024/01/01"):
        return 400, JSON, b"{}"
    if not rows:
        return 404, JSON, b'{"type": "not_found"}'
    return ok({"items": [{"year": "2024", "articles": [{"article": "A", "rank": i} for i in ids(rows)]}]})


@shape(
    "nasa_neo",
    resource(
        {**ID, "format": "text"},
        column("close_date", "date"),
        params={"start_date": "{day}", "end_date": "{day}"},
        response={"shape": "keyed", "data_path": "near_earth_objects", "key_column": "close_date"},
        total={"path": "element_count"},
    ),
    auth={"type": "api_key", "value_env": "DEMO_TOKEN", "query": "api_key"},
)
def nasa_neo(ask: Ask, rows: int) -> Answer:
    if ask.query.get("api_key") != "secret":
        return 403, JSON, b'{"error": {"code": "API_KEY_INVALID"}}'
    found = {"2024-01-01": [{"id": str(i)} for i in ids(rows)]} if rows else {}
    return ok({"links": {}, "element_count": rows, "near_earth_objects": found})


@shape(
    "fred",
    resource(
        {**ID, "format": "text"},
        column("value", "number", null_values=["."], format="text"),
        params={"series_id": "GNPCA", "file_type": "json"},
        response=envelope("observations"),
        total={"path": "count"},
        pagination=offset("total"),
    ),
    auth={"type": "api_key", "value_env": "DEMO_TOKEN", "query": "api_key"},
)
def fred(ask: Ask, rows: int) -> Answer:
    if ask.query.get("api_key") != "secret":
        return 400, JSON, b'{"error_code": 400}'
    start, size = int(ask.query.get("offset", 0)), int(ask.query.get("limit", 100_000))
    found = [{"id": str(i), "value": "." if i % 2 else "1.25"} for i in ids(rows, start, size)]
    return ok({"count": rows, "offset": start, "limit": size, "observations": found})


@shape("ndjson_file", resource(response={"shape": "array", "format": "ndjson"}, path="/{day}.ndjson"))
def ndjson_file(_ask: Ask, rows: int) -> Answer:
    body = "".join(json.dumps({"id": i}) + "\n" for i in ids(rows)).encode()
    return 200, {"Content-Type": "application/x-ndjson"}, body


@shape(
    "csv_file",
    resource(
        ID,
        column("name", field="Größe"),
        column("price", "number", decimal_mark=",", thousands="."),
        column("sold", "boolean"),
        response={"shape": "array", "format": "csv", "delimiter": ";", "encoding": "cp1252"},
        path="/{day:%Y%m%d}.csv",
    ),
)
def csv_file(_ask: Ask, rows: int) -> Answer:
    lines = ["id;Größe;price;sold", *(f'{i};"ä ""x""; y";1.234,5;true' for i in ids(rows))]
    return 200, {"Content-Type": "text/csv"}, "\r\n".join(lines).encode("cp1252")


@shape("json_gz_file", resource(path="/{day}.json.gz"))
def json_gz_file(_ask: Ask, rows: int) -> Answer:
    return 200, {"Content-Type": "application/gzip"}, gzip.compress(json.dumps(records(rows)).encode())


@shape("jsonl_gz_file", resource(path="/{day}.jsonl.gz", response={"shape": "array", "format": "ndjson"}))
def jsonl_gz_file(_ask: Ask, rows: int) -> Answer:
    body = "".join(json.dumps({"id": i}) + "\n" for i in ids(rows)).encode()
    return 200, {"Content-Type": "application/gzip"}, gzip.compress(body)


@shape(
    "rss",
    resource(
        {**ID, "field": "guid"},
        column("published_at", "timestamp", field="pubDate", format="rfc2822"),
        response=envelope("rss.channel.item", format="xml"),
        no_rows={"missing_list": True},
    ),
)
def rss(_ask: Ask, rows: int) -> Answer:
    moment = "Mon, 01 Jan 2024 10:00:00 +0000"
    items = "".join(f"<item><guid>{i}</guid><pubDate>{moment}</pubDate></item>" for i in ids(rows))
    text = f'<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>{items}</channel></rss>'
    return 200, {"Content-Type": "application/rss+xml"}, text.encode()


@shape(
    "google_places",
    resource(
        response=envelope("results"),
        error={"path": "status", "ok_values": ["OK", "ZERO_RESULTS"], "message_path": "error_message"},
        pagination=cursor("pagetoken", cursor_path="next_page_token"),
    ),
    auth={"type": "api_key", "value_env": "DEMO_TOKEN", "query": "key"},
)
def google_places(ask: Ask, rows: int) -> Answer:
    if ask.query.get("key") != "secret":
        return ok({"status": "REQUEST_DENIED", "error_message": "The key is invalid.", "results": []})
    start = int(ask.query.get("pagetoken", 0))
    more = {"next_page_token": str(start + PAGE)} if start + PAGE < rows else {}
    return ok({"status": "OK" if rows else "ZERO_RESULTS", "results": records(rows, start, PAGE), **more})


@shape(
    "sap_odata_v2",
    resource(
        ID,
        column("created_at", "timestamp", field="CreatedAt", format="odata"),
        params={"$inlinecount": "allpages"},
        response=envelope("d.results"),
        total={"path": "d.__count"},
        pagination=offset("total", offset_param="$skip", limit_param="$top"),
    ),
)
def sap_odata_v2(ask: Ask, rows: int) -> Answer:
    start, size = int(ask.query["$skip"]), int(ask.query["$top"])
    found = [{"id": i, "CreatedAt": "/Date(1704067200000)/"} for i in ids(rows, start, size)]
    return ok({"d": {"__count": str(rows), "results": found}})


@shape(
    "airtable",
    resource(
        ID,
        column("name", field="fields.Name"),
        params={"pageSize": PAGE},
        response=envelope("records"),
        pagination=cursor("offset", cursor_path="offset"),
    ),
    auth={"type": "bearer", "token_env": "DEMO_TOKEN"},
)
def airtable(ask: Ask, rows: int) -> Answer:
    if ask.headers.get("Authorization") != "Bearer secret":
        return 401, JSON, b"{}"
    start = int(ask.query.get("offset", 0))
    found = [{"id": i, "fields": {"Name": "n"}} for i in ids(rows, start, PAGE)]
    return ok({"records": found, **({"offset": str(start + PAGE)} if start + PAGE < rows else {})})


def pages(rows: int) -> int:
    """Return how many pages hold so many rows."""
    return math.ceil(rows / PAGE)
