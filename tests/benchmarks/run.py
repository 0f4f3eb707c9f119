"""`make bench`: everything side by side in one run on one machine; writes docs/performance.md.

    python run.py DLT_PYTHON [SECTION...]     without sections, all

Ratios are what counts: the seconds are this machine's. Nothing here fails for being slow.
"""

import collections
import datetime as dt
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
from measure import HERE, PIPELINE, REPOSITORY, best, cost, serving

PAGE = REPOSITORY / "docs" / "performance.md"
ROWS = 1_000_000
PYTHON = sys.executable
BRONZE = "bronze/bench/rows/dt=2024-01-01/part-0.parquet"


def ingestion(folder, dlt):
    """1,000,000 rows of 7 columns in pages of 1,000, to zstd Parquet on disk."""
    ours, floor, peer = folder / "ours", folder / "floor.parquet", folder / "dlt"
    lines = []
    with serving(ROWS // 1000) as url:
        base = best(2, PYTHON, HERE / "ingest_floor.py", f"{url}/rows", ROWS, floor)
        done = best(2, PYTHON, HERE / "ingest_ours.py", "ingest", ROWS, DATA_DIR=ours, BENCH_URL=url)
        lines += [
            line("floor: threads, requests, orjson, pyarrow", base),
            line("**data-pipeline**, everything on", done, base),
        ]
        if dlt:
            other = cost(dlt, HERE / "ingest_dlt.py", f"{url}/rows", ROWS, peer)
            lines.append(line("dlt, `rest_api` to `filesystem`, parallel", other, base))
            same(f"'{floor}'", f"'{peer}/data/*/rows/*.parquet'", "id, user_id, title, body, created_at, amount, done")
        same(f"'{floor}'", f"'{ours / BRONZE}'", 'id, "userId", title, body, "createdAt", amount, done')
        large = cost(PYTHON, HERE / "ingest_ours.py", "ingest", ROWS * 5, DATA_DIR=folder / "large", BENCH_URL=url)
        lines.append(
            f"| data-pipeline, 5 times the rows | {large.seconds:.1f} | {large.cpu:.1f} | {large.megabytes:.0f} | |"
        )
        shutil.rmtree(folder / "large")
    with serving(ROWS // 1000, latency=20) as url:
        slow_floor = cost(PYTHON, HERE / "ingest_floor.py", f"{url}/rows", ROWS, folder / "slow.parquet")
        slow = cost(PYTHON, HERE / "ingest_ours.py", "ingest", ROWS, DATA_DIR=folder / "slow", BENCH_URL=url)
        lines += [line("floor, 20 ms a request", slow_floor), line("data-pipeline, 20 ms a request", slow, slow_floor)]
    return ["side", "seconds", "CPU seconds", "peak MB", "times the floor (wall, CPU)"], lines


def validation(folder, _):
    """The same rows against the ten rules of bench.yml."""
    data = folder / "validate"
    with serving(ROWS // 1000) as url:
        cost(PYTHON, HERE / "ingest_ours.py", "ingest", ROWS, DATA_DIR=data, BENCH_URL=url)
    floor = best(2, PYTHON, HERE / "validate_floor.py", data / BRONZE)
    ours = best(2, PYTHON, HERE / "ingest_ours.py", "validate", ROWS, DATA_DIR=data, BENCH_URL="http://127.0.0.1:1")
    lines = [line("floor: the predicates in DuckDB", floor), line("**data-pipeline**", ours, floor)]
    return ["side", "seconds", "CPU seconds", "peak MB", "times the floor (wall, CPU)"], lines


def daily_build(folder, _):
    """One new day of 100,000 rows into warehouses that hold 10, 100 and 1,000 days of 5,000."""
    lines = []
    for days in (10, 100, 1000):
        data = folder / f"days-{days}"
        first = dt.date(2024, 1, 1) - dt.timedelta(days=days)
        cost(PYTHON, HERE / "history.py", first, days, 5000, DATA_DIR=data)
        cost(PIPELINE, "build", DATA_DIR=data)
        cost(PYTHON, HERE / "history.py", "2024-01-01", 1, 100_000, DATA_DIR=data)
        done = cost(PIPELINE, "build", DATA_DIR=data)
        about = json.loads((data / "warehouse/current/build.json").read_text())
        nodes = collections.Counter()
        for node in about["nodes"]:
            nodes["models" if node["kind"] == "model" else "tests"] += node["seconds"]
        size = (data / "warehouse.duckdb").stat().st_size / 1e6
        copy = best(2, "cp", "--reflink=never", data / "warehouse.duckdb", data / "copy.duckdb")
        lines.append(
            f"| {days:,} | {done.seconds:.1f} | {about['seconds']:.1f} | {nodes['models']:.1f} | {nodes['tests']:.1f} |"
            f" {size:.0f} | {copy.seconds:.2f} | {done.megabytes:.0f} |"
        )
        shutil.rmtree(data)
    header = [
        "days before",
        "command, s",
        "build, s",
        "SQL of models, s",
        "SQL of tests, s",
        "file, MB",
        "plain copy of it, s",
        "peak MB",
    ]
    return header, lines


def backfill(folder, _):
    """365 days of 10,000 rows: one command, against daily runs one after the other (six measured)."""
    one, daily, few = folder / "one", folder / "daily", folder / "few"
    with serving(10, columns=5) as url:
        what = ["--source", "jsonplaceholder", "--resource", "posts"]
        days = ["--start-date", "2023-01-01", "--end-date", "2023-12-31"]
        whole = cost(PIPELINE, "backfill", *what, *days, DATA_DIR=one, API_BASE_URL=url, LOG_LEVEL="WARNING")
        each = []
        for number in range(1, 7):
            day = f"2023-01-0{number}"
            each.append(
                cost(PIPELINE, "run", *what, "--start-date", day, "--end-date", day, DATA_DIR=daily, API_BASE_URL=url)
            )
        cost(
            PIPELINE,
            "backfill",
            *what,
            "--start-date",
            "2023-01-01",
            "--end-date",
            "2023-01-06",
            DATA_DIR=few,
            API_BASE_URL=url,
        )
    for table in ("silver.stg_jsonplaceholder__events", "gold.fct_events", "gold.fct_user_activity_daily"):
        same_tables(few / "warehouse.duckdb", daily / "warehouse.duckdb", table)
    # the first one makes the tables
    per_day = sum(found.seconds for found in each[1:]) / len(each[1:])
    total, peak = per_day * 365, max(found.megabytes for found in each)
    lines = [
        f"| one backfill of 365 days | {whole.seconds:.0f} | {whole.megabytes:.0f} | |",
        f"| 365 daily runs of {per_day:.1f} s | {total:.0f} | {peak:.0f} | {total / whole.seconds:.0f} times |",
    ]
    return ["way", "seconds", "peak MB", "slower"], lines


def orchestration(folder, _):
    """The same three days of the sample API by each door, and what Airflow adds to a task."""
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "infra")]
    from scripts.sample_api import serving as sample_api
    from tests.e2e.airflow_stack import open_folder, running_airflow
    from tests.e2e.n8n_stack import running_n8n
    from tests.e2e.waiting import wait_for

    days = ["2024-01-01", "2024-01-03"]
    wanted = {"2024-01-01", "2024-01-02", "2024-01-03"}
    with sample_api() as source:
        api = {"API_BASE_URL": source.url, "COIN_API_BASE_URL": source.url}
        direct = cost(PIPELINE, "run", "--start-date", days[0], "--end-date", days[1], DATA_DIR=folder / "cli", **api)
        prefect = {"PREFECT_HOME": folder / "prefect", "DATA_DIR": folder / "flow", "DO_NOT_TRACK": 1}
        flow = cost(PYTHON, REPOSITORY / "prefect/flows/elt_flow.py", *days, **prefect, **api)
        with open_folder() as home, running_airflow(home, **api) as airflow:
            wait_for(lambda: airflow.runs("pipeline_bronze"), "the first run")
            airflow.settle()
            started = time.perf_counter()
            moments = {name: f"{day}T00:00:00Z" for name, day in zip(("from_date", "to_date"), days, strict=True)}
            airflow.post("backfills", {"dag_id": "pipeline_bronze", **moments})
            wait_for(lambda: wanted <= airflow.gold_days(), "the days in Gold")
            through_airflow = time.perf_counter() - started
            airflow.settle()
            runs = [run["dag_run_id"] for run in airflow.runs("pipeline_bronze", run_type="backfill")]
            tasks = [
                task for run in runs for task in airflow.tasks("pipeline_bronze", run).values() if task["start_date"]
            ]
            waits = [moment(task["start_date"]) - moment(task["scheduled_when"]) for task in tasks]
            webhook = ""
            with running_n8n(folder, airflow.url, airflow.passwords["AIRFLOW_SERVICE_PASSWORD"]) as n8n:
                file = airflow.data_dir / "bronze/jsonplaceholder/posts/dt=2024-02-01/part-0.parquet"
                started = time.perf_counter()
                n8n.post({"start_date": "2024-02-01", "end_date": "2024-02-01"})
                wait_for(file.exists, "the first row")
                webhook = time.perf_counter() - started
    ran = [task["duration"] for task in tasks]
    lines = [
        f"| `pipeline run` | {direct.seconds:.1f} |",
        f"| Prefect flow, with the start of a server of its own | {flow.seconds:.1f} |",
        f"| Airflow, from the request for a backfill to Gold | {through_airflow:.1f} |",
        f"| Airflow: a task waits, from scheduled to started, mean of {len(tasks)} | {sum(waits) / len(waits):.2f} |",
        f"| Airflow: a task runs, mean | {sum(ran) / len(ran):.2f} |",
        f"| from the webhook to the first row in Bronze | {webhook:.1f} |",
    ]
    return ["door", "seconds"], lines


def moment(text):
    """Return a time of Airflow's API in seconds."""
    return dt.datetime.fromisoformat(text).timestamp()


def start_up(folder, _):
    """Imports and commands that people wait for."""
    lines = []
    for name, command in {
        "`python -c pass`": [PYTHON, "-c", "pass"],
        "`pipeline --help`": [PIPELINE, "--help"],
        "`pipeline status`, nothing loaded": [PIPELINE, "status"],
    }.items():
        done = best(5, *command, DATA_DIR=folder / "empty")
        lines.append(f"| {name} | {done.seconds:.2f} |")
    airflow = {"AIRFLOW_HOME": folder / "airflow", "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "airflow/plugins")])
    script = (
        "import sys, time, runpy; import airflow.sdk; t = time.perf_counter(); runpy.run_path(sys.argv[1]);"
        "print(time.perf_counter() - t)"
    )
    for dag in sorted((REPOSITORY / "airflow/dags").glob("*.py")):
        environ = os.environ | {"PYTHONPATH": path, **{key: str(value) for key, value in airflow.items()}}
        found = [subprocess.check_output([PYTHON, "-c", script, dag], env=environ, text=True) for _ in range(2)]
        lines.append(
            f"| DAG file `{dag.name}`, with Airflow imported | {min(float(t.split()[-1]) for t in found):.2f} |"
        )
    return ["what", "seconds"], lines


SECTIONS = {
    "Ingestion": ingestion,
    "Validation": validation,
    "Daily build": daily_build,
    "Backfill": backfill,
    "Orchestration": orchestration,
    "Start-up": start_up,
}


def line(name, done, floor=None):
    """Return a line of a table."""
    ratio = f"{done.seconds / floor.seconds:.2f}, {done.cpu / floor.cpu:.2f}" if floor else ""
    return f"| {name} | {done.seconds:.1f} | {done.cpu:.1f} | {done.megabytes:.0f} | {ratio} |"


def same(one, other, names):
    """Stop unless two sets of Parquet files have the same rows."""
    first = 'select id, "userId", title, body, "createdAt", amount, done from read_parquet(' + one + ")"
    second = f"select {names} from read_parquet({other})"
    query = f"select count(*) from (({first} except all {second}) union all ({second} except all {first}))"
    if differing := duckdb.execute(query).fetchone()[0]:
        sys.exit(f"{differing} rows differ between {one} and {other}")


def same_tables(one, other, table):
    """Stop unless a table has the same rows in two warehouses."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{one}' as one (read_only); attach '{other}' as other (read_only)")
        first, second = f"from one.{table}", f"from other.{table}"
        query = f"select count(*) from (({first} except all {second}) union all ({second} except all {first}))"
        if differing := connection.execute(query).fetchone()[0]:
            sys.exit(f"{differing} rows of {table} differ")


def machine():
    """Return the machine and the versions, in a line each."""
    cpu = next(
        (row.split(":")[1].strip() for row in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in row), ""
    )
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("duckdb", "dbt-core", "pyarrow", "apache-airflow")
    )
    return f"{os.cpu_count()} cores ({cpu or platform.machine()}), Python {platform.python_version()}, {versions}"


def main(dlt, *wanted):
    """Run the sections and write the page."""
    dlt_version = ""
    if dlt:
        dlt_version = subprocess.check_output(
            [dlt, "-c", "import dlt; print(', dlt', dlt.__version__)"], text=True
        ).strip()
    started = time.monotonic()
    parts = []
    for name, section in SECTIONS.items():
        if wanted and name not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("BENCH_DIR")) as folder:
            header, lines = section(Path(folder), dlt)
        rule = ["---"] + ["--:"] * (len(header) - 1)
        part = [
            f"## {name}",
            "",
            section.__doc__,
            "",
            f"| {' | '.join(header)} |",
            f"| {' | '.join(rule)} |",
            *lines,
            "",
        ]
        print("\n".join(part), flush=True)
        parts += part
    if not wanted:
        minutes = (time.monotonic() - started) / 60
        about = (
            f"Written by `make bench` on {dt.datetime.now(dt.UTC):%Y-%m-%d}, in {minutes:.0f} minutes, on {machine()}"
            f"{dlt_version}. Seconds are this machine's; read the ratios. Both sides do the same work, and their rows"
            " are compared."
        )
        head = ["# Performance", "", about, ""]
        PAGE.write_text("\n".join([*head, *parts]).rstrip() + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
