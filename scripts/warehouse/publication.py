"""Publishing: the candidate becomes the version that people see, with a record of how its nodes and tests ended."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.utils.files import write_atomically
from scripts.warehouse import build_state, candidate, history, row_counts
from scripts.warehouse.versions import writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from scripts.bronze.run import Run
    from scripts.warehouse.candidate import Candidate
    from scripts.warehouse.project import Project
    from scripts.warehouse.runner import NodeResult
    from scripts.warehouse.versions import Warehouse


def publish(target: Warehouse, run: Run, project: Project, now: Candidate, started: float) -> str:
    """Publish a candidate with its `build.json`, and return the name of the version.

    Args:
        target: The warehouse.
        run: The run that built it.
        project: The dbt project that it was built with.
        now: The candidate.
        started: When the build began, by `time.monotonic`.
    """
    with writing(target.build_path) as connection:
        build_state.finish(connection, project)
        tests = _test_results(connection)
        nodes = _node_results(connection)
        rows = {found.model: found.row_count for found in row_counts.counted_models(connection).values()}
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


def _test_results(connection: duckdb.DuckDBPyConnection) -> Sequence[Mapping[str, object]]:
    """Return how each test ended when it ran last, over which rows, and when."""
    rows = connection.execute(
        "select test, name, status, message, rows, strftime(ran_at, '%Y-%m-%dT%H:%M:%SZ')"
        " from _pipeline.tests order by test"
    ).fetchall()
    return [dict(zip(("id", "name", "status", "message", "rows", "ran_at"), row, strict=True)) for row in rows]


def _node_results(connection: duckdb.DuckDBPyConnection) -> Sequence[Mapping[str, object]]:
    """Return each node of the file, and when it was made."""
    rows = connection.execute(
        "select node, name, kind, 'success', strftime(made_at, '%Y-%m-%dT%H:%M:%SZ') from _pipeline.nodes order by node"
    ).fetchall()
    return [dict(zip(("id", "name", "kind", "status", "ran_at"), row, strict=True)) for row in rows]
