"""The backfill webhook before the real Airflow: what is asked for lands in Gold, and progress says so."""

import pytest

from scripts.sample_api.server import Fault

from .invariants import assert_airflow_is_well
from .n8n_stack import running_n8n
from .waiting import wait_for

pytestmark = pytest.mark.timeout(6000)


@pytest.fixture(scope="module")
def n8n(tmp_path_factory, airflow):
    password = airflow.passwords["AIRFLOW_SERVICE_PASSWORD"]
    with running_n8n(tmp_path_factory.mktemp("n8n"), airflow.url, password) as webhook:
        yield webhook


def ask(n8n, first, last, **more):
    """Ask for a backfill as soon as the one before is over, and return its id."""
    body = {"start_date": first, "end_date": last, **more}
    status, answer = wait_for(lambda: (found := n8n.post(body))[0] != 409 and found, "the former backfill to be over")
    assert status == 202, answer
    return answer["backfill_id"]


def ended(n8n, backfill_id):
    """Return the progress when no day is under way and Silver and Gold have nothing to do."""
    return wait_for(
        lambda: (
            (found := n8n.progress(backfill_id)[1])["status"] in {"done", "failed"}
            and found["silver_and_gold"]["runs_under_way"] == 0
            and found
        ),
        f"backfill {backfill_id}",
        300,
    )


def test_five_days_land_in_gold_and_the_same_again_runs_nothing(airflow, n8n):
    dry = n8n.post({"start_date": "2024-09-01", "end_date": "2024-09-05", "dry_run": True})[1]
    assert (len(dry["would_run"]), dry["already_done"]) == (5, [])
    backfill_id = ask(n8n, "2024-09-01", "2024-09-05")
    found = ended(n8n, backfill_id)
    assert found["progress"] == {"done": 5, "running": 0, "queued": 0, "failed": 0}
    assert wait_for(lambda: n8n.progress(backfill_id)[1]["silver_and_gold"]["caught_up"], "Silver and Gold")
    assert {f"2024-09-0{day}" for day in range(1, 6)} <= airflow.gold_days()

    runs = len(airflow.runs("pipeline_bronze", run_type="backfill"))
    status, again = n8n.post({"start_date": "2024-09-01", "end_date": "2024-09-05"})
    assert (status, again["backfill_id"]) == (202, backfill_id)
    assert len(airflow.runs("pipeline_bronze", run_type="backfill")) == runs
    dry = n8n.post({"start_date": "2024-09-01", "end_date": "2024-09-05", "dry_run": True})[1]
    assert (dry["would_run"], len(dry["already_done"])) == ([], 5)


def test_a_day_that_fails_is_shown_is_cleared_and_is_done(airflow, n8n, source):
    fault = Fault("status", path="/users", status=404, times=10_000, day="2024-09-12")
    source.faults.append(fault)
    backfill_id = ask(n8n, "2024-09-11", "2024-09-13")
    found = ended(n8n, backfill_id)
    source.faults.remove(fault)
    assert found["status"] == "failed"
    assert (found["progress"]["done"], found["progress"]["failed"]) == (2, 1)
    (day,) = found["failed_days"]
    assert day["day"] == "2024-09-12"
    assert day["ui_url"].startswith(f"{airflow.url}/dags/pipeline_bronze/runs/backfill__2024-09-12")

    (red,) = [run for run in airflow.runs("pipeline_bronze", state="failed") if run["partition_key"] == "2024-09-12"]
    task = airflow.tasks("pipeline_bronze", red["dag_run_id"])["load.ingest jsonplaceholder/users 2024-09-12"]
    assert airflow.clear(task).status_code == 200
    assert wait_for(lambda: n8n.progress(backfill_id)[1]["silver_and_gold"]["caught_up"], "the cleared day", 240)
    assert n8n.progress(backfill_id)[1]["status"] == "done"


def test_a_paused_dag_is_told_with_the_remedy_and_nothing_is_started(airflow, n8n):
    body = {"start_date": "2024-09-15", "end_date": "2024-09-15", "source": "jsonplaceholder", "resources": ["users"]}
    runs = len(airflow.runs("pipeline_bronze", run_type="backfill"))
    with airflow.paused("pipeline_bronze"):
        status, refused = wait_for(
            lambda: (found := n8n.post(body))[1].get("error", {}).get("code") != "backfill_running" and found,
            "the former backfill to be over",
        )
        assert (status, refused["error"]["code"]) == (409, "dag_paused")
        assert f"unpause it at {airflow.url}/dags/pipeline_bronze" in refused["error"]["message"]
    assert len(airflow.runs("pipeline_bronze", run_type="backfill")) == runs
    status, answer = n8n.post(body)
    assert (status, answer["status"]) == (202, "accepted")
    assert ended(n8n, answer["backfill_id"])["status"] == "done"


@pytest.mark.long
def test_a_year_is_accepted_in_time_and_a_cancelled_one_is_due_again(airflow, n8n):
    year = {"start_date": "2022-12-31", "end_date": "2023-12-31", "source": "jsonplaceholder", "resources": ["users"]}
    status, answer = wait_for(lambda: (found := n8n.post(year))[0] != 409 and found, "the former backfill to be over")
    assert (status, answer["status"], answer["days"]) == (202, "accepted", 366)
    again = n8n.post(year)[1]
    assert (again["status"], again["backfill_id"]) == ("already_running", answer["backfill_id"])
    assert airflow.ask("PUT", f"/api/v2/backfills/{answer['backfill_id']}/cancel").status_code == 200
    airflow.wait_for_loads()
    found = ended(n8n, answer["backfill_id"])
    assert found["status"] == "failed"
    assert sum(found["progress"].values()) == 366
    dry = n8n.post({**year, "dry_run": True})[1]
    assert len(dry["would_run"]) == found["progress"]["failed"] > 300
    assert len(dry["already_done"]) == found["progress"]["done"]


def test_then_all_invariants_hold(airflow, n8n):
    assert_airflow_is_well(airflow)
    wait_for(lambda: not n8n.waiting(), "no execution to wait", 60)
