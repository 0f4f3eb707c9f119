"""What `make up` does after Compose, with a program of ours in Docker's place."""

import json
import os
import sys

import pytest

import addresses
import compose_up
import n8n_workflows
from scripts.admin import airflow_doctor
from scripts.admin.check_result import CheckResult

LOG = """n8n: workflow ingestion_trigger was changed in n8n and stays as it is
n8n: imported backfill_trigger
kept what was set in Prefect at daily: paused; OVERWRITE=yes replaces it
"""


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Put a `docker` on the path that knows n8n-init, ended at 12:00, and n8n; it notes each call."""

    def put(n8n_since="13:00", log=LOG, answers=0, exported="[]"):
        states = {
            "n8n-init": {"Status": "exited", "StartedAt": "2026-01-01T11:59", "FinishedAt": "2026-01-01T12:00"},
            "n8n": {"Status": "running", "StartedAt": f"2026-01-01T{n8n_since}", "FinishedAt": ""},
        }
        for name, state in states.items():
            container = {"Id": name, "State": state, "Config": {"Env": ["BACKFILL_MAX_DAYS=366", "A=b=c"]}}
            (tmp_path / name).write_text(json.dumps([container]))
        (tmp_path / "log").write_text(log)
        (tmp_path / "exported").write_text(exported)
        (tmp_path / "docker").write_text(
            f"#!/bin/sh\necho $* >>{tmp_path}/calls\ncase $* in\n"
            "  *service=n8n-init*) echo n8n-init ;;\n  *service=n8n\\ *) echo n8n ;;\n"
            f"  inspect*) cat {tmp_path}/$2 ;;\n  logs*) cat {tmp_path}/log ;;\n"
            f"  *healthcheck.js) exit {answers} ;;\n  'exec n8n sh -c'*) cat {tmp_path}/exported ;;\nesac\n"
        )
        (tmp_path / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return tmp_path / "calls"

    return put


def test_what_was_kept_is_told(docker, capsys):
    docker()
    compose_up.tell_what_was_kept("stack")
    assert capsys.readouterr().out.splitlines() == [LOG.splitlines()[0], LOG.splitlines()[2]]


@pytest.mark.parametrize(
    ("since", "log", "restarts"), [("11:00", LOG, True), ("13:00", LOG, False), ("11:00", "n8n: nothing new", False)]
)
def test_n8n_is_restarted_only_if_it_is_older_than_an_import(docker, since, log, restarts):
    calls = docker(since, log)
    compose_up.finish_n8n("stack")
    assert ("restart n8n" in calls.read_text().splitlines()) == restarts
    assert calls.read_text().splitlines()[-1] == "exec n8n node /opt/n8n/healthcheck.js"


def test_a_webhook_that_does_not_answer_is_an_error(docker, monkeypatch):
    docker(answers=1)
    monkeypatch.setattr(compose_up, "WEBHOOK_SECONDS", 0)
    with pytest.raises(SystemExit, match="its webhook does not answer"):
        compose_up.finish_n8n("stack")


def test_workers_with_bronze_in_a_folder_are_refused_before_anything_is_touched(docker, monkeypatch, tmp_path):
    calls = docker()
    monkeypatch.setattr(compose_up, "ENV_FILE", tmp_path / ".env")
    monkeypatch.setattr(sys, "argv", ["compose_up.py", "docker", "compose", "-f", compose_up.WORKERS_FILE, "up"])
    with pytest.raises(SystemExit, match="nothing was touched: workers share no folder, and Bronze is in /"):
        compose_up.main()
    assert "compose -f" not in calls.read_text()


def test_an_export_asks_the_n8n_in_docker_and_an_import_is_refused(docker, monkeypatch, capsys):
    calls = docker(exported=json.dumps([{"id": "x", "name": "of a user", "nodes": []}]))
    monkeypatch.setattr(sys, "argv", ["n8n_workflows.py", "export"])
    n8n_workflows.main()
    assert "left out 'of a user'" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["n8n_workflows.py", "import"])
    with pytest.raises(SystemExit, match="make up OVERWRITE=yes"):
        n8n_workflows.main()
    assert "exec n8n sh -c" in calls.read_text()


def test_a_problem_of_airflow_is_an_error_of_make_up(monkeypatch):
    missing = CheckResult("Airflow pool", ok=False, found="warehouse is missing", fix="restart Airflow")
    monkeypatch.setattr(airflow_doctor, "examine", lambda: [missing])
    with pytest.raises(SystemExit, match="Airflow pool: warehouse is missing; fix: restart Airflow"):
        addresses.main()
