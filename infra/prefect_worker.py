"""Start a Prefect worker, after ending the runs that an earlier worker has left without a process.

python infra/prefect_worker.py OPTION...     OPTION: an option of `prefect worker start`

With `--work-queue default`, it only loads, on a machine of its own: it needs Bronze in a bucket, Prefect's address and
login, and no folder. See LOAD_RUNS in docs/scaling.md.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "prefect" / "flows")]

from load_worker import refuse_a_folder  # noqa: E402 — it needs the repository on the path

from flow_runs import end_orphans  # noqa: E402 — its folder has to be on the path

PREFECT = str(Path(sys.executable).with_name("prefect"))
LOAD_QUEUE = "default"


def main() -> None:
    """End the runs that were left, and replace this process with the worker."""
    # prefect_deploy.py makes an automation that takes a load for dead after two minutes without a heartbeat
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
    is_loading = LOAD_QUEUE in sys.argv[1:]
    if is_loading:
        refuse_a_folder()
    else:
        _end_orphans()
    os.execv(PREFECT, [PREFECT, "worker", "start", *sys.argv[1:]])  # noqa: S606 — its own program


def _end_orphans() -> None:
    """End the runs that were left by an earlier worker of this `DATA_DIR`, which has their locks."""
    try:
        if ended := end_orphans():
            print(f"ended runs without a process: {', '.join(ended)}", flush=True)
    except Exception as error:  # noqa: BLE001 — the worker must start: the flow elt-reconcile also ends such runs
        print(f"cannot look for runs without a process: {error}", flush=True)


if __name__ == "__main__":
    main()
