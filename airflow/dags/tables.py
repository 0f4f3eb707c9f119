"""
# tables: which table is made from which

The graph shows the tables of Silver and Gold and what each of them reads, by dbt's manifest of the last build. The
page of an asset shows the same: from a resource of Bronze to the tables of Gold.

**The DAG makes nothing**: `pipeline_silver` and `dbt_dag` build the tables, and record the rows and days of each table
as events of its asset. One task builds a layer, and Airflow joins everything that a task reads with everything that it
writes. So this DAG has a task for each table.

**When not:** there is no need to run it; its tasks are skipped.

**Repair:** it cannot fail. If a table is missing, see the runbook, *A dbt model or test failed* (`docs/runbook.md`).
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, Asset, task
from airflow.sdk.exceptions import AirflowSkipException

from dag_assets import known_tables
from dag_support import deadline, defaults

with DAG(
    "tables",
    schedule=None,
    start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args=defaults(),
    deadline=deadline(),
    doc_md=__doc__,
    tags=["silver", "gold", "dbt"],
) as dag:

    def show() -> None:
        """Nothing: `pipeline_silver` or `dbt_dag` makes the table."""
        raise AirflowSkipException("a build makes this table; the DAG only shows what it reads")

    shown = {}
    for table in known_tables():
        inlets, outlets = [Asset(name) for name in table.reads], [Asset(table.name)]
        shown[table.name] = task(task_id=table.name.replace("/", "."), inlets=inlets, outlets=outlets)(show)()
        for name in table.reads:
            if name in shown:
                shown[name] >> shown[table.name]
