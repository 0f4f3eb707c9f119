"""A build: dbt on a private copy of the warehouse, checked, and published when all of it is well."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from scripts.config import settings
from scripts.contracts import catalog
from scripts.contracts.types import arrow_schema
from scripts.errors import TransientError, WarehouseError
from scripts.utils.files import make_dir, storage_errors, write_atomically
from scripts.utils.logging_config import get_logger, log_context
from scripts.warehouse import accounting, build_state, candidate, history, pseudonyms
from scripts.warehouse.candidate import Candidate, Layer
from scripts.warehouse.failing_rows import failing_rows
from scripts.warehouse.plan import BuildPlan, State, plan_build
from scripts.warehouse.project_reading import ask_dbt, project_to_build
from scripts.warehouse.runner import DbtFailedError, NodeResult, pass_to_dbt, run_dbt, target_dir
from scripts.warehouse.state_reading import read_state
from scripts.warehouse.versions import Warehouse, reading, writing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from scripts.bronze.ledger import Partition
    from scripts.bronze.run import Run
    from scripts.bronze.store import Store
    from scripts.warehouse.project import Layer as ProjectLayer
    from scripts.warehouse.project import Project

_log = get_logger("build")
_ATTEMPTS = 3
"""How often a build makes up for partitions that were loaded again while it read them."""


class BuildResult(NamedTuple):
    """What a build did."""

    version: str | None
    """The published version; None where the build ended before publishing: after Silver, or with nothing to do."""
    partitions: Sequence[Partition]
    """Partitions that it processed."""
    results: Sequence[NodeResult]
    """How each node and test that ran ended."""
    seconds: float
    dropped: Sequence[str] = ()
    """Tables and views that are not in the version any more."""

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to do."""
        return self.version is None and not self.results


class _Build(NamedTuple):
    """What the steps of a build share."""

    run: Run
    target: Warehouse
    lock: int
    layer: Layer
    layers: Sequence[ProjectLayer]
    full_tests: bool

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
    drop: Collection[str] = (),
) -> BuildResult:
    """Build Silver and Gold from what changed, test them, and publish the result.

    Nothing that is published changes unless all of it succeeds. One build works at a time; another waits. With nothing
    to do it returns at once.

    Args:
        run: The run that asks for it.
        layer: `all`; or `silver`, which leaves a candidate that is not published yet; or `gold`, which finishes the
            candidate and publishes it, or does all of the build where there is none.
        full_refresh: Make every node from scratch, from all partitions, in a new file.
        full_tests: Run every test over all rows.
        retry: Go on with the build that failed: what it made stays, unless something that it depends on has changed.
        drop: Names of histories that the project does not make any more and that may go.

    Raises:
        BronzeError: A Bronze file is torn, changed or foreign.
        WarehouseError: A model, a test or the accounting failed, or the project is refused.
        SettingsError: A contract asks for hashes, and there is no key.
        LockedError, StorageError: The build file cannot be written.
        TransientError: Partitions were loaded again and again while it read them.
    """
    started = time.monotonic()
    target = warehouse()
    with log_context(run_id=run.run_id), storage_errors(target.root):
        run.store.recover()
        purpose = f"{'build' if layer == 'all' else f'build of {layer}'} by {run.triggered_by} ({run.run_id})"
        with target.building(purpose=purpose, timeout=settings().lock_timeout) as lock:
            known = candidate.read(target)
            going_on = known if not full_refresh and candidate.can_go_on(known, layer, retry=retry) else None
            made: Layer = "all" if layer == "gold" and going_on is None else layer
            layers: Sequence[ProjectLayer] = ("silver",) if made == "silver" else ("silver", "gold")
            full_tests = full_tests or bool(going_on and going_on.full_tests)
            build = _Build(run, target, lock, made, layers, full_tests)
            pseudonyms.check_key()
            write_schemas(run.store)
            if not full_refresh and _is_done(build, going_on):
                _log.info("nothing to build: the tables hold what the ledger and the project say")
                return BuildResult(None, [], [], time.monotonic() - started)
            done = _build(build, going_on, started, full_refresh=full_refresh, drop=drop)
    if done.version:
        _log.info("published version %s in %.1f s", done.version, done.seconds, extra={"version": done.version})
    return done


def published_build() -> dict[str, Any] | None:
    """Return what the published version says of the build that made it; None where it cannot be read."""
    version = warehouse().current()
    return None if version is None else history.about(warehouse(), version)


def roll_back(run: Run, version: str | None = None) -> str:
    """Publish the version before the current one, or `version`, and return its name.

    Raises:
        UsageError: There is no such version.
    """
    target = warehouse()
    if target.current() is None:
        return target.rollback(version)
    with target.building(purpose=f"rollback by {run.triggered_by}", timeout=settings().lock_timeout):
        history.complete(target)
        return target.rollback(version)


def run_dbt_on_copy(run: Run, arguments: Sequence[str]) -> int:
    """Run any dbt command on a private copy of the published warehouse, and return dbt's exit code.

    What the command writes to the copy is never published.
    """
    target = warehouse()
    purpose = f"dbt {' '.join(arguments)} by {run.triggered_by}"
    with storage_errors(target.root), target.building(purpose=purpose, timeout=settings().lock_timeout) as lock:
        write_schemas(run.store)
        target.clone()
        make_dir(target.files(target.next_version()))
        return pass_to_dbt(arguments, target, run.store.root, inherit=[lock])


def _is_done(build: _Build, going_on: Candidate | None) -> bool:
    """Return whether there is nothing to do, as far as that is known without dbt."""
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
        # what cannot be read is built again
        return False
    return plan_build(project, state, layers=build.layers, full_tests=build.full_tests).is_empty


def _build(
    build: _Build, going_on: Candidate | None, started: float, *, full_refresh: bool, drop: Collection[str]
) -> BuildResult:
    target = build.target
    if going_on is None:
        _make_copy(target, full_refresh=full_refresh)
    project = project_to_build(target) or ask_dbt(target, build.store.root, inherit=[build.lock])
    now = _candidate(build, going_on)
    partitions: dict[Partition, None] = {}
    for attempt in range(_ATTEMPTS):
        plan = _prepare(build, project, going_on, drop, is_first=attempt == 0)
        now = msgspec.structs.replace(now, dropped=(*now.dropped, *(item.relation for item in plan.drops)))
        if plan.is_empty and attempt == 0 and going_on is None:
            _log.info("nothing to build: what changed in the dbt project changes no table and no test")
            candidate.forget(target)
            return BuildResult(None, [], [], time.monotonic() - started)
        partitions |= dict.fromkeys(plan.partitions)
        now = msgspec.structs.replace(now, partitions=tuple(dict.fromkeys([*now.partitions, *plan.partitions])))
        now = _run(build, project, plan, now)
        with writing(target.build_path) as connection:
            doubtful = build_state.doubt(connection, build.store, project, plan)
        if not doubtful:
            break
        _log.warning("%d partitions were loaded again while they were read, such as %s", len(doubtful), doubtful[0])
    else:
        raise TransientError(
            f"partitions were loaded again while the build read them, such as {doubtful[0]}",
            where="build",
            hint="`pipeline build` when the loads have ended; what is published has not changed",
        )
    candidate.write(target, msgspec.structs.replace(now, state="built"))
    version = None
    if build.layer != "silver":
        version = _publish(build, project, now, started)
    # a version holds what both layers processed, whichever of them this build made
    processed = list(partitions) if build.layer == "silver" else list(now.partitions)
    return BuildResult(version, processed, now.results, time.monotonic() - started, now.dropped)


def _make_copy(target: Warehouse, *, full_refresh: bool) -> None:
    """Make the file that the build works on: a copy of what is published, or a new one that has the histories only."""
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
    build: _Build, project: Project, going_on: Candidate | None, drop: Collection[str], *, is_first: bool
) -> BuildPlan:
    """Plan what is to be done on the build's file, check that it may be done, and write the plan for dbt."""
    target = build.target
    with writing(target.build_path) as connection:
        state = read_state(connection, build.store, project)
        plan = _plan(build, project, state, going_on if is_first else None)
        if plan.is_empty and not (going_on and build.layer != "silver"):
            return plan
        _check_histories(plan, drop)
        wanted = set(plan.partitions)
        for node in plan.made():
            if node.mode == "full":
                wanted |= set(build_state.partitions_of(connection, project.nodes[node.node].resources))
        if wanted:
            accounting.check_bronze(build.store, sorted(wanted))
        build_state.write_plan(connection, project, plan, state)
    if any(project.nodes[node.node].materialized == "external" for node in plan.made()):
        make_dir(target.files(target.next_version()))
    counts = len(plan.made()), len(plan.run_tests()), len(plan.partitions)
    _log.info("%d nodes to make, %d tests to run, %d changed partitions", *counts, extra={"partitions": counts[2]})
    return plan


def _plan(build: _Build, project: Project, state: State, going_on: Candidate | None) -> BuildPlan:
    if build.layer == "gold" and going_on:
        # what was loaded since Silver was made is for the next build
        kept = {
            node: [item for item in pending if not item.is_new]
            for node, pending in state.pending.items()
            if project.nodes[node].layer == "silver"
        }
        state = msgspec.structs.replace(state, pending={**state.pending, **kept})
    return plan_build(project, state, layers=build.layers, full_tests=build.full_tests)


def _check_histories(plan: BuildPlan, allowed: Collection[str]) -> None:
    for drop in plan.drops:
        relation = drop.relation.replace('"', "")
        if drop.keeps_history and not {drop.name, relation} & set(allowed):
            raise WarehouseError(
                f"the project does not make {relation} any more, which keeps history that cannot be made again",
                where="dbt",
                hint=f"`pipeline build --drop {drop.name}` drops it; what is published has not changed",
            )


def _run(build: _Build, project: Project, plan: BuildPlan, now: Candidate) -> Candidate:
    """Let dbt make what the plan names, note how each node ended, and return the candidate with that."""
    target = build.target
    candidate.write(target, now)
    command = command_of(project, plan)
    results: Sequence[NodeResult] = []
    failure: DbtFailedError | None = None
    if command:
        try:
            results = run_dbt(command, target, build.store.root, inherit=[build.lock])
        except DbtFailedError as error:
            results, failure = error.results, error
    now = msgspec.structs.replace(now, results=tuple(candidate.merged(now.results, results)))
    with writing(target.build_path) as connection:
        build_state.record(connection, project, plan, results, uuid.uuid4().hex)
        if failure is None:
            made = {result.id for result in now.results} | {node.node for node in plan.made()}
            accounting.count_models(connection, project, made)
    if failure is not None:
        if failure.results:
            failure.add_rows(failing_rows(target_dir(target) / "run_results.json", target.build_path))
        failure.results = now.results
        candidate.write(target, msgspec.structs.replace(now, state="failed"))
        raise failure
    _check_complete(plan, results)
    return now


def command_of(project: Project, plan: BuildPlan) -> Sequence[str]:
    """Return the command that makes what the plan names and nothing else; none where that is nothing."""
    selectors = [project.nodes[node.node].selector for node in plan.made()]
    selectors += [project.tests[test.test].selector for test in plan.run_tests()]
    if not selectors:
        return []
    # unit tests are for CI: they say nothing about the data
    command = ["build", "--indirect-selection", "empty", "--exclude-resource-type", "unit_test"]
    return [*command, "--select", *dict.fromkeys(selectors)]


def _check_complete(plan: BuildPlan, results: Sequence[NodeResult]) -> None:
    ran = {result.id for result in results if result.status != "skipped"}
    wanted = {node.node: node.name for node in plan.made()} | {test.test: test.name for test in plan.run_tests()}
    if missing := [name for unique_id, name in wanted.items() if unique_id not in ran]:
        raise WarehouseError(
            f"dbt left out {len(missing)} nodes or tests, such as `{missing[0]}`",
            where="dbt",
            hint="remove what leaves them out (flags in dbt_project.yml, the environment);"
            " what is published has not changed",
        )


def write_schemas(store: Store) -> None:
    """Keep the files up to date that hold the columns of each resource and no rows."""
    for source in catalog.read_all().sources.values():
        for name, resource in source.resources.items():
            store.write_schema(source.source, name, arrow_schema(resource))


def _publish(build: _Build, project: Project, now: Candidate, started: float) -> str:
    target, run = build.target, build.run
    with writing(target.build_path) as connection:
        build_state.finish(connection, project)
        tests = build_state.test_results(connection)
        nodes = build_state.node_results(connection)
        rows = {found.model: found.row_count for found in build_state.counted_models(connection).values()}
    about = {
        "run_id": run.run_id,
        "triggered_by": run.triggered_by,
        "built_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "nodes": _all_results(now.results, nodes, tests),
        "dropped": list(now.dropped),
        "rows": dict(sorted(rows.items())),
    }
    candidate.forget(target)
    write_atomically(target.workspace / "build.json", json.dumps(about, indent=2).encode() + b"\n")
    # before a version that a killed publish left out of the history may go
    history.complete(target)
    version = target.publish(keep=settings().warehouse_keep_versions)
    history.complete(target)
    return version


def _all_results(
    results: Sequence[NodeResult], nodes: Sequence[Mapping[str, object]], tests: Sequence[Mapping[str, object]]
) -> Sequence[Mapping[str, object]]:
    """Return how every node and test of the version ended when it ran last: in this build, or in one before."""
    ran = {result.id: result for result in results}
    carried = [
        {"kind": kind, "seconds": 0.0, "message": "", **known}
        for kind, found in (("model", nodes), ("test", tests))
        for known in found
    ]
    return [
        {**known, **(ran[unique_id]._asdict() if unique_id in ran else {}), "ran_now": unique_id in ran}
        for known in carried
        for unique_id in (str(known["id"]),)
    ]
