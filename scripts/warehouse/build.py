"""A build: dbt on a private copy of the warehouse, checked, and published when all of it is well."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from scripts.config import settings
from scripts.contracts import catalog
from scripts.contracts.types import arrow_schema
from scripts.utils.files import storage_errors, write_atomically
from scripts.utils.logging_config import get_logger, log_context
from scripts.warehouse import accounting, build_state, candidate, history
from scripts.warehouse.candidate import Candidate, Layer
from scripts.warehouse.failing_rows import failing_rows
from scripts.warehouse.runner import DbtFailedError, NodeResult, pass_to_dbt, run_dbt, target_dir
from scripts.warehouse.versions import Warehouse, reading, writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bronze.ledger import Partition
    from scripts.bronze.run import Run
    from scripts.bronze.store import Store

_log = get_logger("build")


class BuildResult(NamedTuple):
    """What a build did."""

    version: str | None
    """The published version; None where the build ended before publishing: after Silver, or with nothing to do."""
    partitions: Sequence[Partition]
    """Partitions that it processed."""
    results: Sequence[NodeResult]
    """How each model and test ended."""
    seconds: float

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to do."""
        return not self.results


_COMMANDS: Mapping[Layer, Sequence[str]] = {
    "all": ["build"],
    # a test that compares layers waits for Gold
    "silver": ["build", "--select", "config.schema:silver", "--indirect-selection", "buildable"],
    "gold": ["build", "--select", "config.schema:gold", "resource_type:test", "resource_type:unit_test"],
}


def warehouse() -> Warehouse:
    """Return the warehouse that the settings name."""
    return Warehouse(settings().warehouse_path)


def build_warehouse(
    run: Run, layer: Layer = "all", *, full_refresh: bool = False, full_tests: bool = False, retry: bool = False
) -> BuildResult:
    """Build Silver and Gold from the partitions that changed, test them, and publish the result.

    Nothing that is published changes unless all of it succeeds. One build works at a time; another waits.

    Args:
        run: The run that asks for it.
        layer: `all`; or `silver`, which leaves a candidate that is not published yet; or `gold`, which finishes the
            candidate and publishes it, or does all of the build where there is none. A layer that has nothing to do
            returns at once.
        full_refresh: Make every model from scratch, from all partitions; a build does so by itself when the SQL of
            the dbt project has changed since the last one.
        full_tests: Test all rows instead of those that the build changes.
        retry: Go on from the models and tests that failed, where that gives the same result as starting over.

    Raises:
        BronzeError: A Bronze file is torn, changed or foreign.
        WarehouseError: A model, a test or the accounting failed.
        LockedError, StorageError: The build file cannot be written.
    """
    started = time.monotonic()
    target, store = warehouse(), run.store
    with log_context(run_id=run.run_id), storage_errors(target.root):
        run.store.recover()
        purpose = f"{'build' if layer == 'all' else f'build of {layer}'} by {run.triggered_by} ({run.run_id})"
        with target.building(purpose=purpose, timeout=settings().lock_timeout) as lock:
            known, project = candidate.read(target), candidate.project_files()
            _write_schemas(store)
            if retry and known and candidate.can_retry(target, store, known, project):
                now = msgspec.structs.replace(known, state="building", project=project)
                command = ["retry", "--state", str(target.workspace)]
                _log.info("going on from the models and tests that failed")
            elif (
                layer != "all"
                and not full_refresh
                and not full_tests
                and _is_done(target, store, layer, known, project)
            ):
                _log.info("nothing to build: the ledger has not changed")
                return BuildResult(None, [], [], time.monotonic() - started)
            elif layer == "gold" and known and known.awaits_gold(project):
                now = msgspec.structs.replace(known, layer=layer, state="building", project=project, results=())
                command = [*_COMMANDS[layer], *(["--full-refresh"] if known.full_refresh else [])]
                _set_full_tests(target, full_tests=full_tests)
            else:
                made: Layer = "silver" if layer == "silver" else "all"
                now = _begin(target, run, made, project, full_refresh=full_refresh, full_tests=full_tests)
                command = [*_COMMANDS[made], *(["--full-refresh"] if now.full_refresh else [])]
            results, partitions = _run_layer(target, store, now, command, lock)
            version = None
            if now.layer != "silver":
                version = _publish(target, run, results, started)
    done = BuildResult(version, partitions, results, time.monotonic() - started)
    if version:
        _log.info("published version %s in %.1f s", version, done.seconds, extra={"version": version})
    return done


def _begin(
    target: Warehouse, run: Run, layer: Layer, project: dict[str, str], *, full_refresh: bool, full_tests: bool
) -> Candidate:
    target.clone(empty=full_refresh)
    with writing(target.build_path) as connection:
        changes = build_state.begin(connection, run.store, build_id=run.run_id, full_tests=full_tests)
        if build_state.models_changed(connection, candidate.hash_of(project)):
            _log.info("the models' SQL has changed since the last build: all are made from scratch")
            full_refresh = True
    accounting.check_bronze(run.store, changes, everything=full_refresh)
    _log.info("building from %d changed partitions", len(changes), extra={"partitions": len(changes)})
    return Candidate(run.run_id, target.current(), layer, "building", full_refresh, project)


def _run_layer(
    target: Warehouse, store: Store, now: Candidate, command: Sequence[str], lock: int
) -> tuple[Sequence[NodeResult], Sequence[Partition]]:
    """Run dbt for a layer of the candidate, keep how it ended, and finish the candidate if the layer is the last."""
    candidate.write(target, now)
    try:
        results = candidate.merged(now.results, run_dbt(command, target, store.root, inherit=[lock]))
    except DbtFailedError as error:
        results = candidate.merged(now.results, error.results)
        if error.results:
            results_file = target_dir(target) / "run_results.json"
            shutil.copy(results_file, target.workspace)
            error.add_rows(failing_rows(results_file, target.build_path))
        candidate.write(target, msgspec.structs.replace(now, state="failed", results=tuple(results)))
        raise
    with writing(target.build_path) as connection:
        changes = build_state.unfinished(connection)
        if now.layer != "silver":
            accounting.count_models(connection, target)
            unsure = [partition for partition, content in changes.items() if _content(store, partition) != content]
            build_state.finish(connection, unsure, candidate.hash_of(now.project))
    candidate.write(target, msgspec.structs.replace(now, state="built", results=tuple(results)))
    return results, list(changes)


def _is_done(
    target: Warehouse, store: Store, layer: Layer, known: Candidate | None, project: Mapping[str, str]
) -> bool:
    if layer == "silver":
        return candidate.is_up_to_date(target, store, known, project)
    return known is None and candidate.is_up_to_date(target, store, None, project)


def _set_full_tests(target: Warehouse, *, full_tests: bool) -> None:
    with writing(target.build_path) as connection:
        connection.execute("update meta.build set full_tests = ?", [full_tests])


def _content(store: Store, partition: Partition) -> str | None:
    entry = store.entry(partition)
    return entry.content_hash if entry else None


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
        _write_schemas(run.store)
        target.clone()
        with writing(target.build_path) as connection:
            build_state.begin(connection, run.store, build_id=run.run_id, full_tests=True)
        return pass_to_dbt(arguments, target, run.store.root, inherit=[lock])


def _write_schemas(store: Store) -> None:
    for source in catalog.read_all().sources.values():
        for name, resource in source.resources.items():
            store.write_schema(source.source, name, arrow_schema(resource))


def _publish(target: Warehouse, run: Run, results: Sequence[NodeResult], started: float) -> str:
    about = {
        "run_id": run.run_id,
        "triggered_by": run.triggered_by,
        "built_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "nodes": [result._asdict() for result in results],
    }
    with reading(target.build_path) as connection:
        rows = connection.execute("select model, row_count from meta.models order by model").fetchall()
    candidate.forget(target)
    write_atomically(
        target.workspace / "build.json", json.dumps({**about, "rows": dict(rows)}, indent=2).encode() + b"\n"
    )
    # before a version that a killed publish left out of the history may go
    history.complete(target)
    version = target.publish(keep=settings().warehouse_keep_versions)
    history.complete(target)
    return version
