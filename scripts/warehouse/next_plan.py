"""The plan of the next build, without building, and the partitions that the published version holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.bronze.schemas import write_schemas
from scripts.config import settings
from scripts.errors import UsageError
from scripts.utils.files import storage_errors
from scripts.warehouse import build_state, candidate
from scripts.warehouse.build import warehouse
from scripts.warehouse.plan import BuildPlan, State, plan_build
from scripts.warehouse.project_reading import ask_dbt, known_project
from scripts.warehouse.runner import list_nodes
from scripts.warehouse.state_reading import read_state
from scripts.warehouse.versions import reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bronze.ledger import Partition
    from scripts.bronze.run import Run
    from scripts.bronze.store import Store
    from scripts.warehouse.project import Project
    from scripts.warehouse.versions import Warehouse


def plan_of_build(store: Store, *, full_refresh: bool = False, full_tests: bool = False) -> BuildPlan | None:
    """Return what a build would do now; None if the project has changed, so that dbt has to read it first."""
    target = warehouse()
    project = known_project(target)
    if project is None:
        return None
    return plan_build(
        project, _published_state(target, store, project, full_refresh=full_refresh), full_tests=full_tests
    )


def read_plan(
    run: Run, *, full_refresh: bool = False, full_tests: bool = False, select: Sequence[str] = ()
) -> BuildPlan:
    """Return what a build would do now; if the project has changed, let dbt read it first.

    Raises:
        UsageError: `select` selects no node, or the warehouse is on Spark.
    """
    if settings().on_spark:
        raise UsageError("a build on Spark has no plan", expected="it builds every table from all validated partitions")
    target = warehouse()
    full_refresh = full_refresh and not select
    plan = None if select else plan_of_build(run.store, full_refresh=full_refresh, full_tests=full_tests)
    if plan is not None:
        return plan
    purpose = f"plan by {run.triggered_by}"
    with (
        storage_errors(target.root),
        target.building(purpose=purpose, timeout=settings().lock_timeout) as lock,
    ):
        write_schemas(run.store)
        if candidate.read(target) is None:
            target.clone()
        project = known_project(target) or ask_dbt(target, run.store.location, inherit=[lock])
        refreshed = list_nodes(select, target, run.store.location, inherit=[lock])
    state = _published_state(target, run.store, project, full_refresh=full_refresh)
    return plan_build(project, state, full_tests=full_tests, refreshed=refreshed)


def held_partitions() -> Mapping[Partition, str]:
    """Return the content hash of each partition that the published version holds in every node that reads it."""
    target = warehouse()
    if target.current() is None:
        return {}
    with reading(target.path) as connection:
        return build_state.held_partitions(connection)


def _published_state(target: Warehouse, store: Store, project: Project, *, full_refresh: bool) -> State:
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    if target.current() is None or full_refresh:
        with duckdb.connect() as connection:
            return read_state(connection, store, project)
    with reading(target.path) as connection:
        return read_state(connection, store, project)
