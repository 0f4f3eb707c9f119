"""The doctor's look at Docker, with a program of ours in Docker's place: it answers what a test says."""

import json
import os
import socket

import pytest

from scripts.admin import docker_doctor
from scripts.admin.env_file import init_env
from scripts.config import settings

WELL = {"ServerVersion": "28.0", "MemTotal": 8_000_000_000, "DockerRootDir": "/"}


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Put a `docker` on the path that answers with facts of an engine, a version of Compose, and running containers."""

    def put(facts=WELL, compose="2.30.1", containers="", others=""):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "facts.json").write_text(json.dumps(facts))
        down = "exit 1" if facts is None else f"cat {folder}/facts.json"
        (folder / "docker").write_text(
            f"#!/bin/sh\ncase $* in\n  info*) {down} ;;\n  'compose version'*) echo {compose} ;;\n"
            f"  'ps --all'*) printf '{others}' ;;\n  'volume ls'*) ;;\n"
            f"  *ps*) printf '%s' '{containers}' ;;\nesac\n"
        )
        (folder / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return put


@pytest.fixture
def env_file(tmp_path):
    """An `.env` of this user, with ports that are free."""
    path = tmp_path / ".env"
    init_env(path)
    settings().data_dir.mkdir(parents=True, exist_ok=True)
    return path


def problems(env_file):
    """Return what is wrong, by check: what was found, and the fix."""
    return {found.check: (found.found, found.fix) for found in docker_doctor.examine(env_file) if not found.ok}


def test_all_is_well(docker, env_file):
    docker()
    assert problems(env_file) == {}


def test_without_docker_nothing_is_wrong_but_the_way_to_it_is_named(monkeypatch, env_file, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = docker_doctor.examine(env_file)
    assert found.ok
    assert "docs.docker.com" in found.found


@pytest.mark.parametrize(
    ("answers", "check", "words", "fix"),
    [
        ({"facts": None}, "docker", "no Docker engine answers", "start Docker"),
        ({"compose": "2.20.3"}, "compose", "2.20.3", "2.24 or newer"),
        ({"facts": {**WELL, "MemTotal": 2_000_000_000}}, "memory", "2.0 GB", "SCHEDULER_MEMORY"),
    ],
)
def test_what_is_wrong_with_docker_comes_with_its_fix(docker, env_file, answers, check, words, fix):
    docker(**answers)
    found = problems(env_file)
    assert found.keys() == {check}
    assert words in found[check][0]
    assert fix in found[check][1]


def test_a_port_that_another_program_holds_is_named(docker, env_file):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        text = env_file.read_text()
        env_file.write_text("\n".join(line for line in text.splitlines() if not line.startswith("DOCS_PORT")))
        with env_file.open("a") as file:
            file.write(f"\nDOCS_PORT={port}\n")
        docker()
        assert f"{port} (the data documentation)" in problems(env_file)["ports"][0]
        docker(containers="0123")
        assert problems(env_file) == {}


def test_a_stack_of_another_folder_is_named_with_the_ways_out(docker, env_file):
    docker(containers="0123", others="/home/me/staging/infra")
    found, fix = problems(env_file)["ports"]
    assert "were made by /home/me/staging/infra" in found
    assert "COMPOSE_PROJECT_NAME=" in fix
    assert "make reset CONFIRM=yes" in fix


def test_secrets_that_others_can_read_and_files_of_another_user_are_named(docker, env_file):
    docker()
    env_file.chmod(0o644)
    text = env_file.read_text().replace(f"HOST_UID={os.getuid()}", f"HOST_UID={os.getuid() + 1}")
    env_file.write_text(text)
    found = problems(env_file)
    assert found["secrets"] == (".env has mode 644", f"chmod 600 {env_file}")
    assert found["file owners"][1] == f"sudo chown -R {os.getuid() + 1} {settings().data_dir}"


def test_without_secrets_it_says_how_to_make_them(docker, tmp_path):
    docker()
    settings().data_dir.mkdir(parents=True, exist_ok=True)
    assert problems(tmp_path / ".env")["secrets"][1] == "`make init`"


@pytest.mark.parametrize(
    ("place", "count", "found", "fix"),
    [
        ("", "3", "WORKERS=3, with Bronze in", "a bucket"),
        ("s3://mine/bronze", "many", "WORKERS=many", "a number"),
        ("s3://mine/bronze", "3", "", ""),
    ],
)
def test_workers_need_a_number_and_a_bucket(docker, env_file, env, place, count, found, fix):
    docker()
    env("BRONZE_DIR", place)
    with env_file.open("a") as file:
        file.write(f"WORKERS={count}\n")
    wrong = problems(env_file).get("workers", ("", ""))
    assert found in wrong[0]
    assert fix in wrong[1]
    assert bool(wrong[0]) == bool(found)
