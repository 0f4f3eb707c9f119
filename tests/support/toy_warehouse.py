"""A small warehouse without dbt: a table of numbers, one that never changes, and versions with their records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from scripts.warehouse import gold_files, history
from scripts.warehouse.gold_files import GoldTable
from scripts.warehouse.versions import reading, writing

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.warehouse.versions import Warehouse


def build(
    warehouse: Warehouse, number: int, *, keep: int = 3, empty: bool = False, publish: bool = True, rows: int = 0
) -> str | None:
    """Add a number, and publish; returns the version.

    A table that is made new has `rows` negative numbers, which only fill it.
    """
    with warehouse.building(purpose="a test", timeout=600):
        with writing(warehouse.clone(empty=empty)) as connection:
            connection.execute(f"create table if not exists numbers as select -1 - i as n from range({rows}) as r (i)")
            connection.execute("insert into numbers values (?)", [number])
            connection.execute("create table if not exists letters as select 'a' as letter")
            tables = [GoldTable("numbers", "numbers", str(number), 1), GoldTable("letters", "letters", "1", 1)]
            gold_files.write(warehouse, connection, tables)
        about: dict[str, Any] = {"run_id": f"run{number}", "triggered_by": "test"}
        about |= {"built_at": "2024-01-02T00:00:00+00:00", "seconds": 1.0, "nodes": [], "rows": {"numbers": number}}
        (warehouse.workspace / "build.json").write_text(json.dumps(about))
        if not publish:
            return None
        history.complete(warehouse)
        version = warehouse.publish(keep=keep)
        history.complete(warehouse)
        return version


def numbers(path: Path) -> list[int]:
    """Return the numbers of a version, without the rows that only fill it."""
    with reading(path) as connection:
        return [row[0] for row in connection.execute("select n from numbers where n >= 0 order by all").fetchall()]
