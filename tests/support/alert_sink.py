"""A sink for alerts: takes what Slack's webhook takes, and keeps it."""

import http.server
import json

from .threads import in_thread


class Sink(http.server.ThreadingHTTPServer):
    """The server; `texts` are the messages that arrived."""

    def __init__(self):
        self.texts = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/services/T000/B000/hook-secret"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 200:
            self.server.texts.append(json.loads(body)["text"])
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def alert_sink():
    """Serve for a block."""
    return in_thread(Sink())
