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
