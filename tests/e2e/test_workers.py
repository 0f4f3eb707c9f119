"""Loads on Celery workers that share only a bucket: one is killed in the middle, and two load one partition."""

import datetime as dt
import os

import pytest

from scripts.bronze.bucket_store import BucketStore
from scripts.sample_api.server import Fault
from tests.support.tables import tables

from .airflow_stack import open_folder
from .celery_stack import running_redis, running_workers
from .operating import load, told
from .waiting import wait_for
from .workers import HELD_SECONDS, held, one_machine

pytestmark = [pytest.mark.long, pytest.mark.scale, pytest.mark.timeout(6000)]
DAYS = [f"2024-03-{day:02}" for day in range(1, int(os.environ.get("WORKER_TEST_DAYS", "7")) + 1)]


@pytest.fixture(scope="module")
def stack(source, bucket, sink):
    with open_folder() as folder, running_redis(folder) as broker:
        environ = {"API_BASE_URL": source.url, "COIN_API_BASE_URL": source.url, "SLACK_WEBHOOK": sink.url}
        environ["API_TIMEOUT"] = HELD_SECONDS + 60
        with running_workers(folder, 3, bucket, broker, **environ) as found:
            yield found


def loading(airflow):
    """Return the running loads."""
    path = "dags/pipeline_bronze/dagRuns/~/taskInstances?state=running&limit=100"
    return [task for task in airflow.get(path)["task_instances"] if task["task_id"] == "load.ingest"]


def place(task):
    """Return what a task is the load of, whatever its try."""
    return task["dag_run_id"], task["map_index"]


def test_a_killed_worker_loses_and_doubles_nothing(stack, source, bucket, tmp_path, monkeypatch):
    airflow, workers, owner = stack
    wait_for(lambda: airflow.runs("pipeline_bronze"), "the first run")
    airflow.wait_for_loads()

    gate = held(source, monkeypatch)
    airflow.start_backfill(DAYS[0], DAYS[-1])
    lost = wait_for(lambda: loading(airflow), "loads", 300)
    killed = next(worker for worker in workers if worker.name == lost[0]["hostname"])
    lost = {place(task) for task in loading(airflow) if task["hostname"] == killed.name}
    killed.kill()
    gate.set()
    wait_for(lambda: set(DAYS) <= airflow.gold_days(), "the days in Gold", 3000)
    airflow.wait_for_loads()

    runs = [run["dag_run_id"] for run in airflow.runs("pipeline_bronze")]
    ran = [task for run in runs for task in airflow.tasks("pipeline_bronze", run).values()]
    assert {task["state"] for task in ran} <= {"success", "skipped"}
    again = [task for task in ran if task["try_number"] > 1]
    assert lost
    assert lost <= {place(task) for task in again}
    assert killed.name not in {task["hostname"] for task in again}
    assert {task["hostname"] for task in ran} - {None, ""} <= {worker.name for worker in workers}
    built = [run["dag_run_id"] for run in airflow.runs("dbt_dag")]
    hosts = {task["hostname"] for run in built for task in airflow.tasks("dbt_dag", run).values()}
    assert hosts - {None, ""} == {owner.name}
    # the worker has no log of a task any more: they are in the bucket
    assert "s3://" in airflow.log(again[0])

    yesterday = str(dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1))
    expected = one_machine(tmp_path / "one", source.url, (DAYS[0], DAYS[-1]), (yesterday, yesterday))
    assert len(expected["gold.fct_events"]) > 100
    assert tables(airflow.data_dir / "warehouse.duckdb") == expected
    assert not (airflow.data_dir / "bronze").exists()


def test_of_two_loads_of_one_partition_one_wins(stack, source, bucket, tmp_path, monkeypatch):
    airflow, _, _ = stack
    day = "2024-05-01"
    gate = held(source, monkeypatch)
    options = {"day": day, "source": "jsonplaceholder", "resources": ["users"]}
    runs = [airflow.trigger("pipeline_bronze", **options) for _ in range(2)]
    wait_for(lambda: len(loading(airflow)) == 2, "two loads", 300)
    gate.set()
    assert {airflow.wait("pipeline_bronze", run)["state"] for run in runs} == {"success"}
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    store = BucketStore(bucket["BRONZE_DIR"], tmp_path)
    (entry,) = [found for found in store.entries() if str(found.day) == day]
    assert entry.run_id in runs
    airflow.wait_for_loads()
    assert day in airflow.gold_days("users")


def test_a_load_that_fails_on_a_worker_is_told_once(stack, source, sink):
    """The scheduler tells of killed tasks, and cannot see what a worker has noted about its own alert."""
    airflow, _, _ = stack
    days = ["2024-05-02", "2024-05-03"]
    for day in days:
        source.faults.append(Fault("status", path="/users", status=404, times=10_000, day=day))
        _, state = load(airflow, day)
        assert state == "failed"
        # the first one's run has long ended when the second one is told
        told(sink, "TASK FAILED", f"load.ingest jsonplaceholder/users {day}")
    assert len([text for text in sink.texts if "users 2024-05-02" in text]) == 1
