"""The real Prefect: a server, a worker and the deployments, over its REST API."""

import contextlib
import datetime as dt
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys

import psutil
import pytest
import requests
from dotenv import dotenv_values

from scripts.bronze.ledger import decode
from scripts.planning import reconcile
from scripts.sample_api import data
from scripts.sample_api.server import Fault
from scripts.utils.files import is_locked
from scripts.warehouse.versions import Warehouse
from tests.support.page import foreign_page

from .invariants import assert_invariants, settings_of, store
from .launcher import launched
from .operating import opened, told
from .prefect_stack import DONE, Prefect
from .waiting import free_port, wait_for

pytestmark = pytest.mark.timeout(6000)


@pytest.fixture(scope="module")
def prefect(tmp_path_factory, source, sink, project):
    """A running Prefect with an empty data folder."""
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    environ = {
        "DATA_DIR": folder / "data",
        "API_BASE_URL": source.url,
        "COIN_API_BASE_URL": source.url,
        "SLACK_WEBHOOK": sink.url,
        "TASK_RETRY_WAIT": 0.2,
        "API_RETRY_WAIT": 0.05,
        "RUN_DEADLINE_HOURS": 10 / 3600,
    }
    env_file = folder / "secrets.env"
    options = {"log": folder / "launcher.log", "environ": environ, "start_seconds": 900, "home": project}
    with launched("Prefect", "prefect_local.py", "--port", port, "--env-file", env_file, **options):
        login = dotenv_values(env_file)["PREFECT_API_AUTH_STRING"]
        assert f"export PREFECT_API_URL=http://127.0.0.1:{port}/api" in options["log"].read_text()
        yield Prefect(f"http://127.0.0.1:{port}", folder / "data", login, project)


@pytest.fixture(autouse=True)
def source_as_before(source):
    yield
    source.faults.clear()
    source.first_day = data.FIRST_DAY


def every_link_opens(alert):
    """Open each page that an alert names, and look for the place on it; returns the pages by name."""
    links = re.findall(r"^([\w ]+): (https?://\S+)$", alert, re.MULTILINE)
    assert "runbook" in dict(links), alert
    return opened(links, lambda url: requests.get(url, timeout=60))


def test_three_days_leave_tasks_and_artifacts_that_a_person_reads(prefect, sink):
    run = prefect.run("2024-01-01", "2024-01-03")
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    assert run["name"] == "jsonplaceholder 2024-01-01 to 2024-01-03"
    tasks = prefect.tasks(run, "docs")
    assert {"ingest jsonplaceholder/posts/2024-01-01", "validate jsonplaceholder/todos/2024-01-03", "build"} <= set(
        tasks
    )
    assert len(tasks) == 2 * 4 * 3 + 2
    artifacts = prefect.artifacts(run)
    assert set(artifacts) == {"ledger", "quarantine", "summary"}
    assert '"fetched": "100"' in artifacts["ledger"]
    assert "title_length" in artifacts["quarantine"]
    assert re.match(r"# Version \d{6}: ", artifacts["summary"])
    link = re.search(r"\((http\S+fct_events)\)", artifacts["summary"])[1]
    assert "dbt Docs" in requests.get(link, timeout=60).text
    # the server gets log lines a moment later
    wait_for(lambda: "published version" in prefect.log(run["id"]), "the log")

    # one message, with the counts of the ledger; the scheduled run may have loaded yesterday at the same time
    alert = told(sink, "ROWS QUARANTINED", "jsonplaceholder/posts, 2024-01-02 to 2024-01-03")
    about, rows, fetched = re.search(r"jsonplaceholder/posts, (.*): (\d+) of (\d+) rows", alert).groups()
    days = ["2024-01-02", "2024-01-03", *about.split(", ")[1:]]
    records = [decode(prefect.data_dir / f"bronze/_ledger/jsonplaceholder/posts/{day}.json") for day in days]
    assert int(rows) == sum(entry.quarantined for entry in records)
    assert int(fetched) == sum(entry.fetched for entry in records)
    assert "start the deployment `range` in Prefect" in alert
    every_link_opens(alert)

    loaded = prefect.loads("2024-01-0")
    assert len(loaded) == 4 * 3
    # the scheduled run loads yesterday, and the next run would build it
    wait_for(lambda: not prefect.waiting(), lambda: f"the end of other runs: {prefect.waiting()}")
    again = prefect.run("2024-01-01", "2024-01-03")
    assert again["state_type"] == "COMPLETED"
    assert prefect.tasks(again) == {}, "a rerun does only what is missing, and publishes nothing"
    assert prefect.loads("2024-01-0") == loaded


def test_a_day_that_fails_is_named_stops_no_other_and_is_done_by_a_rerun(prefect, source, sink):
    source.faults.append(Fault("status", path="/comments", status=503, times=10_000, day="2024-02-02"))
    run = prefect.run("2024-02-01", "2024-02-03")
    assert run["state_type"] == "FAILED"
    assert "1 of 12 partitions failed: jsonplaceholder/comments/2024-02-02" in run["state"]["message"]
    tasks = prefect.tasks(run, "docs")
    assert tasks["ingest jsonplaceholder/comments/2024-02-02"]["run_count"] == 4, "a transient error is tried again"
    assert tasks["validate jsonplaceholder/comments/2024-02-03"]["state_type"] == "COMPLETED"
    assert tasks["build"]["state_type"] == "COMPLETED"
    alert = wait_for(
        lambda: [text for text in sink.texts if "FAILED: Prefect jsonplaceholder 2024-02-01" in text], "the alert"
    )
    assert "comments/2024-02-02" in alert[0]
    assert f"/runs/flow-run/{run['id']}" in alert[0]
    assert "start the deployment `range` in Prefect with the same days" in alert[0]
    every_link_opens(alert[0])

    source.faults.clear()
    again = prefect.run("2024-02-01", "2024-02-03")
    assert again["state_type"] == "COMPLETED"
    assert set(prefect.tasks(again, "docs")) == {
        "ingest jsonplaceholder/comments/2024-02-02",
        "validate jsonplaceholder/comments/2024-02-02",
        "build",
        "docs",
    }
    assert decode(prefect.data_dir / "bronze/_ledger/jsonplaceholder/comments/2024-02-02.json").status == "validated"


@pytest.mark.long
def test_a_final_error_fails_at_once(prefect, source):
    source.faults.append(Fault("status", path="/users", status=404, times=10_000, day="2024-03-01"))
    run = prefect.run("2024-03-01")
    assert run["state_type"] == "FAILED"
    assert prefect.tasks(run, "docs")["ingest jsonplaceholder/users/2024-03-01"]["run_count"] == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"start_date": "2024-03-05", "end_date": "2024-03-01"}, "the range is reversed"),
        pytest.param({"start_date": "2024-03-05", "end_date": "2099-03-01"}, "in the future", marks=pytest.mark.long),
        pytest.param(
            {"start_date": "2024-03-05", "end_date": "2024-03-05", "resources": ["nope"]},
            "is not part of source",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_in_words(prefect, parameters, message):
    run = prefect.wait(prefect.start(**parameters))
    assert run["state_type"] == "FAILED"
    assert message in run["state"]["message"]


@pytest.mark.parametrize(("name", "words"), [("source", "'nope' is not one of"), ("sauce", "'sauce' was unexpected")])
def test_a_source_or_parameter_that_does_not_exist_is_refused_by_name(prefect, name, words):
    found = prefect.get("deployments/name/elt/range")["id"]
    body = {"parameters": {"start_date": "2024-03-05", "end_date": "2024-03-05", name: "nope"}}
    answer = prefect.session.post(f"{prefect.url}/deployments/{found}/create_flow_run", json=body, timeout=60)
    assert answer.status_code == 409
    assert words in answer.text


def flow_process(run_id):
    """Return the process that works on a flow run, once there is one."""

    def find():
        return next((one for one in psutil.process_iter() if is_of(one, run_id)), None)

    return wait_for(find, f"the process of {run_id}")


def is_of(process, run_id):
    """Return whether a process works on a flow run."""
    with contextlib.suppress(psutil.Error):
        return process.environ().get("PREFECT__FLOW_RUN_ID", "").replace("-", "") == run_id.replace("-", "")
    return False


def test_a_run_whose_process_was_killed_is_told(prefect, source, sink):
    source.faults.append(Fault("timeout", path="/todos", seconds=60, day="2024-03-25"))
    run_id = prefect.start(start_date="2024-03-25", end_date="2024-03-25")
    wait_for(lambda: not any(fault.times for fault in source.faults), "the request that hangs")
    flow_process(run_id).kill()
    assert prefect.wait(run_id)["state_type"] == "CRASHED"
    name = "TASK FAILED: Prefect jsonplaceholder 2024-03-25 to 2024-03-25"
    wait_for(lambda: [text for text in sink.texts if name in text], "the alert")


def left_behind(prefect, state, minutes):
    """Return the id of a run in a state since some minutes, with no process, as a worker that is gone leaves it."""
    found = prefect.get("deployments/name/elt/range")["id"]
    body = {"start_date": "2024-03-26", "end_date": "2024-03-26"}
    run_id = prefect.post(f"deployments/{found}/create_flow_run", parameters=body, state={"type": "PAUSED"})["id"]
    prefect.post(f"flow_runs/{run_id}/set_state", state={"type": state}, force=True)
    with contextlib.closing(sqlite3.connect(prefect.data_dir / "prefect" / "prefect.db", timeout=60)) as database:
        begun = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=minutes)).strftime("%Y-%m-%d %H:%M:%S.%f")
        one = "update flow_run_state set timestamp = ? where flow_run_id = ? and type = ?"
        assert database.execute(one, [begun, run_id, state]).rowcount == 1
        database.commit()
    return run_id


def test_runs_without_a_process_are_ended_and_told(prefect, sink):
    left = [left_behind(prefect, "RUNNING", 60), left_behind(prefect, "PENDING", 60)]
    starts = left_behind(prefect, "PENDING", 5)
    run = prefect.wait(prefect.start("elt-reconcile/reconcile"))
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    for run_id in left:
        # a scheduled run may be doing it at the same time
        ended = wait_for(
            lambda run_id=run_id: (found := prefect.get(f"flow_runs/{run_id}"))["state_type"] == "CRASHED" and found,
            "the end of the run",
        )
        assert "its process is gone" in ended["state"]["message"]
        assert [text for text in sink.texts if ended["name"] in text]
    assert prefect.get(f"flow_runs/{starts}")["state_type"] == "PENDING", "its process may be on its way"
    assert prefect.session.delete(f"{prefect.url}/flow_runs/{starts}", timeout=60).ok


def unload(prefect, resource, day):
    """Forget that a resource of a day is loaded."""
    bronze = prefect.data_dir / "bronze"
    (bronze / f"_ledger/jsonplaceholder/{resource}/{day}.json").unlink(missing_ok=True)
    shutil.rmtree(bronze / f"jsonplaceholder/{resource}/dt={day}", ignore_errors=True)


def test_a_daily_run_whose_worker_was_killed_gives_each_alert_once_and_the_next_one_runs(prefect, source, sink):
    yesterday, before = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1), len(sink.texts)
    unload(prefect, "todos", yesterday)
    source.faults.append(Fault("timeout", path="/todos", seconds=60, day=str(yesterday)))
    run_id = prefect.start("elt-daily/daily")
    wait_for(lambda: not any(fault.times for fault in source.faults), "the request that hangs")
    link = f"/runs/flow-run/{run_id}"
    wait_for(lambda: [text for text in sink.texts if "RUN LATE" in text and link in text], "the alert that it is late")
    process = flow_process(run_id)
    worker = next(one for one in process.parents() if "worker" in one.cmdline())
    # of such a run it is known only after a quarter of an hour that its process does not come
    pending = {"state": {"type": {"any_": ["PENDING"]}}}
    wait_for(lambda: not prefect.post("flow_runs/filter", flow_runs=pending), "no run to be pending")
    worker.kill()
    process.kill()
    assert prefect.wait(run_id)["state_type"] == "CRASHED", "the worker that starts in its place ends the run"

    def children():
        found = prefect.post("flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [run_id]}})
        return {child["id"]: child["state_type"] for child in found}

    # the runs end one after the other
    wait_for(lambda: list(children().values()) == ["CRASHED"], "the end of the runs that it started", 60)
    (child,) = children()
    assert prefect.get("deployments/name/elt-daily/daily")["global_concurrency_limit"]["active_slots"] == 0
    # the next run comes after whatever else the first could have told
    assert prefect.wait(prefect.start("elt-daily/daily"))["state_type"] == "COMPLETED"
    told = [text for text in sink.texts[before:] if link in text or child in text]
    assert len(told) == 2, told
    assert len([text for text in told if "TASK FAILED" in text]) == 1, told


def test_a_daily_run_that_fails_by_itself_is_told(prefect, sink):
    running = prefect.data_dir / "prefect" / "running"
    # there is none before the first run
    shutil.rmtree(running, ignore_errors=True)
    running.parent.mkdir(exist_ok=True)
    running.write_text("no folder")
    try:
        run = prefect.wait(prefect.start("elt-daily/daily"))
        assert run["state_type"] == "FAILED"
        wait_for(lambda: [text for text in sink.texts if f"/runs/flow-run/{run['id']}" in text], "the alert", 60)
    finally:
        running.unlink()


@pytest.mark.long
def test_a_daily_run_cancelled_while_it_loads_keeps_no_slot_and_no_process(prefect, source):
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    unload(prefect, "todos", yesterday)
    source.faults.append(Fault("timeout", path="/todos", seconds=600, day=str(yesterday)))
    run_id = prefect.start("elt-daily/daily")
    wait_for(lambda: not any(fault.times for fault in source.faults), "the request that hangs")
    process = flow_process(run_id)
    assert prefect.waiting(), "what runs is seen"
    prefect.set_state(run_id, "CANCELLING")
    assert prefect.wait(run_id)["state_type"] == "CANCELLED"
    psutil.wait_procs([process], timeout=120)
    assert not process.is_running()
    source.faults.clear()
    # a subflow of a process that is gone is ended by the next run at the latest
    assert prefect.wait(prefect.start("elt-daily/daily"))["state_type"] == "COMPLETED"
    children = prefect.post("flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [run_id]}})
    assert {child["state_type"] for child in children} <= {*DONE}
    assert decode(prefect.data_dir / f"bronze/_ledger/jsonplaceholder/todos/{yesterday}.json").status == "validated"
    wait_for(lambda: not prefect.slots(), "free slots", 120)


@pytest.mark.long
def test_a_run_cancelled_while_it_builds_ends_dbt_and_leaves_no_lock(prefect):
    target, day = Warehouse(prefect.data_dir / "warehouse.duckdb"), "2024-04-02"
    run_id = prefect.start(start_date=day, end_date=day, full_refresh=True)
    process = flow_process(run_id)
    wait_for(lambda: is_locked(target.lock) and len(process.children(recursive=True)), "dbt")
    programs = [process, *process.children(recursive=True)]
    prefect.set_state(run_id, "CANCELLING")
    assert prefect.wait(run_id)["state_type"] == "CANCELLED"
    _, alive = psutil.wait_procs(programs, timeout=120)
    assert alive == []
    # a scheduled run may be building what is due
    wait_for(lambda: not is_locked(target.lock), "the lock", 240)
    wait_for(lambda: not prefect.slots(), "free slots", 300)
    assert prefect.run(day)["state_type"] == "COMPLETED"


def published(prefect):
    """Return the published version, or None."""
    return Warehouse(prefect.data_dir / "warehouse.duckdb").current()


def test_a_broken_rule_is_told_once_as_such(prefect, project, sink):
    contract, day = project / "scripts/sources/jsonplaceholder.yml", "2024-03-12"
    right = contract.read_text()
    contract.write_text(right.replace("severity: fail, row_count: {min: 1}", "severity: fail, row_count: {min: 1000}"))
    try:
        run = prefect.run(day, resources=["users"])
    finally:
        contract.write_text(right)
    assert run["state_type"] == "FAILED"
    alert = told(sink, "VALIDATION FAILED: Prefect", day)
    assert "users_present" in alert
    every_link_opens(alert)
    assert not [text for text in sink.texts if text.startswith("TASK FAILED") and run["id"] in text]


def test_days_that_nobody_loads_are_told_by_the_reconciling_flow(prefect, sink):
    """Days in the middle of users are missing: no run was ever started for them."""
    for day in ("2024-04-01", "2024-04-03"):
        assert prefect.run(day, resources=["users"])["state_type"] == "COMPLETED"
    assert prefect.wait(prefect.start("elt-reconcile/reconcile"))["state_type"] == "COMPLETED"

    def alerts():
        # an Airflow that this process has started for other tests tells its own
        advice = "the deployment `range` loads missing days"
        return [text for text in sink.texts if text.startswith("DATA OVERDUE") and "users" in text and advice in text]

    alert = wait_for(alerts, "the alert", 120)[-1]
    assert "missing" in alert
    every_link_opens(alert)


def test_a_red_model_makes_the_flow_red_and_publishes_nothing(prefect, project, sink):
    model = project / "dbt/models/marts/dim_users.sql"
    right = model.read_text()
    before = published(prefect)
    model.write_text(right + "\nthis is no sql\n")
    try:
        run = prefect.run("2024-03-10")
    finally:
        model.write_text(right)
    assert run["state_type"] == "FAILED"
    assert "dim_users" in run["state"]["message"]
    assert prefect.tasks(run, "build")["build"]["run_count"] == 1
    assert published(prefect) == before
    alert = told(sink, "DBT FAILED: Prefect", run["id"])
    page = every_link_opens(alert)["results"]
    assert "#model.data_pipeline.dim_users" in alert
    assert "models/marts/dim_users.sql" in page
    link = re.search(r"\| \[dim_users\]\((\S+)\)", prefect.artifacts(run)["summary"])[1]
    assert 'id="model.data_pipeline.dim_users"' in requests.get(link, timeout=60).text


@pytest.mark.long
def test_a_build_of_another_door_is_waited_for_and_named(prefect):
    target = Warehouse(prefect.data_dir / "warehouse.duckdb")
    with contextlib.ExitStack() as stack:
        stack.enter_context(target.building(purpose="build by airflow (a run)", timeout=60))
        run_id = prefect.start(start_date="2024-03-20", end_date="2024-03-20")
        wait_for(lambda: "waiting for build by airflow (a run)" in prefect.log(run_id), "the flow to wait")
    assert prefect.wait(run_id)["state_type"] == "COMPLETED"


def test_the_schedule_makes_the_runs_that_are_due(prefect):
    deployment = prefect.get("deployments/name/elt-daily/daily")

    def due():
        found = prefect.post("flow_runs/filter", deployments={"id": {"any_": [deployment["id"]]}}, limit=50)
        return sorted(run["expected_start_time"] for run in found if run["auto_scheduled"])

    assert wait_for(due, "Prefect's scheduler", 180)[0][11:19] == "00:00:00"


def test_the_daily_deployment_loads_the_day_before(prefect):
    deployment = prefect.get("deployments/name/elt-daily/daily")
    assert [schedule["schedule"]["cron"] for schedule in deployment["schedules"]] == ["0 0 * * *"]
    run = prefect.wait(prefect.start("elt-daily/daily"))
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    assert (prefect.data_dir / f"bronze/_ledger/jsonplaceholder/posts/{yesterday}.json").exists()


@pytest.mark.long
def test_a_day_loaded_before_its_end_is_loaded_again_by_its_daily_run(prefect, source):
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    path = prefect.data_dir / f"bronze/_ledger/jsonplaceholder/users/{yesterday}.json"
    prefect.run(str(yesterday))
    noon = f"{yesterday}T12:00:00Z"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started_at": noon, "loaded_at": noon}))
    before = decode(path)
    source.first_day = data.FIRST_DAY - dt.timedelta(days=10)
    assert prefect.wait(prefect.start("elt-daily/daily"))["state_type"] == "COMPLETED"
    assert decode(path).started_at > before.started_at
    assert decode(path).content_hash != before.content_hash


def test_the_daily_deployment_fails_with_what_failed_and_tells_it_once(prefect, source, sink):
    yesterday, before = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1), len(sink.texts)
    unload(prefect, "users", yesterday)
    source.faults.append(Fault("status", path="/users", status=404, times=10_000, day=str(yesterday)))
    run = prefect.wait(prefect.start("elt-daily/daily"))
    assert run["state_type"] == "FAILED"
    assert f"jsonplaceholder/users/{yesterday}" in run["state"]["message"]
    assert "HTTP 404" in run["state"]["message"]
    # Prefect runs the hooks before the process ends
    psutil.wait_procs([one for one in psutil.process_iter() if is_of(one, run["id"])], timeout=60)
    assert len([text for text in sink.texts[before:] if "TASK FAILED" in text]) == 1, sink.texts[before:]


def execute(prefect, *command, **environ):
    """Return what a program prints that uses this Prefect."""
    known = {
        "PREFECT_API_URL": prefect.url,
        "PREFECT_API_AUTH_STRING": ":".join(prefect.session.auth),
        "PREFECT_HOME": str(prefect.data_dir / "prefect"),
        "PYTHONPATH": f"{prefect.home}{os.pathsep}{prefect.home / 'prefect' / 'flows'}",
    }
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | known | environ,
        cwd=prefect.home,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_what_a_user_changes_in_prefect_stays_until_it_is_overwritten(prefect):
    def found(name):
        deployment = prefect.get(f"deployments/name/{name}")
        limit = (deployment["global_concurrency_limit"] or {}).get("limit")
        schedules = [(one["schedule"]["cron"], one["active"]) for one in deployment["schedules"]]
        return deployment["paused"], limit, deployment["tags"], schedules

    def patch(path, **body):
        answer = prefect.session.patch(f"{prefect.url}/{path}", json=body, timeout=60)
        assert answer.ok, answer.text

    daily, deploy = "elt-daily/daily", ("infra/prefect_deploy.py", "data-pipeline")
    before = found(daily)
    five = {"schedule": {"cron": "0 5 * * *", "timezone": "UTC"}, "active": False}
    path = f"deployments/{prefect.get(f'deployments/name/{daily}')['id']}"
    patch(path, paused=True, concurrency_limit=2, tags=["mine"], schedules=[five])
    patch(f"deployments/{prefect.get('deployments/name/elt-reconcile/reconcile')['id']}", tags=["mine"])
    prefect.session.post(
        f"{prefect.url}/v2/concurrency_limits/", json={"name": "warehouse-build", "limit": 1}, timeout=60
    )
    patch("v2/concurrency_limits/warehouse-build", limit=3)

    said = execute(prefect, *deploy, RECONCILE_MINUTES="7")
    assert found(daily) == (True, 2, ["mine"], [("0 5 * * *", False)])
    assert "kept what was set in Prefect at daily: paused, concurrency_limit, tags, schedules; OVERWRITE=yes" in said
    # nobody has touched this schedule
    assert found("elt-reconcile/reconcile")[2:] == (["mine"], [("*/7 * * * *", True)])
    execute(prefect, "-c", "import flow_runs; flow_runs.make_limit()")
    assert prefect.get("v2/concurrency_limits/warehouse-build")["limit"] == 3

    execute(prefect, *deploy, OVERWRITE="yes")
    assert found(daily) == before
    assert found("elt-reconcile/reconcile")[2:] == (["maintenance"], [("*/5 * * * *", True)])
    patch("v2/concurrency_limits/warehouse-build", limit=1)


@pytest.mark.long
def test_prefect_was_away_for_more_days_than_it_had_runs(prefect, project):
    """Days for which there never was a run: named by health, and loaded where the contract asks for it."""
    today = dt.datetime.now(dt.UTC).date()
    days = [str(today - dt.timedelta(days=back)) for back in (5, 4, 3, 2)]
    assert prefect.run(days[0])["state_type"] == "COMPLETED"
    assert prefect.wait(prefect.start("elt-reconcile/reconcile"))["state_type"] == "COMPLETED"
    health = json.loads((prefect.data_dir / "health.json").read_text())
    assert any(re.match(rf"jsonplaceholder/posts: .*to {days[-1]} missing", text) for text in health["problems"])
    assert not prefect.loads(days[1])

    contract = project / "scripts/sources/jsonplaceholder.yml"
    right = contract.read_text()
    asks = f"default_resource: posts\ncatchup: true\nstart_date: {days[0]}"
    contract.write_text(right.replace("default_resource: posts", asks))
    try:
        # a scheduled run may be doing it at the same time
        wait_for(
            lambda: (
                prefect.wait(prefect.start("elt-reconcile/reconcile"))
                and all(len(prefect.loads(day)) == 4 for day in days)
            ),
            "the days",
            600,
        )
    finally:
        contract.write_text(right)


ATTACK = """
const [api, name, headers, done] = arguments;
const json = { 'Content-Type': 'application/json', ...headers };
const flow = { method: 'POST', headers: json, body: JSON.stringify({ name }) };
const simple = { method: 'POST', mode: 'no-cors', headers: { 'Content-Type': 'text/plain' }, body: flow.body };
const told = (answer) => answer.type === 'opaque' ? 'sent' : `HTTP ${answer.status}`;
const tried = [[api + '/flows/', flow], [api + '/flows/', simple], [api + '/flows/filter', { ...flow, body: '{}' }]];
Promise.all(tried.map(([url, options]) => fetch(url, options).then(told, (error) => error.name))).then(done);
"""


def names_of_flows(prefect):
    return {flow["name"] for flow in prefect.post("flows/filter")}


def test_a_page_of_another_site_can_start_nothing(prefect, browser):
    """What the page needs to plant a deployment whose pull step is a shell command is to make a flow first."""
    with foreign_page() as server:
        browser.get(f"http://127.0.0.1:{server.server_port}/")
        assert browser.execute_async_script(ATTACK, prefect.url, "planted", {}) == ["TypeError", "sent", "TypeError"]
        assert "planted" not in names_of_flows(prefect)
        # not even with the login: the browser does not let it ask
        login = {"Authorization": requests.auth._basic_auth_str(*prefect.session.auth)}
        assert browser.execute_async_script(ATTACK, prefect.url, "planted", login) == ["TypeError", "sent", "TypeError"]
    assert "planted" not in names_of_flows(prefect)


def test_its_own_page_may_ask_with_the_login_and_a_token(prefect, browser):
    browser.get(prefect.page)
    login = {"Authorization": requests.auth._basic_auth_str(*prefect.session.auth)}
    # without the token, which only a page that may read answers can have
    assert browser.execute_async_script(ATTACK, prefect.url, "own", login) == ["HTTP 403", "HTTP 403", "HTTP 403"]
    token = {name: value for name, value in prefect.session.headers.items() if name.startswith("Prefect-Csrf")}
    assert browser.execute_async_script(ATTACK, prefect.url, "own", token) == ["HTTP 401", "HTTP 403", "HTTP 401"]
    assert "own" not in names_of_flows(prefect)
    assert browser.execute_async_script(ATTACK, prefect.url, "own", login | token) == [
        "HTTP 201",
        "HTTP 403",
        "HTTP 200",
    ]


@pytest.mark.parametrize("auth", [None, ("admin", "admin"), ("admin", "")])
def test_nobody_gets_in_without_the_login(prefect, auth):
    body, token = {"name": "planted"}, prefect.session.headers
    assert requests.post(f"{prefect.url}/flows/", json=body, auth=auth, timeout=60).status_code == 403
    assert requests.post(f"{prefect.url}/flows/", json=body, auth=auth, headers=token, timeout=60).status_code == 401
    assert requests.get(f"{prefect.url}/csrf-token?client=x", auth=auth, timeout=60).status_code == 401
    assert requests.get(f"{prefect.url}/admin/settings", auth=auth, timeout=60).status_code == 401


def test_only_its_own_page_may_read_answers(prefect):
    def allowed(origin):
        question = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        return requests.options(f"{prefect.url}/flows/", headers=question, timeout=60).headers.get(
            "Access-Control-Allow-Origin"
        )

    assert allowed(prefect.page) == prefect.page
    assert allowed("http://127.0.0.1:9") is None
    assert allowed("null") is None


def test_then_all_invariants_hold(prefect):
    with settings_of(prefect.data_dir):
        for _ in range(5):
            wait_for(lambda: not prefect.waiting(), "nothing to wait")
            if not reconcile.examine(store()).is_ready:
                break
            prefect.wait(prefect.start("elt-reconcile/reconcile"))
    assert_invariants(prefect.data_dir)
