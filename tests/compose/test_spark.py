"""Builds on a Spark cluster in Docker: Airflow's daily run makes the same tables there as DuckDB on one machine."""

import json
import os
import subprocess
import sys

import pytest

from tests.e2e.airflow_stack import Airflow
from tests.e2e.waiting import wait_for
from tests.support.tables import rows_that_differ

from .stack import SERVICES, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200), pytest.mark.usefixtures("engine")]
SPARK = {"spark-master", "spark-worker", "spark-thrift"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    # small, so that the cluster fits beside Airflow
    lines = ("DBT_TARGET=spark", "SPARK_EXECUTOR_MEMORY=1g", "SPARK_WORKER_MEMORY=3g")
    environ = {"PROFILES": "spark", "PIPELINE_IMAGE": "data-pipeline-spark:local"}
    with running_stack(tmp_path_factory.mktemp("spark"), "pipeline-spark", lines=lines, **environ) as found:
        yield found


def pipeline(stack, *arguments):
    """Run a command of the pipeline where Airflow builds; return what it prints."""
    return stack.compose("exec", "-T", "scheduler", "pipeline", *arguments)


def published(stack):
    """Return the published version on Spark, as its builder noted it; None before the first."""
    notes = stack.folder / "data/warehouse/spark-versions.json"
    return json.loads(notes.read_text())["published"] if notes.exists() else None


def build_with_duckdb(stack, folder):
    """Build all that is in the stack's Bronze with DuckDB on this machine; return the warehouse's file."""
    environ = {"DATA_DIR": str(folder), "BRONZE_DIR": str(stack.folder / "data/bronze"), "DBT_TARGET": "dev"}
    done = subprocess.run(
        [sys.executable, "-m", "scripts.cli.main", "build"],
        cwd=stack.folder,
        env=os.environ | environ | {"PYTHONPATH": str(stack.folder)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "warehouse.duckdb"


@pytest.mark.long
def test_the_daily_run_builds_on_the_cluster(stack, tmp_path):
    airflow = Airflow(stack.url("AIRFLOW"), stack.env, stack.folder / "data")
    assert set(stack.containers()) == {*SERVICES, *SPARK}
    assert list(stack.replicas("spark-worker").values()) == ["healthy", "healthy"]

    wait_for(lambda: published(stack), "a version on Spark", 1800)
    airflow.wait_for_loads()
    wait_for(lambda: "build pending" not in pipeline(stack, "status"), "all loads in the version", 900)
    assert f"{published(stack)} published" in pipeline(stack, "rollback", "--list")
    assert f"gold__{published(stack)}" in stack.page("dbt/")
    assert not (stack.folder / "data/warehouse.duckdb").exists()

    # the tables are in a volume of the cluster
    stack.compose("cp", "spark-thrift:/opt/spark/work-dir/tables", str(tmp_path / "tables"))
    differing = rows_that_differ(build_with_duckdb(stack, tmp_path / "duckdb"), tmp_path / "tables", published(stack))
    assert {"gold.fct_events", "gold.dim_users", "silver.users_snapshot"} <= set(differing)
    assert set(differing.values()) == {0}, differing
