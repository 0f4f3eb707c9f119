"""Loads on three workers that share no folder: a backfill through n8n, one worker killed in the middle of its loads."""

import datetime as dt
import os
import subprocess

import pytest

from tests.e2e.airflow_stack import Airflow
from tests.e2e.waiting import wait_for
from tests.e2e.workers import one_machine
from tests.support.tables import tables

from .stack import SERVICES, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200), pytest.mark.usefixtures("engine")]
DAYS = [f"2024-03-{day:02}" for day in range(1, int(os.environ.get("WORKER_TEST_DAYS", "7")) + 1)]
BUCKET = (
    "BRONZE_DIR=s3://pipeline/bronze",
    "AWS_ENDPOINT_URL=http://bucket:8333",
    # no word: Airflow masks it also in the name of a DAG that a task starts
    "AWS_ACCESS_KEY_ID=key-of-this-test",
    "AWS_SECRET_ACCESS_KEY=only-for-this-test",
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    environ = {"WORKERS": "3", "PROFILES": "bucket", "PIPELINE_IMAGE": "data-pipeline-workers:local"}
    with running_stack(tmp_path_factory.mktemp("workers"), "pipeline-workers", lines=BUCKET, **environ) as found:
        yield found


@pytest.fixture
def airflow(stack):
    return Airflow(stack.url("AIRFLOW"), stack.env, stack.folder / "data")


def loading(airflow):
    """Return the running loads by the host name of their worker."""
    path = "dags/pipeline_bronze/dagRuns/~/taskInstances?state=running&limit=100"
    running = [task for task in airflow.get(path)["task_instances"] if task["task_id"] == "load.ingest"]
    return {host: [task for task in running if task["hostname"] == host] for host in {t["hostname"] for t in running}}


@pytest.mark.long
def test_a_worker_is_killed_in_the_middle_and_nothing_is_lost_or_doubled(stack, airflow, tmp_path):
    wait_for(stack.built_days, "the first daily run to be published", 900)
    assert set(stack.containers()) == {*SERVICES, "redis", "bucket", "worker", "warehouse-worker"}
    workers = stack.replicas("worker")
    assert len(workers) == 3
    assert set(workers.values()) == {"healthy"}

    # loads wait for their source as long as it stands still
    status, answer = stack.webhook(json={"start_date": DAYS[0], "end_date": DAYS[-1]})
    assert status == 202, answer
    stack.compose("pause", "sample-api")
    busy = wait_for(lambda: loading(airflow), "loads on a worker", 300)
    killed, lost = max(busy.items(), key=lambda item: len(item[1]))
    subprocess.run(["docker", "kill", "--signal", "KILL", killed], check=True, stdout=subprocess.DEVNULL)
    stack.compose("unpause", "sample-api")
    wait_for(lambda: set(DAYS) <= stack.built_days(), "the days in Gold", 3600)
    airflow.wait_for_loads()

    ran = [
        task
        for run in airflow.runs("pipeline_bronze")
        for task in airflow.tasks("pipeline_bronze", run["dag_run_id"]).values()
    ]
    assert {task["state"] for task in ran} <= {"success", "skipped"}
    tried_again = [task for task in ran if task["id"] in {task["id"] for task in lost} or task["try_number"] > 1]
    assert tried_again
    assert killed not in {task["hostname"] for task in tried_again}
    hosts = {task["hostname"] for task in ran if task["hostname"]}
    assert len(hosts & workers.keys()) >= 2
    (owner,) = stack.replicas("warehouse-worker")
    built = [task for run in airflow.runs("dbt_dag") for task in airflow.tasks("dbt_dag", run["dag_run_id"]).values()]
    assert {task["hostname"] for task in built if task["hostname"]} == {owner}

    # the killed worker is gone, and the logs of its tasks that had ended are in the bucket
    assert "source" in airflow.log(tried_again[0])

    yesterday = str(dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1))
    expected = one_machine(tmp_path, stack.url("SAMPLE_API"), (DAYS[0], DAYS[-1]), (yesterday, yesterday))
    assert tables(stack.folder / "data" / "warehouse.duckdb") == expected
    assert not (stack.folder / "data" / "bronze").exists()


@pytest.mark.long
def test_of_two_loads_of_one_partition_one_wins(stack, airflow):
    """Both are asked for at once, on different workers; the ledger has one of them, and both runs are green."""
    day = "2024-05-01"
    stack.compose("pause", "sample-api")
    runs = [
        airflow.trigger("pipeline_bronze", day=day, source="jsonplaceholder", resources=["users"]) for _ in range(2)
    ]
    wait_for(lambda: sum(map(len, loading(airflow).values())) == 2, "two loads", 300)
    stack.compose("unpause", "sample-api")
    assert [airflow.wait("pipeline_bronze", run)["state"] for run in runs] == ["success", "success"]
    wait_for(lambda: day in stack.built_days(), "the day in Gold", 900)
    status = stack.compose("exec", "-T", "warehouse-worker", "pipeline", "status", "--verify")
    assert "problem" not in status
