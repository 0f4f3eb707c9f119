"""The site for the people who use the data: what its pages may do in a browser."""

import gzip
import re

import pytest
from starlette.testclient import TestClient

import docs_site
from scripts.monitoring import alerts
from scripts.monitoring.report import write_report
from scripts.portal import serving
from scripts.warehouse.build import warehouse
from scripts.warehouse.data_docs import docs_dir
from tests.support import toy_warehouse


@pytest.fixture
def client(run):
    write_report(run.store)
    (docs_dir() / "dbt").mkdir()
    (docs_dir() / "dbt/index.html").write_text("<script>1</script>")
    (docs_dir() / "tables").mkdir()
    for name in ("index.html", "sql.html", "portal.js", "tables/t.html"):
        (docs_dir() / name).write_text(name)
    with TestClient(docs_site.site()) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/health.html", "default-src 'none'; style-src 'unsafe-inline'"),
        ("/results.html", "default-src 'none'; style-src 'unsafe-inline'"),
        ("/dbt/index.html", "sandbox allow-scripts"),
        ("/", "default-src 'none'; script-src 'self'; style-src"),
        ("/index.html", "default-src 'none'; script-src 'self'; style-src"),
        ("/tables/t.html", "default-src 'none'; script-src 'self'; style-src"),
        ("/sql.html", "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'"),
        ("/sql_page/sql.js", "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'"),
        ("/gold/current/t.parquet", "default-src 'none'; style-src 'unsafe-inline'"),
        ("/data/dbt/index.html", "sandbox allow-scripts"),
        ("/guides/data/dbt/index.html", "sandbox allow-scripts"),
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


def test_without_the_guides_the_runbook_is_there_with_its_pictures_and_anchors(monkeypatch, run):
    monkeypatch.setattr(docs_site, "_SITES", ())
    with TestClient(docs_site.site()) as client:
        page = client.get("/runbook/")
        assert page.status_code == 200
        for anchor in alerts.RUNBOOK.values():
            assert f'<h2 id="{anchor}">' in page.text
        pictures = re.findall(r'<img src="([^"]+)"', page.text)
        assert pictures
        assert {client.get(f"/runbook/{name}").status_code for name in pictures} == {200}
        assert 'href="docker.md"' not in page.text


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


@pytest.mark.parametrize(
    "path",
    [
        "/gold/current/build.json",
        "/gold/current/..%2f..%2fwarehouse.duckdb",
        "/gold/..%2fwarehouse/tables.json",
        "/gold/1/tables.json",
        "/sql_page/..%2fREADME.md",
        "/sql_page/installed",
    ],
)
def test_only_gold_and_the_parts_of_the_sql_page_are_served(run, path, toy):
    with TestClient(docs_site.site()) as client:
        assert client.get(path).status_code == 404


@pytest.fixture
def toy():
    """A published version with Gold as Parquet."""
    toy_warehouse.build(warehouse(), 1)


def test_gold_is_served_as_it_is_published(run, toy):
    with TestClient(docs_site.site()) as client:
        found = client.get("/gold/current/numbers.parquet")
        listed = client.get("/gold/current/tables.json").json()
    assert found.content == (warehouse().gold / "current/numbers.parquet").read_bytes()
    assert found.headers["Content-Type"] == "application/vnd.apache.parquet"
    assert (listed["version"], [item["table"] for item in listed["tables"]]) == ("000001", ["letters", "numbers"])


def test_a_password_protects_gold_too(run, toy, monkeypatch):
    monkeypatch.setenv("DOCS_PASSWORD", "right")
    with TestClient(docs_site.site()) as client:
        for path in ("/gold/current/numbers.parquet", "/gold/current/tables.json", "/", "/sql.html"):
            assert client.get(path).status_code == 401, path
        assert client.get("/gold/current/numbers.parquet", auth=("reader", "right")).status_code == 200


def test_the_parts_are_sent_packed_to_browsers_that_can_unpack_them(run, tmp_path, monkeypatch):
    (tmp_path / "x.wasm").write_bytes(b"whole")
    (tmp_path / "x.wasm.gz").write_bytes(gzip.compress(b"whole"))
    monkeypatch.setattr(serving, "_PARTS", (tmp_path,))
    with TestClient(docs_site.site()) as client:
        packed = client.get("/sql_page/x.wasm", headers={"Accept-Encoding": "gzip"})
        plain = client.get("/sql_page/x.wasm", headers={"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.content == plain.content == b"whole"
    assert packed.headers["Content-Type"] == "application/wasm"
