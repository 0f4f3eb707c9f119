"""Fixtures that all tests share: a data folder of their own, and the sample API over HTTP."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from scripts import config
from scripts.bronze import folder_store
from scripts.bronze.run import Run
from scripts.contracts import catalog
from scripts.contracts.source import Source
from scripts.sample_api.server import serving
from scripts.utils.buckets import Bucket
from scripts.utils.logging_config import setup_logging
from tests.support.object_server import serving_objects

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


def pytest_addoption(parser):
    parser.addoption(
        "--scale", action="store_true", help="run only the tests that need the S3 server of `make test-scale`"
    )


def pytest_collection_modifyitems(config, items):
    wanted = bool(config.getoption("--scale"))
    left_out = [item for item in items if bool(item.get_closest_marker("scale")) is not wanted]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(scope="session")
def object_server(tmp_path_factory):
    """A real S3 server, for all tests of this process."""
    with serving_objects(tmp_path_factory.mktemp("objects")) as server:
        yield server


@pytest.fixture
def bucket(object_server, env):
    """Bronze in a bucket of its own."""
    for name, value in object_server.variables().items():
        env(name, value)
    env("BRONZE_DIR", object_server.new_prefix())
    return object_server


@pytest.fixture
def proxied(bucket, env):
    """Bronze in a bucket, behind a proxy that counts requests and fails them."""
    with bucket.proxy() as proxy:
        for name, value in bucket.variables(proxy.url).items():
            env(name, value)
        yield proxy


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.scale)])
def bronze(request):
    """Where Bronze is: each test that asks for this runs with a folder and with a bucket."""
    if request.param == "bucket":
        request.getfixturevalue("bucket")
    return request.param


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

        def commit(*arguments):
            written(*arguments)
            raise KeyboardInterrupt

        completely, written = folder_store._finish, Bucket.commit
        with monkeypatch.context() as patch:
            patch.setattr(Bucket, "commit", commit)
            patch.setattr(folder_store, "_finish", finish)
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
