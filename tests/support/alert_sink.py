"""A sink for alerts: takes what Slack's webhook takes, and keeps it."""

from __future__ import annotations

import http.server
import json
from typing import TYPE_CHECKING

from .threads import in_thread

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Sink(http.server.ThreadingHTTPServer):
    """The server; `texts` are the messages that arrived."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/T000/B000/hook-secret"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 200:
            self.server.texts.append(json.loads(body)["text"])
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def alert_sink() -> AbstractContextManager[Sink]:
    """Serve for a block."""
    return in_thread(Sink())
