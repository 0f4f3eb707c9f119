"""A stand-in for Airflow, with the API of the pipeline in it, that can be down, slow, wrong and rude."""

from __future__ import annotations

import http.server
import itertools
import json
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

from .threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from urllib.parse import SplitResult

    Document = dict[str, Any]
    Answer = tuple[int, Document]

PASSWORD, TOKEN = "the-service-password", "a.fake.token"
KEY = ("start_date", "end_date", "source", "resources", "reprocess")


class FakeAirflow(http.server.ThreadingHTTPServer):
    """The server: `rudeness` maps a route (token, ask, progress, find) to how it answers.

    `status`, `body`: an answer; `wait`: seconds before it; `hang_up`: no answer; `stall`: half of one, then nothing;
    `after`: does what is asked, and is rude then.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        self.reset()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def reset(self) -> None:
        """Forget everything."""
        self.backfills: list[Document] = []
        self.calls: list[tuple[str, Any]] = []
        self.rudeness: dict[str, Document] = {}
        self.ids, self.guard = itertools.count(1), threading.Lock()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeAirflow

    def do_GET(self) -> None:
        self.answer("GET")

    def do_POST(self) -> None:
        self.answer("POST")

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, method: str) -> None:
        parts = urllib.parse.urlsplit(self.path)
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        route = self.route(method, parts.path)
        self.server.calls.append((route, body))
        rude = self.server.rudeness.get(route, {})
        done = self.do(route, body, parts) if rude.get("after") or not rude else None
        if "wait" in rude:
            time.sleep(rude["wait"])
        if rude.get("hang_up"):
            self.close_connection = True
            self.connection.close()
        elif rude.get("stall"):
            self.send_response(202)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"backfill_id": ')
            self.wfile.flush()
            time.sleep(rude["stall"])
            self.close_connection = True
        elif "status" in rude:
            self.send(rude["status"], rude.get("body", {"detail": "forced"}))
        else:
            self.send(*(done or self.do(route, body, parts)))

    def do(self, route: str, body: Any, parts: SplitResult) -> Answer:
        if route == "token":
            right = body == {"username": "n8n", "password": PASSWORD}
            return (201, {"access_token": TOKEN}) if right else (401, {"detail": "Invalid credentials"})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"detail": "Not authenticated"}
        answers: dict[str, Callable[[Any, SplitResult], Answer]] = {
            "ask": self.ask,
            "find": self.find,
            "progress": self.progress,
        }
        return answers.get(route, self.nothing)(body, parts)

    @staticmethod
    def route(method: str, path: str) -> str:
        known = {
            ("POST", "/auth/token"): "token",
            ("POST", "/pipeline/backfills"): "ask",
            ("GET", "/pipeline/backfills"): "find",
        }
        return known.get((method, path), "progress" if path.startswith("/pipeline/backfills/") else "nothing")

    def ask(self, body: Any, _: SplitResult) -> Answer:
        key = {name: body[name] for name in KEY}
        about = {"dag_id": "pipeline_bronze", **key, "days": 1, "time_zone": "UTC"}
        if body["dry_run"]:
            return 200, about | {"dry_run": True, "would_run": [], "already_done": []}
        with self.server.guard:
            for known in self.server.backfills:
                if known["key"] == key:
                    return 202, about | {"backfill_id": known["id"], "status": "already_running"}
            if self.server.backfills and not body["wait"]:
                return 409, {"error": {"code": "backfill_running", "message": "wait", "details": []}}
            made = {"id": next(self.server.ids), "key": key}
            self.server.backfills.append(made)
        return 202, about | {"backfill_id": made["id"], "status": "accepted"}

    def find(self, _: Any, parts: SplitResult) -> Answer:
        asked: Document = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        asked["resources"] = [name for name in asked["resources"].split(",") if name]
        for known in self.server.backfills:
            if known["key"] == {"source": None} | asked:
                return 202, {"dag_id": "pipeline_bronze", "backfill_id": known["id"], "status": "accepted"}
        return 404, {"error": {"code": "not_found", "message": "nothing was started", "details": []}}

    def progress(self, _: Any, parts: SplitResult) -> Answer:
        wanted = parts.path.rpartition("/")[2]
        if wanted in {str(known["id"]) for known in self.server.backfills}:
            return 200, {"dag_id": "pipeline_bronze", "backfill_id": int(wanted), "status": "running"}
        return 404, {"error": {"code": "not_found", "message": "There is no such backfill.", "details": []}}

    def nothing(self, _body: Any, _parts: SplitResult) -> Answer:
        return 404, {"detail": "Not Found"}

    def send(self, status: int, document: Document | str) -> None:
        text = document if isinstance(document, str) else json.dumps(document)
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(document, str) else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def fake_airflow() -> AbstractContextManager[FakeAirflow]:
    """Serve for a block."""
    return in_thread(FakeAirflow())
