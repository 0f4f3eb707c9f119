"""A page of another site, for attacks from a browser."""

import http.server

from .threads import in_thread


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another site</title>")

    def log_message(self, *_):
        pass


def foreign_page():
    """Serve it for a block, on a port of its own."""
    return in_thread(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler))
