"""A server that takes what the pipeline posts to a caller when a backfill is over."""

import http.server
import json

from .threads import in_thread


class Server(http.server.ThreadingHTTPServer):
    """The server; `documents` are what arrived."""

    def __init__(self):
        self.documents = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.documents.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def callbacks():
    """Serve for a block."""
    return in_thread(Server())
