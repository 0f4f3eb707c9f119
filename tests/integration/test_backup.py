"""A backup comes back as it was, encrypted or not. Docker is played by a script that keeps what it is given."""

import os
import shutil
import subprocess

import pytest

from scripts.admin.env_file import init_env, write_secret_files
from scripts.config import PROJECT_DIR
from tests.support.required import without

COMPOSE = """#!/bin/sh
# the state of a stack lies in the folder `volumes` beside the clone
case "$*" in
    *"ps --quiet postgres") echo 1 ;;
    *"ps --services"*) echo scheduler; echo warehouse-worker; echo worker; echo n8n ;;
    config) echo "name: copy" ;;
    *pg_dump*) for name; do :; done; [ ! -e broken ] || exit 1; cat "volumes/$name" ;;
    *backup.js) cat volumes/n8n ;;
    *pg_restore*) for name; do :; done; mkdir -p volumes; cat > "volumes/$name" ;;
    run*) mkdir -p volumes; cat > volumes/n8n ;;
    *) echo "$*" >> calls ;;
esac
"""
PASSPHRASE = "correct horse 'battery' $staple"
SECRET = "the-secret-of-a-source"
STATE = {"airflow": b"\0airflow" * 5000, "prefect": b"\xffprefect", "n8n": b"SQLite format 3\0" + bytes(range(256))}


@pytest.fixture
def clone(tmp_path):
    """Return a function that makes a clone of the repository's scripts, with a stack that is played."""

    def make_clone(name, env=""):
        folder = tmp_path / name
        programs = folder / "bin"
        programs.mkdir(parents=True)
        for program, text in {"compose": COMPOSE, "docker": "#!/bin/sh\n", "make": "#!/bin/sh\n"}.items():
            (programs / program).write_text(text)
            (programs / program).chmod(0o755)
        (folder / "infra").mkdir()
        for script in ("backup.sh", "restore.sh", "sealed.sh"):
            shutil.copy(PROJECT_DIR / "infra" / script, folder / "infra")
        (folder / ".venv").symlink_to(PROJECT_DIR / ".venv")
        (folder / ".env").write_text(env)

        def run(*command, **environ):
            environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"} | environ
            return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)

        return folder, run

    return make_clone


@pytest.fixture
def stack(clone):
    """A clone whose stack runs and holds something."""
    folder, run = clone("one", f"AIRFLOW_PORT=8080\nSHOP_TOKEN={SECRET}\n")
    (folder / "volumes").mkdir()
    for name, content in STATE.items():
        (folder / "volumes" / name).write_bytes(content)
    (folder / "data/bronze/_staging").mkdir(parents=True)
    (folder / "data/bronze/rows.parquet").write_bytes(b"PAR1" * 1000)
    (folder / "data/bronze/_staging/half").write_text("x")
    return folder, run


@pytest.fixture
def gpg():
    if shutil.which("gpg") is None:
        without("REQUIRE_GPG", "gpg is not installed: `apt-get install gnupg`")


def assert_restored(folder):
    assert {name: (folder / "volumes" / name).read_bytes() for name in STATE} == STATE
    assert (folder / "data/bronze/rows.parquet").read_bytes() == b"PAR1" * 1000
    assert not (folder / "data/bronze/_staging").exists()
    assert (folder / ".env").read_text() == f"SHOP_TOKEN={SECRET}\nAIRFLOW_PORT=9090\n"


def test_a_backup_comes_back(stack, clone):
    folder, run = stack
    done = run("infra/backup.sh", "backups/monday", "compose")
    assert (done.returncode, done.stderr) == (0, "")
    assert "it holds every secret" in done.stdout
    tasks = "scheduler warehouse-worker worker"
    assert (folder / "calls").read_text() == f"--profile * pause {tasks}\n--profile * unpause {tasks}\n"
    other, run_other = clone("other", "AIRFLOW_PORT=9090\n")
    done = run_other("infra/restore.sh", folder / "backups/monday", "compose")
    assert done.returncode == 0, done.stderr
    assert_restored(other)


@pytest.mark.usefixtures("gpg")
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_with_a_passphrase_nothing_of_it_can_be_read_without(stack, clone, place):
    folder, run = stack
    environ = {"BACKUP_PASSPHRASE": PASSPHRASE} if place == "environment" else {}
    if place == ".env":
        quoted = PASSPHRASE.replace("'", "\\'")
        with (folder / ".env").open("a") as file:
            file.write(f"BACKUP_PASSPHRASE='{quoted}'\n")
    done = run("infra/backup.sh", "backups/monday", "compose", **environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert "opens only with BACKUP_PASSPHRASE" in done.stdout
    files = sorted((folder / "backups/monday").iterdir())
    assert [file.name for file in files] == [
        "airflow.dump.gpg",
        "data.tar.gpg",
        "env.gpg",
        "n8n.sqlite.gpg",
        "prefect.dump.gpg",
    ]
    for file in files:
        content = file.read_bytes()
        assert not [part for part in (b"airflow", b"PAR1PAR1", b"SQLite", SECRET.encode()) if part in content]
    other, run_other = clone("other", "AIRFLOW_PORT=9090\n")
    for wrong, words in (({}, "is encrypted; set BACKUP_PASSPHRASE"), ({"BACKUP_PASSPHRASE": "x"}, "does not open")):
        done = run_other("infra/restore.sh", folder / "backups/monday", "compose", **wrong)
        assert done.returncode == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (other / "volumes").exists()
        assert (other / ".env").read_text() == "AIRFLOW_PORT=9090\n"
    done = run_other("infra/restore.sh", folder / "backups/monday", "compose", BACKUP_PASSPHRASE=PASSPHRASE)
    assert done.returncode == 0, done.stderr
    text = (other / ".env").read_text()
    (other / ".env").write_text("".join(line + "\n" for line in text.splitlines() if "PASSPHRASE" not in line))
    assert_restored(other)


@pytest.mark.usefixtures("gpg")
def test_a_changed_byte_is_found_before_anything_is_restored(stack, clone):
    folder, run = stack
    run("infra/backup.sh", "backups/monday", "compose", BACKUP_PASSPHRASE=PASSPHRASE)
    file = folder / "backups/monday/data.tar.gpg"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    other, run_other = clone("other", "AIRFLOW_PORT=9090\n")
    done = run_other("infra/restore.sh", folder / "backups/monday", "compose", BACKUP_PASSPHRASE=PASSPHRASE)
    assert done.returncode == 1
    assert "data.tar does not open" in done.stderr
    assert not (other / "volumes").exists()
    assert not (other / "data").exists()


def test_a_dump_that_fails_is_no_backup(stack):
    folder, run = stack
    (folder / "broken").touch()
    done = run("infra/backup.sh", "backups/monday", "compose", BACKUP_PASSPHRASE="")
    assert done.returncode != 0
    assert not (folder / "backups/monday").exists()
    assert "unpause" in (folder / "calls").read_text(), "tasks go on"


def test_the_passphrase_goes_to_no_container(tmp_path):
    init_env(tmp_path / ".env")
    with (tmp_path / ".env").open("a") as file:
        file.write("BACKUP_PASSPHRASE=never-in-a-container\nSHOP_TOKEN=x\n")
    write_secret_files(tmp_path / ".secrets", tmp_path / ".env")
    written = "".join(path.read_text() for path in (tmp_path / ".secrets").iterdir())
    assert "SHOP_TOKEN" in written
    assert "never-in-a-container" not in written
