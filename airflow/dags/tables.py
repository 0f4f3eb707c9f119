"""
# tables: which table is made from which

The graph shows the tables of Silver and Gold and what each of them reads, by dbt's manifest of the last build, the
resources of Bronze, and the exposures that use the tables. The page of an asset shows the same: from the API to Bronze,
Silver, Gold and the exposures.

**The DAG makes nothing**: `pipeline_silver` and `dbt_dag` build the tables, and record the rows and days of each table
as events of its asset. One task builds a layer, and Airflow joins everything that a task reads with everything that it
writes. So this DAG has a task for each table, resource and exposure.

**When not:** there is no need to run it; its tasks are skipped.

**Repair:** it cannot fail. If a table is missing, see the runbook, *A dbt model or test failed* (`docs/runbook.md`).
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, Asset, task
from airflow.sdk.exceptions import AirflowSkipException

from dag_assets import known_exposures, known_resources, known_tables
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
        """Nothing: a load, a build or a person makes what the task is named after."""
        raise AirflowSkipException("the DAG only shows what is made from what")

    made = {f"bronze/{name}": [f"api/{name}"] for name in known_resources()}
    made |= {table.name: list(table.reads) for table in known_tables()}
    made |= {f"exposure/{found.name}": list(found.reads) for found in known_exposures()}
    shown = {}
    for name, reads in made.items():
        inlets, outlets = [Asset(read) for read in reads], [Asset(name)]
        shown[name] = task(task_id=name.replace("/", "."), inlets=inlets, outlets=outlets)(show)()
        for read in reads:
            if read in shown:
                shown[read] >> shown[name]
