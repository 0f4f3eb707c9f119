"""The alerts that Airflow sends, each with its log and its entry of the runbook."""

import os
import re
import subprocess
import sys

import pytest

from scripts.config import PROJECT_DIR
from tests.support.alert_sink import alert_sink


@pytest.fixture(scope="module")
def alerts(tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    with alert_sink() as sink:
        done = subprocess.run(
            [sys.executable, "tests/support/send_alerts.py", str(PROJECT_DIR / "airflow/dags")],
            cwd=PROJECT_DIR,
            env=os.environ
            | {
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__API__BASE_URL": "http://127.0.0.1:8080",
                "DATA_DIR": str(home),
                "PYTHONPATH": str(PROJECT_DIR),
                "SLACK_WEBHOOK": sink.url,
            },
            text=True,
            capture_output=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = {text.partition(":")[0]: text for text in sink.texts}
        return found | {"all": sink.texts, "told": re.findall(r"^XCom of (.*)$", done.stdout, re.MULTILINE)}


def test_every_failure_has_a_kind_of_its_own(alerts):
    assert [text.splitlines()[0] for text in alerts["all"]] == [
        "TASK FAILED: pipeline_bronze.load.ingest s/r 2024-01-01",
        "VALIDATION FAILED: pipeline_bronze.load.validate s/r 2024-01-01",
        "DBT FAILED: pipeline_bronze.build_gold",
        "DATA STALE: pipeline_bronze.check_freshness",
        "LEDGER: pipeline_bronze.verify_ledger",
        "RUN LATE: dbt_dag is not done after 2 hours",
    ], "and the killed ingest of the same partition is the alert that was just sent"


def test_a_task_notes_in_airflow_that_it_has_told(alerts):
    """On a worker, its notes in `DATA_DIR` are not those of the scheduler, which tells of killed tasks."""
    assert alerts["told"] == [
        "load.ingest alert task failed",
        "load.validate alert validation failed",
        "build_gold alert dbt failed",
        "check_freshness alert data stale",
        "verify_ledger alert ledger",
        "load.ingest alert task failed",
    ]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("TASK FAILED", "HTTP 503"),
        ("VALIDATION FAILED", "rule `email_form` is broken by 3 of 10 rows, for example 'x'"),
        ("DBT FAILED", "model `dim_users` error"),
        ("DBT FAILED", "results: http://127.0.0.1:8080/pipeline/results"),
        ("VALIDATION FAILED", "quarantined rows: http://127.0.0.1:8080/pipeline/quarantine/s/r/2024-01-01"),
        ("TASK FAILED", "When the cause is corrected, clear the task in Airflow."),
        (
            "TASK FAILED",
            "log: http://127.0.0.1:8080/dags/pipeline_bronze/runs/a%20run%2B00%3A00/tasks/load.ingest/mapped/2",
        ),
        ("RUN LATE", "run: http://127.0.0.1:8080/dags/dbt_dag/runs/another%20run"),
        ("VALIDATION FAILED", "runbook: http://127.0.0.1:8080/pipeline/runbook#rows-in-quarantine-or-a-broken-rule"),
        ("RUN LATE", "runbook: http://127.0.0.1:8080/pipeline/runbook#the-pipeline-takes-over-two-hours"),
    ],
)
def test_an_alert_says_what_and_where_to_look(alerts, kind, words):
    assert words in alerts[kind]
