"""Loads of Prefect on workers that share only a bucket with the one that builds: one is killed in the middle."""

import contextlib
import os

import pytest
from dotenv import dotenv_values

from scripts.bronze.bucket_store import BucketStore
from scripts.config import PROJECT_DIR
from scripts.sample_api.server import Fault
from tests.support.tables import tables

from .launcher import launched
from .prefect_stack import DONE, Prefect, load_worker, shares
from .waiting import free_port, wait_for
from .workers import HELD_SECONDS, family, held, kill_family, one_machine

pytestmark = [pytest.mark.long, pytest.mark.scale, pytest.mark.timeout(6000)]
WORKERS = 3
DAYS = [f"2024-03-{day:02}" for day in range(1, int(os.environ.get("WORKER_TEST_DAYS", "7")) + 1)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory, source, bucket, sink):
    """Prefect with its worker for builds, and the workers for loads, each in a folder that nobody else has."""
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    environ = {
        **bucket,
        "API_BASE_URL": source.url,
        "COIN_API_BASE_URL": source.url,
        "SLACK_WEBHOOK": sink.url,
        "TASK_RETRY_WAIT": "0.2",
        "API_RETRY_WAIT": "0.05",
        "API_TIMEOUT": str(HELD_SECONDS + 60),
    }
    env_file, log = folder / "secrets.env", folder / "launcher.log"
    own = environ | {"DATA_DIR": folder / "data", "LOAD_RUNS": WORKERS}
    options = {"log": log, "environ": own, "start_seconds": 900}
    with (
        launched("Prefect", "prefect_local.py", "--port", port, "--env-file", env_file, **options),
        contextlib.ExitStack() as started,
    ):
        assert "--work-queue default" in log.read_text()
        login = dotenv_values(env_file)["PREFECT_API_AUTH_STRING"]
        environ |= {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_API_AUTH_STRING": login}
        workers = [started.enter_context(load_worker(folder / f"worker-{one}", environ)) for one in range(WORKERS)]
        prefect = Prefect(f"http://127.0.0.1:{port}", folder / "data", login, PROJECT_DIR)
        # no run of the schedule loads other days
        for name in ("elt-daily/daily", "elt-reconcile/reconcile"):
            prefect.pause(name)
        yield prefect, workers


def test_a_killed_worker_loses_and_doubles_nothing(stack, source, tmp_path, monkeypatch):
    prefect, workers = stack
    gate = held(source, monkeypatch)
    run_id = prefect.start(start_date=DAYS[0], end_date=DAYS[-1])

    def running():
        found = shares(prefect, run_id)
        return found if len(found) == WORKERS and {run["state_type"] for run in found} == {"RUNNING"} else None

    began = wait_for(running, "a load on each worker", 600)
    busy = wait_for(lambda: [worker for worker in workers if len(family(worker)) > 1], "processes of loads", 60)
    kill_family(busy[0])
    gate.set()
    run = prefect.wait(run_id)
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    ended = shares(prefect, run_id)
    assert [one["state_type"] for one in ended if one["id"] in {one["id"] for one in began}].count("CRASHED") >= 1
    assert {one["state_type"] for one in ended[WORKERS:]} == {"COMPLETED"}

    expected = one_machine(tmp_path / "one", source.url, (DAYS[0], DAYS[-1]))
    assert len(expected["gold.fct_events"]) > 100
    assert tables(prefect.data_dir / "warehouse.duckdb") == expected
    assert not (prefect.data_dir / "bronze").exists()


def test_then_a_load_that_fails_fails_the_run_and_is_told_once(stack, source, bucket, sink, tmp_path, monkeypatch):
    prefect, _ = stack
    days = ["2024-05-02", "2024-05-03"]
    source.faults.append(Fault("status", path="/users", status=404, times=10_000, day=days[0]))
    run = prefect.run(*days)
    assert run["state_type"] == "FAILED"
    assert "1 of 8 partitions failed: jsonplaceholder/users/2024-05-02; the first: " in run["state"]["message"]
    assert "HTTP 404" in run["state"]["message"]
    told = wait_for(lambda: [text for text in sink.texts if "users/2024-05-02" in text], "the alert", 60)
    assert len(told) == 1, told

    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    entries = BucketStore(bucket["BRONZE_DIR"], tmp_path).entries()
    loaded = {str(entry.partition) for entry in entries if str(entry.day) in days and entry.status == "validated"}
    assert len(loaded) == 7
    assert all(one["state_type"] in DONE for one in shares(prefect, run["id"]))
