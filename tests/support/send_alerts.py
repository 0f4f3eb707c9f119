"""Call Airflow's callbacks as Airflow does, with one error of each kind."""

from __future__ import annotations

import asyncio
import sys
import types
from typing import TYPE_CHECKING, cast

sys.path.insert(0, sys.argv[1])

import dag_alerts
from scripts import errors

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


def fail(task_id: str, error: BaseException | None, map_index: int = -1) -> None:
    ti = types.SimpleNamespace(
        dag_id="pipeline_bronze",
        task_id=task_id,
        run_id="a run+00:00",
        map_index=map_index,
        rendered_map_index="s/r 2024-01-01" if map_index >= 0 else None,
        # the scheduler sends no alert for a task that has this XCom
        xcom_push=lambda key, value: print("XCom of", task_id, key, value),
    )
    dag_alerts.alert_failure(cast("Context", {"ti": ti, "exception": error}))


fail("load.ingest", errors.SourceUnavailableError("HTTP 503"), map_index=2)
fail("load.validate", errors.DataError("rule `email_form` is broken by 3 of 10 rows, for example 'x'"), map_index=1)
fail("build_gold", errors.WarehouseError("model `dim_users` error"))
fail("check_freshness", errors.DataError("stale: s/r"))
fail("verify_ledger", errors.DataError("a file is torn"))
fail("load.ingest", None, map_index=2)
asyncio.run(dag_alerts.alert_late(2.0, {"dag_run": {"dag_id": "dbt_dag", "dag_run_id": "another run"}}))
