"""The alert for a task whose process was killed.

A task sends its own alert when it fails. Airflow calls no callback of a killed process, so that nobody would be told of
a task that has no retries left. When a run has failed, the scheduler looks for failed tasks without an alert.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dag_alerts import TOLD, FailedTask, about_failure
from scripts.monitoring import alerts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.models.dagrun import DagRun

_TELLS_BY_ITSELF = ("reconcile", "load_due")
"""`tell_problems` sends one alert for each problem of this task, and not one for each try."""


def tell_killed(dag_run: DagRun) -> None:
    """Send an alert for each failed task of a run that has not sent one itself; return at once."""
    if found := _failed_tasks(dag_run):
        # not in the transaction of the scheduler
        threading.Thread(target=_tell, args=[found], name="alerts for killed tasks", daemon=True).start()


def _failed_tasks(dag_run: DagRun) -> Sequence[FailedTask]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    if (session := object_session(dag_run)) is None:
        return []
    label = TaskInstance._rendered_map_index  # noqa: SLF001 — its column
    told = select(XComModel.key).where(
        XComModel.dag_id == TaskInstance.dag_id,
        XComModel.run_id == TaskInstance.run_id,
        XComModel.task_id == TaskInstance.task_id,
        XComModel.map_index == TaskInstance.map_index,
        XComModel.key == TOLD,
    )
    query = select(TaskInstance.task_id, TaskInstance.map_index, label).where(
        TaskInstance.dag_id == dag_run.dag_id,
        TaskInstance.run_id == dag_run.run_id,
        TaskInstance.state == TaskInstanceState.FAILED,
        TaskInstance.start_date.is_not(None),
        ~told.exists(),
    )
    return [
        FailedTask(dag_run.dag_id, task_id, dag_run.run_id, map_index, text or "")
        for task_id, map_index, text in session.execute(query)
        if (dag_run.dag_id, task_id) != _TELLS_BY_ITSELF
    ]


def _tell(found: Sequence[FailedTask]) -> None:
    for task in found:
        alerts.notify(about_failure(task, None))
