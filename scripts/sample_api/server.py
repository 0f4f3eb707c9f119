"""The server of the sample API: JSONPlaceholder's routes, paging and headers, with data that changes each day.

    GET /posts /users /comments /todos    `_page` and `_limit`, or `_start` and `_limit`; X-Total-Count and Link headers
    GET /posts/1                          one record
    GET /cursor/posts                     the same records in an envelope: data, meta.total, next_cursor, has_more
    GET /simple/price                     a flat map of prices
    GET /empty                            a collection without rows
    GET, POST, DELETE /_faults            faults of the next answers, for demos and tests: see `Fault`

`X-Logical-Date: 2024-01-02` selects the data of that day; without it, of today (UTC). `created_gte` and `created_lt`
select posts by the time when they were written. Runs as `python -m scripts.sample_api --port 3000`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime as dt
import http.server
import json
import socket
import sys
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Literal, get_args

from scripts.sample_api import data

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_DEFAULT_LIMIT = 10
Kind = Literal["status", "timeout", "truncated", "html", "disconnect"]


@dataclasses.dataclass
class Fault:
    """A fault of the next `times` answers whose path starts with `path`.

    Attributes:
        kind: `status` answers with `status`; `timeout` sends nothing for `seconds`; `truncated` ends in the middle of
            the JSON; `html` sends a web page; `disconnect` closes the connection without an answer.
        path: Beginning of the affected paths.
        times: Number of affected answers.
        status: The HTTP status of `status`.
        retry_after: Value of the Retry-After header of `status`, in seconds.
        seconds: How long `timeout` sends nothing.
        day: Only for requests about this day.
    """

    kind: Kind
    path: str = "/"
    times: int = 1
    status: int = 500
    retry_after: int | None = None
    seconds: float = 60.0
    day: str | None = None

    def __post_init__(self) -> None:
        """Refuse a kind that does not exist."""
        if self.kind not in get_args(Kind):
            message = f"kind `{self.kind}` is not one of {', '.join(get_args(Kind))}"
            raise TypeError(message)


class SampleApi(http.server.ThreadingHTTPServer):
    """The server; `url` is its address."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        faults: Sequence[Fault] = (),
        first_day: dt.date = data.FIRST_DAY,
    ) -> None:
        """Listen on a port; port 0 selects a free one."""
        super().__init__((host, port), _Handler)
        self.faults = list(faults)
        self.first_day = first_day
        self.requests_by_path: dict[str, int] = {}
        self._lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def next_fault(self, path: str, day: str) -> Fault | None:
        """Count a request, and use and return the first fault that affects it."""
        with self._lock:
            self.requests_by_path[path] = self.requests_by_path.get(path, 0) + 1
            for fault in self.faults:
                if fault.times > 0 and path.startswith(fault.path) and fault.day in (None, day):
                    fault.times -= 1
                    return fault
        return None

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing if a client closes the connection."""
        if not isinstance(sys.exception() if hasattr(sys, "exception") else None, ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextlib.contextmanager
def serving(port: int = 0, faults: Sequence[Fault] = (), first_day: dt.date = data.FIRST_DAY) -> Iterator[SampleApi]:
    """Run the server during the block, in a thread of this process."""
    server = SampleApi(port, faults=faults, first_day=first_day)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="sample-api")
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SampleApi
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a request for data."""
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        day = self.headers.get("X-Logical-Date") or dt.datetime.now(dt.UTC).date().isoformat()
        if parts.path == "/_faults":
            self._send([dataclasses.asdict(fault) for fault in self.server.faults])
        elif (fault := self.server.next_fault(parts.path, day)) is not None:
            self._misbehave(fault)
        else:
            try:
                self._answer(parts.path, query, dt.date.fromisoformat(day))
            except ValueError as error:
                self._send({"error": str(error)}, status=400)

    def do_POST(self) -> None:
        """Add faults."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"[]")
        try:
            faults = [Fault(**fault) for fault in (body if isinstance(body, list) else [body])]
        except TypeError as error:
            self._send({"error": str(error)}, status=400)
            return
        self.server.faults.extend(faults)
        self._send([dataclasses.asdict(fault) for fault in self.server.faults], status=201)

    def do_DELETE(self) -> None:
        """Remove all faults."""
        self.server.faults.clear()
        self._send([])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class's name
        """Do not log requests."""

    def _answer(self, path: str, query: Mapping[str, str], day: dt.date) -> None:
        match [segment for segment in path.split("/") if segment]:
            case ["simple", "price"]:
                self._send(data.prices(day, self.server.first_day))
            case ["empty"]:
                self._send([], headers={"X-Total-Count": "0"})
            case ["health"]:
                self._send({"status": "ok"})
            case ["cursor", name]:
                self._send_by_cursor(_select(self._collection(name, day), query), query)
            case [name] if records := self._collection(name, day):
                self._send_page(path, _select(records, query), query)
            case [name, number] if found := [r for r in self._collection(name, day) if str(r["id"]) == number]:
                self._send(found[0])
            case _:
                self._send({}, status=404)

    def _collection(self, name: str, day: dt.date) -> Sequence[data.Record]:
        return data.collection(name, day, self.server.first_day)

    def _send_page(self, path: str, records: Sequence[data.Record], query: Mapping[str, str]) -> None:
        if "_page" not in query and "_start" not in query:
            chosen: Sequence[data.Record] = records
            headers = {"X-Total-Count": str(len(records))}
        else:
            limit = int(query.get("_limit", _DEFAULT_LIMIT))
            page = int(query.get("_page", 1))
            start = int(query["_start"]) if "_start" in query else (page - 1) * limit
            chosen = records[start : start + limit]
            headers = {"X-Total-Count": str(len(records))}
            if "_page" in query:
                headers["Link"] = self._links(path, query, page, -(-len(records) // limit))
        self._send(chosen, headers=headers)

    def _links(self, path: str, query: Mapping[str, str], page: int, last: int) -> str:
        base = f"http://{self.headers.get('Host', 'localhost')}{path}"
        pages = {"first": 1, "prev": page - 1, "next": page + 1, "last": last}
        return ", ".join(
            f'<{base}?{urllib.parse.urlencode({**query, "_page": number})}>; rel="{rel}"'
            for rel, number in pages.items()
            if 1 <= number <= last and not (rel == "prev" and page == 1)
        )

    def _send_by_cursor(self, records: Sequence[data.Record], query: Mapping[str, str]) -> None:
        limit, start = int(query.get("limit", _DEFAULT_LIMIT)), int(query.get("cursor", 0))
        end = start + limit
        more = end < len(records)
        self._send(
            {
                "data": records[start:end],
                "meta": {"total": len(records)},
                "next_cursor": str(end) if more else None,
                "has_more": more,
            }
        )

    def _misbehave(self, fault: Fault) -> None:
        if fault.kind == "status":
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            self._send({"error": "injected"}, status=fault.status, headers=headers)
        elif fault.kind == "html":
            self._send_bytes(b"<html><body>Be right back</body></html>", "text/html")
        elif fault.kind == "truncated":
            self._send_bytes(b'[{"id": 1, "userId": 1, "title": "cut o', "application/json")
        else:
            if fault.kind == "timeout":
                deadline = time.monotonic() + fault.seconds
                while time.monotonic() < deadline and not self.server.closing.wait(0.05):
                    pass
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, payload: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:  # noqa: ANN401 — any JSON
        self._send_bytes(json.dumps(payload).encode(), "application/json; charset=utf-8", status, headers)

    def _send_bytes(self, body: bytes, kind: str, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _select(records: Sequence[data.Record], query: Mapping[str, str]) -> Sequence[data.Record]:
    since, until = query.get("created_gte", ""), query.get("created_lt", "9999")
    if since or until != "9999":
        records = tuple(record for record in records if since <= record.get("createdAt", "") < until)
    return records


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve the sample API.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on, 0 for a free one (%(default)s)")
    options = parser.parse_args()
    with SampleApi(options.port, options.host) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
