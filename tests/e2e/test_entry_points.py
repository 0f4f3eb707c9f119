"""The same days through every entry point, each into an empty data folder: Bronze, Silver and Gold are equal."""

import sys

import pytest

from scripts.bronze.ledger import decode
from scripts.config import PROJECT_DIR
from tests.support.tables import tables

from .airflow_stack import open_folder, running_airflow
from .waiting import wait_for

pytestmark = pytest.mark.timeout(6000)

FIRST, LAST = "2024-01-01", "2024-01-03"


def hashes(data_dir):
    root = data_dir / "bronze/_ledger"
    return {str(path.relative_to(root)): decode(path).content_hash for path in root.rglob("[0-9]*.json")}


@pytest.fixture
def folder():
    with open_folder() as path:
        yield path


def test_command_line_airflow_and_prefect_give_the_same_tables(source, start, folder):
    with running_airflow(folder, API_BASE_URL=source.url, COIN_API_BASE_URL=source.url) as airflow:
        run_id = airflow.trigger("pipeline_bronze", start_date=FIRST, end_date=LAST)
        # a new Airflow loads yesterday by itself
        first = wait_for(lambda: airflow.runs("pipeline_bronze", run_type="scheduled"), "the first run")[0]
        for run in (run_id, first["dag_run_id"]):
            assert airflow.wait("pipeline_bronze", run)["state"] == "success"
        airflow.wait_for_loads()

    yesterday = first["partition_key"]
    flow = (sys.executable, str(PROJECT_DIR / "prefect/flows/elt_flow.py"))
    for entry_point, command, options in (
        ("cli", ("run", "--start-date", FIRST, "--end-date", LAST), {}),
        ("cli", ("run", "--start-date", yesterday, "--end-date", yesterday), {}),
        ("prefect", (FIRST, LAST), {"program": flow}),
        ("prefect", (yesterday, yesterday), {"program": flow}),
    ):
        environ = {"DATA_DIR": folder / entry_point, "PREFECT_HOME": folder / "home", "API_BASE_URL": source.url}
        done = start(*command, **options, **environ)
        assert done.returncode == 0, done.stderr

    expected = hashes(folder / "cli")
    assert len(expected) == 16
    rows = tables(folder / "cli/warehouse.duckdb")
    assert len(rows["gold.fct_events"]) > 100
    for entry_point in ("data", "prefect"):
        assert hashes(folder / entry_point) == expected, entry_point
        assert tables(folder / entry_point / "warehouse.duckdb") == rows, entry_point
