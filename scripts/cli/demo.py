"""The demo: three days of the sample API, with a source that misbehaves, into a warehouse of its own."""

from __future__ import annotations

import os
import sys

from scripts import config
from scripts.bronze.run import Run
from scripts.cli.printing import exit_code, show_quarantine, show_run
from scripts.cli.tables import progress
from scripts.config import PROJECT_DIR
from scripts.loading.partitions import load, partitions
from scripts.monitoring.report import refresh
from scripts.monitoring.status import read_status
from scripts.sample_api.server import Fault, serving
from scripts.utils.days import day_range
from scripts.utils.exit_codes import start_logging
from scripts.warehouse.build import build_warehouse

_SOURCES = ("jsonplaceholder", "coin_prices")
_FAULTS = (
    Fault("status", path="/posts", status=429, retry_after=1, day="2024-01-01"),
    Fault("status", path="/comments", status=500, times=2, day="2024-01-02"),
    Fault("truncated", path="/users", day="2024-01-02"),
    Fault("disconnect", path="/todos", day="2024-01-03"),
    Fault("html", path="/simple/price", day="2024-01-03"),
)

_LOOK = "select * from {{ ref('fct_events') }}"


def run_demo() -> int:
    """Run the demo, print what became of every row, and return the exit code."""
    with serving(faults=_FAULTS) as api:
        os.environ |= {
            "API_BASE_URL": api.url,
            "COIN_API_BASE_URL": api.url,
            "DATA_DIR": os.environ.get("DEMO_DIR", str(PROJECT_DIR / "data" / "demo")),
            "LOG_LEVEL": "WARNING",
            "LOG_FORMAT": "text",
        }
        for variable in ("BRONZE_DIR", "DB_CONNECTION_STRING"):
            os.environ.pop(variable, None)
        config.settings.cache_clear()
        start_logging()
        _say(
            f"The sample API listens on {api.url}. It will refuse, break off and send rubbish; the pipeline goes on.\n"
        )
        run = Run.create(triggered_by="demo")
        wanted = partitions(day_range("2024-01-01", "2024-01-03"), _SOURCES)
        with progress("ingest and validate", len(wanted)) as advance:
            outcomes = load(run, wanted, on_done=lambda _: advance())
        _say("\nBuilding Silver and Gold with dbt, and testing them ...\n")
        done = build_warehouse(run)
        refresh(run.store)
    show_run(run.store, outcomes, done, as_json=False)
    show_quarantine(run.store, [outcome.partition for outcome in outcomes], as_json=False)
    data = config.settings().data_dir
    _say(f"How the data is, to open in a browser: {data / 'docs' / 'health.html'}\n")
    look = f"DATA_DIR={data} uv run pipeline dbt show --limit 5 --inline"
    _say(f'The warehouse is {data / "warehouse.duckdb"}; look around with\n  {look} "{_LOOK}"\n')
    return exit_code(outcomes) or int(bool(read_status(run.store).problems))


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
