"""Whose containers and volumes are, with a program of ours in Docker's place: it answers what a test says."""

import json
import os
import subprocess
import sys

import pytest
from dotenv import dotenv_values

from scripts.admin import compose_owner
from scripts.admin.env_file import init_env
from scripts.config import PROJECT_DIR


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Put a `docker` on the path that knows containers (by the folder that made them), volumes and logs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(*, folders=(), volumes=(), inspected=(), log=""):
        (folder / "facts.json").write_text(json.dumps(list(inspected)))
        (folder / "log").write_text(log)
        (folder / "folders").write_text("".join(f"{name}\n" for name in folders))
        (folder / "volumes").write_text("".join(f"{name}\n" for name in volumes))
        (folder / "docker").write_text(
            "#!/bin/sh\ncase $* in\n"
            f"  *working_dir*) cat {folder}/folders ;;\n  'volume ls'*) cat {folder}/volumes ;;\n"
            "  'ps --all --quiet'*) echo 0123 ;;\n"
            f"  inspect*) cat {folder}/facts.json ;;\n  logs*) cat {folder}/log ;;\nesac\n"
        )
        (folder / "docker").chmod(0o755)

    put()
    return put


@pytest.fixture
def folder(tmp_path):
    """A clone with its secrets."""
    found = tmp_path / "clone"
    found.mkdir()
    init_env(found / ".env")
    return found


def problem(folder):
    return compose_owner.problem("stack", folder / ".env", folder)


def test_two_folders_have_projects_of_different_names(tmp_path):
    names = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        init_env(tmp_path / name / ".env")
        names.add(dotenv_values(tmp_path / name / ".env")["COMPOSE_PROJECT_NAME"])
    assert len(names) == 2
    assert all(name.startswith("data-pipeline-") for name in names)


def test_an_installation_without_a_name_keeps_the_one_that_it_has(tmp_path):
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=x\n")
    init_env(tmp_path / ".env")
    assert dotenv_values(tmp_path / ".env")["COMPOSE_PROJECT_NAME"] == "data-pipeline"


def test_nothing_there_and_its_own_is_no_problem(docker, folder):
    assert problem(folder) == ""
    docker(folders=[folder / "infra"], volumes=["stack_postgres"])
    assert problem(folder) == ""
    docker(volumes=["stack_postgres"])
    assert problem(folder) == "", "they were noted while its containers were there"


def test_containers_of_another_folder_are_named(docker, folder):
    docker(folders=["/home/me/other/infra", folder / "infra"])
    assert problem(folder) == "containers of the project stack were made by /home/me/other/infra"


def test_volumes_of_a_folder_that_is_gone_are_named(docker, folder):
    docker(volumes=["stack_postgres"])
    assert "by another folder, or by one that was deleted" in problem(folder)
    compose_owner.note_volumes("stack", folder / ".env", folder)
    assert problem(folder) == ""


def test_volumes_of_other_secrets_are_named(docker, folder):
    compose_owner.note_volumes("stack", folder / ".env", folder)
    (folder / ".env").unlink()
    init_env(folder / ".env")
    docker(volumes=["stack_postgres"])
    assert "were made with other secrets than those in .env" in problem(folder)


TRACEBACK = """Traceback (most recent call last):
  File "/opt/venv/lib/x.py", line 3, in connect
    raise error
psycopg2.OperationalError: FATAL:  password authentication failed for user "airflow"

    (Background on this error at: https://sqlalche.me/e/20/e3q8)
"""


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"Status": "exited", "ExitCode": 1}, "airflow-init ended with code 1: "),
        ({"Status": "running", "ExitCode": 0, "Health": {"Status": "unhealthy"}}, "airflow-init is not healthy: "),
    ],
)
def test_a_service_that_failed_is_named_with_its_error_in_one_line(docker, state, words):
    labels = {"Labels": {"com.docker.compose.service": "airflow-init"}}
    well = {"Id": "1", "State": {"Status": "exited", "ExitCode": 0}, "Config": labels}
    docker(inspected=[well, {"Id": "2", "State": state, "Config": labels}], log=TRACEBACK)
    (line,) = compose_owner.failures("stack")
    assert line.startswith(words)
    assert 'password authentication failed for user "airflow"' in line
    assert line.endswith("the full log: make logs SERVICE=airflow-init")


def test_make_up_touches_nothing_of_another_folder(docker, tmp_path):
    docker(folders=["/home/me/other/infra"])
    command = [sys.executable, str(PROJECT_DIR / "infra" / "compose_up.py"), "touch", str(tmp_path / "touched")]
    done = subprocess.run(
        command, text=True, capture_output=True, check=False, env=os.environ | {"COMPOSE_PROJECT_NAME": "stack"}
    )
    assert done.returncode != 0
    assert "nothing was touched: containers of the project stack were made by /home/me/other/infra" in done.stderr
    assert not (tmp_path / "touched").exists()
