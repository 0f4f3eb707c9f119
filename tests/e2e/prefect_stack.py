"""A running Prefect for tests, and workers of it on machines of their own."""

import contextlib
import os
import subprocess
import sys

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from scripts.bronze.ledger import decode
from scripts.config import PROJECT_DIR

from .waiting import wait_for
from .workers import kill_family

DONE = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Prefect:
    """The REST API of a running Prefect."""

    def __init__(self, url, data_dir, login, home):
        self.page, self.url, self.data_dir, self.home = url, f"{url}/api", data_dir, home
        self.session = requests.Session()
        self.session.auth = tuple(login.split(":"))
        # as Prefect's own client does it: the server answers 503 when its SQLite is locked
        again = Retry(10, status_forcelist=[503], allowed_methods=None, backoff_factor=0.2)
        self.session.mount("http://", HTTPAdapter(max_retries=again))
        token = self.get("csrf-token?client=tests")["token"]
        self.session.headers.update({"Prefect-Csrf-Client": "tests", "Prefect-Csrf-Token": token})

    def post(self, path, **body):
        answer = self.session.post(f"{self.url}/{path}", json=body, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def get(self, path):
        answer = self.session.get(f"{self.url}/{path}", timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def start(self, deployment="elt/range", **parameters):
        """Start a run of a deployment, and return its id."""
        found = self.get(f"deployments/name/{deployment}")["id"]
        return self.post(f"deployments/{found}/create_flow_run", parameters=parameters)["id"]

    def run(self, *days, **parameters):
        """Run the flow for a range of days to its end, and return the run."""
        return self.wait(self.start(start_date=days[0], end_date=days[-1], **parameters))

    def wait(self, run_id):
        """Return a run when it has ended."""
        return wait_for(
            lambda: (run := self.get(f"flow_runs/{run_id}"))["state_type"] in DONE and run, f"flow run {run_id}", 1500
        )

    def tasks(self, run, last=None):
        """Return the task runs of a run by their names; with a last one, when it has ended.

        The server records them a moment later.
        """

        def found():
            answer = self.post("task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}}, limit=200)
            tasks = {task["name"]: task for task in answer}
            return (tasks, True) if last is None or tasks.get(last, {}).get("state_type") in DONE else None

        return wait_for(found, last, 60)[0]

    def artifacts(self, run):
        """Return what a person reads of a run, by key."""
        found = self.post("artifacts/filter", flow_runs={"id": {"any_": [run["id"]]}})
        return {artifact["key"]: artifact["data"] for artifact in found}

    def loads(self, days):
        """Return the run that loaded each partition of the days that begin so."""
        found = (self.data_dir / "bronze/_ledger").glob(f"*/*/{days}*.json")
        return {path.relative_to(self.data_dir): decode(path).run_id for path in found}

    def pause(self, deployment):
        """Let the schedule of a deployment start no runs."""
        found = self.get(f"deployments/name/{deployment}")["id"]
        answer = self.session.patch(f"{self.url}/deployments/{found}", json={"paused": True}, timeout=60)
        assert answer.ok, answer.text

    def set_state(self, run_id, state):
        """Ask for a state of a run, as the pages of Prefect do."""
        return self.post(f"flow_runs/{run_id}/set_state", state={"type": state})

    def slots(self):
        """Return how many slots of each limit are taken."""
        limits = self.post("v2/concurrency_limits/filter")
        return {limit["name"]: limit["active_slots"] for limit in limits if limit["active_slots"]}

    def waiting(self):
        """Return what runs or waits: runs, also those whose time has come and that do not start, and slots."""
        states = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING", "PAUSED"]}}
        found = self.post("flow_runs/filter", flow_runs={"state": states})
        late = self.post(
            "flow_runs/filter", flow_runs={"state": {"name": {"any_": ["Late", "AwaitingConcurrencySlot"]}}}
        )
        return [f"{run['name']} is {run['state_name']}" for run in found + late] + [
            f"{number} slots of {name} are taken" for name, number in self.slots().items()
        ]

    def log(self, run_id):
        """Return the text of a run's log."""
        lines, asked = [], {"flow_run_id": {"any_": [run_id]}}
        while page := self.post("logs/filter", logs=asked, limit=200, offset=len(lines)):
            lines += page
        return "\n".join(line["message"] for line in lines)


@contextlib.contextmanager
def load_worker(folder, environ, home=PROJECT_DIR):
    """Run a worker of the queue `default` for the block, in a folder of its own; yields its process."""
    folder.mkdir()
    own = environ | {"DATA_DIR": str(folder / "data"), "PREFECT_HOME": str(folder / "home")}
    command = [sys.executable, str(home / "infra/prefect_worker.py"), "--pool", "data-pipeline"]
    command += ["--type", "process", "--work-queue", "default", "--name", folder.name]
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | own, cwd=folder, stdout=output, stderr=output)
    try:
        yield process
    finally:
        kill_family(process)


def shares(prefect, run_id):
    """Return the runs of `load` that a run has started, the oldest first."""
    found = prefect.post("flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [run_id]}})
    return sorted((run for run in found if run["name"].count("/") >= 2), key=lambda run: run["created"])
