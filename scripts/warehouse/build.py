"""A build: runs dbt on a private copy of the warehouse, checks the copy, and publishes it if every check passes."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from scripts.bronze.schemas import write_schemas
from scripts.config import settings
from scripts.contracts import catalog
from scripts.errors import TransientError, WarehouseError
from scripts.run_events.sending import sending
from scripts.utils.files import make_dir, storage_errors, write_atomically
from scripts.utils.logging_config import get_logger, log_context
from scripts.warehouse import (
    accounting,
    build_events,
    build_state,
    candidate,
    gold_files,
    history,
    kept_manifest,
    pseudonyms,
    spark_build,
)
from scripts.warehouse.build_result import BuildResult
from scripts.warehouse.candidate import Candidate, Layer
from scripts.warehouse.failing_rows import with_failing_rows
from scripts.warehouse.plan import BuildPlan, State, plan_build
from scripts.warehouse.project_reading import ask_dbt, project_to_build
from scripts.warehouse.remote import publish_to_bucket
from scripts.warehouse.runner import DbtFailedError, NodeResult, list_nodes, prepare_dbt, run_dbt, target_dir
from scripts.warehouse.state_reading import read_state
from scripts.warehouse.versions import Warehouse, reading, writing
from scripts.warehouse.widening import widen_histories

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from scripts.bronze.ledger import Partition
    from scripts.bronze.run import Run
    from scripts.bronze.store import Store
    from scripts.warehouse.project import Layer as ProjectLayer
    from scripts.warehouse.project import Project

_log = get_logger("build")
_ATTEMPTS = 3
"""How often a build tries to read partitions that are loaded again while it reads them."""


class _Build(NamedTuple):
    """The values that the steps of a build share."""

    run: Run
    target: Warehouse
    lock: int
    layer: Layer
    layers: Sequence[ProjectLayer]
    full_tests: bool
    select: Sequence[str]

    @property
    def store(self) -> Store:
        return self.run.store


def warehouse() -> Warehouse:
    """Return the warehouse that the settings name."""
    return Warehouse(settings().warehouse_path)


def build_warehouse(
    run: Run,
    layer: Layer = "all",
    *,
    full_refresh: bool = False,
    full_tests: bool = False,
    retry: bool = False,
    select: Sequence[str] = (),
    drop: Collection[str] = (),
) -> BuildResult:
    """Build Silver and Gold from what changed, test them, and publish the result.

    The published version changes only if every step succeeds. Only one build runs at a time; another one waits. If
    there is nothing to do, the function returns at once.

    Args:
        run: The run that asks for the build.
        layer: `all` builds both layers and publishes. `silver` leaves a candidate that is not published. `gold`
            completes that candidate and publishes it; if there is no candidate, it builds both layers.
        full_refresh: Rebuild every node from all partitions, in a new file.
        full_tests: Run every test over all rows.
        select: With `full_refresh`, rebuild in full only these nodes, in dbt's syntax for selecting nodes, and what
            reads them; other nodes are built as in any build.
        retry: Resume the failed build: keep the nodes that it built, unless something that they depend on has changed.
        drop: Names of histories that the project no longer builds and that the build may drop.

    Raises:
        BronzeError: A Bronze file is torn, changed or foreign.
        WarehouseError: A model, a test or the accounting failed, or the project is refused.
        UsageError: `select` selects no node.
        SettingsError: A contract asks for hashes, but `PSEUDONYM_KEY` is not set.
        LockedError, StorageError: The build file cannot be written.
        TransientError: In each attempt, partitions were loaded again while the build read them.
    """
    started = time.monotonic()
    target = warehouse()
    with log_context(run_id=run.run_id), storage_errors(target.root), sending():
        run.store.recover()
        if settings().on_spark:
            return spark_build.build(run, target, layer, full_refresh=full_refresh)
        purpose = f"{'build' if layer == 'all' else f'build of {layer}'} by {run.triggered_by} ({run.run_id})"
        with target.building(purpose=purpose, timeout=settings().lock_timeout) as lock:
            known = candidate.read(target)
            going_on = known if not full_refresh and candidate.can_go_on(known, layer, retry=retry) else None
            made: Layer = "all" if layer == "gold" and going_on is None else layer
            layers: Sequence[ProjectLayer] = ("silver",) if made == "silver" else ("silver", "gold")
            full_tests = full_tests or bool(going_on and going_on.full_tests)
            build = _Build(run, target, lock, made, layers, full_tests, select if full_refresh else ())
            pseudonyms.check_key()
            write_schemas(run.store)
            if not full_refresh and _is_done(build, going_on):
                _log.info("nothing to build: the tables match the ledger and the project")
                publish_to_bucket(target)
                return BuildResult(None, [], [], time.monotonic() - started)
            prepare_dbt(target, run.store.location)
            before = going_on.results if going_on else ()
            with build_events.telling(run, target, before) as events:
                done = _build(build, going_on, started, full_refresh=full_refresh and not select, drop=drop)
                events.done(done.results, done.version)
            publish_to_bucket(target)
    if done.version:
        _log.info("published version %s in %.1f s", done.version, done.seconds, extra={"version": done.version})
    return done


def published_build() -> dict[str, Any] | None:
    """Return the record of the build that made DuckDB's published version; None if it cannot be read, or on Spark."""
    version = None if settings().on_spark else warehouse().current()
    return None if version is None else history.about(warehouse(), version)


def roll_back(run: Run, version: str | None = None) -> str:
    """Publish the version before the current one, or `version`, and return its name.

    Raises:
        UsageError: There is no such version.
    """
    target = warehouse()
    if settings().on_spark:
        return spark_build.roll_back(run, target, version)
    if target.current() is None:
        return target.rollback(version)
    with target.building(purpose=f"rollback by {run.triggered_by}", timeout=settings().lock_timeout):
        history.complete(target)
        name = target.rollback(version)
        publish_to_bucket(target)
        return name


def kept_versions() -> tuple[Sequence[str], str | None]:
    """Return the kept versions, oldest first, and the published one."""
    target = warehouse()
    return spark_build.list_versions(target) if settings().on_spark else (target.versions(), target.current())


def _is_done(build: _Build, going_on: Candidate | None) -> bool:
    """Return whether it is known, without asking dbt, that there is nothing to do."""
    base = build.target.build_path if going_on else build.target.path
    if (going_on and build.layer != "silver") or (build.target.current() is None and not going_on):
        return False
    project = project_to_build(build.target)
    if project is None:
        return False
    try:
        with reading(base) as connection:
            if not build_state.is_ours(connection):
                return False
            state = read_state(connection, build.store, project)
    except WarehouseError:
        # a file that cannot be read is rebuilt
        return False
    return plan_build(project, state, layers=build.layers, full_tests=build.full_tests).is_empty


def _build(
    build: _Build, going_on: Candidate | None, started: float, *, full_refresh: bool, drop: Collection[str]
) -> BuildResult:
    target = build.target
    if going_on is None:
        _make_copy(target, full_refresh=full_refresh)
    project = project_to_build(target) or ask_dbt(target, build.store.location, inherit=[build.lock])
    refreshed = list_nodes(build.select, target, build.store.location, inherit=[build.lock])
    now = _candidate(build, going_on)
    partitions: dict[Partition, None] = {}
    for attempt in range(_ATTEMPTS):
        first = attempt == 0
        plan = _prepare(build, project, going_on, drop, refreshed, is_first=first)
        now = msgspec.structs.replace(now, dropped=(*now.dropped, *(item.relation for item in plan.drops)))
        if plan.is_empty and first and going_on is None:
            _log.info("nothing to build: the changes in the dbt project affect no table and no test")
            candidate.forget(target)
            return BuildResult(None, [], [], time.monotonic() - started)
        partitions |= dict.fromkeys(plan.partitions)
        now = msgspec.structs.replace(now, partitions=tuple(dict.fromkeys([*now.partitions, *plan.partitions])))
        now = _run(build, project, plan, now)
        with writing(target.build_path) as connection:
            doubtful = build_state.doubt(connection, build.store, project, plan)
            validated = build_state.validated_partitions(connection)
        if not doubtful:
            break
        _log.warning(
            "%d partitions were loaded again while the build read them, such as %s", len(doubtful), doubtful[0]
        )
    else:
        raise TransientError(
            f"partitions were loaded again while the build read them, such as {doubtful[0]}",
            where="build",
            hint="`pipeline build` when the loads have ended; the published version has not changed",
        )
    digest = candidate.digest(validated)
    candidate.write(target, msgspec.structs.replace(now, state="built", validated_digest=digest))
    version = None
    if build.layer != "silver":
        version = _publish(build, project, now, started)
    # a version holds the partitions of both layers, also if this build built only one of them
    processed = list(partitions) if build.layer == "silver" else list(now.partitions)
    return BuildResult(version, processed, now.results, time.monotonic() - started, now.dropped)


def _make_copy(target: Warehouse, *, full_refresh: bool) -> None:
    """Create the build's file: a copy of the published version, or a new file that holds only the histories."""
    path = target.clone(empty=full_refresh)
    version = target.current()
    if path.exists():
        with reading(path) as connection:
            is_ours = build_state.is_ours(connection)
        if not is_ours:
            target.clone(empty=True)
    elif version is not None and version in target.versions():
        with writing(path) as connection:
            build_state.copy_histories(connection, target.file(version))


def _candidate(build: _Build, going_on: Candidate | None) -> Candidate:
    if going_on is None:
        return Candidate(build.run.run_id, build.target.current(), build.layer, "building", build.full_tests)
    results = going_on.results if going_on.state == "failed" else ()
    return msgspec.structs.replace(going_on, layer=build.layer, state="building", results=results)


def _prepare(
    build: _Build,
    project: Project,
    going_on: Candidate | None,
    drop: Collection[str],
    refreshed: frozenset[str],
    *,
    is_first: bool,
) -> BuildPlan:
    """Plan the work on the build's file, check that it is allowed, and write the plan for dbt."""
    target = build.target
    with writing(target.build_path) as connection:
        state = read_state(connection, build.store, project)
        plan = _plan(build, project, state, going_on if is_first else None, refreshed if is_first else frozenset())
        if plan.is_empty and not (going_on and build.layer != "silver"):
            return plan
        _check_histories(plan, drop)
        wanted = set(plan.partitions)
        for node in plan.made():
            if node.mode == "full":
                wanted |= set(build_state.partitions_of(connection, project.nodes[node.node].resources))
        if wanted:
            accounting.check_bronze(build.store, sorted(wanted))
            accounting.check_contracts(build.store, project, plan, state)
        widen_histories(connection, project, plan, state)
        build_state.write_plan(connection, project, plan, state)
    if any(project.nodes[node.node].materialized == "external" for node in plan.made()):
        make_dir(target.files(target.next_version()))
    counts = len(plan.made()), len(plan.run_tests()), len(plan.partitions)
    _log.info("%d nodes to build, %d tests to run, %d changed partitions", *counts, extra={"partitions": counts[2]})
    return plan


def _plan(
    build: _Build, project: Project, state: State, going_on: Candidate | None, refreshed: frozenset[str]
) -> BuildPlan:
    if build.layer == "gold" and going_on:
        # partitions that were loaded after Silver was built belong to the next build
        kept = {
            node: [item for item in pending if not item.is_new]
            for node, pending in state.pending.items()
            if project.nodes[node].layer == "silver"
        }
        state = msgspec.structs.replace(state, pending={**state.pending, **kept})
    return plan_build(project, state, layers=build.layers, full_tests=build.full_tests, refreshed=refreshed)


def _check_histories(plan: BuildPlan, allowed: Collection[str]) -> None:
    for drop in plan.drops:
        relation = drop.relation.replace('"', "")
        if drop.keeps_history and not {drop.name, relation} & set(allowed):
            raise WarehouseError(
                f"the project no longer builds {relation}, which holds history that cannot be rebuilt",
                where="dbt",
                hint=f"`pipeline build --drop {drop.name}` drops it; the published version has not changed",
            )


def _run(build: _Build, project: Project, plan: BuildPlan, now: Candidate) -> Candidate:
    """Let dbt build the nodes of the plan, record each result, and return the candidate with the results."""
    target = build.target
    candidate.write(target, now)
    command = command_of(project, plan)
    results: Sequence[NodeResult] = []
    failure: DbtFailedError | None = None
    if command:
        try:
            results = run_dbt(command, target, build.store.location, inherit=[build.lock])
        except DbtFailedError as error:
            results, failure = with_failing_rows(error.results, target_dir(target), target.build_path), error
            failure.add_rows(results)
    now = msgspec.structs.replace(now, results=tuple(candidate.merged(now.results, results)))
    with writing(target.build_path) as connection:
        build_state.record(connection, project, plan, results, uuid.uuid4().hex, catalog.column_types())
        if failure is None:
            made = {result.id for result in now.results} | {node.node for node in plan.made()}
            accounting.count_models(connection, project, made)
    if failure is not None:
        failure.results = now.results
        candidate.write(target, msgspec.structs.replace(now, state="failed"))
        raise failure
    _check_complete(plan, results)
    return now


def command_of(project: Project, plan: BuildPlan) -> Sequence[str]:
    """Return the dbt command that builds and tests only what the plan names; empty if the plan names nothing."""
    selectors = [project.nodes[node.node].selector for node in plan.made()]
    selectors += [project.tests[test.test].selector for test in plan.run_tests()]
    if not selectors:
        return []
    # unit tests run in CI: they do not test the data
    command = ["build", "--indirect-selection", "empty", "--exclude-resource-type", "unit_test"]
    return [*command, "--select", *dict.fromkeys(selectors)]


def _check_complete(plan: BuildPlan, results: Sequence[NodeResult]) -> None:
    ran = {result.id for result in results if result.status != "skipped"}
    wanted = {node.node: node.name for node in plan.made()} | {test.test: test.name for test in plan.run_tests()}
    if missing := [name for unique_id, name in wanted.items() if unique_id not in ran]:
        raise WarehouseError(
            f"dbt left out {len(missing)} nodes or tests, such as `{missing[0]}`",
            where="dbt",
            hint="remove the setting that leaves them out (flags in dbt_project.yml, the environment);"
            " the published version has not changed",
        )


def _publish(build: _Build, project: Project, now: Candidate, started: float) -> str:
    target, run = build.target, build.run
    with writing(target.build_path) as connection:
        build_state.finish(connection, project)
        tests = build_state.test_results(connection)
        nodes = build_state.node_results(connection)
        rows = {found.model: found.row_count for found in build_state.counted_models(connection).values()}
        gold_files.write(target, connection, gold_files.gold_tables(connection, project))
    about = {
        "run_id": run.run_id,
        "triggered_by": run.triggered_by,
        "built_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "nodes": history.all_results(now.results, nodes, tests),
        "dropped": list(now.dropped),
        "rows": dict(sorted(rows.items())),
    }
    candidate.forget(target)
    write_atomically(target.workspace / "build.json", json.dumps(about, indent=2).encode() + b"\n")
    write_atomically(target.workspace / kept_manifest.FILE, project.kept)
    # publishing may delete a version that a killed publish did not add to the history: add it first
    history.complete(target)
    version = target.publish(keep=settings().warehouse_keep_versions)
    history.complete(target)
    return version
