"""The commands of the documents, as they stand there, against a running Airflow and its data."""

import os
import re
import subprocess

import pytest

from scripts.config import PROJECT_DIR
from scripts.sample_api.server import Fault

from .invariants import assert_airflow_is_well
from .n8n_stack import SECRET, running_n8n

pytestmark = pytest.mark.timeout(9000)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def blocks(name):
    """Return each block of commands of a document, under its heading; those marked `sh skip` need another stack."""
    text = (PROJECT_DIR / name).read_text()
    return [((HEADING.findall(text, 0, found.start()) or [name])[-1], found.group(1)) for found in BLOCK.finditer(text)]


@pytest.fixture(scope="module")
def shell(airflow, source):
    """Runs commands as an operator does, in a folder that holds the data of the running Airflow."""
    airflow.wait_for_loads()
    home = airflow.data_dir.parent
    # as the file of a person who has run `make init`
    (home / ".env").write_text("".join(f"{name}={value}\n" for name, value in airflow.passwords.items()))
    environ = os.environ | {
        "PATH": f"{PROJECT_DIR / '.venv/bin'}:{PROJECT_DIR / '.tools/bin'}:{os.environ['PATH']}",
        "DATA_DIR": str(airflow.data_dir),
        "API_BASE_URL": source.url,
        "COIN_API_BASE_URL": source.url,
        "AIRFLOW_URL": airflow.url,
    }
    environ.pop("UV_PYTHON", None)

    def run(commands, **more):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=home,
            env=environ | more,
            text=True,
            capture_output=True,
            check=False,
        )

    return run


def test_every_command_of_the_runbook_works(shell, airflow, source):
    day = "2024-11-05"
    source.faults.append(Fault("status", path="/users", status=404, times=10_000, day=day))
    failed = airflow.trigger("pipeline_bronze", day=day)
    assert airflow.wait("pipeline_bronze", failed)["state"] == "failed"
    source.faults.clear()
    days = airflow.gold_days()
    assert shell("pipeline run --start-date 2024-01-02 --end-date 2024-01-02").returncode == 0
    found = blocks("docs/runbook.md")
    assert len(found) > 12
    for heading, commands in found:
        if "N8N_URL" in commands:
            continue
        done = shell(commands)
        assert done.returncode == 0, f"{heading}: {commands}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        if "curl" in commands:
            assert failed in done.stdout, done.stdout
            # the last failed run, whose failed tasks alone run again
            assert airflow.wait("pipeline_bronze", failed)["state"] == "success"
            airflow.wait_for_loads()
    # the last of them have built the warehouse again, from Bronze
    assert days | {day} <= airflow.gold_days()
    assert shell("pipeline status").returncode == 0


def test_the_runbooks_question_to_the_webhook_works(shell, airflow, tmp_path):
    (ask,) = [commands for _, commands in blocks("docs/runbook.md") if "N8N_URL" in commands]
    with running_n8n(tmp_path, airflow.url, airflow.passwords["AIRFLOW_SERVICE_PASSWORD"]) as n8n:
        done = shell(ask, N8N_URL=n8n.n8n_url, BACKFILL_WEBHOOK_SECRET=SECRET)
    assert done.returncode == 0, done.stderr
    assert "would_run" in done.stdout


def test_the_commands_of_the_readme_work(shell, tmp_path):
    (use,) = [commands for heading, commands in blocks("README.md") if heading == "Use it"]
    commands = "\n".join(line for line in use.splitlines() if not line.startswith("make setup"))
    done = shell(
        f"cd {PROJECT_DIR}\n{commands.replace('uv run', 'uv run --frozen --no-sync')}",
        DATA_DIR=str(tmp_path / "data"),
    )
    # the first publication has none before it to go back to
    assert "rollback" in commands
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def test_a_command_that_does_not_work_is_seen(shell):
    assert shell("pipeline quarantine replai").returncode != 0


def test_then_all_invariants_hold(airflow):
    assert_airflow_is_well(airflow)
