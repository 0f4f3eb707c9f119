"""The workflows of GitHub: pinned, least permissions, and every step that needs no GitHub is run here."""

import os
import re
import stat
import subprocess

import pytest
import yaml

from scripts.config import PROJECT_DIR
from tests.support.clone import clone

GITHUB = PROJECT_DIR / ".github"
FILES = [*sorted((GITHUB / "workflows").glob("*.yml")), GITHUB / "actions/setup/action.yml"]
MAKE_TARGETS = set(re.findall(r"^([a-z0-9-]+):", (PROJECT_DIR / "Makefile").read_text(), re.MULTILINE))


def steps():
    """Return every step, with the name of its file."""
    for path in FILES:
        document = yaml.safe_load(path.read_text())
        jobs = document["jobs"].values() if "jobs" in document else [document["runs"]]
        for job in jobs:
            for step in job.get("steps", []):
                yield path.name, step


def step(name_or_id):
    """Return one step by its name or id."""
    (found,) = [s for _, s in steps() if name_or_id in {s.get("name"), s.get("id")}]
    return found


def run(step, cwd, **environ):
    """Run a step as GitHub does."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(cwd), **environ}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=cwd, env=environ, text=True, capture_output=True, check=False)


def test_every_action_is_pinned_by_commit_with_its_version_beside_it():
    for path in FILES:
        for line in path.read_text().splitlines():
            if "uses:" in line and "uses: ./" not in line:
                assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d", line), line


def test_every_workflow_starts_with_least_permissions():
    for path in FILES[:-1]:
        document = yaml.safe_load(path.read_text())
        assert document["permissions"] in ({}, {"contents": "read"}), path.name
        for name, job in document["jobs"].items():
            assert "uses" in job or job["timeout-minutes"], name


def test_what_the_jobs_make_are_targets_that_people_make():
    called = set()
    for name, found in steps():
        for words in re.findall(r"^(?:.*&& )?make ((?:-C \w+ )?[^|\n]+)", found.get("run", ""), re.MULTILINE):
            targets = [word for word in re.sub(r"-C \w+", "", words).split() if re.fullmatch(r"[a-z0-9-]+", word)]
            called |= set(targets)
            assert set(targets) <= MAKE_TARGETS, (name, words)
    matrix = yaml.safe_load((GITHUB / "workflows/ci.yml").read_text())["jobs"]["check"]["strategy"]["matrix"]["target"]
    assert set(matrix) <= MAKE_TARGETS
    wanted = {
        "lint",
        "types",
        "test-unit",
        "test-integration",
        "test-warehouse",
        "test-dags",
        "test-e2e",
        "test-compose",
    }
    assert wanted <= called | set(matrix)


def test_the_images_name_is_lower_case(tmp_path):
    done = run(step("name"), tmp_path, GITHUB_REPOSITORY="Some/Data-Pipeline", GITHUB_OUTPUT=str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "name=ghcr.io/some/data-pipeline\n"


def test_a_deployment_asks_the_machine_for_one_make_target(tmp_path):
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$HOME/asked"\n')
    ssh.chmod(0o755)
    image = "ghcr.io/some/data-pipeline@sha256:0123"
    done = run(
        step("Deploy"),
        tmp_path,
        PATH=f"{ssh.parent}:{os.environ['PATH']}",
        IMAGE=image,
        COMMIT="abc",
        HOST="deploy@machine",
        DIR="/srv/data pipeline",
        KEY="the key",
        KNOWN_HOSTS="machine ssh-ed25519 AAAA",
    )
    assert done.returncode == 0, done.stderr
    *_, host, command = (tmp_path / "asked").read_text().splitlines()
    assert host == "deploy@machine"
    assert command.endswith(f"git fetch --quiet origin && make deploy PROD=1 IMAGE='{image}' COMMIT='abc'")
    assert "cd '/srv/data pipeline'" in command
    key = tmp_path / ".ssh" / "deploy"
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == ("the key\n", 0o600)


@pytest.mark.slow
def test_a_version_of_the_site_is_published_beside_the_others(tmp_path):
    """The step of cd-prod.yml, with a repository of this machine in GitHub's place."""
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "origin"], check=True)
    copy = clone(tmp_path / "clone")
    (copy / ".venv").symlink_to(PROJECT_DIR / ".venv")
    (copy / "data/demo/docs").mkdir(parents=True)
    (copy / "data/demo/docs/health.html").write_text("all is well")
    who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (["init", "--quiet", "-b", "main"], ["remote", "add", "origin", "../origin"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=copy, check=True)
    subprocess.run(["git", *who, "commit", "--quiet", "-m", "x"], cwd=copy, check=True)

    for version in ("v1.0.0", "v1.1.0"):
        done = run(step("Publish this version of the site"), copy, VERSION=version, NO_MKDOCS_2_WARNING="1")
        assert done.returncode == 0, done.stderr
    shown = ["git", "ls-tree", "-r", "--name-only", "gh-pages"]
    files = set(subprocess.check_output(shown, cwd=tmp_path / "origin", text=True).split())
    assert {"v1.0.0/runbook/index.html", "v1.1.0/health.html", "latest", "index.html"} <= files


def test_production_gets_the_image_that_staging_has_seen(tmp_path):
    """The step of cd-prod.yml, with gh and docker played by scripts."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gh").write_text('#!/bin/sh\necho "gh $*" >> "$HOME/asked"\n[ "$1" != run ] || echo "$GREEN"\n')
    (programs / "docker").write_text(
        '#!/bin/sh\necho "docker $*" >> "$HOME/asked"\n[ "$3" != inspect ] || echo sha256:0123\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    environ = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "GITHUB_REPOSITORY": "Some/Data-Pipeline",
        "GITHUB_SHA": "abc",
        "GITHUB_OUTPUT": str(tmp_path / "out"),
        "VERSION": "v1.2.3",
    }
    wanted = "The very image that CI and staging have seen gets the release's tag"
    red = run(step(wanted), tmp_path, GREEN="0", **environ)
    assert red.returncode != 0
    assert "no green run of ci.yml for abc" in red.stderr
    assert not (tmp_path / "out").exists()

    done = run(step(wanted), tmp_path, GREEN="1", **environ)
    assert done.returncode == 0, done.stderr
    image = "ghcr.io/some/data-pipeline@sha256:0123"
    assert (tmp_path / "out").read_text() == f"image={image}\n"
    asked = (tmp_path / "asked").read_text()
    assert f"gh attestation verify oci://{image}" in asked
    assert f"imagetools create --tag ghcr.io/some/data-pipeline:v1.2.3 {image}" in asked


def test_nothing_is_deployed_that_is_not_signed_and_green():
    deploy = yaml.safe_load((GITHUB / "workflows/deploy.yml").read_text())["jobs"]["deploy"]["steps"]
    names = [found.get("name") for found in deploy]
    assert names.index("Nothing that our release workflow has not built and signed") < names.index("Deploy")
    staging = yaml.safe_load((GITHUB / "workflows/cd-staging.yml").read_text())
    assert staging[True]["workflow_run"]["workflows"] == ["CI"]
    assert "conclusion == 'success'" in staging["jobs"]["release"]["if"]
    comment = (GITHUB / "workflows/ci.yml").read_text()
    assert "comment.user.login === 'github-actions[bot]' && comment.body" in comment
