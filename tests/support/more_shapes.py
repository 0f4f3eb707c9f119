"""Further documented shapes of real APIs, beside those of `shapes`, in the same `SHAPES`."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from typing import TYPE_CHECKING

from .shapes import ID, JSON, PAGE, SHAPES, column, cursor, envelope, ids, number_page, ok, records, resource, shape

if TYPE_CHECKING:
    from .answering import Answer, Ask

__all__ = ["SHAPES"]
TEXT_ID = {**ID, "format": "text"}


@shape(
    "zendesk_incremental",
    resource(
        params={"start_time": "{day:epoch}"},
        response=envelope("tickets"),
        pagination=cursor("cursor", cursor_path="after_cursor", has_more_path="end_of_stream", stop="is_last_true"),
    ),
)
def zendesk_incremental(ask: Ask, rows: int) -> Answer:
    start = int(ask.query.get("cursor", 0))
    found = records(rows, start, PAGE)
    return ok({"tickets": found, "after_cursor": str(start + PAGE), "end_of_stream": start + PAGE >= rows})


@shape(
    "elasticsearch",
    resource(
        {**ID, "field": "_source.id"},
        column("title", field="_source.title"),
        path="/index/_search",
        method="POST",
        body={"size": PAGE, "sort": [{"id": "asc"}]},
        response=envelope("hits.hits"),
        pagination=cursor("search_after", cursor_field="sort", send_in="body"),
    ),
)
def elasticsearch(ask: Ask, rows: int) -> Answer:
    start = json.loads(ask.text).get("search_after", [0, ""])[0]
    hits = [{"_source": {"id": i, "title": "t"}, "sort": [i, "x"]} for i in ids(rows, start, PAGE)]
    return ok({"took": 1, "hits": {"total": {"value": rows, "relation": "eq"}, "hits": hits}})


@shape(
    "world_bank",
    resource(
        params={"format": "json"},
        response=envelope("$[1]"),
        total={"path": "$[0].total"},
        error={"path": "$[0].message"},
        pagination={"type": "page", "page_size": PAGE, "stop": "total"},
    ),
)
def world_bank(ask: Ask, rows: int) -> Answer:
    found = records(rows, number_page(ask) * PAGE, PAGE)
    return ok([{"page": 1, "per_page": str(PAGE), "total": rows}, found or None])


@shape(
    "ecb_rates",
    resource(
        {**ID, "name": "currency", "type": "string", "field": "@currency"},
        column("rate", "decimal(12, 4)", field="@rate"),
        key=("currency",),
        response=envelope("$['gesmes:Envelope'].Cube.Cube.Cube", format="xml"),
        no_rows={"missing_list": True},
    ),
)
def ecb_rates(_ask: Ask, rows: int) -> Answer:
    cubes = "".join(f'<Cube currency="C{i}" rate="1.0{i}"/>' for i in ids(rows))
    text = f'<gesmes:Envelope xmlns:gesmes="x"><Cube><Cube time="2024-01-01">{cubes}</Cube></Cube></gesmes:Envelope>'
    return 200, {"Content-Type": "text/xml"}, text.encode()


@shape(
    "atom",
    resource(
        TEXT_ID,
        column("href", field="$.link['@href']"),
        response=envelope("$.feed.entry[*]", format="xml"),
        no_rows={"missing_list": True},
    ),
)
def atom(_ask: Ask, rows: int) -> Answer:
    entries = "".join(f'<entry><id>{i}</id><link href="http://x/{i}"/></entry>' for i in ids(rows))
    text = f'<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title>{entries}</feed>'
    return 200, {"Content-Type": "application/atom+xml"}, text.encode()


@shape(
    "twilio",
    resource(
        path="/2010-04-01/Messages.json",
        params={"PageSize": PAGE},
        response=envelope("messages"),
        pagination={"type": "link", "next_path": "next_page_uri"},
    ),
)
def twilio(ask: Ask, rows: int) -> Answer:
    page = number_page(ask, "Page", 0)
    more = f"/2010-04-01/Messages.json?PageSize=2&Page={page + 1}" if (page + 1) * PAGE < rows else None
    return ok({"messages": records(rows, page * PAGE, PAGE), "next_page_uri": more})


@shape(
    "intercom",
    resource(
        path="/contacts/search",
        method="POST",
        body={"query": {"field": "updated_at", "operator": ">", "value": "{day:epoch}"}},
        response=envelope("data"),
        total={"path": "total_count"},
        pagination=cursor(
            "pagination.starting_after",
            cursor_path="pages.next.starting_after",
            send_in="body",
            size_param="pagination.per_page",
        ),
    ),
)
def intercom(ask: Ask, rows: int) -> Answer:
    paging = json.loads(ask.text)["pagination"]
    start = int(paging.get("starting_after", 0))
    more = {"next": {"starting_after": str(start + PAGE)}} if start + PAGE < rows else {}
    found = records(rows, start, paging["per_page"])
    return ok({"data": found, "total_count": rows, "pages": {"page": 1, **more}})


@shape(
    "pipedrive",
    resource(
        response=envelope("data"),
        error={"path": "success", "ok_values": [True], "message_path": "error"},
        pagination=cursor(
            "start",
            cursor_path="additional_data.pagination.next_start",
            has_more_path="additional_data.pagination.more_items_in_collection",
            stop="has_more_false",
            size_param="limit",
        ),
    ),
)
def pipedrive(ask: Ask, rows: int) -> Answer:
    start = int(ask.query.get("start", 0))
    more = {"next_start": start + PAGE} if start + PAGE < rows else {}
    paging = {"more_items_in_collection": bool(more), **more}
    found = records(rows, start, PAGE) or None
    return ok({"success": True, "data": found, "additional_data": {"pagination": paging}})


@shape(
    "stack_exchange",
    resource(
        response=envelope("items"),
        pagination={
            "type": "page",
            "size_param": "pagesize",
            "page_size": PAGE,
            "has_more_path": "has_more",
            "stop": "has_more_false",
        },
    ),
)
def stack_exchange(ask: Ask, rows: int) -> Answer:
    page = number_page(ask)
    if page and page * PAGE >= rows:
        return 400, JSON, b'{"error_message": "page above 25 requires access token"}'
    return ok({"items": records(rows, page * PAGE, PAGE), "has_more": (page + 1) * PAGE < rows})


@shape(
    "zoho_crm",
    resource(
        response=envelope("data"),
        pagination={
            "type": "page",
            "page_size": PAGE,
            "has_more_path": "info.more_records",
            "stop": "has_more_false",
        },
    ),
)
def zoho_crm(ask: Ask, rows: int) -> Answer:
    page = number_page(ask)
    if page * PAGE >= rows:
        return 204, {}, b""
    found = records(rows, page * PAGE, PAGE)
    return ok({"data": found, "info": {"page": page + 1, "more_records": (page + 1) * PAGE < rows}})


@shape(
    "xero",
    resource(
        ID,
        column("updated_at", "timestamp", field="UpdatedDateUTC", format="odata"),
        headers={"If-Modified-Since": "{since:%a, %d %b %Y %H:%M:%S GMT}"},
        load={"mode": "watermark"},
        response=envelope("Invoices"),
        pagination={"type": "page", "size_param": None, "page_size": PAGE, "stop": "short_page"},
    ),
)
def xero(ask: Ask, rows: int) -> Answer:
    if ask.headers["If-Modified-Since"] != "Thu, 01 Jan 1970 00:00:00 GMT":
        return 400, JSON, b"{}"
    found = ids(rows, number_page(ask) * PAGE, PAGE)
    return ok({"Status": "OK", "Invoices": [{"id": i, "UpdatedDateUTC": "/Date(1518685950940+0000)/"} for i in found]})


@shape(
    "hubspot_search",
    resource(
        path="/search",
        method="POST",
        body={"filters": [{"propertyName": "lastmodified", "operator": "GTE", "value": "{since:epoch_ms}"}]},
        load={"mode": "watermark"},
        response=envelope("results"),
        total={"path": "total"},
        pagination=cursor("after", cursor_path="paging.next.after", send_in="body", size_param="limit"),
    ),
)
def hubspot_search(ask: Ask, rows: int) -> Answer:
    body = json.loads(ask.text)
    if body["filters"][0]["value"] != "0":
        return 400, JSON, b"{}"
    start = int(body.get("after", 0))
    more = {"paging": {"next": {"after": str(start + PAGE)}}} if start + PAGE < rows else {}
    return ok({"total": rows, "results": records(rows, start, body["limit"]), **more})


@shape(
    "google_ads",
    resource(
        path="/googleAds:searchStream",
        method="POST",
        body={"query": "select campaign.id from campaign where segments.date = '{day}'"},
        response=envelope("$[*].results[*]"),
    ),
)
def google_ads(_ask: Ask, rows: int) -> Answer:
    return ok([{"results": records(rows, start, PAGE)} for start in range(0, rows, PAGE)])


@shape(
    "bigquery",
    resource(
        {**TEXT_ID, "field": "$.f[0].v"},
        column("name", field="$.f[1].v"),
        response=envelope("rows"),
        error={"path": "jobComplete", "ok_values": [True], "retry_values": [False]},
        no_rows={"missing_list": True},
        total={"path": "totalRows"},
        pagination=cursor("pageToken", cursor_path="pageToken", size_param="maxResults"),
    ),
)
def bigquery(ask: Ask, rows: int) -> Answer:
    start = int(ask.query.get("pageToken", 0))
    found = {"rows": [{"f": [{"v": str(i)}, {"v": "x"}]} for i in ids(rows, start, PAGE)]} if rows else {}
    more = {"pageToken": str(start + PAGE)} if start + PAGE < rows else {}
    return ok({"jobComplete": True, "totalRows": str(rows), **found, **more})


@shape(
    "dynamodb",
    resource(
        {**TEXT_ID, "field": "id.N"},
        path="/",
        method="POST",
        body={"TableName": "t"},
        response=envelope("Items"),
        pagination=cursor("ExclusiveStartKey", cursor_path="LastEvaluatedKey", send_in="body"),
    ),
)
def dynamodb(ask: Ask, rows: int) -> Answer:
    start = int(json.loads(ask.text).get("ExclusiveStartKey", {"id": {"N": "0"}})["id"]["N"])
    more = {"LastEvaluatedKey": {"id": {"N": str(start + PAGE)}}} if start + PAGE < rows else {}
    return ok({"Items": [{"id": {"N": str(i)}} for i in ids(rows, start, PAGE)], **more})


@shape(
    "fhir",
    resource(
        {**TEXT_ID, "field": "resource.id"},
        response=envelope("entry"),
        no_rows={"missing_list": True},
        total={"path": "total"},
        pagination={"type": "link", "next_path": "$.link[?@.relation=='next'].url"},
    ),
)
def fhir(ask: Ask, rows: int) -> Answer:
    start = int(ask.query.get("start", 0))
    links = [{"relation": "self", "url": f"{ask.base}/items"}]
    if start + PAGE < rows:
        links.append({"relation": "next", "url": f"{ask.base}/items?start={start + PAGE}"})
    found = {"entry": [{"resource": {"id": str(i)}} for i in ids(rows, start, PAGE)]} if rows else {}
    return ok({"resourceType": "Bundle", "total": rows, "link": links, **found})


@shape(
    "quickbooks",
    resource(
        path="/query",
        params={"query": "select * from Invoice startposition {startposition} maxresults {maxresults}"},
        response=envelope("QueryResponse.Invoice"),
        no_rows={"missing_list": True},
        pagination={
            "type": "offset",
            "send_in": "template",
            "offset_param": "startposition",
            "limit_param": "maxresults",
            "first_offset": 1,
            "page_size": PAGE,
            "stop": "short_page",
        },
    ),
)
def quickbooks(ask: Ask, rows: int) -> Answer:
    words = ask.query["query"].split()
    found = records(rows, int(words[5]) - 1, int(words[7]))
    return ok({"QueryResponse": {"Invoice": found} if found else {}})


@shape(
    "page_in_path",
    resource(
        path="/items/page/{page}",
        pagination={"type": "page", "send_in": "template", "size_param": None, "page_size": PAGE, "stop": "short_page"},
    ),
)
def page_in_path(ask: Ask, rows: int) -> Answer:
    page = int(ask.path.rpartition("/")[2])
    return ok(records(rows, (page - 1) * PAGE, PAGE))


@shape(
    "alpha_vantage",
    resource(
        {**ID, "name": "day", "type": "date"},
        column("open", "number", field="$['1. open']", format="text"),
        key=("day",),
        response={"shape": "keyed", "data_path": "$['Time Series (Daily)']", "key_column": "day"},
    ),
)
def alpha_vantage(_ask: Ask, rows: int) -> Answer:
    return ok({"Meta Data": {}, "Time Series (Daily)": {f"2024-01-{i:02}": {"1. open": "1.5"} for i in ids(rows)}})


@shape(
    "us_census",
    resource({**TEXT_ID, "field": "state"}, column("P1", "integer", format="text"), response={"shape": "rows"}),
)
def us_census(_ask: Ask, rows: int) -> Answer:
    return ok([["P1", "state"], *(["5", str(i)] for i in ids(rows))]) if rows else (204, {}, b"")


@shape(
    "postgrest",
    resource(
        headers={"Prefer": "count=exact"},
        total={"header": "Content-Range"},
        pagination={"type": "offset", "page_size": PAGE, "stop": "total"},
    ),
)
def postgrest(ask: Ask, rows: int) -> Answer:
    start = int(ask.query["offset"])
    found = records(rows, start, int(ask.query["limit"]))
    ranged = f"{start}-{start + len(found) - 1}/{rows}" if found else f"*/{rows}"
    return 206 if len(found) < rows else 200, {**JSON, "Content-Range": ranged}, json.dumps(found).encode()


@shape(
    "amplitude",
    resource(path="/export", response={"shape": "array", "format": "ndjson"}, no_rows={"status": [404]}),
)
def amplitude(_ask: Ask, rows: int) -> Answer:
    if not rows:
        return 404, {"Content-Type": "text/plain"}, b"Raw data files were not found."
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for i in ids(rows):
            archive.writestr(f"project/{i}.json.gz", gzip.compress(json.dumps({"id": i}).encode() + b"\n"))
    return 200, {"Content-Type": "application/zip"}, body.getvalue()


@shape("empty_body", resource(no_rows={"missing_list": True}))
def empty_body(_ask: Ask, rows: int) -> Answer:
    return ok(records(rows)) if rows else (200, {}, b"")
