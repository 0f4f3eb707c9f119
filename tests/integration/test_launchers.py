"""What the launchers of infra/ start ends with them, whatever ends them; an orphan is ended by the next start."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from local_stack import MARK, end_marked, refuse_other_secrets
from scripts.admin.env_file import init_env
from scripts.config import PROJECT_DIR

LAUNCHER = PROJECT_DIR / "tests" / "support" / "launch_programs.py"


def programs(launcher):
    """Return what a launcher has started, without its guardian, when all three programs are there."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = [child for child in launcher.children(recursive=True) if "time.sleep" in " ".join(child.cmdline())]
        if len(found) == 3:
            return found
        time.sleep(0.05)
    raise AssertionError(launcher.children(recursive=True))


@pytest.fixture
def launch(tmp_path):
    """Start the launcher in this test's folder; at the end everything that it started is gone."""

    def start():
        command = [sys.executable, str(LAUNCHER), str(tmp_path)]
        environ = {name: value for name, value in os.environ.items() if name != "MAKELEVEL"}
        process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ)
        started.append(process)
        # up to its end where it does not get ready
        return process, list(iter(lambda: process.stdout.readline() or "the stack is ready\n", "the stack is ready\n"))

    started = []
    yield start
    for process in started:
        process.kill()
        process.wait(10)
    end_marked(str(tmp_path.resolve()), seconds=5)


@pytest.mark.parametrize("kind", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_programs_end_with_their_launcher_whatever_ends_it(launch, kind):
    launcher, _ = launch()
    found = programs(psutil.Process(launcher.pid))
    launcher.send_signal(kind)
    launcher.wait(20)
    _, alive = psutil.wait_procs(found, timeout=20)
    assert alive == []


def test_a_second_launcher_of_the_folder_is_refused_and_the_first_goes_on(launch):
    launcher, _ = launch()
    second, said = launch()
    assert second.wait(20) != 0
    assert "the stack already runs here: the launcher of the stack (process " in said[0]
    assert f"process {launcher.pid}," in said[0]
    assert launcher.poll() is None


def test_what_an_earlier_launcher_left_is_ended_by_the_next_start(launch):
    launcher, _ = launch()
    found = programs(psutil.Process(launcher.pid))
    for guardian in psutil.Process(launcher.pid).children():
        if "local_stack.py" in " ".join(guardian.cmdline()):
            guardian.kill()
    launcher.kill()
    launcher.wait(10)
    assert all(process.is_running() for process in found)
    _, said = launch()
    assert "ended 3 processes that an earlier the stack had left" in said[0]
    assert psutil.wait_procs(found, timeout=10)[1] == []


def test_a_program_that_has_given_itself_another_name_keeps_its_mark(launch):
    launcher, _ = launch()
    deadline = time.monotonic() + 20
    while not (
        named := [one for one in programs(psutil.Process(launcher.pid)) if "xxx" in one.name() + one.cmdline()[0]]
    ):
        assert time.monotonic() < deadline
    assert MARK in named[0].environ()


def test_a_program_that_does_not_end_when_told_to_is_killed(tmp_path):
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={MARK: str(tmp_path)}, stdout=subprocess.PIPE, text=True
    )
    with contextlib.closing(process.stdout):
        assert process.stdout.readline() == "deaf\n"
        assert end_marked(str(tmp_path), seconds=0.2) == 1
        assert not psutil.pid_exists(process.pid)


@pytest.mark.parametrize(
    ("script", "folder", "name"),
    [("airflow_local.py", "postgres", "AIRFLOW_FERNET_KEY"), ("n8n_local.py", "n8n/.n8n", "N8N_ENCRYPTION_KEY")],
)
def test_data_that_was_made_with_another_secret_is_not_touched(tmp_path, script, folder, name):
    data, env_file, n8n = tmp_path / "data", tmp_path / "secrets.env", tmp_path / "install/node_modules/.bin/n8n"
    for path in (data / folder / "a file", n8n):
        path.parent.mkdir(parents=True)
        path.touch()
    init_env(env_file)
    note = data / folder.split("/")[0].replace("postgres", "airflow") / "made_with.json"
    refuse_other_secrets(note, {name: "the former key"}, [data / folder], env_file)
    command = [sys.executable, str(PROJECT_DIR / "infra" / script), "--port", "0", "--env-file", str(env_file)]
    environ = os.environ | {"DATA_DIR": str(data), "N8N_DIR": str(tmp_path / "install")}
    before = sorted(path for path in data.rglob("*") if path != note)
    done = subprocess.run(command, env=environ, text=True, capture_output=True, check=False, timeout=120)
    assert done.returncode == 1
    assert (
        f"nothing was touched: {data / folder} was made with another {name} than the one in {env_file}" in done.stderr
    )
    assert f"either restore the former value in {env_file}; or remove {data / folder} with its data" in done.stderr
    left = {path for path in data.rglob("*") if path != note and path.suffix != ".lock"} - {note.parent}
    assert left == {*before} - {note.parent}
    # a rotated secret names both keys for a while
    refuse_other_secrets(note, {name: "the new key,the former key"}, [data / folder], env_file)
    refuse_other_secrets(note, {name: "the new key"}, [data / folder], env_file)
