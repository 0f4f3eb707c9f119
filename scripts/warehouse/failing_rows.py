"""Failures of tests: the rows that made a dbt test red, read from the candidate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from scripts.errors import WarehouseError
from scripts.warehouse.runner import BAD_STATUSES
from scripts.warehouse.versions import reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_EXAMPLES = 3
_LONGEST_VALUE = 60


def failing_rows(results_file: Path, database: Path) -> Mapping[str, str]:
    """Return a few of the rows that each failed test found, in words, by the test's name.

    Args:
        results_file: dbt's `run_results.json`.
        database: The file that dbt tested; nothing has it open any more.
    """
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    results = json.loads(results_file.read_text())["results"]
    failed = [result for result in results if result["status"] in BAD_STATUSES and result.get("failures")]
    found: dict[str, str] = {}
    if not failed:
        return found
    try:
        with reading(database) as connection:
            for result in failed:
                query = f"select * from ({result['compiled_code']}) limit {_EXAMPLES}"  # noqa: S608 — dbt's own SQL
                relation = connection.execute(query)
                names = [column[0] for column in relation.description or ()]
                rows = [_describe(dict(zip(names, row, strict=True))) for row in relation.fetchall()]
                found[result["unique_id"].split(".")[2]] = ", ".join(rows)
    except (duckdb.Error, WarehouseError):
        # the examples are a help; the failure itself is told in any case
        return found
    return found


def _describe(row: Mapping[str, object]) -> str:
    shown = (f"{name}={str(value)[:_LONGEST_VALUE]}" for name, value in row.items())
    return "{" + ", ".join(shown) + "}"
