"""
# pipeline_silver: Bronze to Silver, when Bronze has changed

Runs `dbt build` of Silver for **exactly the partitions that changed** since the published version, as the ledger says;
so one build serves all days of a backfill. The result is a candidate that nobody sees before `dbt_dag` has built Gold
on it, tested all of it and published it.

A run is started for every day that `pipeline_bronze` loaded. It waits until no Bronze run is under way (five minutes at
most), builds what is there, and the runs queued behind it find nothing left to do: they end as *skipped*, and no day is
left out.

**Run it by hand** after a change of the models, or with `full_refresh` to make every table from scratch.

**When not:** there is no need to run it for a day, and no way: it always builds all that changed.

**Repair:** the log names the model or test that failed. Mend it, then *clear* the task: it goes on from the models and
tests that failed, where that gives the same result as starting over. What is published does not change meanwhile.
See the runbook, *A dbt model or test failed* (`docs/runbook.md`).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, Param, PartitionedAssetTimetable, task

from dag_support import BRONZE, POOL, SILVER, deadline, defaults, one_line_errors, run_build

LONGEST_WAIT = dt.timedelta(minutes=5)

with DAG(
    "pipeline_silver",
    schedule=PartitionedAssetTimetable(assets=BRONZE),
    start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args=defaults(),
    deadline=deadline(),
    doc_md=__doc__,
    tags=["silver", "dbt"],
    params={"full_refresh": Param(False, type="boolean", description="Make every table from scratch, from all days.")},
) as dag:

    @task.sensor(mode="reschedule", poke_interval=3, timeout=3600)
    @one_line_errors
    def wait_for_loads(*, dag_run: Any = None, ti: Any = None) -> bool:
        """Wait for the Bronze runs under way, so that one build serves them all."""
        waited = dt.datetime.now(dt.UTC) - dag_run.start_date
        return waited > LONGEST_WAIT or ti.get_dr_count("pipeline_bronze", states=["queued", "running"]) == 0

    @task(pool=POOL, outlets=[SILVER])
    @one_line_errors
    def build_silver(
        *, params: dict[str, Any], dag_run: Any = None, ti: Any = None, outlet_events: Any = None
    ) -> dict[str, Any]:
        """Build Silver into a candidate; the XCom `results` tells how each model and test ended."""
        done = run_build("silver", dag_run, ti, full_refresh=params["full_refresh"])
        outlet_events[SILVER].extra = {"partitions": len(done.partitions)}
        outlet_events[SILVER].add_partitions(dag_run.partition_key or dag_run.run_id)
        return {"version": done.version, "partitions": len(done.partitions), "seconds": round(done.seconds, 1)}

    wait_for_loads() >> build_silver()
