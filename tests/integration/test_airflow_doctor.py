"""The doctor's look at Airflow, with a server of ours in its place: it answers what a test says."""

import http.server
import json

import pytest

from scripts.admin import airflow_doctor
from scripts.admin.env_file import init_env
from tests.support.threads import in_thread

WELL = {
    "/auth/token": (201, {"access_token": "a.b.c"}),
    "/api/v2/importErrors": (200, {"import_errors": []}),
    "/api/v2/plugins/importErrors": (200, {"import_errors": []}),
    "/api/v2/pools/warehouse": (200, {"name": "warehouse"}),
}


@pytest.fixture
def examine(tmp_path):
    """Return the findings that are not well, by check, for the answers of a server."""
    init_env(tmp_path / ".env")

    def do(**answers):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, document = (WELL | answers).get(self.path, (404, {}))
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_):
                pass

        with in_thread(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
            found = airflow_doctor.examine(tmp_path / ".env", f"http://127.0.0.1:{server.server_port}")
        return {finding.check: finding.found for finding in found if not finding.ok}

    return do


def test_where_all_is_well_nothing_is_said(examine):
    assert examine() == {}


TRACE = 'Traceback (most recent call last):\n  File "x.py", line 1\nSyntaxError: invalid syntax\n'


@pytest.mark.parametrize(
    ("path", "answer", "check", "words"),
    [
        (
            "/api/v2/importErrors",
            {"import_errors": [{"filename": "dags/x.py", "stack_trace": TRACE}]},
            "DAG files",
            "dags/x.py: SyntaxError: invalid syntax",
        ),
        (
            "/api/v2/plugins/importErrors",
            {"import_errors": [{"source": "plugins/p.py", "error": TRACE}]},
            "Airflow plugins",
            "plugins/p.py: SyntaxError: invalid syntax",
        ),
    ],
)
def test_what_does_not_load_is_named_with_its_error(examine, path, answer, check, words):
    assert examine(**{path: (200, answer)}) == {check: words}


def test_a_missing_pool_and_a_refused_account_are_named(examine):
    assert "missing, and builds wait" in examine(**{"/api/v2/pools/warehouse": (404, {})})["Airflow pool"]
    assert "refuses the account admin" in examine(**{"/auth/token": (401, {})})["airflow"]


def test_where_no_airflow_runs_there_is_nothing_to_say(tmp_path, examine):
    assert examine(**{"/auth/token": (404, {})}) == {}, "another program"
    assert airflow_doctor.examine(tmp_path / ".env", "http://127.0.0.1:9") == []
