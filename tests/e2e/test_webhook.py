"""The backfill webhook: the real n8n before a stand-in for Airflow that can be made to misbehave."""

import concurrent.futures
import datetime as dt

import pytest
import requests

from tests.support.fake_airflow import PASSWORD, TOKEN, fake_airflow

from .n8n_stack import SECRET, running_n8n

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

MONTH = {"start_date": "2024-01-01", "end_date": "2024-01-31"}


@pytest.fixture(scope="module")
def stand_in():
    with fake_airflow() as server:
        yield server


@pytest.fixture(scope="module")
def n8n(tmp_path_factory, stand_in):
    with running_n8n(tmp_path_factory.mktemp("n8n"), stand_in.url, PASSWORD) as webhook:
        yield webhook


@pytest.fixture(autouse=True)
def fresh(stand_in):
    stand_in.reset()


def routes(stand_in):
    return [route for route, _ in stand_in.calls]


def test_a_backfill_is_accepted_and_the_caller_knows_where_to_watch_it(n8n, stand_in):
    status, answer = n8n.post(MONTH)
    assert (status, answer) == (
        202,
        {
            "backfill_id": 1,
            "status": "accepted",
            "dag_id": "pipeline_bronze",
            **MONTH,
            "days": 31,
            "reprocess": "none",
            "status_url": f"{n8n.url}?id=1",
            "ui_url": f"{stand_in.url}/dags/pipeline_bronze/backfills",
        },
    )
    assert stand_in.calls[-1] == (
        "create",
        {
            "dag_id": "pipeline_bronze",
            "from_date": "2024-01-01T00:00:00Z",
            "to_date": "2024-01-31T00:00:00Z",
            "reprocess_behavior": "none",
            "max_active_runs": 4,
        },
    )


@pytest.mark.parametrize("behaviour", ["failed", "completed"])
def test_reprocess_is_handed_on(n8n, stand_in, behaviour):
    assert n8n.post({**MONTH, "reprocess": behaviour})[0] == 202
    assert stand_in.backfills[0]["reprocess_behavior"] == behaviour


def test_a_dry_run_starts_nothing_and_tells_the_days(n8n, stand_in):
    status, answer = n8n.post({"start_date": "2024-01-01", "end_date": "2024-01-04", "dry_run": True})
    assert status == 200
    assert answer["would_run"] == ["2024-01-02", "2024-01-03"]
    assert answer["already_done"] == ["2024-01-01", "2024-01-04"]
    assert "create" not in routes(stand_in)


TOMORROW = str(dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2))


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({}, [("start_date", "is required, as YYYY-MM-DD"), ("end_date", "is required, as YYYY-MM-DD")]),
        ({**MONTH, "start_date": "2024-02-30"}, [("start_date", "is not a date that exists, of the form YYYY-MM-DD")]),
        ({**MONTH, "start_date": "2024-1-5"}, [("start_date", "is not a date that exists, of the form YYYY-MM-DD")]),
        ({**MONTH, "start_date": 20240101}, [("start_date", "is not a date that exists, of the form YYYY-MM-DD")]),
        ({**MONTH, "start_date": "={{1+1}}"}, [("start_date", "is not a date that exists, of the form YYYY-MM-DD")]),
        ({**MONTH, "start_date": None}, [("start_date", "is required, as YYYY-MM-DD")]),
        ({"start_date": "2024-02-01", "end_date": "2024-01-01"}, [("end_date", "is before start_date")]),
        (
            {"start_date": "2023-01-01", "end_date": "2024-01-02"},
            [("end_date", "makes a range of 367 days; at most 366 are allowed")],
        ),
        (
            {**MONTH, "start_date": TOMORROW, "end_date": TOMORROW},
            [("start_date", "is in the future"), ("end_date", "is in the future")],
        ),
        ({**MONTH, "dry_run": "yes"}, [("dry_run", "is neither true nor false")]),
        ({**MONTH, "reprocess": "all"}, [("reprocess", "is not one of none, failed, completed")]),
        (
            {**MONTH, "x": 1, "__proto__": {}},
            [("x", "is not a known field; known are start_date, end_date, dry_run, reprocess")],
        ),
        (
            {"start_date": "no", "end_date": "", "dry_run": 1, "reprocess": []},
            [
                ("start_date", "is not a date that exists, of the form YYYY-MM-DD"),
                ("end_date", "is required, as YYYY-MM-DD"),
                ("dry_run", "is neither true nor false"),
                ("reprocess", "is not one of none, failed, completed"),
            ],
        ),
        ([1], [("body", "must be a JSON object (Content-Type: application/json) with start_date and end_date")]),
        ("text", [("body", "must be a JSON object (Content-Type: application/json) with start_date and end_date")]),
    ],
)
def test_a_wrong_request_is_refused_with_every_problem(n8n, stand_in, body, details):
    status, answer = n8n.post(body)
    assert status == 400
    assert answer["error"]["code"] == "invalid_request"
    found = [(problem["field"], problem["message"]) for problem in answer["error"]["details"]]
    assert [problem for problem in found if problem[0] != "__proto__"] == details
    assert stand_in.calls == [], "Airflow is not asked"


@pytest.mark.parametrize("auth", [None, ("backfill", "wrong"), ("somebody", SECRET), ("backfill", "")])
def test_without_the_secret_there_is_401(n8n, stand_in, auth):
    assert n8n.post(MONTH, auth=auth)[0] == 401
    assert requests.get(n8n.url, auth=auth, timeout=30).status_code == 401
    assert stand_in.calls == []


def test_what_n8n_answers_by_itself(n8n):
    """Documented in docs/webhook.md: bad JSON is 422, a body over 1 MiB is 500, both before the secret is asked for."""
    headers = {"Content-Type": "application/json"}
    assert requests.post(n8n.url, data="{bad", headers=headers, timeout=30).status_code == 422
    assert requests.post(n8n.url, data="x" * 1_100_000, headers=headers, timeout=30).status_code == 500


def test_the_same_again_gives_the_same_id_and_runs_nothing_twice(n8n, stand_in):
    first = n8n.post(MONTH)[1]["backfill_id"]
    again = n8n.post(MONTH)
    assert (again[0], again[1]["backfill_id"], again[1]["status"]) == (202, first, "asked_before")
    stand_in.backfills[0]["completed_at"] = "2024-02-01T00:00:00Z"
    assert n8n.post(MONTH)[1]["backfill_id"] == first
    assert len(stand_in.backfills) == 1


def test_ten_at_once_give_one_id(n8n, stand_in):
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(n8n.post, [MONTH] * 10))
    assert {(status, answer["backfill_id"]) for status, answer in answers} == {(202, 1)}
    assert len(stand_in.backfills) == 1


def test_another_range_waits_for_the_one_that_runs(n8n):
    n8n.post(MONTH)
    status, answer = n8n.post({"start_date": "2024-02-01", "end_date": "2024-02-02"})
    assert (status, answer["error"]["code"]) == (409, "backfill_running")
    assert answer["error"]["details"][0].items() >= {"backfill_id": 1, **MONTH}.items()


@pytest.mark.parametrize(
    ("route", "rudeness", "status", "code", "words"),
    [
        ("token", {"hang_up": True}, 502, "airflow_unreachable", "nothing was started"),
        ("token", {"wait": 6}, 502, "airflow_unreachable", "nothing was started"),
        ("token", {"status": 401}, 502, "airflow_login_failed", "nothing was started"),
        ("token", {"status": 500}, 502, "airflow_error", "nothing was started"),
        ("token", {"status": 200, "body": "<html>"}, 502, "airflow_error", "nothing was started"),
        ("create", {"hang_up": True}, 502, "airflow_unreachable", "is unknown, and asking again is safe"),
        ("create", {"wait": 16}, 502, "airflow_unreachable", "is unknown, and asking again is safe"),
        ("create", {"status": 503}, 502, "airflow_error", "is unknown, and asking again is safe"),
        ("create", {"status": 200, "body": "<html>"}, 502, "airflow_error", "is unknown"),
        ("create", {"status": 422, "body": {"detail": "no days"}}, 422, "airflow_refused", "nothing was started"),
    ],
)
def test_airflow_down_slow_rude(n8n, stand_in, route, rudeness, status, code, words):
    stand_in.rudeness = {route: rudeness}
    found, answer = n8n.post(MONTH)
    assert (found, answer["error"]["code"]) == (status, code)
    assert words in answer["error"]["message"]
    assert answer["error"]["details"][0]["field"] == "airflow"


def run(day, state):
    return {"dag_id": "pipeline_bronze", "dag_run_id": f"backfill__{day}+00:00", "partition_key": day, "state": state}


def test_progress_in_numbers_with_a_link_to_each_failed_day(n8n, stand_in):
    n8n.post({"start_date": "2024-01-01", "end_date": "2024-01-05"})
    # the newest run of a day comes first, and counts
    stand_in.runs = [
        run("2024-01-04", "running"),
        run("2024-01-03", "failed"),
        run("2024-01-02", "success"),
        run("2024-01-01", "success"),
        run("2024-01-01", "failed"),
    ]
    stand_in.layers = [{"dag_id": "pipeline_silver", "state": "running"}]
    status, answer = n8n.progress(1)
    assert status == 200
    assert answer["status"] == "running"
    assert answer["progress"] == {"done": 2, "running": 1, "queued": 1, "failed": 1}
    page = f"{stand_in.url}/dags/pipeline_bronze/runs/backfill__2024-01-03%2B00%3A00"
    assert answer["failed_days"] == [{"day": "2024-01-03", "ui_url": page}]
    assert answer["silver_and_gold"] == {"caught_up": False, "runs_under_way": 1, "last_gold_run": None}

    stand_in.runs = [run(f"2024-01-0{day}", "success") for day in range(1, 6)]
    stand_in.layers = [{"dag_id": "dbt_dag", "state": "success"}]
    answer = n8n.progress(1)[1]
    assert (answer["status"], answer["progress"]["done"]) == ("done", 5)
    assert answer["silver_and_gold"]["caught_up"] is True


@pytest.mark.parametrize(
    ("backfill_id", "status"), [("1", 404), ("x", 400), ("", 400), ("1/../../x", 400), ("0", 400), ("9" * 12, 400)]
)
def test_a_backfill_that_does_not_exist(n8n, backfill_id, status):
    assert n8n.progress(backfill_id)[0] == status


def test_two_hundred_requests_lose_and_double_nothing(n8n, stand_in):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(n8n.post, [MONTH] * 200))
    assert {(status, answer.get("backfill_id")) for status, answer in answers} == {(202, 1)}
    assert len(stand_in.backfills) == 1


def test_nobody_else_can_claim_the_instance(n8n):
    person = {"email": "a@example.com", "firstName": "a", "lastName": "b", "password": "Passw0rd-long"}
    answer = requests.post(f"{n8n.n8n_url}/rest/owner/setup", json=person, timeout=30)
    assert (answer.status_code, answer.json()["message"]) == (400, "Instance owner already setup")


def test_no_secret_is_on_the_disk_in_plain(n8n, stand_in):
    n8n.post(MONTH)
    stand_in.rudeness = {"token": {"status": 500}}
    n8n.post({"start_date": "2024-01-01", "end_date": "2024-01-02"})
    secrets = [SECRET.encode(), PASSWORD.encode(), TOKEN.encode()]
    files = [path for path in n8n.data_dir.rglob("*") if path.is_file() and path.name != "n8n.env"]
    assert any(path.name.startswith("database.sqlite") for path in files)
    for path in files:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret in content], path
