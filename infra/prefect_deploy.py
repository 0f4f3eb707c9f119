"""Create the work pool and the deployments of `prefect/prefect.yaml` in the Prefect of `PREFECT_API_URL`.

python infra/prefect_deploy.py POOL     OVERWRITE=yes: replace what people have changed in Prefect

It creates what is missing, and updates the code of each deployment and the names of its parameters. Of the settings
(schedules, pause, concurrency limit, values of parameters, tags), it updates those that nobody has changed in Prefect
since the last time. It keeps and prints the others. The variable `data-pipeline-deployed` in Prefect records what was
set. It also creates an automation that ends loads on other workers whose worker is gone, unless there is one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.automations import Automation, ChangeFlowRunState, EventTrigger, Posture, ResourceSpecification
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.objects import StateType

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "prefect" / "flows")]

from flow_runs import LOADS  # noqa: E402 — its folder has to be on the path
from scripts.config import settings  # noqa: E402 — the repository has to be on the path

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    Deployment = dict[str, Any]

PREFECT = str(Path(sys.executable).with_name("prefect"))
RECORD = "data-pipeline-deployed"
DEAD_LOADS = "end loads whose worker is gone"
HEARTBEAT = "prefect.flow-run.heartbeat"
KEPT = ("paused", "concurrency_limit", "parameters", "tags")
SCHEDULE = ("schedule", "active", "max_scheduled_runs", "parameters", "slug")


def settings_of(deployment: Deployment) -> dict[str, Any]:
    """Return the settings of a deployment that people change, in the form of Prefect's API."""
    found = {name: deployment[name] for name in KEPT}
    if limit := deployment.get("global_concurrency_limit"):
        found["concurrency_limit"] = limit["limit"]
    schedules = [{name: schedule.get(name) for name in SCHEDULE} for schedule in deployment["schedules"]]
    return found | {"schedules": sorted(schedules, key=str)}


def main(pool: str) -> None:
    """Create what is missing, update the deployments, and keep what people changed."""
    with get_client(sync_client=True) as client:
        pools = client.request("POST", "/work_pools/filter", json={}).json()
        if pool not in {found["name"] for found in pools}:
            subprocess.run([PREFECT, "work-pool", "create", pool, "--type", "process"], check=True)
        before = {found["name"]: settings_of(found) for found in _deployments(client)}
        _deploy()
        record = client.read_variable_by_name(RECORD)
        known = json.loads(str(record.value)) if record else {}
        for deployment in _deployments(client):
            name, wanted = deployment["name"], settings_of(deployment)
            then = before.get(name, wanted)
            # otherwise Prefect accepts unknown parameters, and the run ignores them without a message
            schema = deployment["parameter_openapi_schema"] | {"additionalProperties": False}
            kept = {} if os.environ.get("OVERWRITE") == "yes" else changed(then, wanted, known.get(name, {}))
            path, patch = {"id": deployment["id"]}, {"parameter_openapi_schema": schema} | kept
            client.request("PATCH", "/deployments/{id}", path_params=path, json=patch)
            if kept:
                print(f"kept what was set in Prefect at {name}: {', '.join(kept)}; OVERWRITE=yes replaces it")
            known[name] = {field: _hash(value) for field, value in wanted.items()}
        _watch_loads(client)
        value = json.dumps(known)
        if record:
            client.update_variable(VariableUpdate(name=RECORD, value=value))
        else:
            client.create_variable(VariableCreate(name=RECORD, value=value))


def changed(then: dict[str, Any], wanted: dict[str, Any], known: dict[str, str]) -> dict[str, Any]:
    """Return the settings that a person has changed, with their values; without a record, all that differ."""
    return {
        field: value for field, value in then.items() if value != wanted[field] and _hash(value) != known.get(field)
    }


def _watch_loads(client: SyncPrefectClient) -> None:
    """Let the server mark a load as crashed that sends no heartbeat: its worker cannot tell if it was killed."""
    if DEAD_LOADS in {found["name"] for found in client.request("POST", "/automations/filter", json={}).json()}:
        return
    ends = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    trigger = EventTrigger(
        after={HEARTBEAT},
        expect={HEARTBEAT, *ends},
        match_related=ResourceSpecification({"prefect.resource.role": "flow", "prefect.resource.name": LOADS}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        # prefect_worker.py lets runs send one each 30 seconds
        within=dt.timedelta(minutes=2),
    )
    text = "its worker is gone: no heartbeat for two minutes; other runs load its partitions"
    action = ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message=text, force=False)
    Automation(name=DEAD_LOADS, trigger=trigger, actions=[action]).create()


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _deploy() -> None:
    file = REPOSITORY / "prefect" / "prefect.yaml"
    environ = os.environ | {"RECONCILE_MINUTES": str(settings().reconcile_minutes)}
    command = [PREFECT, "deploy", "--all", "--prefect-file", str(file)]
    # a run starts in the folder from which it was deployed, wherever this program was started
    subprocess.run(command, cwd=REPOSITORY, env=environ, check=True)


def _deployments(client: SyncPrefectClient) -> list[Deployment]:
    return list(client.request("POST", "/deployments/filter", json={}).json())


if __name__ == "__main__":
    main(sys.argv[1])
