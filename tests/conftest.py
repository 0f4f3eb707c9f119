"""Fixtures that all tests share: a data folder of their own, and the sample API over HTTP."""

import datetime as dt
import os

import pytest

from scripts import catalogue, config
from scripts.runs import Run
from scripts.sample_api import serving
from scripts.utils.logging_config import setup_logging

DAY = dt.date(2024, 1, 1)


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
    return Run.start(door="test")


@pytest.fixture
def blog():
    """The contract of the default source."""
    return catalogue.pick("jsonplaceholder")


@pytest.fixture
def clean_environ():
    """The environment for a process of a test."""
    return {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}
