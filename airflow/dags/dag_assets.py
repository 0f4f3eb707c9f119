"""The assets of the DAGs: APIs, the resources of Bronze, the tables of Silver and Gold, the layers, and exposures."""

from __future__ import annotations

import collections
import contextlib
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from scripts import errors
from scripts.config import settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airflow.sdk.types import OutletEventAccessorsProtocol, RuntimeTaskInstanceProtocol

    from scripts.warehouse.build_result import BuildResult
    from scripts.warehouse.lineage import Exposure, Table
    from scripts.warehouse.project import Layer

BRONZE_RESOURCES = AssetAlias("bronze_resources")
"""The alias of `bronze/SOURCE/RESOURCE`; every partition whose row counts add up emits an event with its counts."""
SILVER = Asset("silver")
"""Emitted when a candidate holds Silver, once for each day; the event without a day starts the build of Gold."""
GOLD = Asset("gold")
"""Emitted when a version is published, once for each day and once without a day."""
LAYERS = AssetAlias("layers")
"""The alias of `silver`, `gold` and their tables for the event without a day, which starts DAGs that wait for it."""
_MOST_EVENTS = 5000
"""Events of tables that a build emits at most; Airflow takes about 5 ms for each, and a task waits at most a minute."""


def known_resources() -> Sequence[str]:
    """Return the resources of all contracts, as `source/resource`."""
    from scripts.contracts import catalog

    return [f"{source}/{name}" for source, names in catalog.resource_names().items() for name in names]


def known_exposures() -> Sequence[Exposure]:
    """Return what uses the tables, such as dashboards."""
    from scripts.warehouse.lineage import exposures
    from scripts.warehouse.versions import Warehouse

    return exposures(Warehouse(settings().warehouse_path))


def known_tables() -> Sequence[Table]:
    """Return the tables of Silver and Gold, with what each one reads."""
    from scripts.warehouse.lineage import tables
    from scripts.warehouse.versions import Warehouse

    return tables(Warehouse(settings().warehouse_path))


def announce(
    layer: Layer,
    file: Path,
    done: BuildResult,
    ti: RuntimeTaskInstanceProtocol,
    outlet_events: OutletEventAccessorsProtocol,
) -> None:
    """Emit the asset events of a build: of each table that changed, with its rows, seconds and tests, and of the layer.

    An event has one day as its partition key, so there is one for each day. The events of the alias `LAYERS` have none:
    Airflow starts no DAG for an event with a key, unless the DAG has partitions itself. If there are very many days and
    tables, a table has only the event without a day.
    """
    from scripts.warehouse.lineage import table_facts
    from scripts.warehouse.versions import Warehouse, reading

    facts = table_facts(Warehouse(settings().warehouse_path), done.results)
    built = {result.id for result in done.results if result.status == "success"}
    changed: dict[str, set[str]] = collections.defaultdict(set)
    for partition in done.partitions:
        changed[f"{partition.source}/{partition.resource}"].add(str(partition.day))
    found = [
        (table, sorted(set[str]().union(*(changed[resource] for resource in table.bronze if resource in changed))))
        for table in known_tables()
        if table.layer == layer
    ]
    # Airflow stores all of them in one request
    is_keyed = sum(len(days) for _, days in found) <= _MOST_EVENTS
    with contextlib.suppress(errors.WarehouseError), reading(file) as connection:
        query = "select table_schema || '/' || table_name from information_schema.tables"
        existing = {name for (name,) in connection.execute(query).fetchall()}
        for table, days in found:
            if table.name not in existing or not (days or table.id in built):
                continue
            # the name of a table comes from the dbt project
            rows = connection.execute(f'select count(*) from "{table.schema}"."{table.identifier}"').fetchone()  # noqa: S608
            asset = Asset(table.name)
            extra: dict[str, Any] = {
                "rows": rows[0] if rows else 0,
                "days": len(days),
                "version": done.version,
                **facts.get(table.id, {}),
            }
            outlet_events[LAYERS].add(asset, extra=extra)
            if is_keyed and days:
                # a declared outlet would join every table with all that the task reads; the DAG `tables` has them
                ti.task.outlets = [*ti.task.outlets, asset]
                outlet_events[asset].extra = extra
                outlet_events[asset].add_partitions(days)
    whole = Asset(layer)
    counts: dict[str, Any] = {"partitions": len(done.partitions), "version": done.version}
    outlet_events[whole].extra = counts
    outlet_events[whole].add_partitions(sorted(set[str]().union(*changed.values())))
    outlet_events[LAYERS].add(whole, extra=counts)
