"""What a source gets to see of its credentials, and how often it is asked: on a server that notes each request."""

import base64
import http.server
import threading
import time

import pytest

from scripts.contracts.source import Source
from scripts.errors import SettingsError
from scripts.extract.client import Client

TOKEN = "t0ken-of-the-source"


@pytest.fixture
def server():
    """A server that answers with one row and keeps the requests: path, headers and moment."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.server.seen.append((self.path, dict(self.headers), time.monotonic()))
            body = b'[{"id": 1}]'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.seen = []
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def contract(server, **more):
    resource = {
        "description": "Rows.",
        "path": "/rows",
        "primary_key": ["id"],
        "columns": [{"name": "id", "type": "integer", "description": "Key.", "nullable": False}],
    }
    document = {
        "source": "shop",
        "description": "A shop.",
        "owner": "data@example.com",
        "base_url": server.url,
        "default_resource": "rows",
        "resources": {"rows": resource},
    }
    return Source.model_validate(document | more)


def ask(source, times=1):
    with Client(source) as client:
        for _ in range(times):
            client.get(f"{client.base_url}/rows", params={"page": 1}, timeout=10)


def test_a_bearer_token_is_sent(server, env):
    env("SHOP_TOKEN", TOKEN)
    ask(contract(server, auth={"type": "bearer", "token_env": "SHOP_TOKEN"}))

    assert server.seen[0][1]["Authorization"] == f"Bearer {TOKEN}"


def test_user_and_password_are_sent(server, env):
    env("SHOP_USER", "reader")
    env("SHOP_PASSWORD", TOKEN)
    ask(contract(server, auth={"type": "basic", "username_env": "SHOP_USER", "password_env": "SHOP_PASSWORD"}))

    assert server.seen[0][1]["Authorization"] == f"Basic {base64.b64encode(f'reader:{TOKEN}'.encode()).decode()}"


def test_a_key_is_sent_in_its_header(server, env):
    env("SHOP_KEY", TOKEN)
    ask(contract(server, auth={"type": "api_key", "value_env": "SHOP_KEY", "header": "X-Api-Key"}))

    assert server.seen[0][1]["X-Api-Key"] == TOKEN


def test_a_key_is_sent_in_the_query_beside_the_other_parameters(server, env):
    env("SHOP_KEY", TOKEN)
    ask(contract(server, auth={"type": "api_key", "value_env": "SHOP_KEY", "query": "key"}))

    assert server.seen[0][0] == f"/rows?page=1&key={TOKEN}"


def test_without_authentication_none_is_sent(server):
    ask(contract(server))

    assert "Authorization" not in server.seen[0][1]


def test_a_variable_that_is_not_set_is_named_before_anything_is_asked(server, env, monkeypatch):
    monkeypatch.delenv("SHOP_TOKEN", raising=False)
    with pytest.raises(SettingsError, match=r"SHOP_TOKEN is not set.*next: set SHOP_TOKEN"):
        ask(contract(server, auth={"type": "bearer", "token_env": "SHOP_TOKEN"}))

    assert server.seen == []


def test_the_rate_limit_holds_for_all_threads_together(server):
    """Eight threads, 40 requests a second: no window of a quarter of a second holds more than its share and one."""
    source = contract(server, rate_limit={"requests_per_second": 40})
    with Client(source) as client:
        work = [
            threading.Thread(target=lambda: [client.get(f"{client.base_url}/rows", timeout=10) for _ in range(4)])
            for _ in range(8)
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
    moments = sorted(moment for _, _, moment in server.seen)

    assert len(moments) == 32
    # 32 requests at 40 a second take 31 intervals; a busy machine only makes it slower
    assert moments[-1] - moments[0] >= 31 / 40 * 0.9
