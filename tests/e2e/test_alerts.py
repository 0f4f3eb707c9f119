"""Alerts of Airflow by their real causes: each once, with links that open; where each other alert is tested."""

import datetime as dt
import json
import re

import pytest

from scripts.bronze.ledger import decode
from scripts.config import PROJECT_DIR
from scripts.monitoring import alerts
from scripts.sample_api.server import Fault

from .airflow_stack import DONE
from .operating import every_link_opens, load, process_of, repaired, told
from .waiting import wait_for

pytestmark = pytest.mark.timeout(6000)

CLI, PREFECT, HERE = "tests/integration/test_alerts.py", "tests/e2e/test_prefect.py", "tests/e2e/test_alerts.py"
REPAIRS, MORE = "tests/e2e/test_repairs.py", "tests/integration/test_digest.py"
NOT_SENT = {
    # a command has no deadline, and cron can end it (`timeout 2h pipeline run …`)
    ("run late", "terminal"),
    # DAG `maintenance` alone looks at the age of the data and reads its files; elsewhere, DATA OVERDUE tells of missing
    # days, and `pipeline health` and `pipeline status --verify` have exit codes for cron
    *((kind, place) for kind in ("data stale", "ledger") for place in ("terminal", "prefect")),
    *(("workflow failed", place) for place in ("terminal", "airflow", "prefect")),
}
"""Alerts that an entry point does not send."""
TESTS = {
    ("task failed", "terminal"): f"{MORE}::test_a_command_that_fails_sends_one_alert_and_a_wrong_request_none",
    ("validation failed", "terminal"): f"{CLI}::test_a_broken_rule_is_told_once_by_the_command",
    ("dbt failed", "terminal"): f"{CLI}::test_a_red_model_is_told_once_by_the_command_and_leads_to_its_place",
    (
        "rows quarantined",
        "terminal",
    ): f"{CLI}::test_a_backfill_gives_one_message_and_another_when_its_rows_are_gone",
    ("data overdue", "terminal"): f"{MORE}::test_what_a_reconciling_run_cannot_load_is_told_once_and_its_end_too",
    ("task failed", "airflow"): f"{HERE}::test_a_run_that_hangs_is_late_and_is_told_when_it_is_killed",
    ("validation failed", "airflow"): f"{REPAIRS}::test_a_rule_of_severity_fail",
    ("dbt failed", "airflow"): f"{HERE}::test_a_red_silver_build_writes_the_pages_and_leads_to_the_new_model",
    ("rows quarantined", "airflow"): f"{HERE}::test_a_backfill_gives_one_message_with_the_counts_of_the_ledger",
    ("run late", "airflow"): f"{HERE}::test_a_run_that_hangs_is_late_and_is_told_when_it_is_killed",
    ("data stale", "airflow"): f"{REPAIRS}::test_a_stale_source_and_a_damaged_file",
    ("ledger", "airflow"): f"{REPAIRS}::test_a_stale_source_and_a_damaged_file",
    ("data overdue", "airflow"): f"{REPAIRS}::test_days_missing_in_the_middle",
    ("task failed", "prefect"): f"{PREFECT}::test_a_run_whose_process_was_killed_is_told",
    ("validation failed", "prefect"): f"{PREFECT}::test_a_broken_rule_is_told_once_as_such",
    ("dbt failed", "prefect"): f"{PREFECT}::test_a_red_model_makes_the_flow_red_and_publishes_nothing",
    ("rows quarantined", "prefect"): f"{PREFECT}::test_three_days_leave_tasks_and_artifacts_that_a_person_reads",
    ("run late", "prefect"): (
        f"{PREFECT}::test_a_daily_run_whose_worker_was_killed_gives_each_alert_once_and_the_next_one_runs"
    ),
    ("data overdue", "prefect"): f"{PREFECT}::test_days_that_nobody_loads_are_told_by_the_reconciling_flow",
    ("workflow failed", "n8n"): "tests/e2e/test_webhook.py::test_airflow_is_down_and_somebody_is_told",
}
"""The test of each alert by its real cause, by the entry point that sends it."""


def test_each_alert_has_a_test_for_each_entry_point():
    pairs = {(kind, place) for kind in alerts.RUNBOOK for place in ("terminal", "airflow", "prefect")}
    assert pairs | {("workflow failed", "n8n")} == TESTS.keys() | NOT_SENT
    assert TESTS.keys().isdisjoint(NOT_SENT)
    for test in TESTS.values():
        path, _, name = test.partition("::")
        assert re.search(rf"^def {name}\(", (PROJECT_DIR / path).read_text(), re.MULTILINE), test


@pytest.fixture(autouse=True)
def no_faults_left(source):
    yield
    source.faults.clear()


def test_a_run_that_hangs_is_late_and_is_told_when_it_is_killed(airflow, source, sink):
    """Its process is killed at each try, as the kernel does when memory runs out, so that no retry is left."""
    day = "2024-07-20"
    source.faults.append(Fault("timeout", path="/users", seconds=300, times=10_000, day=day))
    conf = {"source": "jsonplaceholder", "resources": ["users"]}
    run_id = airflow.trigger("pipeline_bronze", day=day, **conf)
    every_link_opens(airflow, told(sink, "RUN LATE: pipeline_bronze", run_id))

    label = f"load.ingest jsonplaceholder/users {day}"
    killed = set()

    def kill():
        # a running task has its label
        task = airflow.tasks("pipeline_bronze", run_id).get(label, {"state": "between two tries"})
        if task["state"] == "running" and (process := process_of(airflow, task)) and process.pid not in killed:
            killed.add(process.pid)
            process.kill()
        return task["state"] == "failed" and task

    task = wait_for(kill, "a task without retries", 300)
    assert len(killed) == task["try_number"] == 4
    alert = told(sink, "TASK FAILED", f"load.ingest jsonplaceholder/users {day}")
    assert "it was killed" in alert
    assert "clear the task in Airflow" in alert
    every_link_opens(airflow, alert)

    source.faults.clear()
    repaired(airflow, "pipeline_bronze", run_id, label, day)
    assert len([text for text in sink.texts if run_id in text and text.startswith("RUN LATE")]) == 1


def test_no_run_that_ended_in_time_is_called_late(airflow, sink):
    """Airflow checks the deadline of a run that has ended, too."""
    # a run that somebody has marked was perhaps never queued or never began: Airflow then keeps no time of it
    timed = [run for run in airflow.runs("pipeline_bronze") if run["queued_at"] and run["end_date"]]
    ended = [run for run in timed if run["state"] in DONE]
    assert ended
    deadline = dt.timedelta(seconds=40)
    for run in ended:
        # a run that was cleared has another end, and was queued again
        began, queued, end = (dt.datetime.fromisoformat(run[name]) for name in ("run_after", "queued_at", "end_date"))
        took = end - min(began, queued)
        if took < deadline:
            late = [text for text in sink.texts if text.startswith("RUN LATE") and f"run {run['dag_run_id']}\n" in text]
            assert late == [], took


@pytest.mark.long
def test_a_red_silver_build_writes_the_pages_and_leads_to_the_new_model(airflow, project, changed, sink):
    """Silver is red: nothing runs after it. dbt's site does not know the new model, since it was never published."""
    day, docs = "2024-07-21", airflow.data_dir / "docs"
    airflow.wait_for_loads()
    known = {run["dag_run_id"] for run in airflow.runs("pipeline_silver", state="failed")}
    about = "version: 2\nmodels:\n  - name: stg_new\n    description: One row per thing that is new.\n"
    changed("dbt/models/staging/stg_new.yml", "", about)
    changed(
        "dbt/models/staging/stg_new.sql",
        "",
        "{{ config(materialized='table') }} select nothing from {{ ref('stg_jsonplaceholder__users') }}\n",
    )
    load(airflow, day)
    alert = told(sink, "DBT FAILED", "stg_new", 240)
    # the run ends after its task has sent the alert
    (red,) = wait_for(
        lambda: [run for run in airflow.runs("pipeline_silver", state="failed") if run["dag_run_id"] not in known],
        "the red run",
        240,
    )
    for name in ("results.html", "health.html"):
        page = (docs / name).read_text()
        assert page.index("failed") < page.index("<section"), name
        assert "stg_new" in page, name
    assert any(
        "the last build failed" in text
        for text in json.loads((airflow.data_dir / "health.json").read_text())["problems"]
    )
    page = every_link_opens(airflow, alert, user="viewer")["results"]
    assert "#model.data_pipeline.stg_new" in alert
    for words in (
        "One row per thing that is new.",
        "models/staging/stg_new.sql",
        "select nothing from",
        "stg_jsonplaceholder__users",
    ):
        assert words in page
    assert "the build goes on where it failed" in alert

    changed.back()
    repaired(airflow, "pipeline_silver", red["dag_run_id"], "build_silver", day)
    assert "failed" not in (docs / "results.html").read_text()


def quarantined(airflow, days):
    """Return the counts of the users of days: quarantined and fetched."""
    found = [decode(airflow.data_dir / f"bronze/_ledger/jsonplaceholder/users/{day}.json") for day in days]
    return sum(entry.quarantined for entry in found), sum(entry.fetched for entry in found)


@pytest.mark.parametrize(
    ("first", "last"), [("2024-07-01", "2024-07-03"), pytest.param("2024-05-10", "2024-06-09", marks=pytest.mark.long)]
)
def test_a_backfill_gives_one_message_with_the_counts_of_the_ledger(airflow, sink, first, last):
    airflow.wait_for_loads()
    number = dt.date.fromisoformat(last) - dt.date.fromisoformat(first)
    days = [str(dt.date.fromisoformat(first) + dt.timedelta(days=count)) for count in range(number.days + 1)]
    # what other tests have loaded is told before
    airflow.wait("reconcile", airflow.trigger("reconcile"))
    before = len(sink.texts)
    airflow.start_backfill(first, last, dag_run_conf={"source": "jsonplaceholder", "resources": ["users"]})
    wait_for(lambda: set(days) <= airflow.gold_days("users"), "the days", 1200)
    airflow.wait_for_loads()
    # if loads were active when the last build ended, the reconciling run tells
    airflow.wait("reconcile", airflow.trigger("reconcile"))
    found = [
        text
        for text in sink.texts[before:]
        if text.startswith("ROWS QUARANTINED") and "jsonplaceholder/users, " in text
    ]
    assert len(found) == 1, found
    rows, fetched = quarantined(airflow, days)
    assert rows == len(days)
    assert f"jsonplaceholder/users, {first} to {last}: {rows} of {fetched} rows" in found[0]
    every_link_opens(airflow, found[0])
