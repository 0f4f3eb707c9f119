"""
# pipeline_silver: Bronze to Silver, when Bronze has changed

The DAG runs `dbt build` of Silver for **exactly the partitions that changed** in the ledger since the published
version, so one build covers all days of a backfill. The result is a candidate. Nobody reads it until `dbt_dag` has
built Gold on it, run all tests and published it.

A run of Bronze that has loaded days starts a run of Silver, unless one is already queued or waiting. The run of Silver
waits until no Bronze run is active, or until no Bronze run has loaded anything for two minutes, but at most 50 minutes.
It does not wait for runs that cannot go on: of a paused DAG or backfill. Then it builds everything that is loaded: a
backfill of a month is one build. The next run, which `dbt_dag` or `reconcile` starts, builds the days that are loaded
during this build.

**Run it by hand** after a change of the models, or with `full_refresh` to rebuild every table.

**When not:** it cannot be run for one day, and there is no need to: it always builds everything that changed.

**Repair:** the log names the model or test that failed. Correct it, then *clear* the task. The build resumes with the
models and tests that failed, if this gives the same result as starting over. The published version does not change in
the meantime. See the runbook, *A dbt model or test failed* (`docs/runbook.md`).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, task

from dag_assets import LAYERS, SILVER, announce
from dag_support import (
    POOL,
    deadline,
    defaults,
    one_line_errors,
    refuse_unknown,
    run_build,
    runs_that_go_on,
    start_run,
)

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol, OutletEventAccessorsProtocol, RuntimeTaskInstanceProtocol

with DAG(
    "pipeline_silver",
    schedule=None,
    start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args=defaults(),
    deadline=deadline(),
    doc_md=__doc__,
    tags=["silver", "dbt"],
    params={"full_refresh": Param(False, type="boolean", description="Rebuild every table from all days.")},
) as dag:

    @task.sensor(mode="reschedule", poke_interval=3, timeout=3600)
    @one_line_errors
    def wait_for_loads(*, dag_run: DagRunProtocol, ti: RuntimeTaskInstanceProtocol) -> bool:
        """Wait for the active Bronze runs, at most 50 minutes, so that one build covers all of them."""
        from scripts.planning.build_start import can_start
        from scripts.planning.reconcile import last_load

        refuse_unknown(dag_run, dag)
        now = dt.datetime.now(dt.UTC)
        return can_start(
            running=runs_that_go_on(ti, "pipeline_bronze", "running"),
            queued=runs_that_go_on(ti, "pipeline_bronze", "queued"),
            last_load=last_load(start_run(dag_run.run_id).store),
            waits_since=dag_run.start_date or now,
            now=now,
        )

    @task(pool=POOL, outlets=[SILVER, LAYERS])
    @one_line_errors
    def build_silver(
        *,
        params: dict[str, Any],
        dag_run: DagRunProtocol,
        ti: RuntimeTaskInstanceProtocol,
        outlet_events: OutletEventAccessorsProtocol,
    ) -> dict[str, Any]:
        """Build Silver into a candidate; the XCom `results` holds the result of each model and test."""
        from scripts.warehouse.build import warehouse

        done = run_build("silver", dag_run, ti, full_refresh=params["full_refresh"])
        announce("silver", warehouse().build_path, done, ti, outlet_events)
        return {"version": done.version, "partitions": len(done.partitions), "seconds": round(done.seconds, 1)}

    wait_for_loads() >> build_silver()
