"""What every DAG has to have, checked on the DAGs as Airflow loads them."""

import json
import os
import re
import subprocess
import sys

import pytest

from scripts.config import PROJECT_DIR

DAGS = {"pipeline_bronze", "pipeline_silver", "dbt_dag", "maintenance", "reconcile", "tables"}
HEAVY = {"duckdb", "pandas", "pandera", "pyarrow", "dbt", "numpy", "prefect", "obstore", "celery"}


@pytest.fixture(scope="module")
def load_dags(tmp_path_factory):
    def load(folder=PROJECT_DIR / "airflow/dags"):
        home = tmp_path_factory.mktemp("airflow")
        plugins = PROJECT_DIR / "airflow/dags"
        done = subprocess.run(
            [sys.executable, "tests/support/dag_facts.py", str(folder), str(plugins)],
            cwd=PROJECT_DIR,
            env=os.environ
            | {
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__PLUGINS_FOLDER": str(home),
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/unused.db",
                "PYTHONPATH": str(PROJECT_DIR),
            },
            text=True,
            capture_output=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return load


@pytest.fixture(scope="module")
def facts(load_dags):
    return load_dags()


def test_the_bag_holds_these_dags_and_no_errors(facts):
    assert facts["errors"] == {}
    assert set(facts["dags"]) == DAGS


def test_parsing_imports_nothing_heavy_and_opens_nothing(facts):
    assert HEAVY.isdisjoint(facts["imported"])
    assert facts["opened"] == []


def test_a_dag_that_reaches_out_when_it_is_parsed_is_found(load_dags, tmp_path):
    """The count itself is checked: a DAG file that breaks the rule is seen."""
    (tmp_path / "bad.py").write_text(
        "import duckdb, socket\nfrom airflow.sdk import DAG\n"
        "try:\n    socket.create_connection(('127.0.0.1', 9), 0.1)\nexcept OSError:\n    pass\n"
        "with DAG('bad', schedule=None):\n    pass\n"
    )
    found = load_dags(tmp_path)
    assert "duckdb" in found["imported"]
    assert any("socket.connect" in line for line in found["opened"])


def test_the_graph_has_a_task_for_each_resource_and_table(facts):
    """Exposures come when dbt has compiled the project once."""
    tasks = set(facts["dags"]["tables"]["tasks"])
    assert {"bronze.jsonplaceholder.posts", "bronze.coin_prices.prices", "silver.stg_events"} <= tasks
    assert "gold.fct_events" in tasks


def test_the_example_of_a_consumers_dag_can_be_loaded(load_dags, tmp_path):
    page = (PROJECT_DIR / "docs/lineage.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "community_report.py").write_text(example)
    found = load_dags(tmp_path)
    assert found["errors"] == {}
    assert set(found["dags"]["community_report"]["tasks"]) == {"report"}


@pytest.mark.parametrize("dag_id", sorted(DAGS))
def test_every_dag_explains_itself_and_alerts(facts, dag_id):
    dag = facts["dags"][dag_id]
    assert dag["doc"].strip().startswith(f"# {dag_id}:")
    assert "**Repair:**" in dag["doc"]
    assert "docs/runbook.md" in dag["doc"]
    assert dag["tags"]
    assert dag["deadlines"] == 1
    assert dag["catchup"] is False
    assert 1 <= dag["max_active_runs"] <= 4
    for name, param in dag["params"].items():
        assert param["description"], name
        assert "type" in param["schema"], name


@pytest.mark.parametrize("dag_id", sorted(DAGS))
def test_every_task_has_an_owner_retries_a_time_out_and_an_alert(facts, dag_id):
    for name, task in facts["dags"][dag_id]["tasks"].items():
        assert task["owner"] == "data-platform", name
        assert task["retries"] == (0 if dag_id == "reconcile" else 3), name
        assert task["policy"] == "ExceptionRetryPolicy", name
        assert task["backoff"] == 2.0, name
        assert task["timeout_s"] == 3600, name
        assert task["alerts"] == 1, name
        assert task["doc"], name


def test_what_deletes_is_dry_by_default(facts):
    assert facts["dags"]["maintenance"]["params"]["dry_run"]["default"] is True


def test_builds_take_turns(facts):
    pools = {
        name: task["pool"]
        for dag in facts["dags"].values()
        for name, task in dag["tasks"].items()
        if name.startswith("build")
    }
    assert pools == {"build_silver": "warehouse", "build_gold": "warehouse"}


def test_only_loads_leave_the_machine_of_the_warehouse(facts):
    """With CeleryExecutor, a task runs where its queue is read: `default` has only the source and Bronze."""
    queues = {dag_id: {task["queue"] for task in dag["tasks"].values()} for dag_id, dag in facts["dags"].items()}
    assert queues == {dag_id: {"default" if dag_id == "pipeline_bronze" else "warehouse"} for dag_id in DAGS}


def test_every_alert_leads_to_an_entry_of_the_runbook():
    from scripts.monitoring.alerts import RUNBOOK  # noqa: PLC0415 — the test is about it

    headings = re.findall(r"^## (.+)$", (PROJECT_DIR / "docs/runbook.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w]+", "-", heading.lower()).strip("-") for heading in headings}
    assert set(RUNBOOK.values()) <= anchors
