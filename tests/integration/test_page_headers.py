"""The site for the people who use the data: what its pages may do in a browser."""

import pytest
from starlette.testclient import TestClient

import docs_site
from scripts.monitoring.report import write_report
from scripts.warehouse.data_docs import docs_dir


@pytest.fixture
def client(run):
    write_report(run.store)
    (docs_dir() / "dbt").mkdir()
    (docs_dir() / "dbt/index.html").write_text("<script>1</script>")
    with TestClient(docs_site.site()) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/health.html", "default-src 'none'; style-src 'unsafe-inline'"),
        ("/dbt/index.html", "sandbox allow-scripts"),
        ("/healthz", "default-src 'self'"),
        ("/metrics", "default-src 'self'"),
        ("/nowhere", "default-src 'self'"),
    ],
)
def test_every_page_says_what_a_browser_may_do_with_it(client, path, policy):
    headers = client.get(path).headers
    assert policy in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"


def test_with_a_password_the_site_asks_for_it_and_what_the_stack_needs_stays_open(run, monkeypatch):
    monkeypatch.setenv("DOCS_PASSWORD", "right")
    write_report(run.store)
    with TestClient(docs_site.site()) as client:
        refused = client.get("/health.html")
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith("Basic")
        assert refused.headers["X-Frame-Options"] == "DENY"
        assert client.get("/health.html", auth=("reader", "wrong")).status_code == 401
        assert client.get("/health.html", auth=("reader", "right")).status_code == 200
        assert client.get("/metrics").status_code == client.get("/healthz").status_code == 200
        assert client.post("/alerts", json={}).status_code == 401, "it has a password of its own"
