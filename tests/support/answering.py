"""A server that answers each request by a function of the test."""

import contextlib
import dataclasses
import http.server
import threading
import urllib.parse


@dataclasses.dataclass(frozen=True)
class Ask:
    """One request as the server got it."""

    method: str
    path: str
    query: dict
    headers: dict
    text: str
    base: str


@contextlib.contextmanager
def answering(answer):
    """Serve `answer(ask)`, which returns (status, headers, body), and yield the address and the requests so far."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            parts = urllib.parse.urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length).decode()
            query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
            base = f"http://127.0.0.1:{self.server.server_address[1]}"
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

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
