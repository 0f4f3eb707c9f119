"""Commands of dbt in the worker: each has its own environment and output, and none needs the worker."""

import fcntl
import importlib
import os
import signal
import threading
import time

import pytest

from scripts.config import settings
from scripts.utils.files import is_locked
from scripts.warehouse import process as processes
from scripts.warehouse import worker
from scripts.warehouse.build import warehouse
from scripts.warehouse.process import Command, running
from scripts.warehouse.runner import environment


@pytest.fixture(autouse=True)
def no_killed_worker():
    """Forget the worker that the test before has killed."""
    if processes._workers and processes._workers[0]._process.poll() is not None:
        processes._forget_worker()


@pytest.fixture
def command(tmp_path):
    """A command that prints a text of a variable that only it has."""

    def print_text(text):
        arguments = ["compile", "--quiet", "--inline", "select '{{ env_var(\"DBT_TEXT\") }}'"]
        own = tmp_path / text
        files = {"WAREHOUSE_BUILD": f"{own}.duckdb", "DBT_TARGET_PATH": str(own)}
        variables = {**environment(warehouse(), str(tmp_path)), **files, "DBT_TEXT": text}
        return Command(arguments, settings().dbt_dir, variables)

    return print_text


@pytest.fixture
def programs(monkeypatch):
    """One item for each command that ran as a program of its own."""
    started = []
    start = processes._start
    monkeypatch.setattr(processes, "_start", lambda *args, **more: started.append(1) or start(*args, **more))
    return started


def output(command):
    with running(command) as process:
        text = process.stdout.read()
        return text, process.wait()


def test_commands_of_the_worker_see_nothing_of_each_other(command, programs):
    assert output(command("first")) == ("select 'first'\n", 0)
    number = processes._workers[0]._process.pid
    bare = command("second")
    bare.environment.pop("DBT_TEXT")
    text, code = output(bare)
    assert "Env var required but not provided: 'DBT_TEXT'" in text
    assert code == 2
    assert output(command("third")) == ("select 'third'\n", 0)
    assert processes._workers[0]._process.pid == number
    assert programs == []


@pytest.mark.parametrize("classes", [worker.CHECKED_ALWAYS, worker.CHECKED_WHEN_PARSING])
def test_dbt_has_the_classes_whose_schemas_the_worker_makes_and_keeps_the_schemas(classes):
    worker.make_schemas(classes)
    for module, names in classes.items():
        for name in names:
            made = getattr(importlib.import_module(module), name).json_schema
            assert made() is made(), f"{module}.{name}"


def test_a_killed_worker_is_replaced(command, programs):
    output(command("first"))
    os.kill(processes._workers[0]._process.pid, signal.SIGKILL)
    processes._workers[0]._process.wait()
    assert output(command("second")) == ("select 'second'\n", 0)
    assert programs == [1]
    assert output(command("third")) == ("select 'third'\n", 0)
    assert programs == [1]


def test_a_worker_that_is_killed_while_a_command_runs_makes_it_fail(command):
    with running(command("first")) as process:
        os.kill(processes._workers[0]._process.pid, signal.SIGKILL)
        process.stdout.read()
        assert process.wait() == -signal.SIGKILL


def test_a_command_beside_another_one_is_a_program_of_its_own(command, programs):
    found = []
    with running(command("first")) as process:
        thread = threading.Thread(target=lambda: found.append(output(command("second"))))
        thread.start()
        thread.join()
        assert (process.stdout.read(), process.wait()) == ("select 'first'\n", 0)
    assert found == [("select 'second'\n", 0)]
    assert programs == [1]


def test_a_command_that_nobody_waits_for_is_ended(command):
    with pytest.raises(RuntimeError, match="stop"), running(command("first")) as process:
        raise RuntimeError("stop")
    assert process.wait() == -signal.SIGTERM
    assert output(command("second")) == ("select 'second'\n", 0)


def test_a_copy_of_this_process_has_a_worker_of_its_own(command):
    output(command("first"))
    number = processes._workers[0]._process.pid
    if (child := os.fork()) == 0:
        text = output(command("second"))
        right = text == ("select 'second'\n", 0) and processes._workers[0]._process.pid != number
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert output(command("third")) == ("select 'third'\n", 0)


LONG = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize("is_program", [False, True], ids=["in the worker", "a program"])
def test_a_command_ends_with_the_process_that_was_killed(command, tmp_path, monkeypatch, is_program):
    """Otherwise it would keep the lock of builds, as after a cancelled run whose process does not end in time."""
    if is_program:
        monkeypatch.setattr(processes, "_in_worker", lambda _: None)
    lock = tmp_path / "lock"
    lock.touch()
    asked = os.fork()
    if asked == 0:
        with lock.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            found = command("first")
            with running(Command([*found.arguments[:-1], LONG], *found[1:3], [held.fileno()])):
                (tmp_path / "runs").touch()
                time.sleep(3000)
    deadline = time.monotonic() + 300
    while not (tmp_path / "runs").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert is_locked(lock)
    os.kill(asked, signal.SIGKILL)
    os.waitpid(asked, 0)
    while is_locked(lock):
        assert time.monotonic() < deadline, "the command goes on"
        time.sleep(0.1)
