"""Checks of a data folder after kills, which share no code with `scripts/`: JSON, Parquet and SQL only.

The source of the campaign answers with `sent(day, version)`. A check raises AssertionError with what is wrong.
"""

from __future__ import annotations

import collections
import json
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

GROUPS = 5
_SILVER = "select id, value, cast(last_seen_date as varchar) from silver.stg_demo__items order by all"
_GOLD = "select g, item_count from gold.item_counts order by all"


def sent(day: str, version: int) -> list[dict[str, Any]]:
    """Return the records of a day, as the source sends them in a version of its data."""
    return [
        {"id": key, "g": key % GROUPS, "n": _number(key), "value": f"{day}/{version}/{key}"}
        for key in range(1 + version % 3, 31 + version % 4)
    ]


def _number(key: int) -> object:
    return "no number" if key % 7 == 0 else -1 if key % 11 == 0 else key


def admitted(day: str, version: int) -> set[tuple[int, str]]:
    """Return the key and value of the records that a load admits."""
    return {(row["id"], row["value"]) for row in sent(day, version) if row["id"] % 7 and row["id"] % 11}


def check_bronze(data: Path, versions: Mapping[str, int]) -> Mapping[str, Sequence[tuple[int, str]]]:
    """Check each committed day, and return the rows of the validated ones.

    A record, its rows and its quarantined rows are those of one version of the source, `versions` at most: nothing is
    lost or doubled.
    """
    bronze, found = data / "bronze", {}
    for path in sorted((bronze / "_ledger" / "demo" / "items").glob("*.json")):
        if pending(bronze, path.stem):
            continue
        entry = json.loads(path.read_bytes())
        day = entry["day"]
        rows = pq.read_table(bronze / entry["path"], partitioning=None, columns=["id", "value"]).to_pylist()
        got = [(row["id"], row["value"]) for row in rows]
        kept = bronze / "_quarantine" / "demo" / "items" / f"{day}.jsonl"
        aside = [json.loads(json.loads(line)["raw"]) for line in kept.read_text().splitlines()] if kept.exists() else []
        (version,) = {int(row["value"].split("/")[1]) for row in aside}
        assert version <= versions.get(day, 0), f"{day}: version {version} was never sent"
        everything = {(row["id"], row["value"]) for row in sent(day, version)}
        parts = [*got, *((row["id"], row["value"]) for row in aside)]
        assert sorted(parts) == sorted(everything), f"{day}: rows of version {version} are lost or doubled"
        assert (entry["fetched"], entry["bronze"], entry["quarantined"]) == (len(parts), len(got), len(aside)), entry
        if entry["status"] == "validated":
            assert set(got) == admitted(day, version), f"{day}: other rows than the rules admit"
            found[day] = got
    return found


def pending(bronze: Path, day: str) -> bool:
    """Return whether a load of a day is committed and not completed: the next command renames its files first."""
    return any(day in path.parts for path in (bronze / "_staging").rglob("record.json"))


def published(data: Path) -> Sequence[Any]:
    """Check the published version, and return its rows in Silver; none before the first version."""
    if not (data / "warehouse" / "current").is_symlink():
        return []
    with duckdb.connect(str(data / "warehouse.duckdb"), read_only=True) as connection:
        silver = connection.execute(_SILVER).fetchall()
        gold = connection.execute(_GOLD).fetchall()
    assert len({row[0] for row in silver}) == len(silver), "a key is in Silver twice"
    for key, value, last_seen in silver:
        day, version, of = value.split("/")
        assert (day, int(of)) == (last_seen, key), f"Silver mixes rows: {key} {value} {last_seen}"
        assert (key, value) in admitted(day, int(version)), f"Silver holds a row that was not admitted: {value}"
    counts = collections.Counter(row[0] % GROUPS for row in silver)
    assert dict(gold) == dict(counts), f"Gold has other counts than Silver: {gold} and {dict(counts)}"
    return silver


def check_gold_files(data: Path) -> None:
    """Check that Gold as Parquet has the rows of the published version; no other process may publish meanwhile."""
    if not (data / "warehouse" / "current").is_symlink():
        return
    with duckdb.connect(str(data / "warehouse.duckdb"), read_only=True) as connection:
        wanted = connection.execute(_GOLD).fetchall()
    table = pq.read_table(data / "gold" / "current" / "item_counts.parquet")
    found = sorted(zip(table["g"].to_pylist(), table["item_count"].to_pylist(), strict=True))
    assert found == wanted, "Gold as Parquet is of another version than the warehouse"


def check_complete(data: Path, validated: Mapping[str, Sequence[tuple[int, str]]]) -> None:
    """Check that Silver holds the newest row of each key of Bronze, after a build that succeeded."""
    newest = {key: (key, value, day) for day in sorted(validated) for key, value in validated[day]}
    assert published(data) == sorted(newest.values()), "Silver is not what Bronze says"
    check_gold_files(data)
