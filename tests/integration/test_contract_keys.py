"""What a contract's keys make of requests, pages, records and answers, each over HTTP."""

import datetime as dt
import json
import re
import sys
import zipfile
from io import BytesIO

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from scripts.contracts.request import ForEach
from scripts.contracts.source import Source
from scripts.errors import DataError, SourceRejectedError, SourceUnavailableError, UsageError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from tests.support.answering import answering
from tests.support.shapes import ID, JSON, column, envelope, ok, resource

DAY = dt.date(2024, 3, 10)


@pytest.fixture
def load(run, env):
    env("API_RETRIES", 1)

    def load_resource(answer, contract, name="items", day=DAY, children=None, **source):
        with answering(answer) as (base, asked):
            resources = {"items": contract, **(children or {})}
            text = {"source": "demo", "description": "x", "owner": "me@example.com", "base_url": base}
            text |= json.loads(json.dumps(source).replace("BASE", base))
            parsed = Source.model_validate({**text, "default_resource": "items", "resources": resources})
            with Client(parsed) as connection:
                entry = ingest_partition(parsed, name, day, run, connection)
            return entry, pq.read_table(run.store.root / entry.path), asked

    return load_resource


def rows(a, b):
    return [{"id": i} for i in range(a, b)]


# requests


def test_values_are_sent_as_json_writes_them(load):
    params = {"active": True, "size": 1.5, "tags": ["a", "b"], "filter": {"a": 1}, "none": None}

    _, _, asked = load(lambda _: ok([]), resource(params=params))

    assert asked[0].query == {"active": "true", "size": "1.5", "tags": "b", "filter": '{"a":1}'}


def test_templates_are_filled_and_escaped(load):
    contract = resource(
        path="/v1/{day:%Y%m%d}/{name}",
        headers={"X-Until": "{next_day:epoch_ms}"},
        params={"from": "{day:epoch}"},
        for_each={"values": {"name": ["a/b c"]}},
    )

    _, _, asked = load(lambda _: ok([]), contract)

    assert asked[0].path == "/v1/20240310/a/b c"
    assert asked[0].headers["X-Until"] == "1710115200000"
    assert asked[0].query == {"from": "1710028800"}


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Apia"])
def test_the_machine_has_no_say_in_what_a_day_is(load, monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    window = {"mode": "incremental", "start_param": "from", "end_param": "to", "format": "epoch"}

    _, _, asked = load(lambda _: ok([]), resource(load=window))

    assert asked[0].query == {"from": "1710028800", "to": "1710115200"}


@pytest.mark.parametrize(
    ("load_keys", "zone", "expected"),
    [
        (
            {"format": "%Y-%m-%dT%H:%M:%SZ", "end": "inclusive"},
            "UTC",
            [("2024-03-10T00:00:00Z", "2024-03-10T23:59:59Z")],
        ),
        ({"format": "%Y-%m-%d", "end": "inclusive"}, "UTC", [("2024-03-10", "2024-03-10")]),
        ({"format": "epoch_ms", "end": "inclusive"}, "UTC", [("1710028800000", "1710115199999")]),
        ({"format": "%Y-%m-%dT%H:%M:%SZ"}, "Europe/Berlin", [("2024-03-09T23:00:00Z", "2024-03-10T23:00:00Z")]),
        ({"format": "%Y-%m-%d"}, "Europe/Berlin", [("2024-03-10", "2024-03-11")]),
        ({"format": "%H", "window": {"hours": 12}}, "UTC", [("00", "12"), ("12", "00")]),
        ({"format": "%s"}, "Europe/Berlin", [("1710025200", "1710111600")]),
        (
            {"format": "%Y-%m-%dT%H:%M:%S+00:00", "end": "inclusive"},
            "Europe/Berlin",
            [("2024-03-09T23:00:00+00:00", "2024-03-10T22:59:59+00:00")],
        ),
        (
            {"format": "%Y-%m-%dT%H:%M:%S%z", "end": "inclusive"},
            "America/New_York",
            [("2024-03-10T00:00:00-0500", "2024-03-10T23:59:59-0400")],
        ),
        ({"window": {"days": 7}}, "UTC", [("2024-03-04", "2024-03-11")]),
        ({"window": {"calendar": "week"}}, "UTC", [("2024-03-04", "2024-03-11")]),
        ({"window": {"calendar": "month"}}, "UTC", [("2024-03-01", "2024-04-01")]),
    ],
)
def test_a_window_asks_for_all_of_its_time(load, load_keys, zone, expected):
    window = {"mode": "incremental", "start_param": "from", "end_param": "to", **load_keys}

    _, _, asked = load(lambda _: ok([]), resource(load=window), time_zone=zone)

    assert [(ask.query["from"], ask.query["to"]) for ask in asked] == expected


def test_a_window_that_reaches_the_cap_is_halved(load):
    def answer(ask):
        first, last = int(ask.query["from"]), int(ask.query["to"])
        return ok([{"id": i} for i in range(1710028800, 1710115200, 1800) if first <= i < last][:10])

    window = {"mode": "incremental", "start_param": "from", "end_param": "to", "format": "epoch"}

    _, table, _ = load(answer, resource(load={**window, "window": {"halve_at": 10}}))

    assert sorted(table.column("id").to_pylist()) == list(range(1710028800, 1710115200, 1800))


def test_a_watermark_begins_where_the_load_before_began(load):
    contract = resource(load={"mode": "watermark", "start_param": "since", "lookback_hours": 2})

    first, _, asked = load(lambda _: ok(rows(0, 1)), contract, day=DAY)
    assert asked[0].query == {}
    _, _, asked = load(lambda _: ok(rows(0, 1)), contract, day=DAY + dt.timedelta(days=1))

    since = dt.datetime.strptime(asked[0].query["since"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
    assert first.started_at - since - dt.timedelta(hours=2) < dt.timedelta(seconds=1)


def test_a_watermark_leaves_out_loads_that_a_clock_dated_in_the_future(load, run):
    contract = resource(load={"mode": "watermark", "start_param": "since", "lookback_hours": 0})
    days = [DAY + dt.timedelta(days=number) for number in range(3)]
    first, _, _ = load(lambda _: ok(rows(0, 1)), contract, day=days[0])
    second, _, _ = load(lambda _: ok(rows(0, 1)), contract, day=days[1])
    record = next((run.store.root / "_ledger").rglob(f"{days[1]}.json"))
    record.write_text(record.read_text().replace(f'"{second.started_at:%Y}-', '"9000-'))

    _, _, asked = load(lambda _: ok(rows(0, 1)), contract, day=days[2])

    assert asked[0].query["since"] == f"{first.started_at:%Y-%m-%dT%H:%M:%SZ}"


def test_a_snapshot_of_now_refuses_a_past_day(load):
    with pytest.raises(UsageError, match="only knows its current state"):
        load(lambda _: ok([]), resource(load={"mode": "snapshot", "of": "now"}))


# pages


@pytest.mark.parametrize(
    "form",
    [
        '</items?page=PAGE>; Rel="next"',
        '</items?page=PAGE>; rel="next last"',
        '</items?page=PAGE>; rel="Next"',
        '</items?page=PAGE>; title="a=b, c"; rel="next"',
        '</items;v=1?page=PAGE>; rel="next"',
        "</items?a=1,2>; rel=\"prev\", </items?page=PAGE>; title*=UTF-8''x; rel=next",
    ],
)
def test_every_form_of_the_link_header_is_followed(load, form):
    def answer(ask):
        page = int(ask.query.get("page", 1))
        return ok(rows(page * 10, page * 10 + 2), **({"Link": form.replace("PAGE", str(page + 1))} if page < 3 else {}))

    _, table, _ = load(answer, resource(pagination={"type": "link"}))

    assert table.num_rows == 6


def test_a_link_header_that_cannot_be_understood_is_an_error(load):
    with pytest.raises(SourceRejectedError, match="Link header cannot be parsed"):
        load(lambda _: ok(rows(0, 2), Link="next page is 2"), resource(pagination={"type": "link"}))


def test_empty_pages_without_end_are_refused(load):
    def answer(ask):
        page = int(ask.query.get("page", 1))
        return ok(rows(page, page + 1) if page < 3 else [], Link=f'</items?page={page + 1}>; rel="next"')

    with pytest.raises(SourceRejectedError, match="21 consecutive pages have no rows"):
        load(answer, resource(pagination={"type": "link"}))


@pytest.mark.parametrize("kind", ["offset", "cursor"])
def test_rows_that_come_again_end_in_an_error_whatever_is_around_them(load, kind):
    count = [0]

    def answer(ask):
        count[0] += 1
        first = min(int(ask.query.get("offset", 0)), 20)
        found = [{"id": i, "asked": count[0]} for i in range(first, first + 10)]
        return ok({"at": count[0], "data": found, "next": str(first + 10) + " " * count[0]})

    paging = {
        "offset": {"type": "offset", "page_size": 10, "stop": "empty_page"},
        "cursor": {"type": "cursor", "cursor_param": "x", "cursor_path": "next", "stop": "no_cursor"},
    }
    with pytest.raises(SourceRejectedError, match="is the same as page"):
        load(answer, resource(ID, column("asked", "integer"), response=envelope("data"), pagination=paging[kind]))


def test_rows_that_move_between_pages_are_fetched_again_and_refused(load):
    def answer(ask):
        return ok({"total": 20, "data": rows(0, 10) if ask.query["offset"] == "0" else rows(9, 19)})

    paging = {"type": "offset", "page_size": 10, "stop": "total"}
    with pytest.raises(SourceUnavailableError, match="rows moved between pages: 1 keys"):
        load(answer, resource(response=envelope("data"), total={"path": "total"}, pagination=paging))

    paging["duplicates"] = "allow"
    entry, _, _ = load(answer, resource(response=envelope("data"), total={"path": "total"}, pagination=paging))
    assert entry.fetched == 20


def test_a_key_that_a_source_sends_twice_by_itself_is_no_movement(load, caplog):
    pages = {"1": rows(0, 5), "2": [*rows(5, 9), {"id": 2}], "3": []}

    entry, _, _ = load(
        lambda ask: ok(pages[ask.query["page"]]),
        resource(pagination={"type": "page", "page_size": 5, "stop": "short_page"}),
    )

    assert entry.fetched == 10
    assert "sends them twice" in caplog.text


@pytest.mark.parametrize("first", [0, 1, 10])
def test_pages_count_from_any_number(load, first):
    def answer(ask):
        return ok(rows((int(ask.query["page"]) - first) * 2, (int(ask.query["page"]) - first) * 2 + 2)[:5])

    paging = {
        "type": "page",
        "first_page": first,
        "page_size": 2,
        "stop": "empty_page",
        "max_pages": {"pages": 3, "reason": "enough"},
    }

    _, table, _ = load(answer, resource(pagination=paging))

    assert table.num_rows == 6


def test_a_cursor_keeps_every_digit(load):
    def answer(ask):
        if "cursor" in ask.query:
            assert ask.query["cursor"] == "1704067200123456.789"
            return ok({"data": rows(2, 4)})
        return 200, JSON, b'{"data": [{"id": 0}, {"id": 1}], "next": 1704067200123456.789}'

    paging = {"type": "cursor", "cursor_param": "cursor", "cursor_path": "next", "stop": "no_cursor"}

    _, table, _ = load(answer, resource(response=envelope("data"), pagination=paging))

    assert table.num_rows == 4


def test_a_cursor_goes_from_a_header_to_a_header(load):
    def answer(ask):
        page = int(ask.headers.get("X-Cursor", 0))
        return ok(rows(page, page + 1), **({"X-Next": str(page + 1)} if page < 2 else {}))

    paging = {"type": "cursor", "cursor_param": "X-Cursor", "cursor_header": "X-Next", "send_in": "header"}

    _, table, _ = load(answer, resource(pagination={**paging, "stop": "no_cursor"}))

    assert table.num_rows == 3


def test_a_full_page_with_no_way_onwards_is_warned_of(load, caplog):
    paging = {"type": "cursor", "cursor_param": "c", "cursor_path": "nxt", "size_param": "n", "page_size": 2}

    load(
        lambda _: ok({"data": rows(0, 2), "next": "x"}),
        resource(response=envelope("data"), pagination={**paging, "stop": "no_cursor"}),
    )

    assert "the last page is full (2 rows) and has no cursor" in caplog.text


def test_a_next_page_that_the_contract_does_not_know_is_warned_of(load, caplog):
    load(lambda _: ok(rows(0, 2), Link='</items?page=2>; rel="next"'), resource())

    assert "names a next page" in caplog.text


@pytest.mark.parametrize("paging", [{"type": "link"}, {"type": "cursor", "cursor_param": "c", "cursor_path": "n"}])
def test_rows_that_move_between_linked_pages_are_found_where_a_total_is_declared(load, paging):
    def answer(ask):
        if ask.query:
            return ok({"total": 20, "data": rows(9, 19)})
        return ok({"total": 20, "data": rows(0, 10), "n": "x"}, Link='</items?page=2>; rel="next"')

    keys = {"response": envelope("data"), "total": {"path": "total"}}
    paging = {**paging, **({"stop": "no_cursor"} if paging["type"] == "cursor" else {})}
    with pytest.raises(SourceUnavailableError, match="rows moved between pages: 1 keys"):
        load(answer, resource(pagination=paging, **keys))

    assert load(answer, resource(pagination={**paging, "duplicates": "allow"}, **keys))[0].fetched == 20


@pytest.mark.parametrize("kind", ["number", "decimal(5, 2)", "integer"])
def test_keys_that_are_near_one_another_are_no_repeats(load, kind):
    pages = {"1": [{"id": -1}, {"id": 0}], "2": [{"id": -2}, {"id": 1}], "3": []}
    paging = {"type": "page", "page_size": 2, "stop": "short_page"}

    # pages are fetched ahead
    answer = lambda ask: ok(pages.get(ask.query["page"], []))  # noqa: E731 — as the other tests have it
    _, _, asked = load(answer, resource(column("id", kind), pagination=paging))

    numbers = [ask.query["page"] for ask in asked]
    assert sorted(numbers) == sorted(set(numbers)), "no page is fetched again"
    assert {"1", "2", "3"} <= set(numbers)


# records


def test_nested_lists_are_resources_of_their_own(load):
    orders = [{"id": 1, "lines": [{"sku": "a"}, {"sku": "b"}]}, {"id": 2, "lines": []}, {"id": 3, "lines": None}]
    child = {
        "description": "x",
        "path": "lines",
        "carry": {"order_id": "id"},
        "primary_key": ["order_id", "sku"],
        "columns": [{**ID, "name": "order_id"}, column("sku", nullable=False)],
    }
    contract = resource(
        response=envelope("orders"), total={"path": "n"}, on_unknown="discard", children={"lines": child}
    )

    def answer(_):
        return ok({"orders": orders, "n": 3})

    entry, table, _ = load(answer, contract, name="lines")
    assert table.select(["order_id", "sku"]).to_pylist() == [{"order_id": 1, "sku": "a"}, {"order_id": 1, "sku": "b"}]
    assert (entry.fetched, entry.declared) == (2, None)

    entry, _, _ = load(answer, contract)
    assert (entry.fetched, entry.declared) == (3, 3)


def test_what_a_nested_field_leaves_is_unknown_and_kept(load):
    record = {"id": 1, "email": "other", "properties": {"email": "a@b.c", "age": 7}}

    _, table, _ = load(lambda _: ok([record]), resource(ID, column("mail", field="properties.email")))

    (row,) = table.to_pylist()
    assert row["mail"] == "a@b.c"
    assert json.loads(row["_extra"]) == {"email": "other", "properties": {"age": 7}}


@pytest.mark.parametrize(
    ("keys", "sent", "expected"),
    [
        ({"type": "timestamp", "format": "epoch"}, [1704067200, "1704067200.5", 0], "2024-01-01 00:00:00+00:00"),
        ({"type": "timestamp", "format": "epoch_ms"}, [1704067200000, None], "2024-01-01 00:00:00+00:00"),
        ({"type": "timestamp", "format": "iso"}, ["20240101T000000Z", "2024-01-01"], "2024-01-01 00:00:00+00:00"),
        ({"type": "timestamp", "format": "%d.%m.%Y"}, ["01.01.2024"], "2024-01-01 00:00:00+00:00"),
        ({"type": "date", "format": "%m/%d/%Y"}, ["01/31/2024"], "2024-01-31"),
        ({"type": "number", "thousands": ","}, ["1,234.5", 7], "1234.5"),
        ({"type": "integer", "format": "text"}, ["1", "+2", 3], "1"),
        ({"type": "boolean", "format": "text"}, ["true", "0", 1], "True"),
        ({"type": "boolean", "true_values": ["yes"], "false_values": ["no"]}, ["yes", "no"], "True"),
        ({"type": "number", "null_values": [".", -99], "format": "text"}, ["1.5", ".", -99], "1.5"),
    ],
)
def test_values_are_read_as_the_source_writes_them(load, keys, sent, expected):
    found = [{"id": number, "value": value} for number, value in enumerate(sent)]

    entry, table, _ = load(
        lambda _: ok(found),
        resource(ID, column("value", keys["type"], **{k: v for k, v in keys.items() if k != "type"})),
    )

    assert entry.quarantined == 0
    assert str(table.column("value").to_pylist()[0]) == expected


@pytest.mark.parametrize("value", ["1,23.5", "1_0", "0x10", "\uff11", "", "NaN"])
def test_a_number_that_is_written_otherwise_is_set_aside(load, value):
    found = [{"id": 1, "value": value}, {"id": 2, "value": "1,234"}]

    entry, _, _ = load(lambda _: ok(found), resource(ID, column("value", "number", thousands=",")))

    assert (entry.bronze, entry.quarantined) == (1, 1)


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("rfc2822", "Mon, 01 Jan 2024 10:00:00 CET"),
        ("rfc2822", "1 Jan 24"),
        ("epoch", "\u0661\u0667\u0660\u0664"),
        ("epoch", "1_0"),
        ("%Y-%m-%d", "\uff12\uff10\uff12\uff14-01-01"),
        ("iso", "\uff12024-01-01"),
        ("odata", "/Date(\uff11)/"),
    ],
)
def test_a_time_that_is_written_otherwise_is_set_aside(load, form, value):
    found = [{"id": 1, "value": value}]

    entry, _, _ = load(lambda _: ok(found), resource(ID, column("value", "timestamp", format=form), admit="none"))

    assert (entry.bronze, entry.quarantined) == (0, 1)


RAW = [
    (column("value", "timestamp", format="epoch"), '{"id": "x",  "value": 1704067200.50}'),
    (column("value", "number", format="text"), '{"id":"x", "value":"1.50"}'),
    (column("value", "number", field="a.b"), '{"id":"x", "a": {"b": 1.50, "c":1.0}}'),
    (column("value", "decimal(5, 2)", thousands=".", decimal_mark=","), '{"id":1,"value":"1.234,567"}'),
    (column("value", field="a.b"), '{"id":1, "a.b":"top", "a":{"b":"below"}}'),
    (column("value", field="a.b"), '{"id":1, "a":{"b":"one", "b":"two"}}'),
    (column("value", "timestamp", format="epoch"), '{"id":1, "value":"\\ud800"}'),
    (column("value", field="a.b"), '{"id":1, "a": NaN}'),
]


@pytest.mark.parametrize(("declared", "raw"), RAW)
def test_what_is_set_aside_is_kept_as_it_came_and_spares_its_neighbours(load, run, declared, raw):
    body = f'[{{"id":7}},{raw}]'.encode()

    entry, table, _ = load(lambda _: (200, JSON, body), resource(ID, declared))

    (aside,) = run.store.quarantined(entry)
    assert (table.column("id").to_pylist(), aside.raw) == ([7], raw)


def test_what_is_carried_along_stands_in_what_is_set_aside(load, run):
    orders = b'[{"id": 1, "lines": [{"sku": "a"}, {"sku":  7}]}, {"id": 2, "lines": [], "lines": [1]}'
    orders += b', {"id": 3, "lines":NaN}]'
    child = {
        "description": "x",
        "path": "lines",
        "carry": {"order_id": "id"},
        "primary_key": ["order_id", "sku"],
        "columns": [{**ID, "name": "order_id"}, column("sku")],
    }

    entry, table, _ = load(lambda _: (200, JSON, orders), resource(children={"lines": child}), name="lines")

    assert table.column("sku").to_pylist() == ["a"]
    assert [row.raw for row in run.store.quarantined(entry)] == [
        '{"order_id":1,"sku":  7}',
        '{"id": 2, "lines": [], "lines": [1]}',
        '{"id": 3, "lines":NaN}',
    ]


@pytest.mark.parametrize(
    ("keys", "body", "value", "raw"),
    [
        ({"format": "csv"}, b"id,value\n1,ok\n2,f\xfcr\n", "ok", b'{"id":"2","value":"f\xfcr"}'),
        (
            {"format": "csv"},
            b"id,value,cell 4\n1,ok\n2,a,b,c\n",
            "ok",
            b'{"id":"2","value":"a","cell 4":"b","cell 4":"c"}',
        ),
        (
            {"shape": "rows"},
            b'[["id","value","cell 4"],[1,"ok"],[2,"a","b","c"]]',
            "ok",
            b'{"id":2,"value":"a","cell 4":"b","cell 4":"c"}',
        ),
        ({"format": "ndjson"}, b'{"id":1,"value":"ok"}\n{"id":2,"value":"\xfc"}\n', "ok", b'{"id":2,"value":"\xfc"}'),
        (
            {"shape": "envelope", "data_path": "$.d[?@.on]"},
            b'{"d":[{"id":1,"value":"ok","on":1},{"id":2,"on":1,"value":NaN},{"id":3,"value":"\xfc"}]}',
            "ok",
            b'{"id":2,"on":1,"value":NaN}',
        ),
    ],
    ids=["an odd byte in csv", "a cell beyond csv", "a cell beyond rows", "an odd byte in lines", "a filter"],
)
def test_one_odd_record_of_every_format_is_set_aside_by_itself(load, run, keys, body, value, raw):
    response = {"shape": "array", **keys}

    entry, table, _ = load(
        lambda _: (200, {}, body), resource(ID, column("value"), response=response, on_unknown="discard")
    )

    (aside,) = run.store.quarantined(entry)
    assert (table.column("value").to_pylist(), aside.raw_bytes) == ([value], raw)


def test_a_cell_of_csv_may_be_long(load):
    body = b'id,value\n1,"' + b"x" * 200_000 + b'"\n'

    _, table, _ = load(
        lambda _: (200, {}, body), resource(ID, column("value"), response={"shape": "array", "format": "csv"})
    )

    assert len(table.column("value")[0].as_py()) == 200_000


@pytest.mark.parametrize(
    ("body", "content_type", "values"),
    [
        (
            b"<r>\n <i><id> 1 </id><value>  a\n</value></i>\n <i><id>2</id><value/></i>\n</r>",
            "",
            ["  a\n", None],
        ),
        (
            '<?xml version="1.0" encoding="windows-1251"?><r><i><id>1</id><value>Ж</value></i></r>'.encode("cp1251"),
            "",
            ["Ж"],
        ),
        ("<r><i><id>1</id><value>Ж</value></i></r>".encode("cp1251"), "text/xml; charset=windows-1251", ["Ж"]),
        ("<r><i><id>1</id><value>Ж</value></i></r>".encode("utf-16"), "", ["Ж"]),
        (b"<r>\n</r>", "", []),
    ],
    ids=["white space", "declared", "in the header", "utf-16", "no element"],
)
def test_xml_keeps_its_texts(load, body, content_type, values):
    response = {"shape": "envelope", "format": "xml", "data_path": "r.i"}
    keys = {"response": response, "no_rows": {"missing_list": True}}

    _, table, _ = load(lambda _: (200, {"Content-Type": content_type}, body), resource(ID, column("value"), **keys))

    assert table.column("value").to_pylist() == values


def test_a_line_that_is_torn_is_set_aside_by_itself(load):
    body = b'{"id": 1}\n{"id": 2\n{"id": 3}, {"id": 4}\n\n{"id": 5}\n'

    entry, table, _ = load(lambda _: (200, {}, body), resource(response={"shape": "array", "format": "ndjson"}))

    assert table.column("id").to_pylist() == [1, 5]
    assert entry.quarantined == 2


def test_every_file_of_a_zip_is_read(load):
    body = BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("b.csv", "id\n3\n")
        archive.writestr("a.csv", "id\n1\n2\n")

    _, table, _ = load(lambda _: (200, {}, body.getvalue()), resource(response={"shape": "array", "format": "csv"}))

    assert table.column("id").to_pylist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("response", "body", "words"),
    [
        ({"shape": "array"}, {"b": 1, "a": [{"id": 1}]}, "shape: envelope, data_path: a}"),
        ({"shape": "array"}, {"id": 1}, "`shape: object` where it is one record"),
        ({"shape": "envelope", "data_path": "a"}, [{"id": 1}], "`response: {shape: array}`"),
        ({"shape": "envelope", "data_path": "a"}, {"a": {"id": 1}}, "`single: record`"),
        ({"shape": "envelope", "data_path": "$[*].a[*]"}, {"error": "denied"}, "nothing at `$[*]['a']`"),
        ({"shape": "envelope", "data_path": "a"}, {"a": [], "error": {"code": 17}}, "`error: {path: error}`"),
        ({"shape": "envelope", "data_path": "a"}, {"a": None, "success": False}, "`error: {path: success}`"),
        ({"shape": "columnar", "data_path": "h"}, {"h": {"id": [1, 2], "x": [1]}}, "different lengths: id 2, x 1"),
        ({"shape": "keyed"}, [1], "a list where the records are expected"),
        ({"shape": "object"}, [{"id": 1}], "a list where the records are expected"),
        ({"shape": "envelope", "data_path": "$.a[*].b"}, {"c": []}, "nothing at `$['a']`"),
        ({"shape": "rows"}, [["id", "id"], [1, 2]], "two columns are called id"),
    ],
)
def test_another_shape_is_final(load, response, body, words):
    with pytest.raises(SourceRejectedError, match=re.escape(words)):
        load(lambda _: ok(body), resource(response=response))


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("text/csv; charset=utf-8", b"id\n1\n", "format: csv}` reads that"),
        ("text/tab-separated-values", b"id\tx\n1\t2\n", "format: tsv}` reads that"),
        ("application/xml", b"<a/>", "format: xml, data_path"),
        ("application/x-ndjson", b'[1]\n{"id": 2}', "format: ndjson}` reads that"),
        ("application/json", b'{"id": 1}\n{"id": 2}\n', "format: ndjson}` reads a line for each record"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", b"PK", "`python: "),
        ("application/octet-stream", b"PAR1..PAR1", "`python: "),
    ],
)
def test_another_format_is_final_and_named(load, kind, body, words):
    """It is asked for once, and the message says what the contract has to say."""
    with pytest.raises(SourceRejectedError, match=re.escape(words)):
        load(lambda _: (200, {"Content-Type": kind}, body), resource())


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_body_that_may_be_whole_next_time_is_asked_for_again(load, kind):
    answers = iter([(200, {"Content-Type": kind}, b"<html>"), ok(rows(0, 1))])

    assert load(lambda _: next(answers), resource())[0].retries == 1


def test_an_object_may_be_the_list_of_one(load):
    contract = resource(response=envelope("items", single="record"))

    assert load(lambda _: ok({"items": {"id": 1}}), contract)[0].fetched == 1
    assert load(lambda _: ok({"items": rows(0, 2)}), contract)[0].fetched == 2


def test_a_key_that_only_looks_like_an_error_may_be_said_to_be_none(load):
    contract = resource(response=envelope("items"), error={"path": "error", "error_values": []})

    assert load(lambda _: ok({"items": [], "error": "none today"}), contract)[0].fetched == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "`auth`"), (404, "`no_rows: {status: [404]}`"), (405, "`method`"), (406, "Accept"), (415, "`form` a form")],
)
def test_a_refusal_names_the_key_of_the_contract(load, status, words):
    with pytest.raises(SourceRejectedError, match=re.escape(words)):
        load(lambda _: (status, JSON, b"{}"), resource())


def test_a_cursor_that_the_last_record_lacks_is_no_last_page(load):
    """It was: `data_path` led below the records that hold it, and only the first page was loaded."""
    paging = {"type": "cursor", "cursor_param": "after", "cursor_field": "sort", "stop": "no_cursor"}
    contract = resource(response=envelope("$.hits[*].source"), pagination=paging)

    with pytest.raises(SourceRejectedError, match="nothing at `sort`, the `cursor_field`; its keys are id"):
        load(lambda _: ok({"hits": [{"sort": 1, "source": {"id": 1}}]}), contract)


def test_an_element_that_stands_once_is_a_list_where_the_path_says_so(load):
    """Also the lists within it."""
    text = b'<r><day time="2024-01-01"><rate currency="USD"/></day></r>'
    contract = resource(
        {**ID, "name": "day", "type": "date"},
        {**ID, "name": "currency", "type": "string", "field": "@currency"},
        key=("day", "currency"),
        response=envelope("$.r.day[*]", format="xml"),
        nested={"path": "$.rate[*]", "carry": {"day": "@time"}},
    )

    _, table, _ = load(lambda _: (200, {"Content-Type": "text/xml"}, text), contract)

    assert table.column("currency").to_pylist() == ["USD"]


def test_a_watermark_goes_where_the_source_wants_it(load):
    contract = resource(
        method="POST", body={"since": "{since:epoch}"}, load={"mode": "watermark", "lookback_hours": 24}
    )

    _, _, first = load(lambda _: ok(rows(0, 1)), contract)
    _, _, second = load(lambda _: ok(rows(0, 1)), contract, day=DAY + dt.timedelta(days=1))

    assert json.loads(first[0].text) == {"since": "0"}
    since = dt.datetime.fromtimestamp(int(json.loads(second[0].text)["since"]), dt.UTC)
    assert dt.timedelta(hours=23.9) < dt.datetime.now(dt.UTC) - since < dt.timedelta(hours=24.1)


def test_a_cursor_may_go_into_a_text(load):
    paging = {"type": "cursor", "cursor_param": "after", "cursor_path": "next", "stop": "no_cursor"}
    paging |= {"send_in": "template"}
    contract = resource(
        method="POST", body={"query": 'items(after: "{after}")'}, response=envelope("items"), pagination=paging
    )
    answers = iter([ok({"items": rows(0, 2), "next": "c/1"}), ok({"items": rows(2, 3), "next": None})])

    entry, _, asked = load(lambda _: next(answers), contract)

    assert entry.fetched == 3
    assert [json.loads(ask.text)["query"] for ask in asked] == ['items(after: "")', 'items(after: "c/1")']


# answers


def test_no_content_is_no_row(load):
    assert load(lambda _: (204, {}, b""), resource())[0].fetched == 0


def test_a_limit_that_is_used_up_is_waited_for(load):
    answers = iter([(403, {**JSON, "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}, b"{}"), ok(rows(0, 1))])

    entry, _, _ = load(lambda _: next(answers), resource())

    assert (entry.fetched, entry.retries) == (1, 1)


def test_an_error_that_passes_is_tried_again(load):
    answers = iter([ok({"ok": False, "error": "ratelimited"}), ok({"ok": True, "data": rows(0, 1)})])
    flag = {"path": "ok", "ok_values": [True]}

    with pytest.raises(SourceRejectedError, match="`ok` is false"):
        load(lambda _: next(answers), resource(response=envelope("data"), error=flag))
    answers = iter([ok({"status": "OVER"}), ok({"status": "OK", "data": rows(0, 1)})])
    flag = {"path": "status", "ok_values": ["OK"], "retry_values": ["OVER"]}

    assert load(lambda _: next(answers), resource(response=envelope("data"), error=flag))[0].fetched == 1


def test_a_load_none_of_whose_rows_fits_fails_unless_it_may(load):
    wrong = [{"id": "a"}, {"id": "b"}]

    with pytest.raises(DataError, match="none of the 2 rows fits the contract; the first: field `id`"):
        load(lambda _: ok(wrong), resource())
    assert load(lambda _: ok(wrong), resource(admit="none"))[0].quarantined == 2


# authentication


def test_a_token_is_renewed_in_the_middle_of_a_load(load, env):
    env("DEMO_CLIENT_ID", "me")
    env("DEMO_CLIENT_SECRET", "secret")
    tokens = []

    def answer(ask):
        if ask.path == "/token":
            tokens.append(f"tok{len(tokens)}")
            return ok({"access_token": tokens[-1], "token_type": "Bearer", "expires_in": 3600})
        page = int(ask.query["page"])
        if ask.headers["Authorization"] != f"Bearer {tokens[-1]}" or (page == 2 and len(tokens) == 1):
            return 401, JSON, b"{}"
        return ok(rows(page, page + 1) if page < 4 else [])

    auth = {
        "type": "oauth2",
        "token_url": "BASE/token",
        "client_id_env": "DEMO_CLIENT_ID",
        "client_secret_env": "DEMO_CLIENT_SECRET",
    }

    _, table, _ = load(answer, resource(pagination={"type": "page", "page_size": 1, "stop": "short_page"}), auth=auth)

    assert table.column("id").to_pylist() == [1, 2, 3]
    assert len(tokens) == 2


def test_a_refused_client_is_told_what_to_check(load, env):
    env("DEMO_CLIENT_ID", "me")
    env("DEMO_REFRESH", "old")
    auth = {
        "type": "oauth2",
        "grant": "refresh_token",
        "token_url": "BASE/token",
        "client_id_env": "DEMO_CLIENT_ID",
        "refresh_token_env": "DEMO_REFRESH",
    }

    with pytest.raises(SourceRejectedError, match=r"no token: HTTP 400, invalid_grant.*contract's `auth`") as caught:
        load(lambda _: (400, JSON, b'{"error": "invalid_grant"}'), resource(), auth=auth)
    assert "old" not in str(caught.value)


def test_secrets_go_into_any_headers(load, env):
    env("DEMO_KEY", "k")
    env("DEMO_ACCOUNT", "a")

    _, _, asked = load(
        lambda _: ok([]),
        resource(),
        auth={"type": "headers", "headers": {"X-Key": "DEMO_KEY", "X-Account": "DEMO_ACCOUNT"}},
    )

    assert (asked[0].headers["X-Key"], asked[0].headers["X-Account"]) == ("k", "a")


@pytest.fixture
def project(monkeypatch, tmp_path):
    """A project folder of the test, for functions that a contract names."""
    monkeypatch.setattr("scripts.extract.functions.PROJECT_DIR", tmp_path)
    return tmp_path


def test_a_hook_signs_each_request(load, env, project):
    env("DEMO_SECRET", "s")
    text = "def sign(request, secrets):\n    request.headers['X-Sign'] = secrets['DEMO_SECRET'] + request.path_url\n"
    (project / "shop.py").write_text(text)

    _, _, asked = load(
        lambda _: ok([]), resource(), auth={"type": "hook", "function": "shop.py:sign", "secrets": ["DEMO_SECRET"]}
    )

    assert asked[0].headers["X-Sign"] == "s/items"


# dependents and the escape hatch


def repositories(ask):
    if ask.path == "/items":
        page = int(ask.query["page"])
        return ok([{"id": i, "name": f"r{i}"} for i in range(1, 6)][page * 2 - 2 : page * 2])
    name = ask.path.split("/")[2]
    return (410, JSON, b"{}") if name in {"r2", "r4"} else ok([{"id": int(name[1:]) * 10}])


COMMENTS = resource(
    ID,
    column("repository"),
    path="/repos/{name}/comments",
    for_each={"resource": "items", "take": {"name": "name"}, "carry": {"repository": "name"}},
)
REPOSITORIES = resource(ID, column("name"), pagination={"type": "page", "page_size": 2, "stop": "short_page"})


def test_a_parent_that_fails_is_named_and_the_others_go_on(load):
    with pytest.raises(SourceRejectedError, match=r"requests for 2 .* failed \(name r2; name r4\)"):
        load(repositories, REPOSITORIES, name="comments", children={"comments": COMMENTS})

    skipping = {**COMMENTS, "for_each": {**COMMENTS["for_each"], "on_error": "skip"}}
    entry, table, _ = load(repositories, REPOSITORIES, name="comments", children={"comments": skipping})
    assert table.select(["id", "repository"]).to_pylist() == [
        {"id": 10, "repository": "r1"},
        {"id": 30, "repository": "r3"},
        {"id": 50, "repository": "r5"},
    ]
    assert [note.field for note in entry.drift] == ["name r2", "name r4"]


@pytest.mark.parametrize(
    ("sent", "path", "carried"),
    [
        ("true", "/repos/true/comments", "true"),
        ("1704067200123456.789", "/repos/1704067200123456.789/comments", "1704067200123456.789"),
        ("1.10", "/repos/1.10/comments", "1.10"),
        ('"a/b c"', "/repos/a/b c/comments", '"a/b c"'),
    ],
)
def test_a_variable_is_sent_as_the_parent_writes_it(load, sent, path, carried):
    def answer(ask):
        return (200, JSON, f'[{{"id":1,"name":{sent}}}]'.encode()) if ask.path == "/items" else ok([{"id": 1}])

    comments = resource(
        ID,
        column("repository", "json"),
        path="/repos/{name}/comments",
        for_each={"resource": "items", "take": {"name": "name"}, "carry": {"repository": "name"}},
    )

    _, table, asked = load(
        answer, resource(ID, column("name", "json")), name="comments", children={"comments": comments}
    )

    assert asked[-1].path == path
    assert table.column("repository").to_pylist() == [carried]


@pytest.mark.parametrize("sent", ['""', '".."', '"."', '{"a":1}', "[1]", "null", '"\\ud800"', "NaN"])
def test_a_variable_that_would_lead_elsewhere_is_refused(load, sent):
    def answer(_):
        return 200, JSON, f'[{{"id":1,"name":{sent}}}]'.encode()

    with pytest.raises(SourceRejectedError, match=r"a row of the parent `items` has .* at `name`"):
        load(answer, REPOSITORIES | {"pagination": {"type": "none"}}, name="comments", children={"comments": COMMENTS})


def test_a_parent_may_have_no_rows(load):
    gone = {**COMMENTS, "no_rows": {"status": [410]}}

    _, table, _ = load(repositories, REPOSITORIES, name="comments", children={"comments": gone})

    assert table.num_rows == 3


def test_rows_may_come_from_python(load, project):
    (project / "shop.py").write_text(
        "def orders(day, client):\n"
        "    for shop in client.get_json('/shops', {'day': day.isoformat()}):\n"
        "        yield {'id': shop['id'], 'at': day}\n"
    )

    def answer(ask):
        assert ask.query == {"day": "2024-03-10"}
        return ok(rows(0, 3))

    contract = {**resource(ID, column("at", "date")), "python": "shop.py:orders"}
    del contract["path"]

    _, table, _ = load(answer, contract)

    assert table.num_rows == 3


def test_a_generator_that_fails_is_named(load, project):
    (project / "shop.py").write_text("def orders(day, client):\n    yield {'id': 1}\n    raise KeyError('x')\n")
    contract = {**resource(), "python": "shop.py:orders"}
    del contract["path"]

    with pytest.raises(SourceRejectedError, match=r"shop\.py:orders: KeyError: 'x'"):
        load(lambda _: ok([]), contract)


def test_rows_may_come_from_a_tap(load, tmp_path):
    tap = tmp_path / "tap.py"
    tap.write_text(
        "import json, sys\n"
        "config = json.load(open(sys.argv[1]))\n"
        "print(json.dumps({'type': 'SCHEMA', 'stream': 'a', 'schema': {}, 'key_properties': ['id']}))\n"
        "print(json.dumps({'type': 'RECORD', 'stream': 'a', 'record': {'id': int(config['day'])}}))\n"
        "print(json.dumps({'type': 'RECORD', 'stream': 'b', 'record': {'id': 'x'}}))\n"
        "sys.exit('broken' if config['day'] == '20240311' else 0)\n"
    )
    contract = {
        **resource(),
        "singer": {"command": [sys.executable, str(tap), "{config}"], "stream": "a", "config": {"day": "{day:%Y%m%d}"}},
    }
    del contract["path"]

    assert load(lambda _: ok([]), contract)[1].column("id").to_pylist() == [20240310]
    with pytest.raises(SourceRejectedError, match="the tap ended with exit code 1: broken"):
        load(lambda _: ok([]), contract, day=DAY + dt.timedelta(days=1))


# forms of values that a column's type would accept in another meaning


@pytest.mark.parametrize(
    ("column", "sent", "expected"),
    [
        ({"type": "decimal(12,3)", "decimal_mark": ","}, ["1.234", "1,5"], [None, "1.500"]),
        ({"type": "decimal(12,2)", "decimal_mark": ",", "thousands": "."}, ["1.5", "1.234,5"], [None, "1234.50"]),
        ({"type": "number", "decimal_mark": ",", "thousands": "."}, [1.234, "1.234,5"], [1.234, 1234.5]),
        ({"type": "date", "format": "%Y-%d-%m"}, ["2024-01-13", "2024-13-01"], [None, "2024-01-13"]),
        (
            {"type": "timestamp", "format": "%d.%m.%Y"},
            ["2024-01-13T00:00:00Z", "13.01.2024"],
            [None, "2024-01-13 00:00:00+00:00"],
        ),
        ({"type": "integer", "format": "text"}, ["1e9999999", "5"], [None, 5]),
        ({"type": "integer", "format": "text"}, ["1e99999999999999999999", "5e0"], [None, 5]),
        ({"type": "decimal(9,2)", "format": "text"}, ["1e99999999999999999999", "5"], [None, "5.00"]),
        ({"type": "timestamp", "format": "epoch"}, ["1e999999999", 0], [None, "1970-01-01 00:00:00+00:00"]),
        (
            {"type": "timestamp", "format": "epoch"},
            ["1704067199.9999999999999999999999999", 0],
            ["2023-12-31 23:59:59.999999+00:00", "1970-01-01 00:00:00+00:00"],
        ),
    ],
)
def test_a_value_in_another_form_is_a_misfit_and_kept_as_it_came(load, column, sent, expected):
    body = [{"id": number, "v": value} for number, value in enumerate(sent)]
    columns = [ID, {"name": "v", "description": "x", **column}]

    entry, table, _ = load(lambda _: ok(body), resource(columns=columns, on_mistyped="evolve"))

    found = [value if isinstance(value, int | float | None) else str(value) for value in table["v"].to_pylist()]
    assert found == expected
    kept = [None if extra is None else json.loads(extra)["v"] for extra in table["_extra"].to_pylist()]
    assert kept == [None if value is not None else raw for raw, value in zip(sent, expected, strict=True)]
    assert [note.example for note in entry.drift] == [json.dumps(raw) for raw in kept if raw is not None]


def test_a_json_number_without_an_end_spares_its_neighbours(load):
    column = {"name": "v", "type": "number", "null_values": [-1], "description": "x"}
    body = b'[{"id": 1, "v": 5}, {"id": 2, "v": 1e99999999999999999999}]'

    entry, table, _ = load(lambda _: (200, JSON, body), resource(columns=[ID, column]))

    assert (table["v"].to_pylist(), entry.quarantined) == ([5.0], 1)


@pytest.mark.parametrize("charset", ["hex", "rot13", "zip", "no-such"])
def test_a_charset_that_is_none_is_named(load, charset):
    headers = {"Content-Type": f"application/json; charset={charset}"}

    with pytest.raises(SourceRejectedError, match=f"charset '{charset}', which is unknown"):
        load(lambda _: (200, headers, b"[]"), resource())


def test_null_where_a_nested_field_is_named_is_null_and_nothing_unknown(load):
    columns = [ID, {"name": "v", "field": "a.b", "type": "string", "description": "x"}]
    body = [{"id": 1, "a": {"b": "x"}}, {"id": 2, "a": None}, {"id": 3, "a": {"b": None}}, {"id": 4}]

    entry, table, _ = load(lambda _: ok(body), resource(columns=columns, on_unknown="fail"))

    assert (table["v"].to_pylist(), entry.drift) == (["x", None, None, None], ())


def test_a_null_within_a_nested_list_is_set_aside(load):
    contract = resource(
        primary_key=["order_id", "id"],
        columns=[{"name": "order_id", "type": "integer", "nullable": False, "description": "x"}, ID],
        nested={"path": "lines", "carry": {"order_id": "id"}},
    )
    body = [{"id": 1, "lines": [{"id": 1}, None]}, {"id": 2, "lines": None}, {"id": 3}]

    entry, table, _ = load(lambda _: ok(body), contract)

    assert (entry.fetched, table.num_rows, entry.quarantined) == (2, 1, 1)


@pytest.mark.parametrize("status", [400, 403])
def test_a_refusal_that_says_so_is_tried_again(load, status):
    answers = iter([(status, JSON, b'{"error": {"code": 17}}'), ok({"data": rows(0, 2)})])
    error = {"path": "error.code", "retry_values": [17]}

    entry, table, _ = load(lambda _: next(answers), resource(response=envelope("data"), error=error))

    assert (table.num_rows, entry.retries) == (2, 1)
    with pytest.raises(SourceRejectedError, match=f"HTTP {status}"):
        load(lambda _: (status, JSON, b'{"error": {"code": 1}}'), resource(response=envelope("data"), error=error))


@pytest.mark.parametrize("status", [408, 425, 429])
def test_a_status_that_is_tried_again_is_so_too_where_bodies_say_whether_to_try_again(load, status, env):
    env("API_RETRIES", 2)
    error = {"path": "error.code", "retry_values": [17]}
    contract = resource(response=envelope("data"), error=error)
    answers = iter([(status, JSON, b""), ok({"data": rows(0, 2)})])

    entry, table, _ = load(lambda _: next(answers), contract)

    assert (table.num_rows, entry.retries) == (2, 1)
    with pytest.raises(SourceUnavailableError, match=f"3 tries; the last: HTTP {status}"):
        load(lambda _: (status, JSON, b'{"error": {"code": 1}}'), contract)


def test_a_query_with_spaces_within_its_braces_is_text(load):
    query = "SELECT ?x WHERE { ?x wdt:P31 wd:Q5 . } LIMIT 2"

    _, _, asked = load(lambda _: ok([]), resource(params={"query": query}))

    assert asked[0].query == {"query": query}


def test_many_keys_of_any_length_do_not_hide_what_to_do(load):
    body = {"x" * 5000 + str(number): 1 for number in range(20)}

    with pytest.raises(SourceRejectedError, match="its keys are xxx") as error:
        load(lambda _: ok(body), resource(response=envelope("data")))
    assert len(str(error.value)) < 1500


def test_an_object_without_keys_may_be_an_empty_list(load):
    keyed = {"shape": "keyed", "data_path": "data", "key_column": "id"}
    columns = [{"name": "id", "type": "string", "nullable": False, "description": "x"}]

    _, table, _ = load(lambda _: ok({"data": []}), resource(response=keyed, columns=columns))

    assert table.num_rows == 0
    with pytest.raises(SourceRejectedError, match="a list where"):
        load(lambda _: ok({"data": [{"id": 1}]}), resource(response=keyed, columns=columns))


def test_values_that_belong_together_are_requested_together(load):
    places = [{"lat": 52.5, "lon": 13.4}, {"lat": 53.55, "lon": 10}]
    columns = [ID, {"name": "lat", "type": "number", "nullable": False, "description": "x"}]
    each = {"rows": places, "values": {"unit": ["C", "F"]}, "carry": {"lat": "lat"}}
    params = {"lat": "{lat}", "lon": "{lon}", "unit": "{unit}"}

    _, table, asked = load(
        lambda ask: ok([{"id": len(ask.query["unit"] + ask.query["lat"])}]),
        resource(params=params, for_each=each, columns=columns, primary_key=["id", "lat"]),
    )

    found = sorted((ask.query["lat"], ask.query["lon"], ask.query["unit"]) for ask in asked)
    assert found == [("52.5", "13.4", "C"), ("52.5", "13.4", "F"), ("53.55", "10", "C"), ("53.55", "10", "F")]
    assert sorted(table["lat"].to_pylist()) == [52.5, 52.5, 53.55, 53.55]


@pytest.mark.parametrize("rows", [[{"a": 1}, {"b": 1}], [{}], [{"a": 1, "c": 2}]])
def test_rows_of_values_have_the_same_variables(rows):
    with pytest.raises(ValidationError, match="rows"):
        ForEach.model_validate({"rows": rows, "values": {"c": [1]}})
