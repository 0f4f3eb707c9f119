"""The pipeline's own backfill API in the real Airflow: its answers come from the ledger, whatever became of runs."""

import datetime as dt

import pytest

from scripts.sample_api.server import Fault
from tests.support.callbacks import callbacks

from .invariants import assert_airflow_is_well
from .waiting import wait_for

pytestmark = pytest.mark.timeout(6000)

USERS = {"source": "jsonplaceholder", "resources": ["users"]}


@pytest.fixture(autouse=True)
def _no_other_backfill(airflow):
    """Begin when the runs of the former test's backfills have ended: one backfill runs at a time."""

    def under_way():
        return [
            run
            for state in ("queued", "running")
            for run in airflow.runs("pipeline_bronze", run_type="backfill", state=state)
        ]

    wait_for(lambda: not under_way(), "the former backfill to be over", 240)


@pytest.fixture
def paused(airflow):
    """Pause the DAG for the test."""

    def pause(value):
        body = {"is_paused": value}
        assert airflow.ask("PATCH", "/api/v2/dags/pipeline_bronze", body, user="admin").status_code == 200

    pause(True)
    yield pause
    pause(False)


def ask(airflow, first, last, **more):
    """Ask for the users of some days, as n8n does; returns the status and the document."""
    body = {"start_date": first, "end_date": last, **USERS, **more}
    answer = airflow.ask("POST", "/pipeline/backfills", body, user="n8n")
    return answer.status_code, answer.json()


def accepted(airflow, first, last):
    """Ask for the users of some days, which are started; returns the id."""
    status, answer = ask(airflow, first, last)
    assert (status, answer.get("status")) == (202, "accepted"), answer
    return answer["backfill_id"]


def progress(airflow, backfill_id):
    answer = airflow.ask("GET", f"/pipeline/backfills/{backfill_id}", user="n8n")
    assert answer.status_code == 200, answer.text
    return answer.json()


def ended(airflow, backfill_id):
    """Return the progress when no day is under way."""
    return wait_for(
        lambda: (found := progress(airflow, backfill_id))["status"] in {"done", "failed"} and found, "the backfill", 240
    )


def due(airflow, first, last, **more):
    """Return the days that a dry run says would run, and those that it says are done."""
    status, answer = ask(airflow, first, last, dry_run=True, **more)
    assert status == 200, answer
    return answer["would_run"], answer["already_done"]


def test_what_was_asked_for_is_loaded_and_the_next_range_need_not_wait(airflow):
    assert due(airflow, "2024-08-01", "2024-08-02") == (["2024-08-01", "2024-08-02"], [])
    made = accepted(airflow, "2024-08-01", "2024-08-02")
    same = ask(airflow, "2024-08-01", "2024-08-02")[1]
    assert (same["status"], same["backfill_id"]) == ("already_running", made)
    assert ended(airflow, made)["progress"] == {"done": 2, "running": 0, "queued": 0, "failed": 0}
    # done is done: Airflow itself notices up to 30 seconds later
    again = ask(airflow, "2024-08-01", "2024-08-02")
    assert (again[0], again[1]["status"], again[1]["backfill_id"]) == (202, "loaded", made)
    accepted(airflow, "2024-08-03", "2024-08-03")
    assert wait_for(lambda: progress(airflow, made)["silver_and_gold"]["caught_up"], "Gold", 240)


def test_a_day_that_is_not_over_is_done_for_now(airflow):
    today = dt.datetime.now(dt.UTC).date().isoformat()
    found = ended(airflow, accepted(airflow, today, today))
    assert (found["status"], found["failed_days"], found["provisional_days"]) == ("done", [], [today])
    assert due(airflow, today, today) == ([today], [])


def test_a_failed_day_is_due_and_the_same_request_starts_it_again(airflow, source):
    fault = Fault("status", path="/users", status=404, times=10_000, day="2024-08-12")
    source.faults.append(fault)
    first = accepted(airflow, "2024-08-11", "2024-08-13")
    found = ended(airflow, first)
    source.faults.remove(fault)
    assert (found["status"], found["progress"]["failed"]) == ("failed", 1)
    assert found["silver_and_gold"]["caught_up"] is False
    (day,) = found["failed_days"]
    assert day["ui_url"].startswith(f"{airflow.url}/dags/pipeline_bronze/runs/backfill__2024-08-12")
    for mode in ("none", "failed"):
        assert due(airflow, "2024-08-11", "2024-08-13", reprocess=mode)[0] == ["2024-08-12"]

    second = accepted(airflow, "2024-08-11", "2024-08-13")
    assert second != first
    assert ended(airflow, second)["status"] == "done"
    assert progress(airflow, first)["status"] == "done", "what is loaded is done, also for who asked first"


def test_cancelled_deleted_and_hand_marked_days_are_due(airflow, paused):
    # paused, its runs stay queued
    paused(False)
    answer = airflow.ask("GET", "/api/v2/dags/pipeline_bronze")
    assert answer.json()["is_paused"] is False
    paused(True)
    days = [f"2024-08-2{day}" for day in range(1, 5)]
    made = airflow.start_backfill(days[0], days[-1])["id"]
    assert ask(airflow, days[0], days[-1], dry_run=True)[1]["under_way"] == days
    status, refused = ask(airflow, days[0], days[-1])
    assert (status, refused["error"]["code"]) == (409, "dag_paused")
    assert f"unpause it at {airflow.url}/dags/pipeline_bronze" in refused["error"]["message"]
    assert progress(airflow, made)["status"] == "paused"

    assert airflow.ask("PUT", f"/api/v2/backfills/{made}/cancel").status_code == 200
    runs = {run["partition_key"]: run["dag_run_id"] for run in airflow.runs("pipeline_bronze", run_type="backfill")}
    path = "/api/v2/dags/pipeline_bronze/dagRuns/"
    assert airflow.ask("DELETE", path + runs["2024-08-22"], user="admin").status_code == 204
    assert airflow.ask("PATCH", path + runs["2024-08-23"], {"state": "success"}).status_code == 200
    assert airflow.ask("PATCH", path + runs["2024-08-24"], {"state": "queued"}).status_code == 200
    assert due(airflow, days[0], days[-1]) == (days, [])

    paused(False)
    assert ended(airflow, accepted(airflow, days[0], days[-1]))["progress"]["done"] == 4


def test_another_request_waits_where_it_is_asked_to_and_tells_when_it_is_over(airflow, source):
    with callbacks() as server:
        source.faults.append(Fault("status", path="/users", status=503, times=3, day="2024-08-26"))
        accepted(airflow, "2024-08-26", "2024-08-27")
        status, refused = ask(airflow, "2024-08-28", "2024-08-28")
        assert (status, refused["error"]["code"]) == (409, "backfill_running")
        status, answer = ask(airflow, "2024-08-28", "2024-08-28", wait=True, callback_url=f"{server.url}/done")
        assert (status, answer["status"]) == (202, "queued")
        (told,) = wait_for(lambda: server.documents, "the callback", 240)
    assert (told["backfill_id"], told["status"]) == (answer["backfill_id"], "done")


def test_a_callback_to_a_host_that_is_not_allowed_is_refused(airflow):
    status, refused = ask(airflow, "2024-08-29", "2024-08-29", callback_url="http://169.254.169.254/")
    assert status == 400
    assert refused["error"]["details"] == [
        {"field": "callback_url", "message": "169.254.169.254 is not a host that BACKFILL_CALLBACK_HOSTS allows"}
    ]


def own_body(first, last, **more):
    """Return the body that the runbook prints for Airflow's own API."""
    return {"dag_id": "pipeline_bronze", "from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z", **more}


def test_a_backfill_of_airflow_itself_loads_the_failed_day_at_once(airflow, source):
    good, bad = "2024-09-21", "2024-09-22"
    fault = Fault("status", path="/users", status=404, times=10_000, day=bad)
    source.faults.append(fault)
    first = airflow.start_backfill(good, bad)["id"]
    assert ended(airflow, first)["failed_days"][0]["day"] == bad
    source.faults.remove(fault)

    # what the form sends with "override parameters": every parameter, and the last moment of the last day
    conf = {"source": None, "resources": [], "start_date": None, "end_date": None, "reprocess": False}
    sent = own_body(good, bad, reprocess_behavior="none", dag_run_conf=conf) | {"to_date": f"{bad}T23:59:59.999Z"}
    dry = airflow.post("backfills/dry_run", sent)
    assert [each["partition_key"] for each in dry["backfills"]] == [good, bad]
    # the former backfill has ended, which Airflow itself notices in up to 30 seconds
    second = airflow.post("backfills", own_body(good, bad))["id"]
    assert ended(airflow, second)["status"] == "done"
    runs = [run for run in airflow.runs("pipeline_bronze", run_type="backfill") if run["partition_key"] in {good, bad}]
    assert {run["partition_key"]: run["state"] for run in runs[2:]} == {good: "success", bad: "success"}
    (again,) = [run for run in runs[2:] if run["partition_key"] == good]
    assert airflow.tasks("pipeline_bronze", again["dag_run_id"])["plan"]["state"] == "skipped", "it was loaded"
    assert airflow.ask("POST", "/api/v2/backfills", sent).status_code == 200
    airflow.wait_for_loads()


def test_what_a_backfill_of_airflow_would_ignore_or_shift_is_refused(airflow):
    wrong = {
        "unknown keys in the configuration of the run: start_date": {"dag_run_conf": {"start_date": "2024-08-29"}},
        "choose UTC in the menu of time zones": {"from_date": "2024-08-28T22:00:00Z"},
    }
    for words, more in wrong.items():
        for path in ("backfills", "backfills/dry_run"):
            answer = airflow.ask("POST", f"/api/v2/{path}", own_body("2024-08-29", "2024-08-29") | more)
            assert answer.status_code == 422
            assert words in answer.json()["detail"]
    assert ask(airflow, "2024-08-29", "2024-08-29", source="nope", resources=[])[0] == 400


@pytest.mark.long
def test_a_cleared_run_of_a_cancelled_backfill_is_ended_and_told(airflow, paused, sink, start):
    before, day = "2024-09-24", "2024-09-25"
    # a day before it, so that the day is expected
    paused(False)
    airflow.wait("pipeline_bronze", airflow.trigger("pipeline_bronze", day=before, **USERS))
    paused(True)
    made = airflow.start_backfill(day, day, dag_run_conf=USERS)["id"]
    assert airflow.ask("PUT", f"/api/v2/backfills/{made}/cancel").status_code == 200
    paused(False)
    (run,) = [run for run in airflow.runs("pipeline_bronze") if run["partition_key"] == day]
    path = f"dags/pipeline_bronze/dagRuns/{run['dag_run_id']}".replace("+", "%2B")
    airflow.post(f"{path}/clear", {"dry_run": False})
    assert airflow.get(path)["state"] == "queued"

    airflow.trigger("reconcile")
    wait_for(lambda: airflow.get(path)["state"] == "failed", "the end of the run", 120)
    alert = wait_for(lambda: [text for text in sink.texts if "never started" in text and day in text], "the alert", 60)
    assert f"pipeline backfill --start-date {day} --end-date {day}" in alert[0]
    airflow.wait_for_loads()
    due_now = start("due", DATA_DIR=airflow.data_dir).stdout
    assert day in due_now


def test_a_viewer_may_ask_for_progress_and_start_nothing(airflow):
    body = {"start_date": "2024-08-29", "end_date": "2024-08-29"}
    assert airflow.ask("POST", "/pipeline/backfills", body, user="viewer").status_code == 403
    assert airflow.ask("GET", "/pipeline/backfills/999999", user="viewer").status_code == 404


def test_then_all_invariants_hold(airflow):
    assert_airflow_is_well(airflow)
