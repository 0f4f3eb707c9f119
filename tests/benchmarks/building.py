"""The benchmark of the daily build."""

import collections
import datetime as dt
import json
import shutil
from pathlib import Path

from measure import HERE, PIPELINE, PYTHON, best, cost, same_tables

NEW_DAY = dt.date(2024, 1, 1)
TABLES = ("gold.fct_events", "gold.fct_user_activity_daily")
HEADER = [
    "days before",
    "command, s",
    "floor, s",
    "SQLMesh, s",
    "imports of dbt, s",
    "dbt to its first node, s",
    "models, s",
    "tests, s",
    "files read",
    "file, MB",
    "plain copy of it, s",
    "peak MB",
]


def daily_build(folder, peers):
    """One new day of 100,000 rows into warehouses that hold 10, 100 and 1,000 days of 5,000.

    Goal: what is read and written, and the time, do not grow with history. The command copies, builds, tests, accounts
    and publishes, and writes the health page. The floor is a copy of the file and the statements of the same models and
    tests by DuckDB alone. SQLMesh has the four models that have rows here, with audits of their keys, and neither
    copies nor publishes a file. The seconds of models and tests are dbt's own sums; two run at once.
    """
    lines, curves = [], collections.defaultdict(list)
    imports = best(2, PYTHON, "-c", "from dbt.cli.main import cli")
    for days in (10, 100, 1000):
        data = folder / f"days-{days}"
        first = NEW_DAY - dt.timedelta(days=days)
        mesh = {"SQLMESH_DATABASE": data / "mesh.duckdb", "SQLMESH_START": first, "BRONZE_DIR": data / "bronze"}
        sqlmesh = [peers / "sqlmesh/bin/python", HERE / "daily_sqlmesh.py"]
        cost(PYTHON, HERE / "history.py", first, days, 5000, DATA_DIR=data)
        cost(PIPELINE, "build", DATA_DIR=data)
        cost(*sqlmesh, "plan", NEW_DAY, **mesh)
        cost(PYTHON, HERE / "history.py", NEW_DAY, 1, 100_000, DATA_DIR=data)

        done = cost(PIPELINE, "build", DATA_DIR=data)
        made = Path(shutil.copy(data / "warehouse.duckdb", data / "made.duckdb"))
        about = json.loads((data / "warehouse/current/build.json").read_text())
        start = dbt_start(json.loads((data / "warehouse/dbt/run_results.json").read_text()))
        copy = best(2, "cp", "--reflink=never", made, data / "copy.duckdb")
        peer = cost(*sqlmesh, "run", NEW_DAY + dt.timedelta(days=1), **mesh)
        cost(PIPELINE, "rollback", DATA_DIR=data)
        cost(PYTHON, HERE / "daily_floor.py", "record", data, DATA_DIR=data)
        floor = best(2, PYTHON, HERE / "daily_floor.py", "replay", data)
        for table in TABLES:
            same_tables(made, data / "mesh.duckdb", table)
            same_tables(made, data / "replayed/warehouse.duckdb", table)

        seconds = collections.Counter()
        for node in about["nodes"]:
            seconds["models" if node["kind"] == "model" else "tests"] += node["seconds"]
        for name, side in (("command", done), ("floor", floor), ("SQLMesh", peer)):
            curves[name].append(round(side.seconds, 1))
        files = json.loads((data / "statements.json").read_text())["files"]
        lines.append(
            f"| {days:,} | {done.seconds:.1f} | {floor.seconds:.1f} | {peer.seconds:.1f} | {imports.seconds:.1f} |"
            f" {start:.1f} | {seconds['models']:.1f} | {seconds['tests']:.1f} | {files} |"
            f" {made.stat().st_size / 1e6:.0f} | {copy.seconds:.2f} | {done.megabytes:.0f} |"
        )
        shutil.rmtree(data)
    return HEADER, lines, {"x": "days before", "y": "seconds", "at": [10, 100, 1000], "series": curves}


def dbt_start(results):
    """Return the seconds from the start of an invocation of dbt to its first model or test."""
    first = min(step["started_at"] for node in results["results"] for step in node["timing"] if step["started_at"])
    return (moment(first) - moment(results["metadata"]["invocation_started_at"])).total_seconds()


def moment(text):
    """Return a time of dbt's results, which has no zone or `Z`."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=None)
