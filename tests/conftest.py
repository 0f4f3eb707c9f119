"""Fixtures that all tests share: a data folder of their own, and the sample API over HTTP."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from scripts import config
from scripts.bronze import store
from scripts.bronze.run import Run
from scripts.contracts import catalog
from scripts.contracts.source import Source
from scripts.sample_api.server import serving
from scripts.utils.logging_config import setup_logging

PIPELINE = (sys.executable, "-m", "scripts.cli.main")


@pytest.fixture(autouse=True)
def settings_of_their_own(monkeypatch, tmp_path):
    """Every test starts from the defaults, with a fresh data folder and quick retries."""
    names = [name.upper() for name in config.Settings.model_fields]
    for name in [*names, "COIN_API_BASE_URL", "PIPELINE_RUN_ID"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(config.Settings.model_config, "env_file", None)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("API_RETRY_WAIT", "0.01")
    config.settings.cache_clear()
    setup_logging("pipeline", "WARNING")
    yield
    config.settings.cache_clear()


@pytest.fixture
def env(monkeypatch):
    """Set an environment variable for this test and its processes; the settings are read again."""

    def set_variable(name, value):
        monkeypatch.setenv(name, str(value))
        config.settings.cache_clear()

    return set_variable


@pytest.fixture
def api(env):
    """The sample API, which both shipped sources then use."""
    with serving() as server:
        env("API_BASE_URL", server.url)
        env("COIN_API_BASE_URL", server.url)
        yield server


@pytest.fixture
def run():
    """A run that writes to this test's data folder."""
    return Run.create(triggered_by="test")


@pytest.fixture
def killed_at_commit(monkeypatch):
    """A block in which a commit of a partition ends right after its decision, as if its process were killed."""

    @contextlib.contextmanager
    def kill():
        def finish(*arguments, check=True):
            if not check:
                raise KeyboardInterrupt
            return completely(*arguments)

        completely = store._finish
        with monkeypatch.context() as patch:
            patch.setattr(store, "_finish", finish)
            with pytest.raises(KeyboardInterrupt):
                yield

    return kill


@pytest.fixture
def blog():
    """The contract of the default source, with small pages."""
    document = catalog.pick("jsonplaceholder").model_dump(mode="json", exclude_defaults=True)
    for resource in document["resources"].values():
        resource["pagination"]["page_size"] = 100
    return Source.model_validate(document)


@pytest.fixture
def start():
    """Run a command, the pipeline's own by default, as a process in the environment of the test."""

    def run_process(*arguments, program=PIPELINE, cwd=config.PROJECT_DIR, timeout=2800, **environ):
        command = [*program, *map(str, arguments)]
        env = os.environ | {"PYTHONPATH": str(config.PROJECT_DIR)}
        env |= {name: str(value) for name, value in environ.items()}
        with subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            except BaseException:
                # also what the process has started, such as dbt
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    return run_process
