"""Start a Prefect worker, after ending the runs that an earlier worker has left without a process.

python infra/prefect_worker.py OPTION...     OPTION: an option of `prefect worker start`
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "prefect" / "flows")]

from flow_runs import end_orphans  # noqa: E402 — its folder has to be on the path

PREFECT = str(Path(sys.executable).with_name("prefect"))


def main() -> None:
    """End the runs that were left, and replace this process with the worker."""
    try:
        if ended := end_orphans():
            print(f"ended runs without a process: {', '.join(ended)}", flush=True)
    except Exception as error:  # noqa: BLE001 — the worker must start: the flow elt-reconcile also ends such runs
        print(f"cannot look for runs without a process: {error}", flush=True)
    os.execv(PREFECT, [PREFECT, "worker", "start", *sys.argv[1:]])  # noqa: S606 — its own program


if __name__ == "__main__":
    main()
