"""A real Airflow for tests, started by the launcher that `make airflow-local` runs, and a client of its REST API."""

import contextlib
import shutil
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import duckdb
import requests
from dotenv import dotenv_values

from scripts.config import PROJECT_DIR

from .launcher import launched
from .waiting import free_port, wait_for

ACCOUNTS = {"n8n": "SERVICE"}
DONE = ("success", "failed")
UNFINISHED = ("scheduled", "queued", "running", "restarting", "deferred", "up_for_retry", "up_for_reschedule")
CHAIN = ("pipeline_bronze", "pipeline_silver", "dbt_dag", "reconcile")
"""The DAGs that lead from Bronze to Gold, and the one that starts what they missed."""


class Airflow:
    """The REST API of a running Airflow, as one of its accounts."""

    def __init__(self, url, passwords, data_dir, launcher=None):
        self.url, self.passwords, self.data_dir, self.launcher = url, passwords, data_dir, launcher
        self.tokens = {}

    def ask(self, method, path, body=None, *, user="operator"):
        """Return the response to a request."""
        if user not in self.tokens:
            variable = f"AIRFLOW_{ACCOUNTS.get(user, user.upper())}_PASSWORD"
            answer = requests.post(
                f"{self.url}/auth/token", json={"username": user, "password": self.passwords[variable]}, timeout=300
            )
            assert answer.status_code == 201, answer.text
            self.tokens[user] = answer.json()["access_token"]
        headers = {"Authorization": f"Bearer {self.tokens[user]}"}
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=300)

    def get(self, path, **options):
        """Return the document at a path of the API."""
        answer = self.ask("GET", f"/api/v2/{path}", **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path, body, **options):
        """Return the document that a request to a path of the API answers with."""
        answer = self.ask("POST", f"/api/v2/{path}", body, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def runs(self, dag_id, **query):
        """Return the runs of a DAG, the oldest first."""
        text = "".join(f"&{name}={quote(value)}" for name, value in query.items())
        return self.get(f"dags/{dag_id}/dagRuns?limit=1000&order_by=id{text}")["dag_runs"]

    def trigger(self, dag_id, *, day=None, **conf):
        """Start a run, and return its id."""
        body = {"logical_date": None, "conf": conf} | ({"partition_key": day} if day else {})
        return self.post(f"dags/{dag_id}/dagRuns", body)["dag_run_id"]

    def start_backfill(self, first, last, **options):
        """Start a backfill of Airflow's own when the one before is over, which Airflow notices in 30 s; return it."""
        body = {"dag_id": "pipeline_bronze", "from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
        answer = wait_for(
            lambda: (found := self.ask("POST", "/api/v2/backfills", body | options)).ok and found,
            "the former backfill to be over",
        )
        return answer.json()

    def events(self, name):
        """Return all events of an asset, the oldest first."""
        assets = self.get(f"assets?limit=1000&name_pattern={quote(name, safe='')}")["assets"]
        (asset_id,) = [asset["id"] for asset in assets if asset["name"] == name]
        events = []
        while True:
            path = f"assets/events?asset_id={asset_id}&order_by=timestamp&limit=100&offset={len(events)}"
            found = self.get(path)
            events += found["asset_events"]
            if not found["asset_events"] or len(events) >= found["total_entries"]:
                return events

    def tasks(self, dag_id, run_id):
        """Return the task instances of a run by their names: mapped ones by what they are mapped over."""
        found = self.get(f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances?limit=1000")["task_instances"]
        return {
            f"{task['task_id']} {task['rendered_map_index']}" if task["map_index"] >= 0 else task["task_id"]: task
            for task in found
        }

    def log(self, task):
        """Return the text of the log of a task's last try."""
        path = f"dags/{task['dag_id']}/dagRuns/{quote(task['dag_run_id'])}/taskInstances/{task['task_id']}"
        answer = self.get(f"{path}/logs/{task['try_number']}?map_index={task['map_index']}&full_content=true")
        return "\n".join(str(line.get("event", "")) + str(line.get("error_detail", "")) for line in answer["content"])

    def clear(self, task, **options):
        """Clear a task with what comes after it, and return the response."""
        wanted = [task["task_id"], task["map_index"]] if task["map_index"] >= 0 else task["task_id"]
        body = {
            "dag_run_id": task["dag_run_id"],
            "task_ids": [wanted],
            "dry_run": False,
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        return self.ask("POST", f"/api/v2/dags/{task['dag_id']}/clearTaskInstances", body, **options)

    @contextlib.contextmanager
    def paused(self, *dag_ids):
        """Pause DAGs for the block."""
        for dag_id in dag_ids:
            self.pause(dag_id, is_paused=True)
        try:
            yield
        finally:
            for dag_id in dag_ids:
                self.pause(dag_id, is_paused=False)

    def pause(self, dag_id, *, is_paused):
        """Pause or unpause a DAG."""
        assert self.ask("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": is_paused}, user="admin").ok

    def set_state(self, dag_id, run_id, state):
        """Mark a run by hand."""
        answer = self.ask("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}", {"state": state})
        assert answer.ok, answer.text

    def delete(self, dag_id, run_id):
        """Delete a run, whatever its state: Airflow deletes only runs that do not run."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}"
        if self.ask("DELETE", path, user="admin").status_code == 409:
            self.set_state(dag_id, run_id, "failed")
            answer = self.ask("DELETE", path, user="admin")
            assert answer.ok, answer.text

    def reconcile(self):
        """Run the DAG `reconcile`, wait until what it has started is done, and return its tasks."""
        run_id = self.trigger("reconcile")
        self.wait("reconcile", run_id)
        self.wait_for_loads()
        return self.tasks("reconcile", run_id)

    def waiting(self):
        """Return what runs or waits: runs, tasks, backfills, and slots of the pool of builds."""
        states = "&".join(f"state={state}" for state in UNFINISHED)
        runs = self.get("dags/~/dagRuns?state=queued&state=running&limit=100")["dag_runs"]
        tasks = self.get(f"dags/~/dagRuns/~/taskInstances?{states}&limit=100")["task_instances"]
        backfills = self.get("backfills?dag_id=pipeline_bronze&limit=1000")["backfills"]
        slots = self.get("pools/warehouse", user="admin")["occupied_slots"]
        found = [f"{run['dag_id']} {run['dag_run_id']} is {run['state']}" for run in runs]
        found += [f"{task['dag_id']}.{task['task_id']} of {task['dag_run_id']} is {task['state']}" for task in tasks]
        found += [f"backfill {one['id']} is not completed" for one in backfills if one["completed_at"] is None]
        return found + ([f"{slots} slots of the pool are occupied"] if slots else [])

    def gold_days(self, resource="posts"):
        """Return the days of a resource that Gold was built from, by what the published version says of itself."""
        with duckdb.connect(str(self.data_dir / "warehouse.duckdb"), read_only=True) as connection:
            query = (
                "select distinct dt from _pipeline.held"
                " inner join _pipeline.partitions using (source, resource, dt, content_hash) where resource = ?"
            )
            return {str(row[0]) for row in connection.execute(query, [resource]).fetchall()}

    def wait(self, dag_id, run_id, timeout=1800):
        """Return a run when it has ended."""
        path = f"dags/{dag_id}/dagRuns/{quote(run_id)}"
        return wait_for(lambda: (run := self.get(path))["state"] in DONE and run, f"{dag_id} {run_id}", timeout)

    def wait_for_loads(self, timeout=3000):
        """Return when nothing runs and nothing waits in the chain from Bronze to Gold."""
        quiet = 0
        deadline = time.monotonic() + timeout
        # between a layer's end and the start of the next one there may be a moment
        while quiet < 3:
            # one request for all DAGs: an API server that is asked all the time takes the tasks' processor
            found = self.get("dags/~/dagRuns?state=queued&state=running&order_by=-id&limit=20")["dag_runs"]
            active = [(run["dag_id"], run["dag_run_id"]) for run in found if run["dag_id"] in CHAIN]
            # of Gold's run there is only this until the scheduler creates it
            if not active and self.get("dags/dbt_dag/assets/queuedEvents")["total_entries"]:
                active = [("dbt_dag", "of an event")]
            quiet = 0 if active else quiet + 1
            assert time.monotonic() < deadline, f"still active: {active[:5]}"
            time.sleep(1)


@contextlib.contextmanager
def open_folder():
    """A folder for the block that PostgreSQL can enter: as root it runs as another user, whom pytest's own keep out."""
    folder = Path(tempfile.mkdtemp(prefix="airflow-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_airflow(folder, *, home=PROJECT_DIR, **environ):
    """Run the launcher of a clone for the block, with its data in a folder."""
    port, env_file, output = free_port(), folder / "secrets.env", folder / "launcher.log"
    values = {"DATA_DIR": folder / "data", "TASK_RETRY_WAIT": 1, "API_RETRY_WAIT": 0.05, **environ}
    options = ["--port", port, "--env-file", env_file]
    with launched(
        "Airflow",
        "airflow_local.py",
        *options,
        log=output,
        environ=values,
        start_seconds=1200,
        stop_seconds=120,
        home=home,
    ) as process:
        yield Airflow(f"http://127.0.0.1:{port}", dotenv_values(env_file), folder / "data", process)
