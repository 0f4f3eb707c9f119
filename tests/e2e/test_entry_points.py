"""The same days through the command line and Prefect, each into an empty data folder: all tables are equal.

`test_airflow.py` shows the same for the command line and Airflow, which n8n starts.
"""

import datetime as dt
import sys

import pytest

from scripts.bronze.ledger import decode
from scripts.config import PROJECT_DIR
from tests.support.tables import tables

from .invariants import assert_invariants

pytestmark = pytest.mark.timeout(6000)

FIRST, LAST = "2024-01-01", "2024-01-03"


def hashes(data_dir):
    root = data_dir / "bronze/_ledger"
    return {str(path.relative_to(root)): decode(path).content_hash for path in root.rglob("[0-9]*.json")}


def test_command_line_and_prefect_give_the_same_tables_and_tell_the_same_runs(source, receiver, start, tmp_path):
    yesterday = str(dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1))
    flow = (sys.executable, str(PROJECT_DIR / "prefect/flows/elt_flow.py"))
    told = {"cli": [], "prefect": []}
    for entry_point, command, options in (
        ("cli", ("run", "--start-date", FIRST, "--end-date", LAST), {}),
        ("cli", ("run", "--start-date", yesterday, "--end-date", yesterday), {}),
        ("prefect", (FIRST, LAST), {"program": flow}),
        ("prefect", (yesterday, yesterday), {"program": flow}),
    ):
        environ = {"DATA_DIR": tmp_path / entry_point, "PREFECT_HOME": tmp_path / "home", "API_BASE_URL": source.url}
        known = len(receiver.events)
        done = start(*command, **options, **environ, OPENLINEAGE_URL=receiver.url)
        assert done.returncode == 0, done.stderr
        told[entry_point] += sorted((event["job"]["name"], event["eventType"]) for event in receiver.events[known:])

    expected = hashes(tmp_path / "cli")
    assert len(expected) == 16
    assert hashes(tmp_path / "prefect") == expected
    rows = tables(tmp_path / "cli/warehouse.duckdb")
    assert len(rows["gold.fct_events"]) > 100
    assert tables(tmp_path / "prefect/warehouse.duckdb") == rows
    assert len(told["cli"]) > 2 * 2 * len(expected), "each partition has a load and a validation"
    assert told["prefect"] == told["cli"]
    for entry_point in ("cli", "prefect"):
        assert_invariants(tmp_path / entry_point)
