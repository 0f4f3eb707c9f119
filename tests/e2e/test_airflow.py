"""The real Airflow, over its REST API: daily runs, backfills, faults, clearing, kills, roles."""

import collections
import contextlib
import datetime as dt
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from urllib.parse import quote

import duckdb
import psutil
import pytest
import requests

from scripts.admin.env_file import SECRET_NAMES
from scripts.bronze.folder_store import FolderStore
from scripts.bronze.ledger import decode
from scripts.bronze.run import Run
from scripts.config import PROJECT_DIR
from scripts.loading.partitions import load
from scripts.sample_api.server import Fault
from scripts.warehouse.build import build_warehouse
from tests.support.from_address import session_from
from tests.support.lineage_receiver import problems
from tests.support.tables import tables

from .airflow_stack import DONE
from .invariants import assert_airflow_is_well
from .waiting import wait_for

pytestmark = pytest.mark.timeout(6000)

RESOURCES = ("posts", "users", "comments", "todos")


@pytest.fixture(autouse=True)
def no_faults_left(source):
    yield
    source.faults.clear()


def entry(airflow, resource, day):
    return decode(airflow.data_dir / f"bronze/_ledger/jsonplaceholder/{resource}/{day}.json")


def every_link_opens(airflow, alert):
    """Open each page that an alert names, and look for the place on it."""
    links = re.findall(rf"^[\w ]+: {re.escape(airflow.url)}(/\S+)$", alert, re.MULTILINE)
    assert len(links) >= 2, alert
    for path, _, anchor in (link.partition("#") for link in links):
        answer = airflow.ask("GET", path)
        assert answer.status_code == 200, path
        assert f'id="{anchor}"' in answer.text or not anchor, f"{path}#{anchor}"


def task_process(airflow, dag_id, task_id):
    """Return the process that runs a task, once there is one."""

    def find():
        running = airflow.get(f"dags/{dag_id}/dagRuns/~/taskInstances?state=running")["task_instances"]
        # its supervisor is called by the same id
        wanted = [f"worker -- {task['id']}" for task in running if task["task_id"] == task_id]
        for child in psutil.Process(airflow.launcher.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(name in " ".join(child.cmdline()) for name in wanted):
                    return child
        return None

    return wait_for(find, f"a process of {task_id}")


def execute(airflow, *command):
    """Run a command in the environment of Airflow, as `make airflow-cli` does."""
    return subprocess.run(
        [sys.executable, str(PROJECT_DIR / "infra/airflow_local.py"), "exec", *command],
        env=os.environ | {"DATA_DIR": str(airflow.data_dir)},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


def last_line(log):
    """Return the last line of a log that the form shows: Airflow ends each log with the mark of a group's end."""
    return [line for line in log.splitlines() if line != "::endgroup::"][-1]


def backfill(airflow, first, last, **options):
    """Run a backfill to its end, when the one before is over, and return its runs by day."""
    known = {run["dag_run_id"] for run in airflow.runs("pipeline_bronze", run_type="backfill")}
    airflow.start_backfill(first, last, **options)
    airflow.wait_for_loads(600)
    runs = [run for run in airflow.runs("pipeline_bronze", run_type="backfill") if run["dag_run_id"] not in known]
    return {run["partition_key"]: run for run in runs}


def test_the_first_daily_run_goes_through_to_gold(airflow):
    """Nothing was clicked: the DAGs are active, and yesterday is loaded, built, tested, published, documented."""
    run = wait_for(lambda: airflow.runs("pipeline_bronze"), "the first run")[0]
    assert airflow.wait("pipeline_bronze", run["dag_run_id"])["state"] == "success"
    airflow.wait_for_loads()
    day = run["partition_key"]
    assert day in airflow.gold_days()
    tasks = airflow.tasks("pipeline_bronze", run["dag_run_id"])
    assert {f"load.validate jsonplaceholder/{name} {day}" for name in RESOURCES} <= tasks.keys()

    gold = airflow.runs("dbt_dag", state="success")[0]
    build = airflow.tasks("dbt_dag", gold["dag_run_id"])["build_gold"]
    assert "model fct_events success in" in airflow.log(build)
    results = airflow.get(
        f"dags/dbt_dag/dagRuns/{gold['dag_run_id']}/taskInstances/build_gold/xcomEntries/results".replace("+", "%2B")
    )
    assert {"name": "fct_events", "kind": "model", "status": "success"}.items() <= next(
        row for row in results["value"] if row["name"] == "fct_events"
    ).items()
    assert "fct_events" in (airflow.data_dir / "docs/dbt/index.html").read_text()
    health = json.loads((airflow.data_dir / "health.json").read_text())
    assert {row["state"] for row in health["freshness"]} == {"ok"}
    assert min(row["published_day"] for row in health["freshness"]) >= day, "another test may have loaded today"

    def event(name):
        return next(event for event in airflow.events(name) if event["partition_key"] == day)

    assert event("bronze/jsonplaceholder/posts")["extra"]["bronze"] == entry(airflow, "posts", day).bronze
    assert all(event(name) for name in ("silver", "gold", "silver/stg_jsonplaceholder__users", "gold/dim_users"))
    assert event("gold/fct_events")["extra"]["rows"] > 0
    assert event("gold/fct_events")["extra"]["tests"]["pass"] > 5
    assert event("silver/users_snapshot")["extra"]["description"].startswith("One row per user and version")
    # other tests build by the command line too, which gives no event: let the last build of each table be Airflow's
    airflow.wait("pipeline_bronze", airflow.trigger("pipeline_bronze", day="2025-03-20", source="jsonplaceholder"))
    airflow.wait_for_loads()
    with duckdb.connect(str(airflow.data_dir / "warehouse.duckdb"), read_only=True) as connection:
        counted = connection.execute("select layer || '/' || model, row_count from _pipeline.models").fetchall()
    # the last event of a table is of the last build that changed it
    last = {
        name: [event["extra"] for event in airflow.events(name) if event["partition_key"] is None][-1]
        for name, _ in counted
        if "coin" not in name
    }
    assert {name: extra["rows"] for name, extra in last.items()} == {name: dict(counted)[name] for name in last}
    assert last["gold/fct_events"]["seconds"] > 0


def lineage(airflow, name):
    """Return what each table is made from, by the page of an asset; empty before Airflow has read the built project."""
    assets = {asset["name"]: asset["id"] for asset in airflow.get("assets?limit=1000")["assets"]}
    answer = airflow.ask("GET", f"/ui/dependencies?node_id=asset:{assets[name]}&dependency_type=data")
    if not answer.ok:
        return {}
    names = {node["id"]: node["label"] for node in answer.json()["nodes"]}
    edges = [(names[edge["source_id"]], names[edge["target_id"]]) for edge in answer.json()["edges"]]
    makers = {target: maker for maker, target in edges if maker.startswith("tables.")}
    return {table: {read for read, maker in edges if maker == made_by} for table, made_by in makers.items()}


def test_the_graph_of_an_asset_leads_from_each_resource_to_gold(airflow):
    airflow.wait_for_loads()
    users = "silver/stg_jsonplaceholder__users"
    found = wait_for(lambda: (found := lineage(airflow, "gold/dim_users")).get(users) and found, "the edges", 120)
    assert found[users] == {"bronze/jsonplaceholder/users"}
    assert users in found["gold/dim_users"]
    assert found["bronze/jsonplaceholder/users"] == {"api/jsonplaceholder/users"}
    used = lineage(airflow, "exposure/user_activity_report")
    assert used["exposure/user_activity_report"] == {"gold/dim_users", "gold/fct_user_activity_daily"}
    assert used["bronze/jsonplaceholder/posts"] == {"api/jsonplaceholder/posts"}
    assert not any("coin" in name for name in [*found, *set[str]().union(*found.values())]), "another source"


@pytest.mark.long
def test_a_dag_of_a_consumer_runs_each_time_that_its_table_changes(airflow, project):
    """The DAG is the example of `docs/lineage.md`."""
    page = (PROJECT_DIR / "docs/lineage.md").read_text()
    (example,) = re.findall(r"```python\n(.*?Asset\(.*?)```", page, re.DOTALL)
    airflow.wait_for_loads()
    path = project / "airflow/dags/community_report.py"
    path.write_text(example)
    try:
        wait_for(lambda: airflow.ask("GET", "/api/v2/dags/community_report").ok, "the consumer's DAG", 300)
        day = "2024-04-02"
        airflow.wait("pipeline_bronze", airflow.trigger("pipeline_bronze", day=day))
        airflow.wait_for_loads()
        run = wait_for(lambda: airflow.runs("community_report"), "its run", 300)[-1]
        assert airflow.wait("community_report", run["dag_run_id"])["state"] == "success"
        log = airflow.log(airflow.tasks("community_report", run["dag_run_id"])["report"])
        with duckdb.connect(str(airflow.data_dir / "warehouse.duckdb"), read_only=True) as connection:
            (rows,) = connection.execute("select count(*) from gold.fct_events").fetchone()
        assert f"{rows} events; changed days: 1; version " in log
    finally:
        path.unlink()


def test_each_load_and_build_is_told_to_the_receiver_once(airflow, receiver):
    """Airflow's own provider of OpenLineage is not installed: no run is told a second time, as a task."""
    airflow.wait_for_loads()
    events = list(receiver.events)
    assert [problem for event in events for problem in problems(event)] == []
    kinds = {event["job"]["name"].partition(".")[0] for event in events}
    assert {"ingest", "validate", "build", "test"} == kinds
    assert {event["job"]["namespace"] for event in events} == {"data-pipeline"}
    told = collections.Counter((event["run"]["runId"], event["eventType"] == "START") for event in events)
    assert set(told.values()) == {1}, "each run has one start and one end"
    tags = {tag["key"]: tag["value"] for tag in events[0]["run"]["facets"]["tags"]["tags"]}
    assert tags["triggered_by"] in {"airflow", "reconcile"}


def test_a_backfill_lands_in_gold_once_per_day_as_the_command_line_does_it(airflow, start, tmp_path, source, env):
    airflow.wait_for_loads()
    before = len(airflow.runs("pipeline_silver"))
    # days that no command of the documents loads: what a command line builds has no event in Airflow
    runs = backfill(airflow, "2024-06-01", "2024-06-10")
    days = [f"2024-06-{day:02d}" for day in range(1, 11)]
    assert {day: run["state"] for day, run in runs.items()} == dict.fromkeys(days, "success")
    assert set(days) <= airflow.gold_days()
    made = airflow.runs("pipeline_silver")[before:]
    assert 1 <= len(made) <= 2, "one build serves all days, and there are no runs of nothing"
    for name in ("silver", "silver/stg_jsonplaceholder__users", "gold/dim_users", "gold"):
        assert set(days) <= {event["partition_key"] for event in airflow.events(name)}, name

    here = {"DATA_DIR": tmp_path / "cli", "API_BASE_URL": source.url}
    done = start("backfill", "--start-date", days[0], "--end-date", days[-1], **here)
    assert done.returncode == 0, done.stderr
    for resource in RESOURCES:
        for day in days:
            there = decode(tmp_path / f"cli/bronze/_ledger/jsonplaceholder/{resource}/{day}.json")
            assert entry(airflow, resource, day).content_hash == there.content_hash, (resource, day)

    # what other tests have loaded is in Airflow's tables too
    for name, value in here.items():
        env(name, value)
    theirs = FolderStore(airflow.data_dir / "bronze").entries()
    others = [loaded.partition for loaded in theirs if str(loaded.day) not in days and loaded.status == "validated"]
    assert all(outcome.entry for outcome in load(Run.create(triggered_by="test"), others))
    build_warehouse(Run.create(triggered_by="test"))
    ours, expected = (tables(folder / "warehouse.duckdb") for folder in (airflow.data_dir, tmp_path / "cli"))
    assert ours == expected


@pytest.mark.long
def test_a_backfill_skips_loaded_days_unless_reprocessing_is_asked_for(airflow, start, source):
    day, other = "2024-02-01", "2024-02-02"
    here = {"DATA_DIR": airflow.data_dir, "API_BASE_URL": source.url}
    done = start("ingest", "--start-date", day, "--end-date", day, **here)
    done = start("validate", "--start-date", day, "--end-date", day, **here)
    assert done.returncode == 0, done.stderr
    by_hand = entry(airflow, "posts", day).run_id

    runs = backfill(airflow, day, other, reprocess_behavior="none")
    assert airflow.tasks("pipeline_bronze", runs[day]["dag_run_id"])["plan"]["state"] == "skipped"
    assert entry(airflow, "posts", day).run_id == by_hand
    assert entry(airflow, "posts", other).run_id == runs[other]["dag_run_id"]

    # Airflow's command line passes by the API, so that the runbook gives it the options that the API adds
    command = ["airflow", "backfill", "create", "--dag-id", "pipeline_bronze", "--from-date", day, "--to-date", other]
    options = ["--reprocess-behavior", "completed", "--dag-run-conf", '{"reprocess": false}']
    wait_for(lambda: execute(airflow, *command, *options).returncode == 0, "the former backfill to be over")
    airflow.wait_for_loads()
    made = [run for run in airflow.runs("pipeline_bronze", run_type="backfill") if run["partition_key"] == day]
    assert len(made) == 2, "there is a run, which loads nothing"
    assert entry(airflow, "posts", day).run_id == by_hand
    assert entry(airflow, "posts", other).run_id == runs[other]["dag_run_id"]

    runs = backfill(airflow, day, other, reprocess_behavior="completed")
    assert entry(airflow, "posts", day).run_id == runs[day]["dag_run_id"]


def test_a_fault_fails_one_resource_alerts_and_is_repaired_by_clearing_it(airflow, source, sink):
    day = "2024-03-01"
    source.faults.append(Fault("status", path="/comments", status=503, times=10_000, day=day))
    run_id = airflow.trigger("pipeline_bronze", day=day)
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "failed"
    tasks = airflow.tasks("pipeline_bronze", run_id)
    failed = tasks[f"load.ingest jsonplaceholder/comments {day}"]
    assert (failed["state"], failed["try_number"]) == ("failed", 4), "a transient error is tried again three times"
    assert "HTTP 503" in last_line(airflow.log(failed | {"try_number": 1}))
    assert tasks[f"load.validate jsonplaceholder/posts {day}"]["state"] == "success", "the others go on"
    airflow.wait_for_loads()
    assert day in airflow.gold_days(), "what was loaded is published"

    alert = wait_for(lambda: [text for text in sink.texts if f"comments {day}" in text], "the alert")[0]
    assert alert.startswith("TASK FAILED: pipeline_bronze.load.ingest jsonplaceholder/comments")
    assert "503" in alert
    assert f"log: {airflow.url}/dags/pipeline_bronze/runs/" in alert
    assert f"runbook: {airflow.url}/pipeline/runbook#run-a-failed-dag-again" in alert
    every_link_opens(airflow, alert)
    assert len([text for text in sink.texts if f"comments {day}" in text]) == 1

    source.faults.clear()
    assert airflow.clear(failed, user="viewer").status_code == 403, "a viewer may look and not touch"
    assert airflow.clear(failed, user="operator").status_code == 200
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"
    tasks = airflow.tasks("pipeline_bronze", run_id)
    assert tasks[f"load.ingest jsonplaceholder/posts {day}"]["try_number"] == 1, "only the failed resource ran again"
    assert entry(airflow, "comments", day).status == "validated"
    airflow.wait_for_loads()
    assert day in airflow.gold_days("comments")


def test_a_final_error_fails_at_once_in_words(airflow, source):
    day = "2024-03-02"
    source.faults.append(Fault("status", path="/users", status=404, times=10_000, day=day))
    run_id = airflow.trigger("pipeline_bronze", day=day)
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "failed"
    failed = airflow.tasks("pipeline_bronze", run_id)[f"load.ingest jsonplaceholder/users {day}"]
    assert failed["try_number"] == 1
    log = airflow.log(failed)
    last = last_line(log)
    assert last.startswith(f"jsonplaceholder/users/{day}"), "the last line says what to do, below Airflow's own frames"
    assert "HTTP 404" in last
    assert "(next: " in last
    after = airflow.tasks("pipeline_bronze", run_id)[f"load.validate jsonplaceholder/users {day}"]
    assert after["state"] == "upstream_failed", "a task that did not run has a label too"


@pytest.mark.parametrize(
    ("request_body", "message"),
    [
        ({"logical_date": None, "conf": {"start_date": "2024-03-05"}}, "only one end of a range"),
        ({"logical_date": None, "conf": {"start_day": "2024-03-05"}}, "`start_day`"),
        ({"logical_date": None, "conf": {"start_date": "2024-03-05", "end_date": "2024-03-01"}}, "reversed"),
        ({"logical_date": None, "partition_key": "2099-01-01"}, "in the future"),
        ({"logical_date": "2024-03-05T22:00:00Z"}, "not the start of a day"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(airflow, request_body, message):
    run_id = airflow.post("dags/pipeline_bronze/dagRuns", request_body)["dag_run_id"]
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "failed"
    plan = airflow.tasks("pipeline_bronze", run_id)["plan"]
    assert plan["try_number"] == 1
    assert message in airflow.log(plan)


@pytest.mark.long
def test_a_logical_date_names_the_day_and_nothing_filled_in_yesterday(airflow):
    body = {"logical_date": "2024-03-25T00:00:00Z", "conf": {"source": "jsonplaceholder", "resources": ["users"]}}
    run_id = airflow.post("dags/pipeline_bronze/dagRuns", body)["dag_run_id"]
    other = airflow.trigger("pipeline_bronze", source="jsonplaceholder", resources=["users"])
    for each in (run_id, other):
        assert airflow.wait("pipeline_bronze", each)["state"] == "success"
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    assert "load.ingest jsonplaceholder/users 2024-03-25" in airflow.tasks("pipeline_bronze", run_id)
    assert f"load.ingest jsonplaceholder/users {yesterday}" in airflow.tasks("pipeline_bronze", other)
    assert entry(airflow, "users", yesterday).run_id == other, "a run by hand loads again"


@pytest.mark.long
def test_a_range_by_hand_goes_to_gold(airflow):
    run_id = airflow.trigger(
        "pipeline_bronze", start_date="2024-03-10", end_date="2024-03-12", source="jsonplaceholder", resources=["posts"]
    )
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"
    labels = {name for name in airflow.tasks("pipeline_bronze", run_id) if name.startswith("load.ingest")}
    assert labels == {f"load.ingest jsonplaceholder/posts 2024-03-{day}" for day in (10, 11, 12)}
    airflow.wait_for_loads()
    assert {"2024-03-10", "2024-03-11", "2024-03-12"} <= airflow.gold_days()


@pytest.mark.long
def test_a_worker_killed_in_ingest_is_tried_again(airflow, source):
    day = "2024-03-15"
    source.faults.append(Fault("timeout", path="/todos", seconds=60, day=day))
    run_id = airflow.trigger("pipeline_bronze", day=day)
    wait_for(lambda: not any(fault.times for fault in source.faults), "the request that hangs")
    task = task_process(airflow, "pipeline_bronze", "load.ingest")
    for process in (task.parent(), task):
        process.kill()
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"
    assert entry(airflow, "todos", day).status == "validated"
    airflow.wait_for_loads()
    assert day in airflow.gold_days()


@pytest.mark.long
def test_a_worker_killed_in_a_build_is_tried_again_and_leaves_no_lock(airflow):
    day = "2024-03-16"
    airflow.wait_for_loads()
    airflow.trigger("pipeline_bronze", day=day)
    process = task_process(airflow, "dbt_dag", "build_gold")
    (run,) = airflow.runs("dbt_dag", state="running")
    published = (airflow.data_dir / "warehouse/current").readlink()
    process.kill()
    airflow.wait_for_loads()
    build = airflow.tasks("dbt_dag", run["dag_run_id"])["build_gold"]
    assert (build["state"], build["try_number"]) == ("success", 2)
    assert airflow.tasks("dbt_dag", run["dag_run_id"])["write_docs"]["state"] == "success"
    assert (airflow.data_dir / "warehouse/current").readlink() != published
    assert day in airflow.gold_days()


@pytest.mark.long
def test_a_red_model_publishes_nothing_and_clearing_goes_on_from_it(airflow, project, sink):
    model = project / "dbt/models/marts/dim_users.sql"
    right, day = model.read_text(), "2024-03-20"
    airflow.wait_for_loads()
    known = {run["dag_run_id"] for run in airflow.runs("dbt_dag")}
    published = (airflow.data_dir / "warehouse/current").readlink()
    model.write_text(right + "\nthis is no sql\n")
    try:
        airflow.trigger("pipeline_bronze", day=day)
        red = wait_for(
            lambda: [run for run in airflow.runs("dbt_dag", state="failed") if run["dag_run_id"] not in known],
            "a red build",
            240,
        )[-1]
    finally:
        model.write_text(right)
    assert (airflow.data_dir / "warehouse/current").readlink() == published
    assert airflow.ask("GET", "/pipeline/dbt", user="viewer").status_code == 200, "the log links to the model's page"
    failed = airflow.tasks("dbt_dag", red["dag_run_id"])["build_gold"]
    assert failed["try_number"] == 1, "a red model is no transient error"
    alert = wait_for(lambda: [text for text in sink.texts if text.startswith("DBT FAILED")], "the alert")[-1]
    assert "model `dim_users` error: Parser Error" in alert
    assert "models/marts/dim_users.sql" in alert
    assert "#a-dbt-model-or-test-failed" in alert
    every_link_opens(airflow, alert)
    page = airflow.ask("GET", f"/pipeline/results?run_id={quote(red['dag_run_id'])}", user="viewer").text
    assert page.index("The last build failed: 1 of") < page.index("dim_users") < page.index("fct_events")

    assert airflow.clear(failed).status_code == 200
    assert airflow.wait("dbt_dag", red["dag_run_id"])["state"] == "success"
    again = airflow.tasks("dbt_dag", red["dag_run_id"])["build_gold"]
    log = airflow.log(again)
    assert "1 nodes to build" in log
    assert "model dim_users success" in log
    assert "model fct_events success" not in log, "what had succeeded is not made again"
    assert day in airflow.gold_days()


@pytest.mark.long
def test_the_scheduler_killed_in_the_middle_of_a_backfill_is_started_again(airflow):
    airflow.start_backfill("2024-04-01", "2024-04-05")
    wait_for((airflow.data_dir / "bronze/_ledger/jsonplaceholder/posts/2024-04-01.json").exists, "a day")
    scheduler = next(
        child
        for child in psutil.Process(airflow.launcher.pid).children()
        if "airflow_scheduler" in str(child.cmdline())
    )
    scheduler.kill()
    airflow.wait_for_loads(400)
    days = {f"2024-04-0{day}" for day in range(1, 6)}
    runs = [run for run in airflow.runs("pipeline_bronze", run_type="backfill") if run["partition_key"] in days]
    assert {run["partition_key"]: run["state"] for run in runs} == dict.fromkeys(days, "success")
    assert days <= airflow.gold_days()


@pytest.mark.long
def test_what_is_loaded_reaches_gold_however_its_run_ends(airflow, source):
    """A red task cleared alone, a run deleted, Silver paused: events and runs are lost, the ledger knows."""
    day, other = "2024-05-01", "2024-05-02"
    source.faults.append(Fault("status", path="/comments", status=404, times=10_000, day=day))
    run_id = airflow.trigger("pipeline_bronze", day=day)
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "failed"
    airflow.wait_for_loads()
    source.faults.clear()
    body = {"dag_run_id": run_id, "only_failed": True, "include_downstream": False, "dry_run": False}
    assert airflow.ask("POST", "/api/v2/dags/pipeline_bronze/clearTaskInstances", body).ok
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"

    with airflow.paused("pipeline_silver"):
        lost = airflow.trigger("pipeline_bronze", day=other)
        airflow.wait("pipeline_bronze", lost)
        airflow.delete("pipeline_bronze", lost)
        for run in airflow.runs("pipeline_silver", state="queued"):
            airflow.delete("pipeline_silver", run["dag_run_id"])
    airflow.reconcile()
    assert {day, other} <= airflow.gold_days()
    with duckdb.connect(str(airflow.data_dir / "warehouse.duckdb"), read_only=True) as connection:
        query = (
            "select count(*) from _pipeline.partitions"
            " anti join _pipeline.held using (source, resource, dt, content_hash)"
        )
        assert connection.execute(query).fetchone() == (0,)

    tasks = airflow.reconcile()
    assert {name: task["state"] for name, task in tasks.items()} == dict.fromkeys(
        ("load_due", "start_build", "tell_problems"), "skipped"
    )


def test_a_cleared_run_of_a_good_day_loads_it_again(airflow):
    day = "2024-05-05"
    run_id = airflow.trigger("pipeline_bronze", day=day, source="jsonplaceholder", resources=["users"])
    airflow.wait("pipeline_bronze", run_id)
    before = entry(airflow, "users", day).started_at
    task = airflow.tasks("pipeline_bronze", run_id)[f"load.ingest jsonplaceholder/users {day}"]
    assert airflow.clear(task).ok
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"
    assert entry(airflow, "users", day).started_at > before


def test_full_tests_by_hand_tests(airflow):
    airflow.wait_for_loads()
    run_id = airflow.trigger("dbt_dag", full_tests=True)
    assert airflow.wait("dbt_dag", run_id)["state"] == "success"
    build = airflow.tasks("dbt_dag", run_id)["build_gold"]
    assert build["state"] == "success"
    assert "test unique_fct_events" in airflow.log(build)


def test_what_each_account_may(airflow):
    body = {"dag_id": "pipeline_bronze", "from_date": "2024-01-01T00:00:00Z", "to_date": "2024-01-01T00:00:00Z"}
    trigger = {"logical_date": None}
    may = {
        user: {
            "look": airflow.ask("GET", "/api/v2/dags", user=user).status_code,
            "backfill": airflow.ask("POST", "/api/v2/backfills/dry_run", body, user=user).status_code,
            "run maintenance": airflow.ask("POST", "/api/v2/dags/maintenance/dagRuns", trigger, user=user).status_code,
            "connections": airflow.ask("GET", "/api/v2/connections", user=user).status_code,
            "variables": airflow.ask("GET", "/api/v2/variables", user=user).status_code,
            "delete a DAG": airflow.ask("DELETE", "/api/v2/dags/no_such_dag", user=user).status_code,
        }
        for user in ("viewer", "n8n", "operator", "admin")
    }
    assert {user: tuple(found.values()) for user, found in may.items()} == {
        "viewer": (200, 403, 403, 403, 403, 403),
        "n8n": (200, 200, 403, 403, 403, 403),
        "operator": (200, 200, 200, 403, 403, 403),
        "admin": (200, 200, 200, 200, 200, 404),
    }
    assert requests.get(f"{airflow.url}/api/v2/dags", timeout=30).status_code == 401


def test_the_next_start_keeps_what_a_person_changed(airflow):
    pool, viewer = "/api/v2/pools/warehouse", "/auth/fab/v1/users/viewer"

    def change(slots, role):
        body = {"pool": "warehouse", "slots": slots, "include_deferred": False}
        assert airflow.ask("PATCH", f"{pool}?update_mask=slots", body, user="admin").ok
        answer = airflow.ask("PATCH", f"{viewer}?update_mask=roles", {"roles": [{"name": role}]}, user="admin")
        assert answer.ok, answer.text

    change(2, "Op")
    try:
        done = execute(airflow, sys.executable, str(PROJECT_DIR / "infra/airflow_init.py"))
        assert done.returncode == 0, done.stderr
        assert airflow.ask("GET", pool, user="admin").json()["slots"] == 2
        assert airflow.ask("GET", viewer, user="admin").json()["roles"] == [{"name": "Op"}]
    finally:
        change(1, "Viewer")


def test_wrong_passwords_are_limited_at_the_token_endpoint_and_at_the_form(airflow):
    right = {"username": "viewer", "password": airflow.passwords["AIRFLOW_VIEWER_PASSWORD"]}
    for path in ("/auth/token", "/auth/token/cli"):
        with session_from("127.0.0.2") as other:
            tried = [other.post(airflow.url + path, json=right | {"password": "x"}, timeout=60) for _ in range(10)]
            assert {answer.status_code for answer in tried} <= {401, 429}
            assert other.post(airflow.url + path, json=right, timeout=60).status_code == 429
        assert requests.post(airflow.url + path, json=right, timeout=60).status_code == 201
    with session_from("127.0.0.3") as other:
        form = f"{airflow.url}/auth/login/"
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', other.get(form, timeout=60).text).group(1)
        wrong = right | {"password": "x", "csrf_token": token}
        seen = [other.post(form, data=wrong, timeout=60, allow_redirects=False).status_code for _ in range(6)]
    assert (429 in seen[:5], seen[5]) == (False, 429)


def test_links_lead_to_ledger_quarantine_and_runbook(airflow):
    run = airflow.runs("pipeline_bronze", run_type="scheduled")[0]
    day = run["partition_key"]
    task = airflow.tasks("pipeline_bronze", run["dag_run_id"])[f"load.validate jsonplaceholder/users {day}"]
    path = f"dags/pipeline_bronze/dagRuns/{run['dag_run_id']}/taskInstances/load.validate/links".replace("+", "%2B")
    found = airflow.get(f"{path}?map_index={task['map_index']}")["extra_links"]
    # a task that does not build has no results
    links = {name: link for name, link in found.items() if link}
    assert set(links) == {"Ledger record", "Quarantined rows", "Runbook"}
    pages = {name: airflow.ask("GET", link) for name, link in links.items()}
    assert {name: page.status_code for name, page in pages.items()} == dict.fromkeys(links, 200)
    assert entry(airflow, "users", day).content_hash in pages["Ledger record"].text
    assert "quarantined rows of" in pages["Quarantined rows"].text
    assert f'id="{links["Runbook"].partition("#")[2]}"' in pages["Runbook"].text
    assert requests.get(airflow.url + links["Ledger record"], timeout=30).status_code == 401


def test_a_late_run_raises_an_alert_and_maintenance_says_what_it_would_delete(airflow, sink):
    # a DAG has one alert an hour: take maintenance, whose runs no other test makes late or fail
    wait_for(lambda: all(run["state"] in DONE for run in airflow.runs("maintenance")), "other runs of maintenance")
    shutil.rmtree(airflow.data_dir / "alerts", ignore_errors=True)
    pause = functools.partial(airflow.ask, "PATCH", "/api/v2/dags/maintenance")
    assert pause({"is_paused": True}).ok
    try:
        run_id = airflow.trigger("maintenance", quarantine_days=0)
        wanted = ("RUN LATE: maintenance", run_id)
        wait_for(
            lambda: [text for text in sink.texts if all(part in text for part in wanted)], "an alert on a late run"
        )
    finally:
        assert pause({"is_paused": False}).ok

    assert airflow.wait("maintenance", run_id)["state"] == "success"
    tasks = airflow.tasks("maintenance", run_id)
    assert "would delete" in airflow.log(tasks["prune"]) or "[]" in airflow.log(tasks["prune"])


def test_nothing_listens_beyond_this_machine_and_no_secret_is_in_a_log(airflow):
    launcher = psutil.Process(airflow.launcher.pid)
    listening = set()
    for process in [launcher, *launcher.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # a task that has ended meanwhile
            connections = process.net_connections(kind="inet")
            listening |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    secrets = [*(airflow.passwords[name] for name in SECRET_NAMES), "hook-secret"]
    for path in (airflow.data_dir / "airflow/logs").rglob("*.log"):
        text = path.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], path


def test_quarantined_rows_are_for_operators(airflow):
    run_id = airflow.trigger("pipeline_bronze", day="2024-12-02")
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"
    page = "/pipeline/quarantine/jsonplaceholder/comments/2024-12-02"
    answers = {user: airflow.ask("GET", page, user=user) for user in ("admin", "operator", "viewer", "n8n")}
    assert {user: answer.status_code for user, answer in answers.items()} == {
        "admin": 200,
        "operator": 200,
        "viewer": 403,
        "n8n": 403,
    }
    assert "default-src 'none'" in answers["operator"].headers["Content-Security-Policy"]
    assert airflow.ask("GET", "/pipeline/ledger/jsonplaceholder/comments/2024-12-02", user="viewer").ok
    site = airflow.ask("GET", "/pipeline/dbt", user="viewer")
    assert "sandbox allow-scripts;" in f"{site.headers['Content-Security-Policy']};"


def test_the_portal_is_in_the_menu_and_for_people_with_an_account(airflow, source):
    airflow.wait_for_loads()
    wait_for((airflow.data_dir / "docs/index.html").exists, "the portal, which dbt_dag writes")
    plugins = airflow.get("plugins", user="admin")["plugins"]
    menu = {view["name"]: view["href"] for plugin in plugins for view in plugin["external_views"]}
    assert menu["Data portal"] == "/pipeline/index.html"
    for path, policy, content in (
        ("index.html", "script-src 'self';", b"fct_events"),
        ("tables/fct_events.html", "script-src 'self';", b"One row per event"),
        ("portal.js", "script-src 'self';", b"function search"),
        ("sql.html", "'wasm-unsafe-eval'", b"SQL on Gold"),
        ("gold/current/tables.json", "default-src 'none'", b"fct_events"),
        ("gold/current/fct_events.parquet", "default-src 'none'", b"PAR1"),
    ):
        found = airflow.ask("GET", f"/pipeline/{path}", user="viewer")
        assert found.ok, path
        assert policy in found.headers["Content-Security-Policy"], path
        assert content in found.content, path
        assert requests.get(f"{airflow.url}/pipeline/{path}", timeout=60).status_code == 401, path
    for path in ("gold/current/build.json", "tables/..%2f..%2fhealth.json", "gold/1/tables.json"):
        assert airflow.ask("GET", f"/pipeline/{path}", user="viewer").status_code == 404, path


def test_then_all_invariants_hold(airflow):
    assert_airflow_is_well(airflow)
