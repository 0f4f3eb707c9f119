"""The benchmarks of what writes Bronze: ingestion, validation and a backfill."""

import shutil

from measure import HERE, PIPELINE, PYTHON, best, cost, line, same, same_tables, serving

ROWS = 1_000_000
BRONZE = "bronze/bench/rows/dt=2024-01-01/part-0.parquet"
COSTS = ["side", "seconds", "CPU seconds", "peak MB", "times the floor (wall, CPU)"]


def ingestion(folder, peers):
    """1,000,000 rows of 7 columns in pages of 1,000, to zstd Parquet on disk.

    Goals: at most 1.25 times the floor's wall time and CPU with everything on, at least 5 times faster than dlt, a peak
    under 250 MB and the same at 10 times the rows; where each request takes 20 ms, at least 0.9 of what the concurrency
    allows.
    """
    ours, floor, dlt, airbyte = folder / "ours", folder / "floor.parquet", folder / "dlt", folder / "airbyte"
    lines = []
    with serving(ROWS // 1000) as url:
        base = best(2, PYTHON, HERE / "ingest_floor.py", f"{url}/rows", ROWS, floor)
        lines.append(line("floor: threads, requests, orjson, pyarrow", base))
        done = best(2, PYTHON, HERE / "ingest_ours.py", "ingest", ROWS, DATA_DIR=ours, BENCH_URL=url)
        lines.append(line("**data-pipeline**, everything on", done, base))
        same(f"'{floor}'", f"'{ours / BRONZE}'")
        done = cost(peers / "dlt/bin/python", HERE / "ingest_dlt.py", f"{url}/rows", ROWS, dlt)
        lines.append(line("dlt, `rest_api` to `filesystem`, parallel", done, base))
        same(f"'{floor}'", f"'{dlt}/data/*/rows/*.parquet'", "id, user_id, title, body, created_at, amount, done")
        done = cost(peers / "airbyte/bin/python", HERE / "ingest_airbyte.py", f"{url}/rows", ROWS, airbyte)
        lines.append(line("PyAirbyte, declarative source, four streams at once", done, base))
        same(f"'{floor}'", f"'{airbyte}/rows.parquet'")
        large = cost(PYTHON, HERE / "ingest_ours.py", "ingest", ROWS * 10, DATA_DIR=folder / "large", BENCH_URL=url)
        lines.append(line("data-pipeline, 10 times the rows", large))
        shutil.rmtree(folder / "large")
    with serving(ROWS // 1000, latency=20) as url:
        base = cost(PYTHON, HERE / "ingest_floor.py", f"{url}/rows", ROWS, folder / "slow.parquet")
        done = cost(PYTHON, HERE / "ingest_ours.py", "ingest", ROWS, DATA_DIR=folder / "slow", BENCH_URL=url)
        lines += [line("floor, 20 ms a request", base), line("data-pipeline, 20 ms a request", done, base)]
    return COSTS, lines


def validation(folder, _):
    """The same rows against the ten rules of bench.yml.

    Goal: at most 1.5 times the time of reading the Parquet and evaluating the same predicates in DuckDB.
    """
    data = folder / "validate"
    with serving(ROWS // 1000) as url:
        cost(PYTHON, HERE / "ingest_ours.py", "ingest", ROWS, DATA_DIR=data, BENCH_URL=url)
    floor = best(2, PYTHON, HERE / "validate_floor.py", data / BRONZE)
    ours = best(2, PYTHON, HERE / "ingest_ours.py", "validate", ROWS, DATA_DIR=data, BENCH_URL="http://127.0.0.1:1")
    lines = [line("floor: the predicates in DuckDB", floor), line("**data-pipeline**", ours, floor)]
    return COSTS, lines


def backfill(folder, _):
    """365 days of 10,000 rows: one command, against daily runs one after the other (six measured).

    Goal: at least 10 times faster, with equal tables.
    """
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
    for table in ("silver.stg_events", "gold.fct_events", "gold.fct_user_activity_daily"):
        same_tables(few / "warehouse.duckdb", daily / "warehouse.duckdb", table)
    # the first one makes the tables
    per_day = sum(found.seconds for found in each[1:]) / len(each[1:])
    total, peak = per_day * 365, max(found.megabytes for found in each)
    lines = [
        f"| one backfill of 365 days | {whole.seconds:.0f} | {whole.megabytes:.0f} | |",
        f"| 365 daily runs of {per_day:.1f} s | {total:.0f} | {peak:.0f} | {total / whole.seconds:.0f} times |",
    ]
    return ["way", "seconds", "peak MB", "slower"], lines
