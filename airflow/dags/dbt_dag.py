"""
# dbt_dag: Silver to Gold, tests, publish

When Silver has changed: builds Gold on the candidate, runs **all tests**, and only if all of them are green publishes
the candidate as the new version of `warehouse.duckdb`. Then it writes the documentation of the data and `health.json`,
and starts Silver again where days were loaded meanwhile.
Tests look at the rows that changed; on Sundays, and with `full_tests`, at all rows.

**A red test publishes nothing**: people go on reading the version before. The log, the alert and the XCom `results` say
which model, which test, and which rows.

**Run it by hand** to publish a candidate that was repaired, or with `full_refresh` to make every table from scratch.

**Repair:** read the log of `build_gold`. If the data is wrong, mend the source or put a rule into the contract, and
clear `ingest` of that day: the build follows. If a model or test is wrong, mend it and *clear* `build_gold`: it goes on
from what failed. To take back a published version: `pipeline rollback`. See the runbook, *A dbt model or test failed*
(`docs/runbook.md`).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, TriggerRule, task

from dag_support import (
    GOLD,
    POOL,
    SILVER,
    announce_tables,
    deadline,
    defaults,
    one_line_errors,
    refuse_unknown,
    run_build,
    start_run,
    start_silver,
    table_assets,
)

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol, OutletEventAccessorsProtocol, RuntimeTaskInstanceProtocol

SUNDAY = 6

with DAG(
    "dbt_dag",
    # below pipeline_silver in a list by name
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
        "full_refresh": Param(False, type="boolean", description="Make every table from scratch, from all days."),
        "full_tests": Param(False, type="boolean", description="Test all rows, as on Sundays."),
    },
) as dag:

    @task(pool=POOL, inlets=list(table_assets("silver").values()), outlets=[GOLD, *table_assets("gold").values()])
    @one_line_errors
    def build_gold(
        *,
        params: dict[str, Any],
        dag_run: DagRunProtocol,
        ti: RuntimeTaskInstanceProtocol,
        outlet_events: OutletEventAccessorsProtocol,
    ) -> dict[str, Any]:
        """Build Gold, run all tests, and publish; the XCom `results` tells how each model and test ended."""
        from scripts.monitoring.digest import tell_quarantine
        from scripts.warehouse.build import warehouse

        refuse_unknown(dag_run, dag)
        full_tests = params["full_tests"] or dt.datetime.now(dt.UTC).weekday() == SUNDAY
        done = run_build("gold", dag_run, ti, full_refresh=params["full_refresh"], full_tests=full_tests)
        days = sorted({str(partition.day) for partition in done.partitions})
        outlet_events[GOLD].extra = {"version": done.version, "partitions": len(done.partitions)}
        announce_tables("gold", warehouse().path, days, outlet_events)
        tell_quarantine(start_run(dag_run.run_id).store, done.partitions, run_id=dag_run.run_id)
        return {"version": done.version, "partitions": len(done.partitions), "seconds": round(done.seconds, 1)}

    @task(pool=POOL)
    @one_line_errors
    def write_docs(*, dag_run: DagRunProtocol) -> str:
        """Write dbt's site for the people who use the data."""
        from scripts.warehouse import data_docs

        return str(data_docs.write_docs(start_run(dag_run.run_id)))

    # a red build is what the page is for
    @task(trigger_rule=TriggerRule.ALL_DONE)
    @one_line_errors
    def write_health(*, dag_run: DagRunProtocol) -> str:
        """Write the health page, and `health.json`: version, row counts, freshness, problems."""
        from scripts.monitoring.report import write_pages

        return ", ".join(map(str, write_pages(start_run(dag_run.run_id).store)))

    @task
    @one_line_errors
    def start_next_build(*, dag_run: DagRunProtocol, ti: RuntimeTaskInstanceProtocol) -> None:
        """Start Silver again for what was loaded while this build was under way; skipped where there is nothing."""
        from airflow.sdk.exceptions import AirflowSkipException

        from scripts.planning.reconcile import examine

        if not examine(start_run(dag_run.run_id).store).build.is_ready:
            raise AirflowSkipException("everything that is loaded is published")
        start_silver(ti)

    build_gold() >> [write_docs(), write_health(), start_next_build()]
