"""Prepared failures on a real Airflow, each repaired as the runbook says, until Gold has the day.

The others of the twelve are in `test_airflow.py`: a model error, killed workers, Silver paused.
"""

import contextlib
import datetime as dt
import json
import re

import pytest

from scripts.sample_api.server import Fault
from tests.support.required import without

from .invariants import assert_airflow_is_well
from .operating import every_link_opens, load, repaired, told
from .waiting import wait_for

pytestmark = pytest.mark.timeout(6000)
CONTRACT = "scripts/sources/jsonplaceholder.yml"


@pytest.fixture(autouse=True)
def no_faults_left(source):
    yield
    source.faults.clear()


@pytest.mark.parametrize(
    ("status", "day"),
    [pytest.param(401, "2024-10-01", marks=pytest.mark.long), pytest.param(503, "2024-10-02", marks=pytest.mark.long)],
)
def test_a_source_that_refuses_or_is_down(airflow, source, sink, status, day):
    source.faults.append(Fault("status", path="/users", status=status, times=10_000, day=day))
    run_id, state = load(airflow, day)
    assert state == "failed"
    assert f"HTTP {status}" in told(sink, "TASK FAILED", f"users {day}")
    assert day not in airflow.gold_days("users")

    source.faults.clear()
    repaired(airflow, "pipeline_bronze", run_id, f"load.ingest jsonplaceholder/users {day}", day)


def test_a_rule_of_severity_fail(airflow, sink, changed):
    day = "2024-10-03"
    changed(CONTRACT, "severity: fail, row_count: {min: 1}", "severity: fail, row_count: {min: 1000}")
    run_id, state = load(airflow, day)
    assert state == "failed"
    alert = told(sink, "VALIDATION FAILED", f"users {day}")
    assert "users_present" in alert
    assert "clear `load.ingest` of the day in Airflow" in alert
    assert "10 quarantined rows" not in every_link_opens(airflow, alert)["quarantined rows"]
    airflow.wait_for_loads()
    assert day not in airflow.gold_days("users")

    changed.back()
    repaired(airflow, "pipeline_bronze", run_id, f"load.ingest jsonplaceholder/users {day}", day)


@pytest.mark.long
def test_a_mistyped_field(airflow, sink, changed):
    """The source sends a truth value where the contract says a number; no row fits, so that the load is refused."""
    day = "2024-10-04"
    completed = "{name: completed, type: boolean, nullable: false, description: Whether it is done.}"
    changed(CONTRACT, completed, completed.replace("boolean", "integer"))
    run_id, state = load(airflow, day, "todos")
    assert state == "failed"
    assert "`completed`" in told(sink, ("TASK FAILED", "VALIDATION FAILED"), f"todos {day}")

    changed.back()
    repaired(airflow, "pipeline_bronze", run_id, f"load.ingest jsonplaceholder/todos {day}", day, "todos")


@pytest.mark.long
def test_a_failing_test_of_dbt(airflow, sink, changed):
    day = "2024-10-05"
    airflow.wait_for_loads()
    known = {run["dag_run_id"] for run in airflow.runs("dbt_dag")}
    changed("dbt/tests/no_user_seven.sql", "", "select user_id from {{ ref('dim_users') }} where user_id = '7'\n")
    load(airflow, day)
    red = wait_for(
        lambda: [run for run in airflow.runs("dbt_dag", state="failed") if run["dag_run_id"] not in known], "red", 240
    )[-1]
    assert "rows of `no_user_seven`: {user_id=7}" in told(sink, "DBT FAILED", "no_user_seven")

    changed.back()
    repaired(airflow, "dbt_dag", red["dag_run_id"], "build_gold", day)


def tells_of(text, day):
    """Return whether a message says that the users of a day are missing, alone or in a range."""
    lines = [line for line in text.splitlines() if re.match(r"jsonplaceholder/users: .* missing", line)]
    days = re.findall(r"(\d{4}-\d\d-\d\d)(?: to (\d{4}-\d\d-\d\d))?", "".join(lines))
    return any(first <= day <= (last or first) for first, last in days)


@pytest.mark.long
def test_days_missing_in_the_middle(airflow, pipeline, sink):
    days = ["2024-10-06", "2024-10-07", "2024-10-08"]

    def missing():
        due = json.loads(pipeline("due", "--json").stdout)["partitions"]
        return {item["day"] for item in due if item["resource"] == "users" and item["state"] == "missing"} & {*days}

    for day in (days[0], days[2]):
        assert load(airflow, day)[1] == "success"
    assert missing() == {days[1]}
    assert "users" in pipeline("health").stdout
    airflow.wait_for_loads()
    airflow.wait("reconcile", airflow.trigger("reconcile"))
    # other tests have gaps, too: an alert may have told of a longer one, of which this day is a part
    alert = [text for text in sink.texts if text.startswith("DATA OVERDUE") and tells_of(text, days[1])][-1]
    assert "*Backfill* of `pipeline_bronze` loads missing days" in alert
    every_link_opens(airflow, alert)

    airflow.start_backfill(days[0], days[2], dag_run_conf={"source": "jsonplaceholder", "resources": ["users"]})
    wait_for(lambda: not missing(), "the day", 300)
    airflow.wait_for_loads()
    assert {*days} <= airflow.gold_days("users")


@pytest.mark.long
def test_a_wrong_contract_stops_only_its_source(airflow, changed, pipeline):
    changed("scripts/sources/coin_prices.yml", "source: coin_prices", "sourced: coin_prices")
    assert load(airflow, "2024-10-09")[1] == "success"
    health = pipeline("health").stdout
    assert "contract `coin_prices` is broken" in health
    assert "sourced" in pipeline("sources", "check").stderr

    changed.back()
    assert pipeline("sources", "check").returncode == 0
    assert "is broken" not in pipeline("health").stdout
    airflow.wait_for_loads()
    assert "2024-10-09" in airflow.gold_days("users")


def test_a_full_disk(airflow, sink, pipeline):
    disk, day = airflow.data_dir / "bronze", "2024-10-11"
    if not disk.is_mount():
        without("REQUIRE_SMALL_DISK", "this user may not mount a small disk")
    airflow.wait_for_loads()
    filler = disk / "_staging" / "filler.bin"
    filler.parent.mkdir(exist_ok=True)
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"\0" * 1024):
            pass
    try:
        run_id, state = load(airflow, day, "posts")
        assert state == "failed"
        alert = told(sink, "TASK FAILED", f"posts {day}")
        assert "no space left on the disk" in alert
        assert "clear the task in Airflow" in alert
        every_link_opens(airflow, alert)
        assert pipeline("doctor").returncode == 1
    finally:
        filler.unlink()
    assert day not in airflow.gold_days()

    repaired(airflow, "pipeline_bronze", run_id, f"load.ingest jsonplaceholder/posts {day}", day, "posts")
    assert pipeline("status", "--verify").returncode == 0


@pytest.mark.long
def test_a_stale_source_and_a_damaged_file(airflow, sink, changed, pipeline):
    """A source whose runs never started, and a file of Bronze that was changed: maintenance finds them."""
    day, yesterday = "2024-10-12", str(dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1))
    # it would load the day of the source at once
    with airflow.paused("reconcile"):
        assert load(airflow, day)[1] == "success"
        airflow.wait_for_loads()
        (file,) = (airflow.data_dir / "bronze/jsonplaceholder/users").glob(f"dt={day}/*.parquet")
        good = file.read_bytes()
        file.write_bytes(good + b"damaged")
        changed("scripts/sources/coin_prices.yml", "daily: false", "daily: true")
        run_id = airflow.trigger("maintenance")
        assert airflow.wait("maintenance", run_id)["state"] == "failed"
        stale = told(sink, "DATA STALE", "coin_prices/prices: last day never")
        damaged = told(sink, "LEDGER", f"users/{day}")
        for alert in (stale, damaged):
            every_link_opens(airflow, alert)
        assert "*Backfill* loads missing days" in stale

    # as the runbook says: load the day of each again, then clear what has failed
    again, state = load(airflow, day)
    assert state == "success", again
    assert load(airflow, yesterday, "prices", source="coin_prices")[1] == "success"
    airflow.wait_for_loads()
    tasks = airflow.tasks("maintenance", run_id)
    for name in ("verify_ledger", "check_freshness"):
        assert airflow.clear(tasks[name]).status_code == 200
    assert airflow.wait("maintenance", run_id)["state"] == "success"
    assert pipeline("status", "--verify").returncode == 0
    assert day in airflow.gold_days("users")
    assert yesterday in airflow.gold_days("prices")
    assert "coin_prices" not in [line for line in pipeline("health").stdout.splitlines() if "stale" in line]


def test_then_all_invariants_hold(airflow):
    assert_airflow_is_well(airflow)
