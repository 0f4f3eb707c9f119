"""Load the DAGs as Airflow's processor does, and print what a test wants to know of them as JSON.

Counts what importing the DAG files does: modules that are imported, connections and files that are opened.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import DAG

opened: list[str] = []


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"socket.connect", "socket.getaddrinfo", "sqlite3.connect", "subprocess.Popen"}:
        opened.append(f"{event} {str(arguments)[:200]}")


from airflow.dag_processing.dagbag import DagBag
from airflow.providers.fab.auth_manager import fab_auth_manager  # noqa: F401 — Airflow's own, not the DAGs'

DagBag("/dev/null")
sys.path.insert(0, sys.argv[2])
before = set(sys.modules)
sys.addaudithook(watch)
bag = DagBag(sys.argv[1])
imported = sorted({name.partition(".")[0] for name in set(sys.modules) - before})


def count(found: object) -> int:
    """Return how many there are: Airflow takes one as well as a list."""
    return len(found) if isinstance(found, Sequence) else int(found is not None)


def about(dag: DAG) -> dict[str, Any]:
    return {
        "doc": dag.doc_md or "",
        "tags": sorted(dag.tags),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "schedule": dag.timetable.summary if hasattr(dag.timetable, "summary") else str(dag.timetable),
        "deadlines": count(dag.deadline),
        "params": {
            name: {"description": param.description, "schema": param.schema, "default": param.value}
            for name, param in ((name, dag.params.get_param(name)) for name in dag.params)
        },
        "tasks": {
            task.task_id: {
                "owner": task.owner,
                "retries": task.retries,
                "policy": type(task.retry_policy).__name__,
                "backoff": task.retry_exponential_backoff,
                "timeout_s": task.execution_timeout.total_seconds() if task.execution_timeout else None,
                "alerts": count(task.on_failure_callback),
                "pool": task.pool,
                "queue": task.queue,
                "doc": task.python_callable.__doc__ if hasattr(task, "python_callable") else None,
            }
            for task in dag.tasks
        },
    }


print(
    json.dumps(
        {
            "errors": bag.import_errors,
            "imported": imported,
            "opened": opened,
            "dags": {dag_id: about(dag) for dag_id, dag in bag.dags.items()},
        }
    )
)
