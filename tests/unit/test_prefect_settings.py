"""What the project sets in Prefect are settings that it has; its database and its artifacts do not grow for ever."""

import datetime as dt
import json
import os
import re
import sys

import pytest
from dotenv import dotenv_values
from prefect.settings import Settings
from prefect.settings.legacy import _get_valid_setting_names

from scripts.bronze.ledger import Partition
from scripts.config import PROJECT_DIR
from scripts.errors import SourceRejectedError
from scripts.loading import partitions

FILE = PROJECT_DIR / "infra" / "prefect.env"
FILES = [FILE, *PROJECT_DIR.glob("infra/*prefect*.py"), *PROJECT_DIR.glob("infra/docker-compose*.yml")]
OURS = {"PREFECT_PORT"}


def test_every_name_is_a_setting_of_the_installed_prefect():
    names = {name for path in FILES for name in re.findall(r"\bPREFECT_[A-Z_]+\b", path.read_text())}
    assert "PREFECT_API_URL" in names
    assert names - OURS - _get_valid_setting_names(Settings) == set()


def test_old_runs_and_events_are_removed(monkeypatch):
    for name, value in dotenv_values(FILE).items():
        monkeypatch.setenv(name, value)
    server = Settings().server
    assert server.services.db_vacuum.enabled_vacuum_types == {"events", "flow_runs"}
    assert server.services.db_vacuum.retention_period == dt.timedelta(days=30)
    assert server.events.retention_period == dt.timedelta(days=3)


def test_the_server_waits_between_two_looks_at_what_tasks_report(monkeypatch):
    for name, value in dotenv_values(FILE).items():
        monkeypatch.setenv(name, value)
    assert int(Settings().server.services.task_run_recorder.flush_interval) >= 1


def test_an_artifact_of_many_rows_says_where_the_rest_is(monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT_DIR / "prefect" / "flows"))
    from artifacts import MOST_BYTES, fitting  # noqa: PLC0415 — its folder has to be on the path

    rows = [{"day": f"2024-01-{number}", "rows": "ä" * 20} for number in range(1000)]
    shown, words = fitting(rows, "`pipeline status --json`")
    assert shown == rows[: len(shown)]
    assert MOST_BYTES - 200 < len(json.dumps(shown).encode()) < MOST_BYTES + 2 * len(shown) + 2
    assert words == f" These are the first {len(shown)} of 1000 rows; all: `pipeline status --json`."
    assert fitting(rows[:3], "") == (rows[:3], "")


def test_an_error_about_many_partitions_names_the_first_and_says_where_the_rest_is():
    day = dt.date(2024, 1, 1)
    errors = {Partition("shop", "orders", day + dt.timedelta(n)): SourceRejectedError("HTTP 404") for n in range(366)}
    text = str(partitions.failed(errors, 400))
    assert text.startswith("366 of 400 partitions failed: shop/orders/2024-01-01, ")
    assert "and 346 more (`pipeline status` names all); the first: HTTP 404" in text
    assert len(text) < 1000


@pytest.mark.parametrize("script", [("airflow_worker.py", "default"), ("prefect_worker.py", "--work-queue", "default")])
def test_a_worker_of_loads_refuses_bronze_in_a_folder(start, script, tmp_path):
    path = os.pathsep.join(str(PROJECT_DIR / folder) for folder in (".", "airflow/dags"))
    environ = {"PYTHONPATH": path, "AIRFLOW_HOME": tmp_path, "PREFECT_HOME": tmp_path}
    done = start(*script[1:], program=(sys.executable, PROJECT_DIR / "infra" / script[0]), **environ)
    assert done.returncode == 1
    assert "set BRONZE_DIR to a bucket" in done.stderr
    assert "Traceback" not in done.stderr
