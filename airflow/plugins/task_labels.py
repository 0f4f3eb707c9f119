"""The labels of mapped tasks: source, resource and day. Airflow labels a task only when it ends by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun


def label_tasks(dag_run: DagRun) -> None:
    """Give each mapped task of a run that has no label the one of its partition: it did not run, or it was killed."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from sqlalchemy import select, update
    from sqlalchemy.orm import object_session

    if (session := object_session(dag_run)) is None:
        return
    of_run = (TaskInstance.dag_id == dag_run.dag_id, TaskInstance.run_id == dag_run.run_id)
    label = TaskInstance._rendered_map_index  # noqa: SLF001 — its column
    bare = select(TaskInstance.id, TaskInstance.map_index).where(*of_run, TaskInstance.map_index >= 0, label.is_(None))
    if not (found := session.execute(bare).all()):
        return
    plan = select(XComModel.value).where(
        XComModel.dag_id == dag_run.dag_id,
        XComModel.run_id == dag_run.run_id,
        XComModel.task_id == "plan",
        XComModel.key == "return_value",
    )
    partitions = session.scalar(plan) or []
    for task_id, map_index in found:
        if map_index < len(partitions):
            change = update(TaskInstance).where(TaskInstance.id == task_id)
            named = change.values(_rendered_map_index=partitions[map_index]["label"])
            session.execute(named.execution_options(synchronize_session=False))
