"""A Celery worker of Airflow with preloaded modules, which its tasks share, as in `airflow_scheduler.py`.

python infra/airflow_worker.py QUEUE [OPTION...]     QUEUE: `default` for loads, `warehouse` for all other tasks;
                                                     OPTION: an option of `airflow celery worker`

A worker of `default` needs Bronze in a bucket: it shares no folder with anyone. It serves the logs of its tasks itself,
and the worker of `warehouse` writes them to the volume of all logs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd  # noqa: F401 — shared by fork
from airflow.__main__ import main as airflow
from celery.signals import heartbeat_sent
from load_worker import refuse_a_folder

# the imports of the DAG files and of the core; pyarrow imports pandas when it makes its first array
import dag_support
import scripts.loading.partitions
import scripts.monitoring.digest
import scripts.monitoring.status
import scripts.planning.reconcile
import scripts.validate_data
import scripts.warehouse.build  # noqa: F401 — shared by fork

ALIVE = Path(tempfile.gettempdir(), "worker.alive")
"""A file that is written whenever the worker tells the broker that it is alive, every two seconds."""


def main(queue: str, *options: str) -> None:
    """Start the worker, or exit with the reason why it cannot work."""
    is_loading = queue == dag_support.LOAD_QUEUE
    if is_loading:
        refuse_a_folder()
    heartbeat_sent.connect(_note_alive)
    sys.argv[1:] = ["celery", "worker", "--queues", queue, *([] if is_loading else ["--skip-serve-logs"]), *options]
    airflow()


def _note_alive(**_: object) -> None:
    ALIVE.touch()


if __name__ == "__main__":
    main(*sys.argv[1:])
