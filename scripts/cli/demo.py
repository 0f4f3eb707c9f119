"""The demo: loads three days from the sample API, which injects faults, into a separate warehouse."""

from __future__ import annotations

import datetime as dt
import os
import sys
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from scripts import config
from scripts.bronze.run import Run
from scripts.cli.printing import exit_code, show_quarantine, show_run
from scripts.cli.tables import progress
from scripts.config import PROJECT_DIR
from scripts.errors import DataError
from scripts.loading.partitions import load, partitions
from scripts.monitoring.report import refresh
from scripts.monitoring.status import read_status
from scripts.portal.pages import refresh_portal
from scripts.sample_api.server import Fault, serving
from scripts.utils.days import day_range, today
from scripts.utils.exit_codes import start_logging
from scripts.warehouse.build import build_warehouse

if TYPE_CHECKING:
    from collections.abc import Sequence

_SOURCES = ("jsonplaceholder", "coin_prices")
_PLACES = ("BRONZE_DIR", "DB_CONNECTION_STRING", "WAREHOUSE_URL")
_LOOK = "select * from {{ ref('fct_events') }}"


def _faults(days: Sequence[dt.date]) -> Sequence[Fault]:
    first, second, third = (day.isoformat() for day in days)
    return [
        Fault("status", path="/posts", status=429, retry_after=1, day=first),
        Fault("status", path="/comments", status=500, times=2, day=second),
        Fault("truncated", path="/users", day=second),
        Fault("disconnect", path="/todos", day=third),
        Fault("html", path="/simple/price", day=third),
    ]


def run_demo() -> int:
    """Load the last three days, print the row counts and the quarantined rows, and return the exit code."""
    days = day_range(today() - dt.timedelta(days=3), today() - dt.timedelta(days=1))
    _forget_places()
    folder = os.environ.get("DEMO_DIR") or str(PROJECT_DIR / "data" / "demo")
    with serving(faults=_faults(days), first_day=days[0]) as api:
        os.environ |= {
            "API_BASE_URL": api.url,
            "COIN_API_BASE_URL": api.url,
            "DATA_DIR": folder,
            "BRONZE_DIR": os.environ.get("DEMO_BRONZE_DIR") or f"{folder}/bronze",
            "DB_CONNECTION_STRING": f"duckdb:///{folder}/warehouse.duckdb",
            "DBT_TARGET": "dev",
            "LOG_LEVEL": "WARNING",
            "LOG_FORMAT": "text",
        }
        config.settings.cache_clear()
        start_logging()
        _say(
            f"The sample API listens on {api.url}. Some answers are errors, cut off or no JSON; the pipeline goes on.\n"
        )
        run = Run.create(triggered_by="demo")
        wanted = partitions(days, _SOURCES)
        with progress("ingest and validate", len(wanted)) as advance:
            outcomes = load(run, wanted, on_done=lambda _: advance())
        _say("\nBuilding Silver and Gold with dbt, and testing them ...\n")
        done = build_warehouse(run)
        refresh(run.store)
        refresh_portal()
    show_run(run.store, outcomes, done, as_json=False)
    rejected = [(one.partition, run.store.quarantined(one.entry)) for one in outcomes if one.entry is not None]
    show_quarantine(rejected, as_json=False)
    data = config.settings().data_dir
    docs = data / "docs"
    _say(f"The tables, to open in a browser: {docs / 'index.html'}\nHow the data is: {docs / 'health.html'}\n")
    look = f"DATA_DIR={data} uv run pipeline dbt show --limit 5 --inline"
    _say(f'The warehouse is {data / "warehouse.duckdb"}; look around with\n  {look} "{_LOOK}"\n')
    return exit_code(outcomes) or (DataError.exit_code if read_status(run.store).problems else 0)


def _forget_places() -> None:
    """Forget where the environment and `.env` say that data is: the demo must not write there. Their rest stays."""
    found = dotenv_values(PROJECT_DIR / ".env", encoding="utf-8-sig")
    config.Settings.model_config["env_file"] = None
    os.environ |= {name: value for name, value in found.items() if value and not os.environ.get(name)}
    for name in _PLACES:
        os.environ.pop(name, None)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
