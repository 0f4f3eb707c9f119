"""Fixtures of tests that start containers."""

import subprocess

import pytest

from tests.support.required import without


@pytest.fixture(scope="session")
def engine():
    """Docker, or no test."""
    found = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        without("REQUIRE_DOCKER", "no Docker engine answers: start Docker, then `make test-compose`")
