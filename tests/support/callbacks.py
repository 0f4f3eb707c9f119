"""A server that takes what the pipeline posts to a caller when a backfill is over."""

from __future__ import annotations

import http.server
import json
from typing import TYPE_CHECKING, Any

from .threads import in_thread

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Server(http.server.ThreadingHTTPServer):
    """The server; `documents` are what arrived."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.documents.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def callbacks() -> AbstractContextManager[Server]:
    """Serve for a block."""
    return in_thread(Server())
