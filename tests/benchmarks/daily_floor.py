"""The floor of the daily build: a copy of the warehouse, and the statements of its models and tests by DuckDB alone.

python daily_floor.py record FOLDER     DATA_DIR is set; writes what a build would start from, and what dbt runs on it
python daily_floor.py replay FOLDER     runs it
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import duckdb

STATEMENTS, BEFORE = "statements.json", "before.duckdb"


def record(folder):
    """Write the warehouse at the start of a build, and the statements of that build, in their order."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from scripts.bronze.stores import open_store
    from scripts.warehouse import build, build_state, plan, project_reading, runner, state_reading
    from scripts.warehouse.versions import writing

    target, store = build.warehouse(), open_store()
    log = runner.target_dir(target) / "logs" / "dbt.log"
    log.unlink(missing_ok=True)
    with target.building(purpose="bench", timeout=1) as lock:
        target.clone()
        project = project_reading.known_project(target)
        with writing(target.build_path) as connection:
            state = state_reading.read_state(connection, store, project)
            planned = plan.plan_build(project, state)
            build_state.write_plan(connection, project, planned, state)
        shutil.copy(target.build_path, folder / BEFORE)
        command = [*build.command_of(project, planned), "--threads", "1"]
        command += ["--log-format-file", "json", "--log-level-file", "debug"]
        if code := runner.pass_to_dbt(command, target, store.location, mode="build", inherit=[lock]):
            sys.exit(f"dbt ended with {code}")
    events = [json.loads(row) for row in log.read_text().splitlines()]
    # one transaction will do
    found = [event["data"]["sql"] for event in events if event["info"]["name"] == "SQLQuery"]
    found = [sql for sql in found if sql not in ("BEGIN", "COMMIT")]
    files = {file for sql in found for file in re.findall(r"'([^']+/part-0\.parquet)'", sql)}
    (folder / STATEMENTS).write_text(json.dumps({"statements": found, "files": len(files)}))


def replay(folder):
    """Run the statements on a copy of the warehouse."""
    # the name of the file is the name of the database in the statements
    (folder / "replayed").mkdir(exist_ok=True)
    file = Path(shutil.copy(folder / BEFORE, folder / "replayed" / "warehouse.duckdb"))
    statements = json.loads((folder / STATEMENTS).read_text())["statements"]
    with duckdb.connect(file, config={"threads": 2, "memory_limit": "2GB"}) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.begin()
        for statement in statements:
            connection.execute(statement).fetchall()
        connection.commit()
    with file.open() as made:
        os.fsync(made.fileno())


if __name__ == "__main__":
    {"record": record, "replay": replay}[sys.argv[1]](Path(sys.argv[2]))
