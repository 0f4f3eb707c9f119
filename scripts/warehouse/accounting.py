"""Accounting: that no row is lost or doubled on its way through a build."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from scripts.bronze import ledger
from scripts.bronze.store import DATA_FILE, foreign_files, verify
from scripts.errors import BronzeError, WarehouseError
from scripts.warehouse import build_state
from scripts.warehouse.runner import target_dir

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from scripts.bronze.store import Store
    from scripts.warehouse.versions import Warehouse


def check_bronze(store: Store, changes: Sequence[build_state.Change], *, everything: bool) -> None:
    """Check the Bronze files that a build is about to read: those of the changed partitions, or all.

    Raises:
        BronzeError: A file is torn, changed, missing or foreign.
        DataError: The counts of a record do not add up.
    """
    entries = list(store.entries()) if everything else [change.entry for change in changes if change.entry]
    for entry in entries:
        entry.check()
        verify(store, entry)
    known = {
        f"{path.parent.parent.name}/{path.parent.name}/dt={path.stem}/{DATA_FILE}"
        for path in ledger.entry_files(store.root / "_ledger")
    }
    if strangers := foreign_files(store, known):
        raise BronzeError(
            f"{len(strangers)} Parquet files that no ledger record names, the first: {strangers[0]}",
            where=str(store.root),
            expected="only files that `pipeline ingest` wrote",
            hint="move them out of the Bronze folder, or load their days with `pipeline ingest`",
        )


def count_models(connection: duckdb.DuckDBPyConnection, target: Warehouse) -> None:
    """Count the rows of every model into `meta.models`, and check those whose number follows from another layer.

    Raises:
        WarehouseError: A model has more or fewer rows than follows from the layer below.
    """
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
        counted.append(build_state.ModelRows(node["name"], node["schema"], rows, expected, reason, *origin))
    build_state.put_models(connection, counted)


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
