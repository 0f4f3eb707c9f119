"""A server that answers each request by a function of the test."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import sys
import urllib.parse
from typing import TYPE_CHECKING, Any

from .threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Answer = tuple[int, Mapping[str, str], bytes]
    """Status, headers and body."""


@dataclasses.dataclass(frozen=True)
class Ask:
    """One request as the server got it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    text: str
    base: str


@contextlib.contextmanager
def answering(answer: Callable[[Ask], Answer]) -> Iterator[tuple[str, list[Ask]]]:
    """Serve `answer(ask)`, and yield the address and the requests so far."""
    asked: list[Ask] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server: http.server.ThreadingHTTPServer

        def do_GET(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length).decode()
            query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
            base = f"http://127.0.0.1:{self.server.server_port}"
            ask = Ask(self.command, urllib.parse.unquote(parts.path), query, dict(self.headers), text, base)
            asked.append(ask)
            status, headers, body = answer(ask)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status != 204:
                self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 — the name that http.server calls

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            # a client that is killed, or that refuses an answer, closes its connection
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with in_thread(server, poll_seconds=0.02):
        yield f"http://127.0.0.1:{server.server_port}", asked
