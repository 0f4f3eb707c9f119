"""
# reconcile: what is due, whatever became of runs and events

Every few minutes (`RECONCILE_MINUTES`) it derives from the ledger what is due, and sees to it:

- `load_due` loads and validates what has to be: the day that has ended, days that were loaded before they were over,
  days whose load failed for a reason that passes, and missing days of contracts that say `catchup: true`. It leaves
  loads to `pipeline_bronze` while a run of it is under way.
- `start_build` starts `pipeline_silver`, or `dbt_dag` where only Gold is missing, when something loaded is not
  published and no build is under way.

- `tell_problems` sends what no failed run could tell: days that are missing or not published though nothing failed,
  because a run was killed, deleted, paused or never started; and once more when it is over.

Nothing due: the tasks are *skipped* within a second. **There is no need to run it by hand**, but it does no harm.

**Repair:** it is red only where a load that it made failed; the log names each, and what to do. Mend the cause: an
error that may pass is tried again by itself, after longer and longer waits; for the others clear `ingest` of the day,
or `pipeline backfill` for it. `pipeline due` shows what waits, and for what. See the runbook (`docs/runbook.md`).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from airflow.sdk import DAG, CronTriggerTimetable, TriggerRule, task
from airflow.sdk.exceptions import AirflowSkipException

from dag_support import deadline, defaults, one_line_errors, start_dag, start_run, start_silver
from scripts.config import settings

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol, RuntimeTaskInstanceProtocol

with DAG(
    "reconcile",
    schedule=CronTriggerTimetable(f"*/{settings().reconcile_minutes} * * * *", timezone="UTC", run_immediately=False),
    start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    # it comes again in minutes: the core decides what is tried again, and when
    default_args=defaults() | {"retries": 0},
    deadline=deadline(),
    doc_md=__doc__,
    tags=["maintenance"],
) as dag:

    @task
    @one_line_errors
    def load_due(*, dag_run: DagRunProtocol, ti: RuntimeTaskInstanceProtocol) -> list[str]:
        """Load and validate what is due; returns the partitions."""
        from scripts.loading import partitions
        from scripts.planning import reconcile

        run = start_run(dag_run.run_id)
        run.store.recover()
        found = reconcile.examine(run.store)
        if not found.ready:
            raise AirflowSkipException("nothing is due that can be loaded now")
        if ti.get_dr_count("pipeline_bronze", states=["running"]):
            raise AirflowSkipException("a run of pipeline_bronze is under way, and loads what is due to it")
        outcomes = reconcile.load_due(run, found)
        if errors := {outcome.partition: outcome.error for outcome in outcomes if outcome.error}:
            raise partitions.failed(errors, len(outcomes))
        return [str(outcome.partition) for outcome in outcomes]

    @task(trigger_rule=TriggerRule.ALL_DONE)
    @one_line_errors
    def start_build(*, dag_run: DagRunProtocol, ti: RuntimeTaskInstanceProtocol) -> None:
        """Start the build that is due, where none is under way."""
        from scripts.planning.reconcile import examine

        build = examine(start_run(dag_run.run_id).store).build
        if not build.is_ready:
            raise AirflowSkipException(build.waits_for or "everything that is loaded is published")
        if ti.get_dr_count("dbt_dag", states=["queued", "running"]):
            raise AirflowSkipException("a run of dbt_dag is queued or runs")
        if build.awaits_gold and not ti.get_dr_count("pipeline_silver", states=["queued", "running"]):
            start_dag("dbt_dag", ti)
        start_silver(ti)

    @task(trigger_rule=TriggerRule.ALL_DONE)
    @one_line_errors
    def tell_problems(*, dag_run: DagRunProtocol) -> str:
        """Send an alert on what is overdue though no run has failed, once, and once more when it is over."""
        from scripts.monitoring.digest import tell_health

        if (message := tell_health(start_run(dag_run.run_id).store)) is None:
            raise AirflowSkipException("there is nothing new to tell")
        return message.title

    load_due() >> start_build() >> tell_problems()
