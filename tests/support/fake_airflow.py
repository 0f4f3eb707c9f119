"""A stand-in for Airflow's REST API that can be down, slow, wrong and rude; the real one is used in other tests."""

import http.server
import itertools
import json
import threading
import time
import urllib.parse

from .threads import in_thread

PASSWORD, TOKEN = "the-service-password", "a.fake.token"


class FakeAirflow(http.server.ThreadingHTTPServer):
    """The server: `rudeness` maps a route (token, create, list, dry run, one, runs, layers) to how it answers."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        self.reset()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def reset(self):
        """Forget everything."""
        self.backfills, self.calls, self.rudeness, self.runs, self.layers = [], [], {}, [], []
        self.ids, self.guard = itertools.count(1), threading.Lock()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer("GET")

    def do_POST(self):
        self.answer("POST")

    def log_message(self, *_):
        pass

    def answer(self, method):
        parts = urllib.parse.urlsplit(self.path)
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        route = self.route(method, parts.path)
        self.server.calls.append((route, body))
        rude = self.server.rudeness.get(route, {})
        if "wait" in rude:
            time.sleep(rude["wait"])
        if rude.get("hang_up"):
            self.close_connection = True
            self.connection.close()
            return
        if "status" in rude:
            self.send(rude["status"], rude.get("body", {"detail": "forced"}))
            return
        if route == "token":
            right = body == {"username": "n8n", "password": PASSWORD}
            self.send(*((201, {"access_token": TOKEN}) if right else (401, {"detail": "Invalid credentials"})))
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.send(401, {"detail": "Not authenticated"})
        else:
            self.send(*getattr(self, route.replace(" ", "_"))(body, parts))

    @staticmethod
    def route(method, path):
        known = {
            ("POST", "/auth/token"): "token",
            ("POST", "/api/v2/backfills"): "create",
            ("GET", "/api/v2/backfills"): "list",
            ("POST", "/api/v2/backfills/dry_run"): "dry run",
            ("GET", "/api/v2/dags/pipeline_bronze/dagRuns"): "runs",
            ("POST", "/api/v2/dags/~/dagRuns/list"): "layers",
        }
        return known.get((method, path), "one" if path.startswith("/api/v2/backfills/") else "nothing")

    def create(self, body, _):
        with self.server.guard:
            if any(known["completed_at"] is None for known in self.server.backfills):
                return 409, {"detail": "There is already a running backfill for dag pipeline_bronze"}
            made = {**body, "id": next(self.server.ids), "is_paused": False, "completed_at": None}
            self.server.backfills.append(made)
        return 200, made

    def list(self, *_):
        return 200, {"backfills": self.server.backfills[::-1], "total_entries": len(self.server.backfills)}

    def dry_run(self, *_):
        days = ("2024-01-02", "2024-01-03")
        return 200, {"backfills": [{"partition_key": day} for day in days], "total_entries": len(days)}

    def one(self, _, parts):
        wanted = parts.path.rpartition("/")[2]
        found = [known for known in self.server.backfills if str(known["id"]) == wanted]
        return (200, found[0]) if found else (404, {"detail": "Backfill not found"})

    def runs(self, *_):
        return 200, {"dag_runs": self.server.runs, "total_entries": len(self.server.runs)}

    def layers(self, *_):
        return 200, {"dag_runs": self.server.layers, "total_entries": len(self.server.layers)}

    def nothing(self, *_):
        return 404, {"detail": "Not Found"}

    def send(self, status, document):
        text = document if isinstance(document, str) else json.dumps(document)
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(document, str) else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def fake_airflow():
    """Serve for a block."""
    return in_thread(FakeAirflow())
