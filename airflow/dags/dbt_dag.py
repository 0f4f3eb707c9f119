"""
# dbt_dag: Silver to Gold, tests, publish

The DAG starts when Silver has changed. It builds Gold on the candidate and runs **all tests**. Only if all tests pass,
it publishes the candidate as the new version of `warehouse.duckdb`. Then it writes the data documentation and
`health.json`. If days were loaded in the meantime, it starts Silver again.
Tests check the rows that changed; on Sundays, and with `full_tests`, they check all rows.

**A failed test publishes nothing**: people keep reading the previous version. The log, the alert and the XCom `results`
name the model, the test and the rows.

**Run it by hand** to publish a repaired candidate, or with `full_refresh` to rebuild every table.

**Repair:** read the log of `build_gold`. If the data is wrong, correct the source or add a rule to the contract, and
clear `ingest` of that day: the build follows. If a model or test is wrong, correct it and *clear* `build_gold`: the
build resumes with the nodes that failed. To go back to the previous version, use `pipeline rollback`. See the runbook,
*A dbt model or test failed* (`docs/runbook.md`).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, TriggerRule, task

from dag_alerts import tell_quarantine
from dag_assets import GOLD, LAYERS, SILVER, announce
from dag_support import (
    POOL,
    deadline,
    defaults,
    one_line_errors,
    refuse_unknown,
    run_build,
    start_run,
    start_silver,
)

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol, OutletEventAccessorsProtocol, RuntimeTaskInstanceProtocol

SUNDAY = 6

with DAG(
    "dbt_dag",
    # sorts it below pipeline_silver in a list of names
    dag_display_name="pipeline_silver_to_gold (dbt_dag)",
    schedule=[SILVER],
    start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args=defaults(),
    deadline=deadline(),
    doc_md=__doc__,
    tags=["gold", "dbt"],
    params={
        "full_refresh": Param(False, type="boolean", description="Rebuild every table from all days."),
        "full_tests": Param(False, type="boolean", description="Test all rows, as on Sundays."),
    },
) as dag:

    @task(pool=POOL, outlets=[GOLD, LAYERS])
    @one_line_errors
    def build_gold(
        *,
        params: dict[str, Any],
        dag_run: DagRunProtocol,
        ti: RuntimeTaskInstanceProtocol,
        outlet_events: OutletEventAccessorsProtocol,
    ) -> dict[str, Any]:
        """Build Gold, run all tests, and publish; the XCom `results` holds the result of each model and test."""
        from scripts.warehouse.build import warehouse

        refuse_unknown(dag_run, dag)
        full_tests = params["full_tests"] or dt.datetime.now(dt.UTC).weekday() == SUNDAY
        done = run_build("gold", dag_run, ti, full_refresh=params["full_refresh"], full_tests=full_tests)
        announce("gold", warehouse().path, done, ti, outlet_events)
        tell_quarantine(start_run(dag_run.run_id).store, ti)
        return {"version": done.version, "partitions": len(done.partitions), "seconds": round(done.seconds, 1)}

    @task(pool=POOL)
    @one_line_errors
    def write_docs(*, dag_run: DagRunProtocol) -> str:
        """Write the pages for data consumers: the portal of Gold, and dbt's site."""
        from scripts.portal.pages import refresh_portal
        from scripts.warehouse import data_docs

        page = str(data_docs.write_docs(start_run(dag_run.run_id)))
        refresh_portal()
        return page

    # the page must also show a failed build
    @task(trigger_rule=TriggerRule.ALL_DONE)
    @one_line_errors
    def write_health(*, dag_run: DagRunProtocol) -> str:
        """Write the health page, and `health.json`: version, row counts, freshness, problems."""
        from scripts.monitoring.report import write_pages

        return ", ".join(map(str, write_pages(start_run(dag_run.run_id).store)))

    @task
    @one_line_errors
    def start_next_build(*, dag_run: DagRunProtocol, ti: RuntimeTaskInstanceProtocol) -> None:
        """Start Silver again if days were loaded during this build; otherwise skip."""
        from airflow.sdk.exceptions import AirflowSkipException

        from scripts.planning.reconcile import examine

        if not examine(start_run(dag_run.run_id).store).build.is_ready:
            raise AirflowSkipException("all loaded days are published")
        start_silver(ti)

    build_gold() >> [write_docs(), write_health(), start_next_build()]
