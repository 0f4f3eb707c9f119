"""The rows that made a dbt test fail, read from the candidate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from scripts.contracts import catalog
from scripts.errors import WarehouseError
from scripts.security.outside_text import HIDDEN, one_line
from scripts.warehouse.pseudonyms import hand_over_key, pseudonym_key
from scripts.warehouse.runner import BAD_STATUSES
from scripts.warehouse.versions import reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_EXAMPLES = 3
_LONGEST_VALUE = 60


def failing_rows(results_file: Path, database: Path) -> Mapping[str, str]:
    """Return a text with a few of the rows that each failed test found, by the name of the test.

    Args:
        results_file: dbt's `run_results.json`.
        database: The file that dbt tested; no process has it open.
    """
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    results = json.loads(results_file.read_text())["results"]
    failed = [result for result in results if result["status"] in BAD_STATUSES and result.get("failures")]
    found: dict[str, str] = {}
    if not failed:
        return found
    shown = _shown_columns()
    try:
        with reading(database) as connection:
            hand_over_key(connection, pseudonym_key())
            for result in failed:
                query = f"select * from ({result['compiled_code']}) limit {_EXAMPLES}"  # noqa: S608 — dbt's own SQL
                relation = connection.execute(query)
                names = [column[0] for column in relation.description or ()]
                rows = [_describe(dict(zip(names, row, strict=True)), shown) for row in relation.fetchall()]
                found[result["unique_id"].split(".")[2]] = ", ".join(rows)
    except (duckdb.Error, WarehouseError):
        # the error names the failed test also without examples
        return found
    return found


def _shown_columns() -> frozenset[str] | None:
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
