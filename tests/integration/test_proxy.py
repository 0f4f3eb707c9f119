"""The proxy of production: a real Caddy with the project's Caddyfile, before small servers, with a local CA."""

import contextlib
import http.client
import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import warnings
from typing import NamedTuple

import pytest
import trustme

from scripts.config import PROJECT_DIR
from scripts.utils.password_limit import FAILURES
from tests.e2e.waiting import free_port, wait_for
from tests.support.required import without
from tests.support.tls_client import TlsClient

DOMAIN = "pipeline.test"
CADDYFILE = (PROJECT_DIR / "infra" / "caddy" / "Caddyfile").read_text()
UPSTREAMS = re.findall(r"reverse_proxy (\S+)", CADDYFILE)


class Proxy(NamedTuple):
    """A Caddy that runs."""

    tls: TlsClient
    http: int
    """The port of plain http."""


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers every request with what it got."""

    def do_GET(self):
        body = json.dumps({"path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Set-Cookie", "session=1; Path=/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.do_GET()

    def log_message(self, *arguments):
        """Say nothing."""


@contextlib.contextmanager
def echoing():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextlib.contextmanager
def caddy(folder, certificate, upstreams):
    """Run Caddy for the block, on loopback ports; yields these."""
    program = shutil.which("caddy")
    if program is None:
        without("REQUIRE_CADDY", "caddy is not installed: `apt-get install caddy`")
    https, plain, health = free_port(), free_port(), free_port()
    text = CADDYFILE.replace(
        "admin off", f"admin off\ndefault_bind 127.0.0.1\nhttps_port {https}\nhttp_port {plain}\nskip_install_trust", 1
    ).replace(":2020", f":{health}")
    for name, port in upstreams.items():
        assert name in text
        text = text.replace(f"reverse_proxy {name}", f"reverse_proxy 127.0.0.1:{port}")
    file = folder / "Caddyfile"
    file.write_text(text)
    environ = os.environ | {
        "PUBLIC_DOMAIN": DOMAIN,
        "TLS_CERTIFICATE": certificate,
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    command = [program, "run", "--config", file, "--adapter", "caddyfile"]
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:

        def is_healthy():
            assert process.poll() is None, (folder / "caddy.log").read_text()
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", health, timeout=5)
                connection.request("GET", "/")
                return connection.getresponse().status == 200

        wait_for(is_healthy, "Caddy to be healthy", 120)
        yield https, plain
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """The proxy with a certificate that its own CA signs, before servers that echo."""
    folder = tmp_path_factory.mktemp("caddy")
    with echoing() as port, caddy(folder, "internal", dict.fromkeys(UPSTREAMS, port)) as (https, plain):
        root = folder / "data/caddy/pki/authorities/local/root.crt"
        wait_for(root.exists, "Caddy's own CA", 60)
        yield Proxy(TlsClient(https, ssl.create_default_context(cafile=root)), plain)


@pytest.mark.parametrize("service", ["airflow", "n8n", "docs", "prefect", "grafana"])
def test_each_service_has_a_name_with_a_valid_certificate(proxy, service):
    name = f"{service}.{DOMAIN}"
    status, headers, body = wait_for(lambda: _answered(proxy, name), f"the certificate of {name}", 60)
    assert status == 200
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Server" not in headers or "Caddy" not in headers["Server"]
    assert json.loads(body)["headers"]["Host"] == name


def _answered(proxy, name):
    with contextlib.suppress(ssl.SSLError):
        return proxy.tls.ask(name)


def test_the_service_hears_who_asks_and_not_what_the_client_says_of_it(proxy):
    spoofed = {"X_Forwarded_For": "10.1.2.3", "X_Forwarded_Proto": "http", "X_Forwarded_Host": "evil.test"}
    _, _, body = proxy.tls.ask(f"airflow.{DOMAIN}", source="127.0.0.2", **spoofed)
    heard = json.loads(body)["headers"]
    assert heard["X-Forwarded-For"] == "127.0.0.2"
    assert heard["X-Forwarded-Proto"] == "https"
    assert heard["X-Forwarded-Host"] == f"airflow.{DOMAIN}"


def test_plain_http_leads_to_https(proxy):
    connection = http.client.HTTPConnection("127.0.0.1", proxy.http, timeout=30)
    connection.request("GET", "/health.html?x=1", headers={"Host": f"docs.{DOMAIN}"})
    answer = connection.getresponse()
    assert answer.status == 308
    assert re.match(rf"https://docs\.{re.escape(DOMAIN)}(:\d+)?/health\.html\?x=1$", answer.headers["Location"])


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "//metrics", "/METRICS", "/%6detrics", "/x/../metrics", "/alerts"]
)
def test_what_only_the_stack_asks_for_is_not_there(proxy, path):
    assert proxy.tls.ask(f"docs.{DOMAIN}", path)[0] == 404
    assert proxy.tls.ask(f"docs.{DOMAIN}", path, method="POST")[0] == 404


def test_other_names_and_old_protocols_get_no_connection(proxy):
    with pytest.raises(ssl.SSLError):
        proxy.tls.ask("prometheus.pipeline.test")
    old = ssl.create_default_context()
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings(action="ignore"):  # that it is old
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"(?i)ssl|tls|reset"):
        TlsClient(proxy.tls.port, old).ask(f"docs.{DOMAIN}")


def test_a_certificate_of_files_is_used(tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert(f"*.{DOMAIN}")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for part in issued.cert_chain_pems:
        part.write_to_path(tmp_path / "cert.pem", append=True)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    files = f"{tmp_path / 'cert.pem'} {tmp_path / 'key.pem'}"
    with echoing() as port, caddy(tmp_path, files, dict.fromkeys(UPSTREAMS, port)) as (https, _):
        assert TlsClient(https, context).ask(f"docs.{DOMAIN}")[0] == 200


def test_the_docs_service_asks_for_its_login_and_limits_wrong_passwords_by_client(tmp_path):
    """Each client that the proxy names has ten wrong passwords; the login does not depend on who asks before."""
    port = free_port()
    environ = os.environ | {"DATA_DIR": str(tmp_path / "data"), "DOCS_PASSWORD": "right"}
    command = [sys.executable, "infra/docs_site.py", "--host", "127.0.0.1", "--port", str(port)]
    upstreams = dict.fromkeys(UPSTREAMS, port)
    with subprocess.Popen(command, cwd=PROJECT_DIR, env=environ | {"FORWARDED_ALLOW_IPS": "127.0.0.1"}) as site:
        try:
            with caddy(tmp_path, "internal", upstreams) as (https, plain):
                root = tmp_path / "data/caddy/pki/authorities/local/root.crt"
                wait_for(root.exists, "Caddy's own CA", 60)
                proxy = Proxy(TlsClient(https, ssl.create_default_context(cafile=root)), plain)
                name = f"docs.{DOMAIN}"
                wait_for(lambda: (_answered(proxy, name) or (502,))[0] == 401, "the docs service")
                right = {"Authorization": "Basic cmVhZGVyOnJpZ2h0"}
                wrong = {"Authorization": "Basic cmVhZGVyOndyb25n"}
                assert proxy.tls.ask(name, "/healthz")[0] == 200
                assert proxy.tls.ask(name, "/nowhere", **right)[0] == 404
                seen = [proxy.tls.ask(name, source="127.0.0.2", **wrong)[0] for _ in range(FAILURES + 1)]
                assert seen == [401] * FAILURES + [429]
                assert proxy.tls.ask(name, source="127.0.0.2", **right)[0] == 429
                assert proxy.tls.ask(name, "/nowhere", source="127.0.0.3", **right)[0] == 404
        finally:
            site.terminate()
