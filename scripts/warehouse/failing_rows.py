"""The rows that made a dbt test fail, read from the candidate."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from scripts.contracts import catalog
from scripts.errors import WarehouseError
from scripts.security.outside_text import HIDDEN, one_line
from scripts.warehouse.database import quoted
from scripts.warehouse.manifest import unique_key
from scripts.warehouse.pseudonyms import hand_over_key, pseudonym_key
from scripts.warehouse.runner import BAD_STATUSES
from scripts.warehouse.versions import reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from scripts.warehouse.runner import NodeResult

_EXAMPLES = 3
_LONGEST_VALUE = 60


def with_failing_rows(results: Sequence[NodeResult], target: Path, database: Path) -> Sequence[NodeResult]:
    """Return the results of dbt, those of failed tests with a few of the rows that they found.

    A row shows the key of the tested model and the tested column; values of sensitive columns are masked.

    Args:
        results: The results of dbt's last command.
        target: The folder of dbt's files about that command.
        database: The file that dbt tested; no process has it open.
    """
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    if not any(result.status in BAD_STATUSES for result in results):
        return results
    raw = json.loads((target / "run_results.json").read_text())["results"]
    queries = {
        result["unique_id"]: result["compiled_code"]
        for result in raw
        if result["status"] in BAD_STATUSES and result.get("failures")
    }
    found: dict[str, str] = {}
    if not queries:
        return results
    shown, nodes = shown_columns(), json.loads((target / "manifest.json").read_text())["nodes"]
    # without examples, the error names the failed test too
    with contextlib.suppress(duckdb.Error, WarehouseError), reading(database) as connection:
        hand_over_key(connection, pseudonym_key())
        for test, query in queries.items():
            rows = _with_keys(connection, nodes, test, query) or _rows(connection, query)
            found[test] = ", ".join(_describe(row, shown) for row in rows)
    return [result._replace(rows=found.get(result.id, "")) for result in results]


def _with_keys(
    connection: DuckDBPyConnection, nodes: Mapping[str, Any], test: str, query: str
) -> Sequence[Mapping[str, object]]:
    """Return rows of the tested model that have the values that a test of one column found; none for other tests."""
    import duckdb  # noqa: PLC0415 — as above

    about = nodes.get(test, {})
    model = nodes.get(about.get("attached_node") or "")
    column = str(about.get("column_name") or "").strip('"')
    if model is None or not column:
        return []
    names = ", ".join(quoted(name) for name in dict.fromkeys([*unique_key(model), column]))
    try:
        first = connection.execute(f"select * from ({query}) limit 0").description or []  # noqa: S608 — the same
        joined = (
            f"select distinct {names} from {model['relation_name']} as tested"  # noqa: S608 — the same
            f" where exists (select 1 from ({query}) as found"
            f" where found.{quoted(first[0][0])} is not distinct from tested.{quoted(column)}) order by all"
        )
        return _rows(connection, joined)
    except duckdb.Error:
        # a test of other columns, or one that returns something else than the values of the column
        return []


def _rows(connection: DuckDBPyConnection, query: str) -> Sequence[Mapping[str, object]]:
    relation = connection.execute(f"select * from ({query}) limit {_EXAMPLES}")  # noqa: S608 — dbt's own SQL
    names = [column[0] for column in relation.description or ()]
    return [dict(zip(names, row, strict=True)) for row in relation.fetchall()]


def shown_columns() -> frozenset[str] | None:
    """Return the columns whose values may be shown, or None for all.

    If a contract has sensitive columns, a column of a model may be computed from one and have another name: only
    columns that the contracts name are shown.
    """
    columns = [
        column
        for source in catalog.read_all().sources.values()
        for resource in source.resources.values()
        for column in resource.columns
    ]
    sensitive = {column.name.lower() for column in columns if column.sensitive}
    known = {column.name.lower() for column in columns} | {"dt", "n_records"}
    return frozenset(known - sensitive) if sensitive else None


def _describe(row: Mapping[str, object], shown: frozenset[str] | None) -> str:
    texts = (
        f"{name}={one_line(str(value), longest=_LONGEST_VALUE)}"
        if shown is None or name.lower() in shown
        else f"{name}={HIDDEN}"
        for name, value in row.items()
    )
    return "{" + ", ".join(texts) + "}"
