"""The backfill webhook: the real n8n before a stand-in for Airflow that can be made to misbehave.

What a request may hold is tested in tests/unit/test_n8n_expressions.py, and what is due in test_backfills.py.
"""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import re
import sqlite3
import threading

import psutil
import pytest
import requests

from tests.support.fake_airflow import PASSWORD, TOKEN, fake_airflow
from tests.support.from_address import session_from

from .n8n_stack import SECRET, running_n8n
from .waiting import wait_for

pytestmark = pytest.mark.timeout(6000)

MONTH = {"start_date": "2024-01-01", "end_date": "2024-01-31"}


@pytest.fixture(scope="module")
def stand_in():
    with fake_airflow() as server:
        yield server


@pytest.fixture(scope="module")
def n8n(tmp_path_factory, stand_in, sink):
    with running_n8n(tmp_path_factory.mktemp("n8n"), stand_in.url, PASSWORD, SLACK_WEBHOOK=sink.url) as webhook:
        yield webhook


@pytest.fixture(autouse=True)
def fresh(stand_in):
    stand_in.reset()


def routes(stand_in):
    return [route for route, _ in stand_in.calls]


def test_a_request_reaches_the_pipeline_and_its_answer_the_caller(n8n, stand_in):
    status, answer = n8n.post(MONTH)
    assert (status, answer["status"], answer["backfill_id"]) == (202, "accepted", 1)
    assert answer["status_url"] == f"{n8n.url}?id=1"
    asked = {
        "source": None,
        "resources": [],
        "reprocess": "none",
        "dry_run": False,
        "wait": False,
        "callback_url": None,
    }
    assert stand_in.calls[-1] == ("ask", MONTH | asked)
    assert n8n.progress(1)[1]["status"] == "running"
    assert n8n.post({**MONTH, "dry_run": True})[0] == 200
    assert n8n.post({**MONTH, "end_date": "2024-01-30"})[1]["error"]["code"] == "backfill_running"


def test_a_wrong_request_is_refused_with_every_problem_and_airflow_is_not_asked(n8n, stand_in):
    status, answer = n8n.post({"start_date": "2024-02-30", "end_date": "2024-01-31", "x": 1})
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert [problem["field"] for problem in answer["error"]["details"]] == ["start_date", "x"]
    form = requests.post(n8n.url, data=MONTH, auth=("backfill", SECRET), timeout=60)
    assert (form.status_code, form.json()["error"]["details"][0]["field"]) == (400, "body")
    address = requests.post(f"{n8n.url}?dry_run=true", json=MONTH, auth=("backfill", SECRET), timeout=60)
    assert (address.status_code, address.json()["error"]["details"][0]["field"]) == (400, "dry_run")
    assert stand_in.calls == []


@pytest.mark.parametrize("auth", [None, ("backfill", "wrong"), ("somebody", SECRET), ("backfill", "")])
def test_without_the_secret_there_is_401(n8n, stand_in, auth):
    assert n8n.post(MONTH, auth=auth)[0] == 401
    assert requests.get(n8n.url, auth=auth, timeout=30).status_code == 401
    assert stand_in.calls == []


def test_the_eleventh_wrong_password_of_an_address_is_not_looked_at(n8n, stand_in):
    with session_from("127.0.0.2") as other:
        seen = [other.post(n8n.url, json=MONTH, auth=("backfill", "wrong"), timeout=30).status_code for _ in range(11)]
        assert seen == [401] * 10 + [429]
        refused = other.post(n8n.url, json=MONTH, auth=("backfill", SECRET), timeout=30)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert stand_in.calls == []
    assert n8n.post(MONTH)[0] == 202, "other addresses are not concerned"


def test_what_n8n_answers_by_itself(n8n):
    """Documented in docs/webhook.md: bad JSON is 422, a body over 1 MiB is 500, both before the secret is asked for."""
    headers = {"Content-Type": "application/json"}
    assert requests.post(n8n.url, data="{bad", headers=headers, timeout=30).status_code == 422
    assert requests.post(n8n.url, data="x" * 1_100_000, headers=headers, timeout=30).status_code == 500


def test_two_hundred_requests_at_once_lose_and_double_nothing(n8n, stand_in):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(n8n.post, [MONTH] * 200))
    assert {(status, answer.get("backfill_id")) for status, answer in answers} == {(202, 1)}
    assert len(stand_in.backfills) == 1


@pytest.mark.parametrize(
    ("route", "rudeness", "status", "code", "words"),
    [
        ("token", {"hang_up": True}, 502, "airflow_unreachable", "nothing was started"),
        ("token", {"wait": 6}, 502, "airflow_unreachable", "nothing was started"),
        ("token", {"status": 401}, 502, "airflow_login_failed", "nothing was started"),
        ("token", {"status": 200, "body": "<html>"}, 502, "airflow_error", "nothing was started"),
        ("ask", {"hang_up": True}, 502, "airflow_unreachable", "is unknown, and asking again is safe"),
        ("ask", {"status": 503}, 502, "airflow_error", "nothing was started"),
        ("ask", {"status": 200, "body": "<html>"}, 502, "airflow_error", "nothing was started"),
        ("ask", {"status": 404}, 502, "airflow_error", "plugin did not load"),
    ],
)
def test_airflow_down_slow_rude(n8n, stand_in, route, rudeness, status, code, words):
    stand_in.rudeness = {route: rudeness}
    found, answer = n8n.post(MONTH)
    assert (found, answer["error"]["code"]) == (status, code)
    assert words in answer["error"]["message"]
    assert answer["error"]["details"][0]["field"] == "airflow"


@pytest.mark.parametrize(
    "rudeness", [{"hang_up": True}, {"stall": 60}, {"status": 500}], ids=["no answer", "half an answer", "an error"]
)
def test_what_was_started_without_an_answer_is_found_before_the_caller_is_told(n8n, stand_in, rudeness):
    stand_in.rudeness = {"ask": {**rudeness, "after": True}}
    status, answer = n8n.post(MONTH)
    assert (status, answer["backfill_id"], answer["status_url"]) == (202, 1, f"{n8n.url}?id=1")
    assert routes(stand_in) == ["token", "ask", "find"]


def test_where_nobody_can_say_what_was_started_the_answer_says_so(n8n, stand_in):
    stand_in.rudeness = {"ask": {"hang_up": True}, "find": {"status": 500}}
    status, answer = n8n.post(MONTH)
    assert status == 502
    assert "whether the backfill was started is unknown, and asking again is safe" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("backfill_id", "status"), [("1", 404), ("x", 400), ("", 400), ("1/../../x", 400), ("0", 400), ("9" * 12, 400)]
)
def test_a_backfill_that_does_not_exist(n8n, backfill_id, status):
    assert n8n.progress(backfill_id)[0] == status


def test_airflow_is_down_and_somebody_is_told(n8n, stand_in, sink):
    stand_in.rudeness = {"token": {"hang_up": True}}
    assert n8n.post(MONTH)[0] == 502
    (text,) = wait_for(lambda: [text for text in sink.texts if text.startswith("WORKFLOW FAILED")], "the alert")
    assert "n8n backfill_trigger, node Mark execution as failed" in text
    assert "send the request again" in text
    url, anchor = re.search(r"^runbook: (http\S+)#(\S+)$", text, re.MULTILINE).groups()
    assert anchor == "the-backfill-webhook-fails"
    assert f'id="{anchor}"' in requests.get(url, timeout=60).text


def test_an_alert_that_cannot_be_sent_is_kept_without_secrets(n8n, stand_in):
    port = json.loads((n8n.data_dir / "n8n" / "launched.json").read_text())["alert_port"]
    service = next(one for one in psutil.process_iter(["cmdline"]) if str(port) in (one.info["cmdline"] or []))
    service.kill()

    def occupied():
        with contextlib.suppress(OSError):
            return http.server.HTTPServer(("127.0.0.1", port), Refusing)
        return None

    # the launcher starts the service again as soon as its port is free
    with wait_for(occupied, "the port", 60) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        stand_in.rudeness = {"token": {"hang_up": True}}
        assert n8n.post(MONTH)[0] == 502

        def kept():
            with contextlib.closing(sqlite3.connect(n8n.data_dir / "n8n/.n8n/database.sqlite")) as database:
                query = "select workflowId from execution_entity where status = 'error' and deletedAt is null"
                return database.execute(query).fetchall() == [("errorAlert000001",)]

        wait_for(kept, "its failed execution, and no other", 120)
        refusing.shutdown()
    assert_no_secret_on_disk(n8n.data_dir)


class Refusing(http.server.BaseHTTPRequestHandler):
    """An alert service that refuses every alert."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_error(401)


def test_nobody_else_can_claim_the_instance(n8n):
    person = {"email": "a@example.com", "firstName": "a", "lastName": "b", "password": "Passw0rd-long"}
    answer = requests.post(f"{n8n.n8n_url}/rest/owner/setup", json=person, timeout=30)
    assert (answer.status_code, answer.json()["message"]) == (400, "Instance owner already setup")


def test_no_secret_is_on_the_disk_in_any_form(n8n, stand_in):
    n8n.post(MONTH)
    stand_in.rudeness = {"token": {"status": 500}}
    n8n.post({"start_date": "2024-01-01", "end_date": "2024-01-02"})
    assert_no_secret_on_disk(n8n.data_dir)


def assert_no_secret_on_disk(folder):
    """Check every file of n8n for the secrets, also in base64."""
    plain = [secret.encode() for secret in (SECRET, PASSWORD, TOKEN, f"backfill:{SECRET}")]
    # base64 of the secret at each of the three places where a group of three bytes may begin, without the ends
    encoded = [base64.b64encode(b"x" * shift + secret)[4:-4] for secret in plain for shift in range(3)]
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "n8n.env"]
    assert any(path.name.startswith("database.sqlite") for path in files)
    for path in files:
        content = path.read_bytes()
        assert not [secret for secret in plain + encoded if secret in content], path


def test_only_its_user_can_read_the_database(n8n):
    files = list((n8n.data_dir / "n8n" / ".n8n").glob("database.sqlite*"))
    assert files
    assert {path.stat().st_mode & 0o077 for path in files} == {0}


def test_then_no_execution_waits(n8n, stand_in):
    """Whatever Airflow did, each execution has ended; a stalled one is seen while it stalls."""
    wait_for(lambda: not n8n.waiting(), "no execution to wait", 120)
    stand_in.rudeness = {"token": {"wait": 3}}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(n8n.post, MONTH)
        wait_for(n8n.waiting, "the execution", 30)
        assert asked.result()[0] == 202
    wait_for(lambda: not n8n.waiting(), "its end", 60)


@pytest.mark.long
def test_what_somebody_changes_in_n8n_survives_a_restart_until_it_is_overwritten(tmp_path_factory, stand_in):
    folder = tmp_path_factory.mktemp("kept")
    with running_n8n(folder, stand_in.url, PASSWORD):
        pass
    database = sqlite3.connect(folder / "n8n" / ".n8n" / "database.sqlite")
    # as the editor stores it
    with database:
        query = "update workflow_entity set nodes = replace(nodes, 'Yesterday''s run', 'Our run') where id = ?"
        assert database.execute(query, ["ingestionTrigge1"]).rowcount == 1
        archived = "isArchived = 1, active = 0, activeVersionId = null"
        database.execute(f"update workflow_entity set {archived} where id = 'backfillTrigger1'")

    def nodes():
        return database.execute("select nodes from workflow_entity where id = 'ingestionTrigge1'").fetchone()[0]

    with running_n8n(folder, stand_in.url, PASSWORD) as webhook:
        assert "Our run" in nodes()
        assert webhook.post(MONTH)[0] == 404, "an archived workflow stays archived, and n8n starts"
    said = (folder / "n8n.log").read_text()
    assert "workflow ingestion_trigger was changed in n8n and stays as it is" in said
    assert "workflow backfill_trigger was archived in n8n and stays so" in said

    with running_n8n(folder, stand_in.url, PASSWORD, OVERWRITE="yes") as webhook:
        assert "Our run" not in nodes()
        assert webhook.post(MONTH)[0] == 202
