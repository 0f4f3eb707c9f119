"""
# reconcile: does what is due, independently of runs and events

Every few minutes (`RECONCILE_MINUTES`), the DAG computes from the ledger what is due, and does it:

- `load_due` loads and validates partitions: the day that has just ended, days that were loaded before they were over,
  days whose load failed with a transient error, and missing days of contracts that say `catchup: true`. While a run of
  `pipeline_bronze` is active, it leaves the loads to that run, unless the DAG is paused.
- `start_build` starts `pipeline_silver`, or `dbt_dag` if only Gold is missing, when loaded days are not published and
  no build is running.
- `tell_problems` sends an alert about problems that no other run reported: days that are missing or not published
  because a run was killed, deleted, paused or never started, and loads that fail here. It sends another message when a
  problem is over.

If nothing is due, the tasks are *skipped* within a second. **There is no need to run it by hand**, but it does no harm.

**Repair:** the DAG fails only if a load that it started failed; the log names each load and what to do, and
`tell_problems` sends one alert for each problem, not for each try. Correct the cause. The DAG itself retries a
transient error, with longer and longer waits. For other errors, clear `ingest` of the day, or run `pipeline backfill`
for it. `pipeline due` shows which partitions wait, and for what. See the runbook (`docs/runbook.md`).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from airflow.sdk import DAG, CronTriggerTimetable, TriggerRule, task
from airflow.sdk.exceptions import AirflowSkipException

from dag_alerts import health_url, log_error, runbook_link, tell_quarantine
from dag_support import (
    deadline,
    defaults,
    one_line_errors,
    runs_that_go_on,
    start_dag,
    start_run,
    start_silver,
)
from scripts.config import settings

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol, RuntimeTaskInstanceProtocol

with DAG(
    "reconcile",
    schedule=CronTriggerTimetable(f"*/{settings().reconcile_minutes} * * * *", timezone="UTC", run_immediately=False),
    start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    # the next run is minutes away: the core decides what to retry, and when
    default_args=defaults() | {"retries": 0},
    deadline=deadline(),
    doc_md=__doc__,
    tags=["maintenance"],
) as dag:
    # `tell_problems` tells what fails here: each problem once, not each try
    @task(on_failure_callback=log_error)
    @one_line_errors
    def load_due(*, dag_run: DagRunProtocol, ti: RuntimeTaskInstanceProtocol) -> list[str]:
        """Load and validate what is due; return the partitions."""
        from scripts.bronze.run import RECONCILE
        from scripts.loading import partitions
        from scripts.planning import reconcile

        run = start_run(dag_run.run_id, RECONCILE)
        run.store.recover()
        found = reconcile.examine(run.store)
        if not found.ready:
            raise AirflowSkipException("there is nothing due that can be loaded now")
        if runs_that_go_on(ti, "pipeline_bronze", "running"):
            raise AirflowSkipException("a run of pipeline_bronze is active, and loads what is due")
        outcomes = reconcile.load_due(run, found)
        if errors := {outcome.partition: outcome.error for outcome in outcomes if outcome.error}:
            raise partitions.failed(errors, len(outcomes))
        return [str(outcome.partition) for outcome in outcomes]

    @task(trigger_rule=TriggerRule.ALL_DONE)
    @one_line_errors
    def start_build(*, dag_run: DagRunProtocol, ti: RuntimeTaskInstanceProtocol) -> None:
        """Start the build that is due, unless a build is running."""
        from scripts.planning.reconcile import examine

        build = examine(start_run(dag_run.run_id).store).build
        if not build.is_ready:
            raise AirflowSkipException(build.waits_for or "all loaded days are published")
        if ti.get_dr_count("dbt_dag", states=["queued", "running"]):
            raise AirflowSkipException("a run of dbt_dag is queued or running")
        if build.awaits_gold and not ti.get_dr_count("pipeline_silver", states=["queued", "running"]):
            start_dag("dbt_dag", ti)
        start_silver(ti)

    @task(trigger_rule=TriggerRule.ALL_DONE)
    @one_line_errors
    def tell_problems(*, dag_run: DagRunProtocol, ti: RuntimeTaskInstanceProtocol) -> str:
        """Send one alert about what is overdue although no run failed, and a message when it is over.

        If loads ended without a build, it also sends the message about quarantined rows.
        """
        from scripts.monitoring.digest import tell_health

        links = {"health": health_url()} | runbook_link("data overdue")
        store = start_run(dag_run.run_id).store
        messages = [tell_health(store, place="airflow", links=links), tell_quarantine(store, ti)]
        if not any(messages):
            raise AirflowSkipException("there is nothing new to report")
        return "; ".join(message.title for message in messages if message)

    load_due() >> start_build() >> tell_problems()
