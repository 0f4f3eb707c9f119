"""Prepared failures on a real Airflow, each repaired as the runbook says, until Gold has the day.

Other failures of the same list are in `test_airflow.py`: a model error, killed workers, Silver paused.
"""

import json

import pytest

from scripts.sample_api.server import Fault

from .invariants import assert_airflow_is_well
from .waiting import wait_for

pytestmark = pytest.mark.timeout(6000)
CONTRACT = "scripts/sources/jsonplaceholder.yml"


@pytest.fixture(autouse=True)
def no_faults_left(source):
    yield
    source.faults.clear()


def load(airflow, day, resource="users", **conf):
    """Load a day in a run, and return the run's id and its state."""
    run_id = airflow.trigger("pipeline_bronze", day=day, source="jsonplaceholder", resources=[resource], **conf)
    return run_id, airflow.wait("pipeline_bronze", run_id)["state"]


def repaired(airflow, dag_id, run_id, task, day, resource="users"):
    """Clear a task as the runbook says; it worked when the run has succeeded and Gold has the day."""
    assert airflow.clear(airflow.tasks(dag_id, run_id)[task]).status_code == 200
    assert airflow.wait(dag_id, run_id)["state"] == "success"
    airflow.wait_for_loads()
    assert day in airflow.gold_days(resource)


def told(sink, kind, words):
    """Return the one alert of a kind, or of some kinds, that has some words."""
    found = wait_for(
        lambda: [text for text in sink.texts if text.startswith(kind) and words in text], f"{kind} {words}", 120
    )
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("status", "day"), [(401, "2024-10-01"), pytest.param(503, "2024-10-02", marks=pytest.mark.long)]
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


@pytest.mark.long
def test_days_missing_in_the_middle(airflow, pipeline):
    days = ["2024-10-06", "2024-10-07", "2024-10-08"]

    def missing():
        due = json.loads(pipeline("due", "--json").stdout)["partitions"]
        return {item["day"] for item in due if item["resource"] == "users" and item["state"] == "missing"} & {*days}

    for day in (days[0], days[2]):
        assert load(airflow, day)[1] == "success"
    assert missing() == {days[1]}
    assert "users" in pipeline("health").stdout

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


def test_then_all_invariants_hold(airflow):
    assert_airflow_is_well(airflow)
