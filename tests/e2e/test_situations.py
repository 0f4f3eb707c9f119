"""What people do to a running Airflow, and what happens to it; then all invariants hold.

`situations.md` in docs/ lists every situation with its test. The days of each test are its own.
"""

import datetime as dt
import json
import re

import pytest

from scripts.bronze.ledger import decode
from scripts.sample_api import data
from scripts.sample_api.server import Fault

from .invariants import assert_airflow_is_well
from .person import Person
from .waiting import wait_for

pytestmark = pytest.mark.timeout(6000)

USERS = {"source": "jsonplaceholder", "resources": ["users"]}
TODAY = dt.datetime.now(dt.UTC).date()
YESTERDAY = str(TODAY - dt.timedelta(days=1))


@pytest.fixture(autouse=True)
def source_as_before(source):
    yield
    source.faults.clear()
    source.first_day = data.FIRST_DAY


@pytest.fixture
def other_rows(source):
    """Make the source send other rows for each day from now on; returns a function."""

    def change():
        source.first_day = data.FIRST_DAY - dt.timedelta(days=10)

    return change


def record(airflow, day, resource="users"):
    return airflow.data_dir / f"bronze/_ledger/jsonplaceholder/{resource}/{day}.json"


def entry(airflow, day, resource="users"):
    return decode(record(airflow, day, resource))


def start(airflow, day, **conf):
    """Start to load the users of a day, and return the run's id."""
    return airflow.trigger("pipeline_bronze", day=day, **USERS | conf)


def loaded(airflow, *days):
    """Load the users of days, wait until Gold has them, and return the id of each run."""
    runs = [start(airflow, day) for day in days]
    assert {airflow.wait("pipeline_bronze", run)["state"] for run in runs} == {"success"}
    airflow.wait_for_loads()
    assert {*days} <= airflow.gold_days("users")
    return runs


def hang(source, day, path="/users", seconds=600):
    """Let the source send nothing for a resource of a day, once; returns the fault."""
    fault = Fault("timeout", path=path, seconds=seconds, day=day)
    source.faults.append(fault)
    return fault


def asked(fault):
    """Wait until a request hangs in a fault."""
    wait_for(lambda: not fault.times, "the request that hangs", 240)


def go_on(source):
    """End every fault; requests that hang go on."""
    source.faults.clear()


def due(pipeline):
    """Return the state of each day of the users that is due."""
    found = json.loads(pipeline("due", "--json").stdout)["partitions"]
    return {item["day"]: item["state"] for item in found if item["resource"] == "users"}


def cleared_alone(airflow, run_id, task, day):
    """Clear one task without what comes after it, and wait for the end of the run."""
    index = airflow.tasks("pipeline_bronze", run_id)[f"{task} jsonplaceholder/users {day}"]["map_index"]
    body = {
        "dag_run_id": run_id,
        "task_ids": [[task, index]],
        "dry_run": False,
        "only_failed": False,
        "include_downstream": False,
        "reset_dag_runs": True,
    }
    assert airflow.ask("POST", "/api/v2/dags/pipeline_bronze/clearTaskInstances", body).ok
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"


@pytest.mark.long
def test_a_full_refresh_while_days_are_loaded_again(airflow, source, other_rows, pipeline):
    days = ["2025-01-01", "2025-01-02"]
    loaded(airflow, *days)
    before = [entry(airflow, day).content_hash for day in days]
    other_rows()
    fault = hang(source, days[1], seconds=15)
    run_id = start(airflow, days[1])
    asked(fault)
    first = ("--source", "jsonplaceholder", "--resource", "users", "--start-date", days[0], "--end-date", days[0])
    assert pipeline("ingest", *first).returncode == 0
    assert entry(airflow, days[0]).status == "ingested", "loaded, and not validated"
    done = pipeline("build", "--full-refresh")
    assert done.returncode == 0, done.stderr
    assert days[0] not in airflow.gold_days("users"), "what is not validated is not published"

    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"
    airflow.reconcile()
    assert {*days} <= airflow.gold_days("users")
    assert not {entry(airflow, day).content_hash for day in days} & {*before}


def test_gold_is_paused_and_its_event_is_lost(airflow):
    day = "2025-01-05"
    airflow.wait_for_loads()
    known = len(airflow.runs("pipeline_silver", state="success"))
    with airflow.paused("dbt_dag"):
        run_id = start(airflow, day)
        assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"
        wait_for(lambda: len(airflow.runs("pipeline_silver", state="success")) > known, "Silver", 240)
        assert day not in airflow.gold_days("users")
        for run in airflow.runs("dbt_dag", state="queued"):
            airflow.delete("dbt_dag", run["dag_run_id"])
    airflow.reconcile()
    assert day in airflow.gold_days("users")


@pytest.mark.long
def test_a_range_with_today_then_the_run_of_that_day(airflow, other_rows, pipeline):
    run_id = airflow.trigger("pipeline_bronze", start_date=YESTERDAY, end_date=str(TODAY), **USERS)
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"
    assert due(pipeline)[str(TODAY)] == "provisional"

    # a day later: the record of yesterday is one that was made before its end
    path = record(airflow, YESTERDAY)
    noon = f"{YESTERDAY}T12:00:00Z"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started_at": noon, "loaded_at": noon}))
    before = entry(airflow, YESTERDAY)
    other_rows()
    # its plan is the one of the daily run: days that are loaded are left out
    airflow.start_backfill(YESTERDAY, YESTERDAY, dag_run_conf=USERS)
    wait_for(lambda: (now := entry(airflow, YESTERDAY)).started_at > before.started_at and now, "the load", 240)
    airflow.wait_for_loads()
    assert entry(airflow, YESTERDAY).content_hash != before.content_hash
    assert YESTERDAY in airflow.gold_days("users")
    assert YESTERDAY not in due(pipeline)


def test_ingest_or_validate_cleared_without_what_comes_after_it(airflow, other_rows):
    days = ["2025-01-10", "2025-01-11"]
    runs = loaded(airflow, *days)
    before = [entry(airflow, day) for day in days]
    other_rows()
    cleared_alone(airflow, runs[0], "load.ingest", days[0])
    cleared_alone(airflow, runs[1], "load.validate", days[1])
    airflow.reconcile()
    now = [entry(airflow, day) for day in days]
    assert [one.status for one in now] == ["validated"] * 2
    assert now[0].content_hash != before[0].content_hash, "it was loaded again"
    assert now[1].content_hash == before[1].content_hash
    assert {*days} <= airflow.gold_days("users")


@pytest.mark.long
def test_a_run_stopped_after_validating_and_cleared_whole(airflow, source, other_rows):
    day = "2025-01-15"
    fault = hang(source, day, "/todos")
    run_id = start(airflow, day, resources=["users", "todos"])
    asked(fault)
    wait_for(lambda: record(airflow, day).exists() and entry(airflow, day).status == "validated", "the users", 240)
    airflow.set_state("pipeline_bronze", run_id, "failed")
    before = entry(airflow, day)
    go_on(source)
    other_rows()
    airflow.post(f"dags/pipeline_bronze/dagRuns/{run_id}/clear".replace("+", "%2B"), {"dry_run": False})
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"
    airflow.wait_for_loads()
    assert entry(airflow, day).content_hash != before.content_hash, "a cleared run loads its day again"
    assert {(name, day in airflow.gold_days(name)) for name in ("users", "todos")} == {("users", True), ("todos", True)}


@pytest.mark.long
@pytest.mark.parametrize(("dag_id", "first"), [("pipeline_silver", "2025-01-20"), ("dbt_dag", "2025-01-23")])
def test_a_run_of_silver_or_gold_is_deleted_while_days_load(airflow, source, dag_id, first):
    last = str(dt.date.fromisoformat(first) + dt.timedelta(days=1))
    airflow.wait_for_loads()
    known = {run["dag_run_id"] for run in airflow.runs(dag_id)}

    def made():
        return [run["dag_run_id"] for run in airflow.runs(dag_id) if run["dag_run_id"] not in known]

    if dag_id == "pipeline_silver":
        # a day that hangs keeps Silver waiting
        hang(source, last, seconds=20)
    airflow.start_backfill(first, last, dag_run_conf=USERS)
    for run_id in wait_for(made, f"a run of {dag_id}", 240):
        airflow.delete(dag_id, run_id)
    airflow.wait_for_loads()
    airflow.reconcile()
    assert {first, last} <= airflow.gold_days("users")


@pytest.mark.long
def test_a_task_or_a_run_marked_success_by_hand(airflow, source, pipeline):
    days = ["2025-02-01", "2025-02-02"]
    source.faults += [Fault("status", path="/users", status=404, times=100, day=day) for day in days]
    runs = [start(airflow, day) for day in days]
    assert {airflow.wait("pipeline_bronze", run)["state"] for run in runs} == {"failed"}
    airflow.set_state("pipeline_bronze", runs[0], "success")
    task = airflow.tasks("pipeline_bronze", runs[1])[f"load.ingest jsonplaceholder/users {days[1]}"]
    path = f"/api/v2/dags/pipeline_bronze/dagRuns/{runs[1]}/taskInstances/load.ingest/{task['map_index']}"
    assert airflow.ask("PATCH", path.replace("+", "%2B"), {"new_state": "success"}).ok
    airflow.reconcile()
    # nothing says that they are loaded, and health names both
    assert {*days} <= due(pipeline).keys()
    # as one problem, or as two if their errors differ
    named = [text.partition(": ")[0] for text in problems(pipeline) if text.startswith("jsonplaceholder/users/")]
    assert all(any(day in text for text in named) for day in days), named

    go_on(source)
    airflow.start_backfill(days[0], days[1], dag_run_conf=USERS)
    wait_for(lambda: not {*days} & due(pipeline).keys(), "the days", 240)
    airflow.wait_for_loads()
    assert {*days} <= airflow.gold_days("users")


def problems(pipeline):
    """Return the problems that health names."""
    return json.loads(pipeline("health", "--json").stdout)["problems"]


@pytest.mark.long
def test_the_schedule_was_off_for_days(airflow, changed, pipeline):
    days = [str(TODAY - dt.timedelta(days=back)) for back in (4, 3, 2)]
    loaded(airflow, days[0])
    with airflow.paused("pipeline_bronze"):
        assert {*days[1:]} <= due(pipeline).keys()
        (named,) = [
            text for text in problems(pipeline) if text.startswith("jsonplaceholder/users: ") and "missing" in text
        ]
        assert f"to {days[2]} missing" in named
        airflow.reconcile()
        assert not record(airflow, days[1]).exists(), "its contract does not ask for it"

        asks = f"default_resource: posts\ncatchup: true\nstart_date: {days[0]}"
        changed("scripts/sources/jsonplaceholder.yml", "default_resource: posts", asks)
        airflow.reconcile()
        assert {*days} <= airflow.gold_days("users")
        assert {*days} <= airflow.gold_days("todos")


@pytest.mark.long
def test_silver_and_gold_are_paused_during_a_backfill(airflow):
    days = ["2025-02-10", "2025-02-11"]
    airflow.wait_for_loads()
    with airflow.paused("pipeline_silver", "dbt_dag"):
        airflow.start_backfill(*days, dag_run_conf=USERS)
        wait_for(lambda: all(record(airflow, day).exists() for day in days), "the days", 240)
        assert not {*days} & airflow.gold_days("users")
    airflow.wait_for_loads()
    airflow.reconcile()
    assert {*days} <= airflow.gold_days("users")


def test_a_run_of_a_paused_dag_keeps_nothing_else_from_being_done(airflow, source, pipeline):
    day, other = "2025-02-15", "2025-02-16"
    airflow.wait_for_loads()
    fault = hang(source, day, seconds=10)
    run_id = start(airflow, day)
    asked(fault)
    with airflow.paused("pipeline_bronze"):
        asked_for = ("--source", "jsonplaceholder", "--resource", "users", "--start-date", other, "--end-date", other)
        assert pipeline("ingest", *asked_for).returncode == 0
        # not `wait_for_loads`: the run of the paused DAG goes on being active
        assert airflow.wait("reconcile", airflow.trigger("reconcile"))["state"] == "success"
        assert entry(airflow, other).status == "validated"
        wait_for(lambda: other in airflow.gold_days("users"), "Gold", 240)
        path = f"dags/pipeline_bronze/dagRuns/{run_id}".replace("+", "%2B")
        assert airflow.get(path)["state"] == "running"
        assert airflow.waiting(), "what waits is seen"
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"


@pytest.mark.long
def test_a_file_that_cannot_be_read_or_a_missing_pool_is_named_by_health(airflow, project, pipeline):
    broken = project / "airflow" / "dags" / "broken.py"
    # Airflow reads only files that speak of it and of a DAG
    broken.write_text("from airflow.sdk import DAG\nthis is no python\n")
    pool = {"name": "warehouse", "slots": 1, "description": "builds", "include_deferred": False}
    airflow.wait_for_loads()
    assert airflow.ask("DELETE", "/api/v2/pools/warehouse", user="admin").ok
    try:
        found = wait_for(lambda: len(found := of_airflow(airflow, pipeline)) == 2 and found, "both problems", 600)
    finally:
        broken.unlink()
        assert airflow.ask("POST", "/api/v2/pools", pool, user="admin").ok
    assert re.search(r"DAG files: .*broken\.py: SyntaxError", str(found))
    assert "warehouse is missing, and builds wait for it (next: restart Airflow, which creates it)" in str(found)
    wait_for(lambda: not of_airflow(airflow, pipeline), "no problem", 600)


def of_airflow(airflow, pipeline):
    """Return what health names of the installation of Airflow, which it learns from any request."""
    assert airflow.ask("GET", "/api/v2/version").ok
    return [text for text in problems(pipeline) if text.startswith("Airflow, ")]


@pytest.mark.long
def test_a_browser_in_another_time_zone_gets_the_days_that_were_typed_or_a_refusal(airflow, browser):
    day = "2025-03-05"
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"})
    person = Person(browser, airflow, "operator")
    person.fill_in_a_backfill(day, day)
    # midnight in Tokyo belongs to another day in UTC
    person.reads("choose UTC in the menu of time zones")
    assert "2025-03-04 15:00:00 (UTC)" in person.text()
    assert not record(airflow, "2025-03-04").exists()

    browser.execute_script("localStorage.setItem('timezone', JSON.stringify('UTC'))")
    person.fill_in_a_backfill(day, day)
    person.press("Run Backfill", within="//*[@role='dialog']")
    wait_for(record(airflow, day).exists, "the day", 240)
    airflow.wait_for_loads()
    days = {run["partition_key"] for run in airflow.runs("pipeline_bronze") if "2025-03" in str(run["partition_key"])}
    assert days == {day}
    assert day in airflow.gold_days("users")


def test_then_all_invariants_hold(airflow):
    assert_airflow_is_well(airflow)
