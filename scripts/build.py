"""A build: dbt on a private copy of the warehouse, checked, and published when all of it is well."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from typing import TYPE_CHECKING, NamedTuple

from scripts import bronze, catalogue, ledger, meta
from scripts.config import settings
from scripts.errors import BronzeError, WarehouseError
from scripts.schema import arrow_schema
from scripts.storage import storage_errors, write_atomically
from scripts.transform import NodeResult, pass_to_dbt, run_dbt, target_dir
from scripts.utils.logging_config import get_logger, log_context
from scripts.warehouse import Warehouse, writing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from scripts.bronze import Store
    from scripts.ledger import Partition
    from scripts.runs import Run

_log = get_logger("build")


class Build(NamedTuple):
    """What a build did."""

    version: str
    """The published version."""
    partitions: Sequence[Partition]
    """Partitions that it processed."""
    results: Sequence[NodeResult]
    """How each model and test ended."""
    seconds: float


def warehouse() -> Warehouse:
    """Return the warehouse that the settings name."""
    return Warehouse(settings().warehouse_path)


def build(run: Run, *, full_refresh: bool = False, full_tests: bool = False) -> Build:
    """Build Silver and Gold from the partitions that changed, test them, and publish the result.

    Nothing that is published changes unless all of it succeeds. One build works at a time; another waits.

    Args:
        run: The run that asks for it.
        full_refresh: Make every model from scratch, from all partitions; a build does so by itself when the SQL of
            the dbt project has changed since the last one.
        full_tests: Test all rows instead of those that the build changes.

    Raises:
        BronzeError: A Bronze file is torn, changed or foreign.
        WarehouseError: A model, a test or the accounting failed.
        LockedError, StorageError: The build file cannot be written.
    """
    started = time.monotonic()
    target, store = warehouse(), run.store
    with log_context(run_id=run.run_id), storage_errors(target.root):
        run.store.recover()
        with target.building(purpose=f"build by {run.door} ({run.run_id})", timeout=settings().lock_timeout) as lock:
            _write_schemas(store)
            target.clone()
            with writing(target.build_path) as connection:
                changes = meta.begin(connection, store, build_id=run.run_id, full_tests=full_tests)
                if meta.models_changed(connection, models := _hash_models()):
                    _log.info("the models' SQL has changed since the last build: all are made from scratch")
                    full_refresh = True
            _check_bronze(store, changes, everything=full_refresh)
            _log.info("building from %d changed partitions", len(changes), extra={"partitions": len(changes)})
            arguments = ["build", *(["--full-refresh"] if full_refresh else [])]
            results = run_dbt(arguments, target, store.root, inherit=[lock])
            with writing(target.build_path) as connection:
                _count_models(connection, target)
                meta.finish(connection, _changed_meanwhile(store, changes), models)
            version = _publish(target, run, results, started)
    partitions = [change.partition for change in changes]
    done = Build(version, partitions, results, time.monotonic() - started)
    _log.info("published version %s in %.1f s", version, done.seconds, extra={"version": version})
    return done


def roll_back(run: Run, version: str | None = None) -> str:
    """Publish the version before the current one, or `version`, and return its name.

    Raises:
        UsageError: There is no such version.
    """
    target = warehouse()
    if target.current() is None:
        return target.rollback(version)
    with target.building(purpose=f"rollback by {run.door}", timeout=settings().lock_timeout):
        return target.rollback(version)


def run_dbt_on_copy(run: Run, arguments: Sequence[str]) -> int:
    """Run any dbt command on a private copy of the published warehouse, and return dbt's exit code.

    What the command writes to the copy is never published.
    """
    target = warehouse()
    purpose = f"dbt {' '.join(arguments)} by {run.door}"
    with storage_errors(target.root), target.building(purpose=purpose, timeout=settings().lock_timeout) as lock:
        _write_schemas(run.store)
        target.clone()
        with writing(target.build_path) as connection:
            meta.begin(connection, run.store, build_id=run.run_id, full_tests=True)
        return pass_to_dbt(arguments, target, run.store.root, inherit=[lock])


def _write_schemas(store: Store) -> None:
    for source in catalogue.load().values():
        for name, resource in source.resources.items():
            store.write_schema(source.source, name, arrow_schema(resource))


def _hash_models() -> str:
    """Return a hash of all SQL of the dbt project."""
    project, digest = settings().dbt_dir, hashlib.sha256()
    for path in sorted(
        path for folder in ("models", "snapshots", "macros") for path in (project / folder).rglob("*.sql")
    ):
        digest.update(path.relative_to(project).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _check_bronze(store: Store, changes: Sequence[meta.Change], *, everything: bool) -> None:
    entries = list(store.entries()) if everything else [change.entry for change in changes if change.entry]
    for entry in entries:
        entry.check()
        bronze.verify(store, entry)
    known = {
        f"{path.parent.parent.name}/{path.parent.name}/dt={path.stem}/{bronze.DATA_FILE}"
        for path in ledger.entry_files(store.root / "_ledger")
    }
    if strangers := bronze.foreign_files(store, known):
        raise BronzeError(
            f"{len(strangers)} Parquet files that no ledger record names, the first: {strangers[0]}",
            where=str(store.root),
            expected="only files that `pipeline ingest` wrote",
            hint="move them out of the Bronze folder, or load their days with `pipeline ingest`",
        )


def _changed_meanwhile(store: Store, changes: Sequence[meta.Change]) -> Sequence[Partition]:
    """Return the partitions that were loaded again while the build read them: the next build processes them."""
    unsure = []
    for change in changes:
        now = store.entry(change.partition)
        if (now and now.content_hash) != (change.entry and change.entry.content_hash):
            unsure.append(change.partition)
    return unsure


def _count_models(connection: duckdb.DuckDBPyConnection, target: Warehouse) -> None:
    """Count the rows of every model, and check those whose number follows from another layer."""
    manifest = json.loads((target_dir(target) / "manifest.json").read_text())
    counted = []
    for node in manifest["nodes"].values():
        if node["resource_type"] != "model":
            continue
        rows = _number(connection, f"select count(*) from {node['relation_name']}")  # noqa: S608 — dbt's own name
        about = node["config"].get("meta", {})
        expected = _number(connection, about["expected_rows_sql"]) if "expected_rows_sql" in about else None
        if expected is not None and rows != expected:
            raise WarehouseError(
                f"model `{node['name']}` has {rows} rows",
                where="row accounting",
                expected=f"{expected}: {about['expected_rows_reason']}",
                hint="`pipeline build --full-refresh` makes it anew; what is published has not changed",
            )
        is_staging = node["config"].get("incremental_strategy") == "latest_wins"
        origin = node["sources"][0] if is_staging else (None, None)
        reason = about.get("expected_rows_reason")
        counted.append(meta.ModelRows(node["name"], node["schema"], rows, expected, reason, *origin))
    meta.put_models(connection, counted)


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _publish(target: Warehouse, run: Run, results: Sequence[NodeResult], started: float) -> str:
    about = {
        "run_id": run.run_id,
        "door": run.door,
        "built_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "nodes": [result._asdict() for result in results],
    }
    write_atomically(target.workspace / "build.json", json.dumps(about, indent=2).encode() + b"\n")
    return target.publish(keep=settings().warehouse_keep_versions)
