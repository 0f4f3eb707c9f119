"""Sources that answer with what no source should send: each ends as its partition's outcome, within bounds."""

import datetime as dt
import gzip
import http.server
import io
import json
import threading
import time
import tracemalloc
import zipfile

import pyarrow.parquet as pq
import pytest

from scripts.bronze.ledger import Partition
from scripts.contracts.source import Source
from scripts.errors import SourceRejectedError, SourceUnavailableError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition

DAY = dt.date(2024, 1, 1)
JSON = {"Content-Type": "application/json"}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    answer = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        try:
            self.server.answer(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *arguments):
        """Say nothing."""


def whole(body, status=200, **headers):
    """Return the behavior of a server that gives one answer."""

    def answer(handler):
        handler.send_response(status)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in ({"Content-Length": str(len(body))} | JSON | names).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def other():
    """Another server of the same host, which nothing may be sent to."""
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        running.answer = whole(b'[{"id": 666}]')
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()
    assert running.asked == []


def contract(url, source=None, **resource):
    columns = [
        {"name": "id", "type": "integer", "nullable": False, "description": "x"},
        {"name": "note", "type": "string", "description": "x"},
        {"name": "amount", "type": "decimal(38, 10)", "description": "x"},
    ]
    document = {
        "source": "demo",
        "description": "x",
        "owner": "me@example.com",
        "base_url": url,
        "default_resource": "items",
        "resources": {
            "items": {"description": "x", "path": "/items", "primary_key": ["id"], "columns": columns} | resource
        },
    }
    return Source.model_validate(document | (source or {}))


@pytest.fixture
def load(server, run, env):
    """Load the items of the server; return the record, the rows and the quarantined rows."""
    env("API_RETRIES", 1)

    def load_items(answer, source=None, **resource):
        server.answer = answer if callable(answer) else whole(answer)
        described = contract(server.url, source, **resource)
        with Client(described) as client:
            entry = ingest_partition(described, "items", DAY, run, client)
        rows = pq.read_table(run.store.root / entry.path).to_pylist()
        return entry, rows, run.store.quarantined(entry)

    return load_items


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b'[{"id":1,"amount":1234567890123456789.1234567891},{"id":2,"note":"\\ud800"}]', {"shape": "array"}),
        (
            b'{"data":[{"id":1,"amount":1234567890123456789.1234567891},{"id":2,"note":NaN}]}',
            {"shape": "envelope", "data_path": "data"},
        ),
        (
            b'{"data":[{"id":1,"amount":"1234567890123456789.1234567891"},{"id":2,"note":'
            + b"[" * 3000
            + b"]" * 3000
            + b"}]}",
            {"shape": "envelope", "data_path": "data"},
        ),
    ],
    ids=["half_a_pair", "nan_in_an_envelope", "deep_in_an_envelope"],
)
def test_one_bad_record_is_set_aside_as_it_came(load, body, shape):
    entry, (row,), (rejected,) = load(body, response=shape)

    assert (entry.fetched, entry.bronze, entry.quarantined) == (2, 1, 1)
    assert str(row["amount"]) == "1234567890123456789.1234567891"
    assert rejected.raw.encode() in body


def test_a_record_of_odd_bytes_is_kept_byte_for_byte(load):
    _, rows, (rejected,) = load(b'[{"id":1,"note":"\xe4"},{"id":2,"note":"\xc3\xa4"}]')

    assert [row["note"] for row in rows] == ["ä"]
    assert rejected.raw_bytes == b'{"id":1,"note":"\xe4"}'


@pytest.mark.parametrize("charset", ["utf-16", "utf-8-sig", "utf-32-be", "cp1252"])
def test_a_body_in_another_encoding_is_read(load, charset):
    body = '[{"id":1,"note":"Käse"}]'.encode(charset)
    content_type = "application/json; charset=cp1252" if charset == "cp1252" else "application/json"

    _, rows, _ = load(whole(body, Content_Type=content_type))

    assert rows[0]["note"] == "Käse"


@pytest.mark.parametrize("status", [204])
def test_no_content_is_no_rows(load, status, server):
    entry, rows, _ = load(whole(b"", status))

    assert (entry.fetched, rows, len(server.asked)) == (0, [], 1)


@pytest.mark.parametrize("status", [205, 206, 300, 302, 304, 400, 404, 501, 505])
def test_a_final_status_never_counts_as_data_and_is_asked_for_once(load, status, server):
    with pytest.raises(SourceRejectedError, match=f"HTTP {status}"):
        load(whole(b"" if status in {205, 304} else b"[]", status))
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [202, 425, 503])
def test_a_status_that_passes_is_tried_again_and_never_counts_as_data(load, status, server):
    with pytest.raises(SourceUnavailableError, match=f"HTTP {status}"):
        load(whole(b"[]", status))
    assert len(server.asked) == 2


AUTH = {"auth": {"type": "api_key", "value_env": "DEMO_KEY", "header": "X-Api-Key"}}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_server_is_refused(load, other, status, env):
    env("DEMO_KEY", "a-secret-key")

    with pytest.raises(SourceRejectedError, match="on another server") as caught:
        load(whole(b"", status, Location=f"{other.url}/items?key=1"), AUTH)
    assert "key=1" not in str(caught.value)


def test_a_redirect_of_a_linked_page_to_another_server_is_refused(load, other, server):
    def answer(handler):
        if handler.path == "/items":
            whole(b'[{"id": 1}]', Link='</more?page=2>; rel="next"')(handler)
        else:
            whole(b"", 302, Location=f"{other.url}/items")(handler)

    with pytest.raises(SourceRejectedError, match="on another server"):
        load(answer, pagination={"type": "link", "stop": "no_next_link"})
    assert len(server.asked) == 2


@pytest.mark.parametrize("location", ["http://[", "//127.0.0.1:1/items", "ftp://127.0.0.1/items", "https://127.0.0.1"])
def test_a_redirect_elsewhere_is_refused_whatever_its_form(load, location, server):
    with pytest.raises(SourceRejectedError, match=r"another server|not a valid URL"):
        load(whole(b"", 302, Location=location))
    assert len(server.asked) == 1


def test_a_redirect_within_the_server_is_followed_with_the_authentication(load, server, env):
    env("DEMO_KEY", "a-secret-key")

    def answer(handler):
        if handler.path.startswith("/items"):
            whole(b"", 307, Location="/v2/items")(handler)
        else:
            whole(b'[{"id": 1}]')(handler)

    _, rows, _ = load(answer, AUTH)

    assert [row["id"] for row in rows] == [1]
    assert [headers["X-Api-Key"] for _, headers in server.asked] == ["a-secret-key"] * 2


def test_redirects_in_a_circle_end(load, server):
    with pytest.raises(SourceRejectedError, match="redirects more than 10 times"):
        load(whole(b"", 302, Location="/items"))
    assert len(server.asked) == 11


def test_the_password_file_of_the_user_does_not_replace_the_contracts_authentication(load, server, env, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password wrong\n")
    (tmp_path / ".netrc").chmod(0o600)
    env("NETRC", tmp_path / ".netrc")
    env("HOME", tmp_path)
    env("DEMO_TOKEN", "a-secret-token")

    load(b"[]", {"auth": {"type": "bearer", "token_env": "DEMO_TOKEN"}})

    assert server.asked[0][1]["Authorization"] == "Bearer a-secret-token"


def test_a_proxy_of_the_environment_is_not_taken_and_that_of_the_settings_is(load, server, env):
    env("HTTP_PROXY", "http://127.0.0.1:1")
    load(b"[]")
    env("API_PROXY", server.url)

    load(b"[]")

    assert [path for path, _ in server.asked] == ["/items", f"{server.url}/items"]


def test_a_body_that_unpacks_to_a_thousand_times_its_size_is_refused_before_it_fills_the_memory(load):
    bomb = gzip.compress(b"[" + b" " * 200_000_000 + b"]")
    assert len(bomb) < 250_000
    tracemalloc.start()

    with pytest.raises(SourceRejectedError, match="API_MAX_INFLATION"):
        load(whole(bomb, Content_Encoding="gzip"))

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000_000


@pytest.mark.parametrize("form", ["gzip", "zip"])
def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_refused(load, form):
    text = b"[" + b" " * 50_000_000 + b"]"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("items.json", text)

    with pytest.raises(SourceRejectedError, match="API_MAX_INFLATION"):
        load(gzip.compress(text) if form == "gzip" else archive.getvalue())


def endless(first, part, pause=0.0, **headers):
    """Return the behavior of a server whose body never ends."""

    def answer(handler):
        handler.send_response(200)
        for name, value in (JSON | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(first)
        while True:
            handler.wfile.write(part)
            time.sleep(pause)

    return answer


CHUNKED = {"Transfer-Encoding": "chunked"}
EMPTY_GZIP = gzip.compress(b"")


@pytest.mark.parametrize(
    "answer",
    [
        endless(b"[", b'{"id": 1},' * 1000, Connection="close"),
        endless(b"1\r\n[\r\n", b"2710\r\n" + b" " * 10_000 + b"\r\n", **CHUNKED),
        endless(
            b"",
            b"%x\r\n%s\r\n" % (len(EMPTY_GZIP * 500), EMPTY_GZIP * 500),
            **CHUNKED,
            **{"Content-Encoding": "gzip"},
        ),
    ],
    ids=["plain", "chunked", "packed_nothing"],
)
def test_a_body_without_an_end_is_refused(load, env, answer, server):
    env("API_MAX_BODY_MB", 3)

    with pytest.raises(SourceRejectedError, match="API_MAX_BODY_MB"):
        load(answer)
    assert len(server.asked) == 1


def drip(text):
    """Return the behavior of a server that sends a byte now and then, from its first line on."""

    def answer(handler):
        handler.wfile.write(text)
        while True:
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    return answer


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["status", "header", "chunk", "body"],
)
@pytest.mark.parametrize("setting", ["API_REQUEST_DEADLINE", "API_PARTITION_DEADLINE"])
def test_a_byte_now_and_then_does_not_last_for_ever(load, env, text, setting, server):
    env(setting, 0.5)
    started = time.monotonic()

    with pytest.raises((SourceRejectedError, SourceUnavailableError)) as caught:
        load(drip(text))
    # what is no HTTP may be found to be none before
    assert setting in str(caught.value) or "no usable answer" in str(caught.value)
    assert time.monotonic() - started < 10


def pages(body):
    """Return the behavior of a server that always names a next page."""

    def answer(handler):
        number = int(handler.path.partition("page=")[2] or 1)
        whole(body.replace(b"N", b"%d" % number), Link=f'</items?page={number + 1}>; rel="next"')(handler)

    return answer


@pytest.mark.parametrize("setting", ["API_MAX_PAGES", "API_MAX_ROWS"])
def test_links_without_an_end_are_refused(load, env, server, setting):
    env(setting, 20)

    with pytest.raises(SourceRejectedError, match=f"more than 20 .*{setting}"):
        load(pages(b'[{"id": N}]'), pagination={"type": "link", "stop": "no_next_link"})
    assert len(server.asked) == 21


def test_links_to_pages_without_rows_are_refused(load, server):
    with pytest.raises(SourceRejectedError, match="21 consecutive pages have no rows"):
        load(pages(b"[]"), pagination={"type": "link", "stop": "no_next_link"})
    assert len(server.asked) == 21


def test_a_cursor_without_an_end_is_refused(load, env, server):
    env("API_MAX_PAGES", 20)
    paging = {"type": "cursor", "stop": "no_cursor", "cursor_param": "page", "cursor_path": "next"}

    def answer(handler):
        number = int(handler.path.partition("page=")[2] or 1)
        whole(json.dumps({"data": [{"id": number}], "next": str(number + 1)}).encode())(handler)

    with pytest.raises(SourceRejectedError, match="API_MAX_PAGES"):
        load(answer, response={"shape": "envelope", "data_path": "data"}, pagination=paging)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (whole(b"[]", X_Total_Count="9" * 400), "declares its total as"),
        (whole(b"[]", X_Total_Count="²"), "declares its total as"),
        (whole(b"[" * 100_000), "opens 100000 brackets"),
        (whole(b'{"a":' * 100_000), "opens 100000 brackets"),
    ],
    ids=["total_of_400_digits", "total_in_superscript", "brackets", "braces"],
)
def test_a_malformed_answer_is_final(load, server, answer, words):
    with pytest.raises(SourceRejectedError, match=words):
        load(answer, total={"header": "X-Total-Count"})
    assert len(server.asked) == 1


@pytest.mark.parametrize("link", ['<http://[>; rel="next"', '<http://127.0.0.1:99999>; rel="next"'])
def test_a_link_that_is_no_address_is_final(load, server, link):
    with pytest.raises(SourceRejectedError, match="not a valid URL"):
        load(whole(b'[{"id": 1}]', Link=link), pagination={"type": "link", "stop": "no_next_link"})
    assert len(server.asked) == 1


def test_twenty_thousand_unknown_fields_are_kept_and_told_in_a_few_lines(load, caplog, monkeypatch, run):
    monkeypatch.setattr("logging.Logger.propagate", True, raising=False)
    record = {"id": 1} | {f"field_{number}": number for number in range(20_000)}

    entry, (row,), _ = load(json.dumps([record]).encode())

    assert len(json.loads(row["_extra"])) == 20_000
    assert sum(note.rows for note in entry.drift) == 20_000
    assert len(entry.drift) == 101
    assert run.store.entry_path(Partition("demo", "items", DAY)).stat().st_size < 30_000


def test_a_flat_map_keeps_or_sets_aside_values_that_meet(load):
    body = b'{"a_note":"x","b_note":"y","b_note":"z","c":{"note":"1","key":"d"},"e":{"note":"q"},"e_id":7,"a_id":8}'
    columns = [
        {"name": "key", "type": "string", "description": "x"},
        {"name": "note", "type": "string", "description": "x"},
        {"name": "id", "type": "integer", "description": "x"},
    ]

    _, rows, rejected = load(body, response={"shape": "flat_map"}, columns=columns, primary_key=["key"])

    assert [(row["key"], row["note"], row["id"]) for row in rows] == [("a", "x", 8), ("e", "q", 7)]
    assert [row.raw for row in rejected] == [
        '{"key":"b","note":"y","note":"z"}',
        '{"key":"c","note":"1","key":"d"}',
    ]
