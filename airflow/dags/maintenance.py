"""
# maintenance: regular checks and cleaning

The DAG runs every morning, also if no other DAG ran:

- `verify_ledger` checks the sizes of all Bronze files and reads a part of them, so that it reads every file once a
  month. It fails if row counts do not add up, or if a file differs from its ledger record.
- `check_freshness` compares the last loaded day of each daily source with the limits of its contract. It fails and
  sends an alert if a source is stale, also if its runs never started, or if a contract is broken.
- `report_quarantine` sends a reminder about rows that have been in quarantine for more than a week.
- `prune` lists old versions of the warehouse, old logs and old alert notes. It **deletes nothing**, unless it is
  triggered by hand with `dry_run` off.

**When not:** there is no need to run it by hand, except `prune` with `dry_run` off.

**Repair:** each failed task says what to do; see the runbook, *Data is stale* and *Rows do not add up*
(`docs/runbook.md`).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, task

from dag_alerts import runbook_link
from dag_support import deadline, defaults, one_line_errors, start_run
from scripts.errors import DataError

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol

with DAG(
    "maintenance",
    # without a start date the first run is tomorrow, when there is data to check
    schedule=CronTriggerTimetable("0 6 * * *", timezone="UTC", run_immediately=False),
    catchup=False,
    max_active_runs=1,
    default_args=defaults(),
    deadline=deadline(),
    doc_md=__doc__,
    tags=["maintenance"],
    params={
        "dry_run": Param(True, type="boolean", description="Only list what would be deleted."),
        "keep_log_days": Param(30, type="integer", minimum=1, description="Days for which task logs are kept."),
        "quarantine_days": Param(7, type="integer", minimum=0, description="Age in days from which rows are reported."),
    },
) as dag:

    @task
    @one_line_errors
    def verify_ledger(*, dag_run: DagRunProtocol) -> int:
        """Compare a part of Bronze with its ledger records, all of it once a month; return the number of partitions."""
        from scripts.bronze.verification import verify_part
        from scripts.monitoring.status import read_status

        store = start_run(dag_run.run_id).store
        problems, found = read_status(store).problems, verify_part(store)
        print(f"{found.partitions} partitions read; the oldest verification is of {found.oldest}")  # noqa: T201 — the task's log
        if problems := [*problems, *(problem for problem in found.problems if problem not in problems)]:
            raise DataError("; ".join(problems[:5]), where="ledger", hint="`pipeline status --verify` lists all")
        return found.partitions

    @task
    @one_line_errors
    def check_freshness(*, dag_run: DagRunProtocol) -> list[dict[str, Any]]:
        """Compare the last loaded day of each daily source with the limits of its contract."""
        from scripts.monitoring import health
        from scripts.planning.reconcile import examine

        found = health.check_freshness(examine(start_run(dag_run.run_id).store))
        return [{**row._asdict(), "last_day": str(row.last_day)} for row in found]

    @task
    @one_line_errors
    def report_quarantine(*, params: dict[str, Any], dag_run: DagRunProtocol) -> int:
        """Send a reminder about rows that have been in quarantine for a long time; return their number."""
        from scripts.monitoring import alerts, health

        old = health.old_quarantine(start_run(dag_run.run_id).store, days=params["quarantine_days"])
        if old:
            links = runbook_link("rows quarantined")
            alerts.notify(dataclasses.replace(alerts.about_old_quarantine(old), links=links, place="airflow"))
        return sum(item.rows for item in old)

    @task
    @one_line_errors
    def prune(*, params: dict[str, Any], dag_run: DagRunProtocol) -> list[str]:
        """Delete or list old versions, logs and alert notes; return their paths."""
        from airflow.sdk.configuration import conf

        from scripts.admin import prune as pruning

        logs = conf.get("logging", "base_log_folder")
        run = start_run(dag_run.run_id)
        return pruning.prune(run, logs, keep_log_days=params["keep_log_days"], dry_run=params["dry_run"])

    verify_ledger()
    check_freshness()
    report_quarantine()
    prune()
