"""A deployment that fails leaves what was there before: image, commit, settings. Docker is played by a script."""

import os
import shutil
import subprocess

import pytest

from scripts.config import PROJECT_DIR

COMPOSE = """#!/bin/sh
echo "$(cat release) $(sed -n 's/^PIPELINE_IMAGE=//p' .env) $(grep -c ^NEW_SETTING .env) $*" >> started
case "$*" in *up*) [ "$(cat release)" != broken ] ;; esac
"""
MAKE = """#!/bin/sh
mkdir -p .secrets && echo x > .secrets/x
[ "$(cat release)" != broken ] || echo NEW_SETTING=1 >> .env
"""


@pytest.fixture
def machine(tmp_path):
    """A clone with three releases, of which one is broken, at the first."""
    folder, programs = tmp_path / "clone", tmp_path / "bin"
    (folder / "infra").mkdir(parents=True)
    programs.mkdir()
    for name, text in {"compose": COMPOSE, "make": MAKE, "docker": '#!/bin/sh\n[ "$3" != missing ]\n'}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (folder / ".venv/bin").mkdir(parents=True)
    # the owner check, which needs Docker and has tests of its own
    (folder / ".venv/bin/python").write_text(f"#!/bin/sh\n[ ! -e {tmp_path}/of_another_folder ]\n")
    (folder / ".venv/bin/python").chmod(0o755)
    environ = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "GIT_CONFIG_GLOBAL": "/dev/null"}

    def run(*command):
        return subprocess.run(command, cwd=folder, env=environ, text=True, capture_output=True, check=False)

    run("git", "init", "--quiet", "-b", "main")
    (folder / ".gitignore").write_text(".env*\n.venv\n.secrets\nstarted\ndata\n")
    for release in ("old", "broken", "new"):
        (folder / "release").write_text(release)
        shutil.copy(PROJECT_DIR / "infra/deploy.sh", folder / "infra")
        with (folder / "infra/deploy.sh").open("a") as file:
            file.write(f"# {release}\n" * 200)
        run("git", "add", "-A")
        run("git", "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "-m", release)
        run("git", "tag", release)
    run("git", "checkout", "--quiet", "old")
    (folder / ".env").write_text("A=1\nPIPELINE_IMAGE=old-image\n")
    (folder / ".env").chmod(0o600)
    return folder, run


def test_a_good_release_is_there_as_a_whole(machine):
    folder, run = machine
    done = run("infra/deploy.sh", "new-image", "new", "compose")
    assert (done.returncode, done.stdout) == (0, "deployed new-image\n"), done.stderr
    assert (folder / "release").read_text() == "new"
    assert (folder / ".env").read_text() == "A=1\nPIPELINE_IMAGE=new-image\n"
    assert (folder / ".env").stat().st_mode & 0o077 == 0


def test_going_back_restores_image_commit_and_settings(machine):
    folder, run = machine
    before = (folder / ".env").read_text()
    done = run("infra/deploy.sh", "broken-image", "broken", "compose")
    assert done.returncode == 1
    assert "went back to old-image; it is healthy" in done.stderr
    assert (folder / "release").read_text() == "old"
    assert (folder / ".env").read_text() == before
    ups = [line for line in (folder / "started").read_text().splitlines() if " up " in line]
    assert [line.split()[:3] for line in ups] == [["broken", "broken-image", "1"], ["old", "old-image", "0"]]


def test_a_stack_of_another_folder_is_not_touched(machine):
    folder, run = machine
    before = (folder / ".env").read_text()
    (folder.parent / "of_another_folder").touch()
    assert run("infra/deploy.sh", "new-image", "new", "compose").returncode == 1
    assert ((folder / "release").read_text(), (folder / ".env").read_text()) == ("old", before)
    assert not (folder / "started").exists()


@pytest.mark.parametrize(("image", "commit"), [("missing", "new"), ("new-image", "nowhere"), ("", "new")])
def test_what_cannot_be_fetched_changes_nothing(machine, image, commit):
    folder, run = machine
    before = (folder / ".env").read_text()
    done = run("infra/deploy.sh", image, commit, "compose")
    assert done.returncode == 1
    assert ((folder / "release").read_text(), (folder / ".env").read_text()) == ("old", before)
    assert not (folder / "started").exists()
