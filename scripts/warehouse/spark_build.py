"""A build on Spark: dbt makes every model from all validated partitions in the schemas of a version, and tests it.

A version is published by switching the views in `silver` and `gold`, if every step has succeeded. Which versions there
are is known to Spark's catalog alone; the macros in `dbt/macros/spark/versions.sql` read and change it.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import msgspec

from scripts.bronze.loaded_contracts import outdated_days
from scripts.bronze.schemas import write_schemas
from scripts.bronze.store import for_each, verify
from scripts.config import settings
from scripts.contracts import catalog
from scripts.errors import BronzeError, TransientError, UsageError, WarehouseError
from scripts.utils.logging_config import get_logger
from scripts.warehouse import spark_versions
from scripts.warehouse.build_result import BuildResult
from scripts.warehouse.project import project_digest
from scripts.warehouse.runner import DbtFailedError, run_dbt, target_dir
from scripts.warehouse.spark_versions import SparkVersion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.bronze.run import Run
    from scripts.bronze.store import Store
    from scripts.warehouse.candidate import Layer
    from scripts.warehouse.runner import NodeResult
    from scripts.warehouse.versions import Warehouse

_log = get_logger("build")
_PREFIX = "pipeline: "
"""Begins the messages in which macros return a result."""
_BUILT = ("model", "seed", "snapshot", "test")


def build(run: Run, target: Warehouse, layer: Layer, *, full_refresh: bool = False) -> BuildResult:
    """Build, test and publish a version on Spark; do nothing if the published one was built from the same inputs.

    The layers of a version are built together, by the build of `gold`. A build of `silver` alone only returns the
    partitions for which that one is due.

    Args:
        run: The run that asks for the build.
        target: The paths of the warehouse; the lock of the only builder is there.
        layer: The layer that was asked for.
        full_refresh: Build also if the inputs have not changed.

    Raises:
        BronzeError: A Bronze file is missing or torn, or days must not be mixed.
        WarehouseError: A model, a test or the accounting failed; the published version has not changed.
        TransientError: Partitions were loaded again while Spark read them.
    """
    started = time.monotonic()
    if layer == "silver":
        due = _due(run.store, target, full_refresh=full_refresh)
        _log.info("Silver and Gold are built together on Spark: %d partitions wait for the build of Gold", len(due))
        return BuildResult(None, due, [], time.monotonic() - started)
    purpose = f"build on Spark by {run.triggered_by} ({run.run_id})"
    with target.building(purpose=purpose, timeout=settings().lock_timeout) as lock:
        records, project = _records(run.store), project_digest()
        entries = _to_build(run.store, records)
        inputs = _digest(entries, project)
        partitions = tuple((entry.partition, entry.content_state) for entry in records)
        begun = _operation("begin_version", target, lock, _arguments(entries, inputs, is_forced=full_refresh))
        version, keep = begun["version"], settings().warehouse_keep_versions
        if version is None:
            spark_versions.note(target, SparkVersion(begun["published"], project, partitions), keep=keep)
            _log.info("nothing to build: the published version was built from the present ledger and project")
            return BuildResult(None, [], [], time.monotonic() - started)
        try:
            results = _run(target, lock, version)
        except DbtFailedError:
            # a file that was replaced while Spark read it may be the reason
            _check_ledger(run.store, entries)
            raise
        _check_ledger(run.store, entries)
        _operation("publish_version", target, lock, {"inputs": inputs, "keep": keep}, version)
        spark_versions.note(target, SparkVersion(version, project, partitions), keep=keep)
    seconds = time.monotonic() - started
    _log.info("published version %s in %.1f s", version, seconds, extra={"version": version})
    return BuildResult(version, [entry.partition for entry in entries], results, seconds)


def roll_back(run: Run, target: Warehouse, version: str | None) -> str:
    """Publish the version before the published one, or `version`, and return its name.

    Raises:
        UsageError: There is no such version.
    """
    with target.building(purpose=f"rollback by {run.triggered_by}", timeout=settings().lock_timeout) as lock:
        found = _operation("roll_back_version", target, lock, {"wanted": version})
        if found["shown"] is not None:
            spark_versions.note_rollback(target, found["shown"])
    if found["shown"] is None:
        raise UsageError(
            f"there is no version {version}" if version else "there is no earlier version",
            where="Spark",
            expected=f"one of {', '.join(found['versions']) or 'none yet'} (published: {found['published']})",
        )
    return str(found["shown"])


def list_versions(target: Warehouse) -> tuple[Sequence[str], str | None]:
    """Return the kept versions, oldest first, and the published one."""
    with target.building(purpose="list of versions", timeout=settings().lock_timeout) as lock:
        found = _operation("list_versions", target, lock, {})
    return found["versions"], found["published"]


def _due(store: Store, target: Warehouse, *, full_refresh: bool) -> Sequence[Partition]:
    """Return the partitions that the published version does not hold as they are, or all if something else is due."""
    records, known = _records(store), spark_versions.published(target)
    now, held = {entry.partition: entry.content_state for entry in records}, known.held if known else {}
    if known and now == held and known.project == project_digest() and not full_refresh:
        return []
    return [partition for partition, content in now.items() if held.get(partition) != content] or list(now)


def _to_build(store: Store, records: Sequence[LedgerEntry]) -> Sequence[LedgerEntry]:
    """Return the validated partitions of the catalog, after a check of their contracts and the sizes of their files.

    Spark counts the rows of each file later; their hashes are not compared, since one machine would read all of Bronze.
    """
    sources, broken = catalog.read_all()
    if conflicts := [days for days in outdated_days(store, sources.values()) if days.is_conflict]:
        raise BronzeError(
            " | ".join(map(str, conflicts)),
            expected="days of one contract, or `was` in the contract if a column was only renamed",
            hint="; ".join(days.remedy for days in conflicts) + "; then `pipeline build`",
        )
    write_schemas(store)
    # a source whose contract has a mistake keeps its rows, as on DuckDB
    entries = [
        entry
        for entry in records
        if entry.source in broken or (entry.source in sources and entry.resource in sources[entry.source].resources)
    ]
    for entry in entries:
        entry.check()
    return list(for_each(store, lambda entry: verify(store, entry, content=False), entries))


def _records(store: Store) -> Sequence[LedgerEntry]:
    """Return the record of each validated partition: if one cannot be read, a version would lack its rows.

    Raises:
        BronzeError: A record cannot be read.
    """
    with store.index() as index:
        entries = list(index.entries())
        if len(entries) < len(index.signatures()):
            raise index.problems()[0]
    return [entry for entry in entries if entry.status == "validated"]


def _digest(entries: Sequence[LedgerEntry], project: str) -> str:
    """Return a hash of everything that a version is built from."""
    content = sorted((str(entry.partition), entry.content_state) for entry in entries)
    return hashlib.sha256(msgspec.json.encode([project, content])).hexdigest()


def _arguments(entries: Sequence[LedgerEntry], inputs: str, *, is_forced: bool) -> Mapping[str, object]:
    rows = [
        (entry.source, entry.resource, str(entry.day), entry.path, entry.bronze, entry.quarantined == 0)
        for entry in entries
    ]
    return {"inputs": inputs, "partitions": rows, "is_forced": is_forced}


def _operation(
    name: str, target: Warehouse, lock: int, arguments: Mapping[str, object], version: str = ""
) -> dict[str, Any]:
    """Run a macro, and return the result that it tells."""
    told: list[str] = []
    command = ["run-operation", name, "--args", json.dumps(arguments)]
    run_dbt(command, target, settings().bronze_location, mode="whole", inherit=[lock], version=version, told=told)
    result: dict[str, Any] = json.loads(
        next(message.removeprefix(_PREFIX) for message in reversed(told) if message.startswith(_PREFIX))
    )
    return result


def _run(target: Warehouse, lock: int, version: str) -> Sequence[NodeResult]:
    # unit tests run in CI: they do not test the data
    command = ["build", "--exclude-resource-type", "unit_test"]
    results = run_dbt(command, target, settings().bronze_location, mode="whole", inherit=[lock], version=version)
    ran = {result.id for result in results if result.status != "skipped"}
    nodes = json.loads((target_dir(target) / "manifest.json").read_text())["nodes"]
    missing = [
        node["name"]
        for unique_id, node in nodes.items()
        if unique_id not in ran
        and node["resource_type"] in _BUILT
        and node["config"].get("materialized") != "ephemeral"
        and node["config"].get("enabled", True)
    ]
    if missing:
        raise WarehouseError(
            f"dbt left out {len(missing)} nodes or tests, such as `{missing[0]}`",
            where="dbt",
            hint="remove the setting that leaves them out (flags in dbt_project.yml, the environment);"
            " the published version has not changed",
        )
    return results


def _check_ledger(store: Store, entries: Sequence[LedgerEntry]) -> None:
    now = {entry.partition: entry for entry in store.entries() if entry.status == "validated"}
    for entry in entries:
        known = now.get(entry.partition)
        if known is None or known.content_state != entry.content_state:
            raise TransientError(
                f"partitions were loaded again while Spark read them, such as {entry.partition}",
                where="build",
                hint="`pipeline build` when the loads have ended; the published version has not changed",
            )
