"""
# pipeline_bronze: APIs to Bronze, every day

Loads **one day** of every daily source: per source and resource it ingests the rows into Bronze Parquet and validates
them against the rules of the contract in `scripts/sources/`. The run at midnight (UTC) loads the day that has just
ended. Whatever was loaded goes on to Silver (`pipeline_silver`) and Gold (`dbt_dag`) by itself.

**Run it by hand** for a day: trigger with the partition key `YYYY-MM-DD`. For a range: leave the key empty and fill in
`start_date` and `end_date`; for more than a month, *Backfill* shows each day as a run of its own. Loading a day again
replaces it; nothing is doubled.

**When not:** do not run it to repair tables, builds do that; and a run without a day is refused.

**Repair:** a red `ingest` names the source, the resource, the day and what to do. Transient errors were tried again
already. Mend the cause, then *clear* the red task **with downstream**: only that resource of that day is loaded again,
and the run goes on to Silver and Gold. A red `validate` broke a rule of severity `fail`: mend the source or the rule,
then clear `ingest` of the same resource.

Links on each task lead to its ledger record, its quarantined rows and the runbook (`docs/runbook.md`).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, Asset, CronPartitionTimetable, Param, TriggerRule, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowSkipException

from dag_support import BRONZE, BRONZE_RESOURCES, days_of, deadline, defaults, one_line_errors, start_run
from scripts.contracts import catalog
from scripts.errors import UsageError

MOST_PARTITIONS = 1000
DATE = {"type": ["null", "string"], "format": "date"}

with DAG(
    "pipeline_bronze",
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", key_format="%Y-%m-%d", run_offset=-1),
    start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=4,
    default_args=defaults(),
    deadline=deadline(),
    doc_md=__doc__,
    tags=["bronze", "daily"],
    params={
        "source": Param(
            None,
            type=["null", "string"],
            enum=[None, *catalog.names()],
            description="The source to load; without it, every source that its contract calls daily.",
        ),
        "resources": Param(
            [], type="array", items={"type": "string"}, description="Resources of the source; without them, all."
        ),
        "start_date": Param(None, **DATE, description="First day (UTC) of a run by hand, instead of a partition key."),
        "end_date": Param(None, **DATE, description="Last day (UTC), included."),
        "reprocess": Param(
            False, type="boolean", description="Backfills: load days again that are loaded. Other runs always do."
        ),
    },
) as dag:

    @task
    @one_line_errors
    def plan(*, params: dict[str, Any], dag_run: Any = None, partition_key: str | None = None) -> list[dict[str, str]]:
        """Resolve the days of the run and list the partitions to load."""
        from scripts.loading import partitions

        run = start_run(dag_run.run_id)
        days = days_of(partition_key, params)
        sources = [params["source"]] if params["source"] else catalog.daily_sources()
        wanted = partitions.partitions(days, sources, params["resources"] or None)
        if dag_run.run_type == "backfill" and not params["reprocess"]:
            wanted = [item.partition for item in partitions.plan(run.store, wanted) if item.state != "loaded"]
        if len(wanted) > MOST_PARTITIONS:
            raise UsageError(
                f"{len(wanted)} partitions in one run",
                expected=f"at most {MOST_PARTITIONS}",
                hint="ask for fewer days, or use a backfill, which makes a run of each day",
            )
        if not wanted:
            raise AirflowSkipException(f"{days[0]} is loaded already; reprocess loads it again")
        return [{"source": p.source, "resource": p.resource, "day": p.day.isoformat()} for p in wanted]

    def put_label(partition: dict[str, str]) -> None:
        """Name the mapped task after its partition, also when it fails."""
        label = f"{partition['source']}/{partition['resource']} {partition['day']}"
        get_current_context()["partition"] = label

    @task(map_index_template="{{ partition }}")
    @one_line_errors
    def ingest(partition: dict[str, str], *, dag_run: Any = None) -> dict[str, Any]:
        """Fetch one resource of one day into Bronze."""
        from scripts.extract.client import Client
        from scripts.ingest_api import ingest_partition
        from scripts.utils.days import parse_day

        put_label(partition)
        source = catalog.pick(partition["source"])
        client = Client(source)
        try:
            entry = ingest_partition(
                source, partition["resource"], parse_day(partition["day"]), start_run(dag_run.run_id), client
            )
        finally:
            client.close()
        return {"fetched": entry.fetched, "bronze": entry.bronze, "quarantined": entry.quarantined}

    @task(map_index_template="{{ partition }}", outlets=[BRONZE_RESOURCES])
    @one_line_errors
    def validate(partition: dict[str, str], *, dag_run: Any = None, outlet_events: Any = None) -> dict[str, Any]:
        """Check the rows against the rules of the contract, and announce the partition if it adds up."""
        from scripts.utils.days import parse_day
        from scripts.validate_data import validate_partition

        put_label(partition)
        source = catalog.pick(partition["source"])
        entry = validate_partition(
            source, partition["resource"], parse_day(partition["day"]), start_run(dag_run.run_id)
        )
        entry.check()
        counts = {
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
    def load(partition: dict[str, str]) -> None:
        """One resource of one day: it fails, is cleared and goes on alone."""
        ingest(partition) >> validate(partition)

    @task(trigger_rule=TriggerRule.ALL_DONE, outlets=[BRONZE])
    @one_line_errors
    def publish_asset_events(*, dag_run: Any = None, ti: Any = None, outlet_events: Any = None) -> list[str]:
        """Tell Silver which days were loaded, also when a resource of them failed."""
        from scripts.bronze.ledger import Partition
        from scripts.utils.days import parse_day

        store, counts = start_run(dag_run.run_id).store, {"partitions": 0, "rows": 0}
        days = set()
        for item in ti.xcom_pull(task_ids="plan") or []:
            entry = store.entry(Partition(item["source"], item["resource"], parse_day(item["day"])))
            if entry is not None and entry.status == "validated":
                days.add(item["day"])
                counts["partitions"] += 1
                counts["rows"] += entry.bronze
        if not days:
            raise AirflowSkipException("no partition of this run is loaded")
        outlet_events[BRONZE].extra = counts
        outlet_events[BRONZE].add_partitions(sorted(days))
        return sorted(days)

    @task
    @one_line_errors
    def check_row_counts(*, dag_run: Any = None, ti: Any = None) -> dict[str, int]:
        """Check that fetched = Bronze + quarantined over the whole run; this task is red when a resource is."""
        from scripts.bronze.ledger import Partition
        from scripts.monitoring import alerts
        from scripts.utils.days import parse_day
        from scripts.validate_data import loaded_entry

        run = start_run(dag_run.run_id)
        planned = ti.xcom_pull(task_ids="plan")
        entries = [loaded_entry(run, Partition(p["source"], p["resource"], parse_day(p["day"]))) for p in planned]
        for entry in entries:
            entry.check()
            if entry.quarantined:
                alerts.notify(alerts.about_quarantine(entry))
        return {
            "partitions": len(entries),
            "fetched": sum(entry.fetched for entry in entries),
            "bronze": sum(entry.bronze for entry in entries),
            "quarantined": sum(entry.quarantined for entry in entries),
        }

    loaded = load.expand(partition=plan())
    loaded >> publish_asset_events()
    loaded >> check_row_counts()
