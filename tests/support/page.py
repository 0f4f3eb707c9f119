"""A page of another site, for attacks from a browser."""

from __future__ import annotations

import http.server
from typing import TYPE_CHECKING

from .threads import in_thread

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another site</title>")

    def log_message(self, *_: object) -> None:
        pass


def foreign_page() -> AbstractContextManager[http.server.ThreadingHTTPServer]:
    """Serve it for a block, on a port of its own."""
    return in_thread(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler))
