"""Many wrong passwords of one address are refused for a while, at Airflow, the docs service and n8n's webhook."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.config import PROJECT_DIR
from scripts.utils.password_limit import FAILURES, SECONDS, PasswordLimit


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


async def application(scope, receive, send):
    """Answer 200 to the right password, 401 to any other."""
    status = 200 if dict(scope["headers"]).get(b"authorization") == b"right" else 401
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask(limit, password=None, *, address="10.0.0.1", path="/auth/token", method="GET"):
    headers = [] if password is None else [(b"authorization", password)]
    scope = {"type": "http", "path": path, "method": method, "headers": headers, "client": (address, 1)}
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(limit(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]).get(b"retry-after")


def test_the_eleventh_password_within_a_minute_is_not_looked_at(clock):
    limit = PasswordLimit(application, now=clock)
    assert [ask(limit, b"wrong")[0] for _ in range(FAILURES)] == [401] * FAILURES
    assert ask(limit, b"right") == (429, b"60")
    assert ask(limit, b"right", address="10.0.0.2") == (200, None), "others are not concerned"
    clock.now += SECONDS - 1
    assert ask(limit, b"wrong") == (429, b"1")
    clock.now += 1
    assert ask(limit, b"right") == (200, None)


def test_requests_without_a_password_are_not_counted(clock):
    limit = PasswordLimit(application, now=clock)
    assert {ask(limit)[0] for _ in range(3 * FAILURES)} == {401}
    assert ask(limit, b"right") == (200, None)
    assert {ask(limit, method="POST")[0] for _ in range(FAILURES)} == {401}, "a form holds one"
    assert ask(limit, b"right")[0] == 429


def test_only_the_paths_that_ask_for_a_password_are_limited(clock):
    limit = PasswordLimit(application, paths=("/auth/token",), now=clock)
    for _ in range(FAILURES):
        ask(limit, b"wrong", path="/auth/token/")
    assert ask(limit, b"right")[0] == 429
    assert ask(limit, b"right", path="/api")[0] == 200


def test_addresses_are_not_kept_forever(clock, monkeypatch):
    monkeypatch.setattr("scripts.utils.password_limit._MOST_ADDRESSES", 100)
    limit = PasswordLimit(application, now=clock)
    for number in range(300):
        clock.now += 1
        ask(limit, b"wrong", address=str(number))
    assert len(limit._failures) <= 101


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_n8ns_webhook_is_limited(tmp_path):
    """The hooks on a webhook node that answers as n8n's does."""
    node = tmp_path / "node_modules/n8n-nodes-base/dist/nodes/Webhook"
    node.mkdir(parents=True)
    (node / "Webhook.node.js").write_text(
        "exports.Webhook = class { async webhook(context) {"
        " const right = context.getRequestObject().headers.authorization === 'right';"
        " if (!right) { context.getResponseObject().writeHead(401); return { noWebhookResponse: true }; }"
        " return { workflowData: [[{ json: { headers: { ...context.getRequestObject().headers, host: 'h' } } }]] }; } }"
    )
    (tmp_path / "main.js").write_text(
        f"require({json.dumps(str(PROJECT_DIR / 'n8n/hooks.js'))});\n"
        "const { Webhook } = require('n8n-nodes-base/dist/nodes/Webhook/Webhook.node.js');\n"
        "async function ask(ip, authorization) {\n"
        "  const response = { statusCode: 200, writeHead(code) { this.statusCode = code; }, end() {} };\n"
        "  const request = { ip, headers: authorization ? { authorization } : {} };\n"
        "  const context = { getRequestObject: () => request, getResponseObject: () => response };\n"
        "  const answer = await new Webhook().webhook(context);\n"
        "  return [response.statusCode, answer.workflowData?.[0][0].json.headers ?? null];\n"
        "}\n"
        "(async () => {\n"
        "  const seen = [];\n"
        "  for (let i = 0; i < 30; i++) seen.push((await ask('1', undefined))[0]);\n"
        "  for (let i = 0; i < 10; i++) seen.push((await ask('1', 'wrong'))[0]);\n"
        "  console.log(JSON.stringify([seen, await ask('1', 'right'), await ask('2', 'right')]));\n"
        "})();\n"
    )
    done = subprocess.run(["node", tmp_path / "main.js"], text=True, capture_output=True, check=True)
    seen, refused, other = json.loads(done.stdout)
    assert seen == [401] * 40
    assert refused == [429, None]
    assert other == [200, {"host": "h"}], "the password is not handed on"


def test_the_same_limit_in_both_languages():
    text = Path(PROJECT_DIR / "n8n/password_limit.js").read_text()
    assert f"FAILURES = {FAILURES}, SECONDS = {SECONDS:g}," in text
