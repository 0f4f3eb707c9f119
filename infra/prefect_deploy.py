"""Create the work pool and the deployments of `prefect/prefect.yaml` in the Prefect of `PREFECT_API_URL`.

python infra/prefect_deploy.py POOL     OVERWRITE=yes: replace what people have changed in Prefect

It creates what is missing, and updates the code of each deployment and the names of its parameters. It keeps and prints
what people have set in Prefect: schedules, pause, concurrency limit, values of parameters, tags.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import get_client

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

REPOSITORY = Path(__file__).resolve().parent.parent
PREFECT = str(Path(sys.executable).with_name("prefect"))
KEPT = ("paused", "concurrency_limit", "parameters", "tags")
SCHEDULE = ("schedule", "active", "max_scheduled_runs", "parameters", "slug")


def settings_of(deployment: dict[str, Any]) -> dict[str, Any]:
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
        before = {found["id"]: settings_of(found) for found in _deployments(client)}
        file = REPOSITORY / "prefect" / "prefect.yaml"
        subprocess.run([PREFECT, "deploy", "--all", "--prefect-file", str(file)], check=True)
        for deployment in _deployments(client):
            # otherwise Prefect accepts unknown parameters, and the run ignores them without a message
            schema = deployment["parameter_openapi_schema"] | {"additionalProperties": False}
            path = {"id": deployment["id"]}
            client.request("PATCH", "/deployments/{id}", path_params=path, json={"parameter_openapi_schema": schema})
        if os.environ.get("OVERWRITE") == "yes":
            return
        for deployment in _deployments(client):
            now, then = settings_of(deployment), before.get(deployment["id"])
            if then is None or now == then:
                continue
            client.request("PATCH", "/deployments/{id}", path_params={"id": deployment["id"]}, json=then)
            changed = [name for name, value in then.items() if now[name] != value]
            print(
                f"kept what was set in Prefect at {deployment['name']}: {', '.join(changed)}; OVERWRITE=yes replaces it"
            )


def _deployments(client: SyncPrefectClient) -> list[dict[str, Any]]:
    return list(client.request("POST", "/deployments/filter", json={}).json())


if __name__ == "__main__":
    main(sys.argv[1])
