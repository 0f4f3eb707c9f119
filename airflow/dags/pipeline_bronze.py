"""
# pipeline_bronze: APIs to Bronze, every day

The DAG loads **one day** of every daily source. For each source and resource, it ingests the rows into Bronze Parquet
and validates them against the rules of the contract in `scripts/sources/`. The run at midnight (UTC) loads the day that
has just ended, unless the ledger already has it. Then it starts the builds of Silver (`pipeline_silver`) and Gold
(`dbt_dag`).

**Run it by hand** without any input to load yesterday. For another day, give the partition key `YYYY-MM-DD` or a
logical date at 00:00 UTC. For a range, leave the key empty and give `start_date` and `end_date`. For more than a month,
use *Backfill*, with UTC chosen in the menu of time zones: it makes one run for each day, and only *All Runs* loads
loaded days again. A run by hand, and a cleared run or task, loads its days again; this replaces their rows and
duplicates nothing.

**When not:** do not run it to repair tables; builds do that.

**Repair:** a failed `ingest` names the source, the resource, the day and what to do. Transient errors were already
retried. Correct the cause, then *clear* the failed task, with or without downstream tasks: this loads only that
resource of that day again. A failed `validate` means that the data breaks a rule of severity `fail`: correct the source
or the rule, then clear `ingest` of the same resource. If a run is marked or deleted, the DAG `reconcile` publishes its
loaded days within minutes.

The links of each task lead to its ledger record, its quarantined rows and the runbook (`docs/runbook.md`).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Asset, CronPartitionTimetable, Param, TriggerRule, task, task_group
from airflow.sdk.exceptions import AirflowSkipException

from dag_assets import BRONZE_RESOURCES
from dag_support import (
    LOAD_QUEUE,
    days_of,
    deadline,
    defaults,
    one_line_errors,
    refuse_unknown,
    start_run,
    start_silver,
    was_cleared,
)
from scripts.contracts import catalog
from scripts.errors import UsageError

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol, OutletEventAccessorsProtocol, RuntimeTaskInstanceProtocol

MOST_PARTITIONS = 1000
DATE: dict[str, Any] = {"type": ["null", "string"], "format": "date"}
RESOURCES = sorted({name for names in catalog.resource_names().values() for name in names})
LABEL = "{{ task.op_kwargs.get('partition', {})['label'] | default('') }}"
# a higher priority finishes a started day before the next day starts
INGEST_FIRST, VALIDATE_FIRST, END_FIRST = 1, 2, 3

with DAG(
    "pipeline_bronze",
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", key_format="%Y-%m-%d", run_offset=-1),
    start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=4,
    default_args=defaults(LOAD_QUEUE),
    deadline=deadline(),
    doc_md=__doc__,
    tags=["bronze", "daily"],
    params={
        "source": Param(
            None,
            type=["null", "string"],
            enum=[None, *catalog.names()],
            description="The source to load; without it, all daily sources.",
        ),
        "resources": Param(
            [],
            type="array",
            items={"type": "string"},
            examples=RESOURCES,
            description="Resources of the source; without them, all.",
        ),
        "start_date": Param(
            None,
            **DATE,
            description="Manual runs: first day (UTC), instead of a partition key. A backfill refuses it.",
        ),
        "end_date": Param(None, **DATE, description="Manual runs: last day (UTC), included. A backfill refuses it."),
        "reprocess": Param(
            False, type="boolean", description="Backfills: also load days again that are loaded. Manual runs always do."
        ),
    },
) as dag:

    @task
    @one_line_errors
    def plan(
        *,
        params: dict[str, Any],
        dag_run: DagRunProtocol,
        partition_key: str | None = None,
        logical_date: dt.datetime | None = None,
    ) -> list[dict[str, Any]]:
        """Return the partitions to load: those of the run's days that are due; in a manual run, all of them."""
        from scripts.loading import partitions
        from scripts.planning.reconcile import plan_request

        run, asked_at = start_run(dag_run.run_id), dt.datetime.now(dt.UTC).isoformat()
        refuse_unknown(dag_run, dag)
        days = days_of(partition_key, params, logical_date)
        sources = [params["source"]] if params["source"] else catalog.daily_sources()
        wanted = partitions.partitions(days, sources, params["resources"] or None)
        again = params["reprocess"] or dag_run.run_type == "manual" or bool(dag_run.clear_number)
        if not again:
            wanted = [item.partition for item in plan_request(run.store, wanted) if item.state != "loaded"]
        if len(wanted) > MOST_PARTITIONS:
            raise UsageError(
                f"{len(wanted)} partitions in one run",
                expected=f"at most {MOST_PARTITIONS}",
                hint="ask for fewer days, or use a backfill, which makes one run for each day",
            )
        if not wanted:
            raise AirflowSkipException(f"{days[0]} is already loaded; `reprocess` loads it again")
        return [
            {
                "source": p.source,
                "resource": p.resource,
                "day": p.day.isoformat(),
                "label": f"{p.source}/{p.resource} {p.day}",
                "asked_at": asked_at,
                "again": again,
            }
            for p in wanted
        ]

    @task(map_index_template=LABEL, weight_rule="absolute", priority_weight=INGEST_FIRST)
    @one_line_errors
    def ingest(
        partition: dict[str, Any], *, dag_run: DagRunProtocol, ti: RuntimeTaskInstanceProtocol
    ) -> dict[str, Any]:
        """Load one resource of one day into Bronze, unless another process has done so since the request."""
        from scripts.extract.client import Client
        from scripts.ingest_api import ingest_partition
        from scripts.planning.reconcile import done_since
        from scripts.utils.days import parse_day

        cleared = was_cleared(ti)
        asked_at = ti.start_date if cleared else dt.datetime.fromisoformat(partition["asked_at"])
        is_done = done_since(asked_at, again=partition["again"] or cleared)
        source = catalog.pick(partition["source"])
        client = Client(source)
        try:
            run, day = start_run(dag_run.run_id), parse_day(partition["day"])
            entry = ingest_partition(source, partition["resource"], day, run, client, is_done=is_done)
        finally:
            client.close()
        return {"fetched": entry.fetched, "bronze": entry.bronze, "quarantined": entry.quarantined}

    @task(map_index_template=LABEL, outlets=[BRONZE_RESOURCES], weight_rule="absolute", priority_weight=VALIDATE_FIRST)
    @one_line_errors
    def validate(
        partition: dict[str, Any], *, dag_run: DagRunProtocol, outlet_events: OutletEventAccessorsProtocol
    ) -> dict[str, Any]:
        """Check the rows against the rules of the contract, and emit an asset event if the row counts add up."""
        from scripts.utils.days import parse_day
        from scripts.validate_data import validate_partition

        source = catalog.pick(partition["source"])
        entry = validate_partition(
            source, partition["resource"], parse_day(partition["day"]), start_run(dag_run.run_id)
        )
        entry.check()
        counts: dict[str, Any] = {
            "day": partition["day"],
            "fetched": entry.fetched,
            "bronze": entry.bronze,
            "quarantined": entry.quarantined,
            "content_hash": entry.content_hash,
        }
        asset = Asset(f"bronze/{entry.source}/{entry.resource}")
        outlet_events[BRONZE_RESOURCES].add(asset, extra=counts)
        return counts

    @task_group
    def load(partition: dict[str, Any]) -> None:
        """Load one resource of one day; it fails, is cleared and continues independently of the others."""
        ingest(partition=partition) >> validate(partition=partition)

    @task(trigger_rule=TriggerRule.ALL_DONE, weight_rule="absolute", priority_weight=END_FIRST)
    @one_line_errors
    def start_build(*, dag_run: DagRunProtocol, ti: RuntimeTaskInstanceProtocol) -> None:
        """Start Silver, also if a resource failed; skip if a run of Silver already waits for the loads."""
        from scripts.bronze.ledger import Partition
        from scripts.utils.days import parse_day

        store = start_run(dag_run.run_id).store
        planned = ti.xcom_pull(task_ids="plan") or []
        entries = [store.entry(Partition(p["source"], p["resource"], parse_day(p["day"]))) for p in planned]
        if not any(entry and entry.status == "validated" for entry in entries):
            raise AirflowSkipException("no partition of this run is loaded")
        start_silver(ti)

    @task(weight_rule="absolute", priority_weight=END_FIRST)
    @one_line_errors
    def check_row_counts(*, dag_run: DagRunProtocol, ti: RuntimeTaskInstanceProtocol) -> dict[str, int]:
        """Check that fetched = Bronze + quarantined over the whole run; the task fails if a resource failed."""
        from scripts.bronze.ledger import Partition
        from scripts.utils.days import parse_day
        from scripts.validate_data import loaded_entry

        run = start_run(dag_run.run_id)
        planned = ti.xcom_pull(task_ids="plan")
        entries = [loaded_entry(run, Partition(p["source"], p["resource"], parse_day(p["day"]))) for p in planned]
        for entry in entries:
            entry.check()
        return {
            "partitions": len(entries),
            "fetched": sum(entry.fetched for entry in entries),
            "bronze": sum(entry.bronze for entry in entries),
            "quarantined": sum(entry.quarantined for entry in entries),
        }

    loaded = load.expand(partition=plan())
    loaded >> start_build()
    loaded >> check_row_counts()
