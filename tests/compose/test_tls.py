"""The stack behind its proxy, with a CA of the proxy's own: what others reach, and how."""

import base64
import http.client
import json
import ssl
import subprocess

import pytest
import requests

from tests.e2e.waiting import free_port, wait_for
from tests.support.tls_client import TlsClient

from .stack import SERVICES, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.usefixtures("engine")]
DOMAIN = "pipeline.test"
CADDY = "caddy:2.10.2"
STAND_IN = """
FROM python:3.12-slim-bookworm
RUN apt-get update && apt-get install --yes --no-install-recommends caddy wget && rm -rf /var/lib/apt/lists/*
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
"""
"""Debian's Caddy, laid out as the official image, for machines that cannot fetch that."""


@pytest.fixture(scope="module")
def image(engine):
    """The image of Caddy."""
    for command in (["image", "inspect", CADDY], ["pull", "--quiet", CADDY]):
        if subprocess.run(["docker", *command], capture_output=True, check=False).returncode == 0:
            return CADDY
    name = "data-pipeline-test:caddy"
    subprocess.run(["docker", "build", "--quiet", "--tag", name, "-"], input=STAND_IN, text=True, check=True)
    return name


@pytest.fixture(scope="module")
def stack(image, tmp_path_factory):
    """The stack in production, with the profile `tls`."""
    environ = {
        "PROD": "1",
        "PROFILES": "tls",
        "PUBLIC_DOMAIN": DOMAIN,
        "TLS_CERTIFICATE": "internal",
        "HTTPS_PORT": str(free_port()),
        "HTTP_PORT": str(free_port()),
        "PROXY_NETWORK": "172.31.253",
        "CADDY_IMAGE": image,
    }
    with running_stack(tmp_path_factory.mktemp("tls"), "pipeline-test-tls", **environ) as found:
        wait_for(
            lambda: (
                {*SERVICES, "caddy"} <= found.containers().keys()
                and all(health == "healthy" for _, health, _ in found.containers().values())
            ),
            "every service to be healthy",
            600,
        )
        yield found


@pytest.fixture(scope="module")
def proxy(stack):
    """A client that trusts the proxy's CA."""
    identity = stack.containers()["caddy"][0]
    root = subprocess.check_output(
        ["docker", "exec", identity, "cat", "/data/caddy/pki/authorities/local/root.crt"], text=True
    )
    return TlsClient(int(stack.environ["HTTPS_PORT"]), ssl.create_default_context(cadata=root))


def login(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_airflow_is_there_by_https_and_counts_wrong_passwords_by_the_address_that_the_proxy_names(stack, proxy):
    name = f"airflow.{DOMAIN}"
    body = json.dumps({"username": "viewer", "password": stack.env["AIRFLOW_VIEWER_PASSWORD"]})
    assert proxy.ask(name, "/auth/token", method="POST", body=body, Content_Type="application/json")[0] == 201
    status, headers, _ = proxy.ask(name, "/auth/login/")
    assert status == 200
    assert "Secure" in headers["Set-Cookie"]
    _, headers, _ = proxy.ask(name, "/")
    assert not headers.get("Location", "").startswith("http:")
    # in the same test: after these, the right password is refused as well, for a minute
    wrong = json.dumps({"username": "viewer", "password": "x"})
    asked = {"method": "POST", "body": wrong, "Content_Type": "application/json"}
    spoofed = [{"X_Forwarded_For": f"10.0.0.{number}"} for number in range(11)]
    seen = [proxy.ask(name, "/auth/token/cli", **asked, **headers)[0] for headers in spoofed]
    assert seen == [401] * 10 + [429]
    # who does not come by the proxy is another, and is not believed either
    url = f"{stack.url('AIRFLOW')}/auth/token/cli"
    sent = [{"Content-Type": "application/json", "X-Forwarded-For": f"10.1.0.{number}"} for number in range(11)]
    direct = [requests.post(url, data=wrong, headers=headers, timeout=60).status_code for headers in sent]
    assert direct == [401] * 10 + [429]


def test_the_webhook_and_its_links_are_of_https(stack, proxy):
    name = f"n8n.{DOMAIN}"
    secret = login("backfill", stack.env["BACKFILL_WEBHOOK_SECRET"])
    body = json.dumps({"start_date": "2024-01-01", "end_date": "2024-01-01"})
    asked = {"method": "POST", "body": body, "Content_Type": "application/json"}
    status, _, text = proxy.ask(name, "/webhook/backfill", **asked, **secret)
    assert status == 202, text
    assert json.loads(text)["status_url"].startswith(f"https://{name}/webhook/backfill")
    assert proxy.ask(name, "/webhook/backfill", **asked)[0] == 401
    owner = json.dumps({"emailOrLdapLoginId": "admin@localhost.invalid", "password": stack.env["N8N_OWNER_PASSWORD"]})
    status, headers, text = proxy.ask(name, "/rest/login", method="POST", body=owner, Content_Type="application/json")
    assert status == 200, text
    assert "Secure" in headers["Set-Cookie"]


def test_the_docs_ask_for_their_login_and_show_no_metrics(stack, proxy):
    name = f"docs.{DOMAIN}"
    assert proxy.ask(name, "/")[0] == 401
    assert proxy.ask(name, "/", **login("reader", stack.env["DOCS_PASSWORD"]))[0] in {200, 404}
    assert proxy.ask(name, "/metrics", **login("reader", stack.env["DOCS_PASSWORD"]))[0] == 404
    assert requests.get(f"{stack.url('DOCS')}/metrics", timeout=60).status_code == 200, "Prometheus asks inside"


def test_plain_http_leads_to_https(stack):
    connection = http.client.HTTPConnection("127.0.0.1", int(stack.environ["HTTP_PORT"]), timeout=60)
    connection.request("GET", "/", headers={"Host": f"airflow.{DOMAIN}"})
    answer = connection.getresponse()
    assert answer.status == 308
    assert answer.headers["Location"].startswith(f"https://airflow.{DOMAIN}")
