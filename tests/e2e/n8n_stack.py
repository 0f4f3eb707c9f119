"""A real n8n for tests, started by the launcher that `make n8n-up` runs."""

import contextlib
import sqlite3

import requests

from n8n_local import N8N_DIR
from tests.support.required import without

from .launcher import launched
from .waiting import free_port

SECRET = 'the-caller\'s "secret"'


class Webhook:
    """The webhook of a running n8n, for a caller that knows the secret."""

    def __init__(self, url, data_dir):
        self.n8n_url, self.url, self.data_dir = url, f"{url}/webhook/backfill", data_dir

    def post(self, body, **options):
        """Return the status and the document of an answer to a request."""
        return self._ask("POST", json=body, **options)

    def progress(self, backfill_id):
        """Return the status and the document of an answer to a question for progress."""
        return self._ask("GET", params={"id": backfill_id})

    def waiting(self):
        """Return the executions that have not ended."""
        states = "('new', 'running', 'waiting')"
        # one that has ended well is removed, and keeps its state until then
        query = f"select workflowId, status from execution_entity where status in {states} and deletedAt is null"
        with contextlib.closing(sqlite3.connect(self.data_dir / "n8n/.n8n/database.sqlite", timeout=60)) as database:
            return database.execute(query).fetchall()

    def _ask(self, method, auth=("backfill", SECRET), **options):
        answer = requests.request(method, self.url, auth=auth, timeout=120, **options)
        kind = answer.headers.get("Content-Type", "")
        return answer.status_code, answer.json() if "json" in kind else answer.text


@contextlib.contextmanager
def running_n8n(folder, airflow_url, password, **more):
    """Run n8n for the block; skip, with the reason, where it is not installed."""
    if not (N8N_DIR / "node_modules/.bin/n8n").exists():
        without("REQUIRE_N8N", f"n8n is not installed in {N8N_DIR}: `make n8n-install`")
    port, output = free_port(), folder / "n8n.log"
    environ = {
        "DATA_DIR": folder,
        "BACKFILL_WEBHOOK_SECRET": SECRET,
        "AIRFLOW_SERVICE_PASSWORD": password,
        "N8N_RUNNERS_BROKER_PORT": free_port(),
        **more,
    }
    options = ["--port", port, "--airflow-url", airflow_url, "--env-file", folder / "n8n.env"]
    with launched("n8n", "n8n_local.py", *options, log=output, environ=environ, start_seconds=300):
        yield Webhook(f"http://127.0.0.1:{port}", folder)
