"""Fixtures of tests that build with dbt."""

import pytest

from scripts.bronze.run import Run
from scripts.loading.partitions import load, partitions
from scripts.utils.days import day_range
from scripts.warehouse import build as builds

SOURCES = ("jsonplaceholder", "coin_prices")


@pytest.fixture
def load_days(api):
    """Load days from the sample API into this test's Bronze folder."""

    def load_all(*days, sources=SOURCES, resources=None):
        run = Run.create(triggered_by="test")
        for day in days:
            outcomes = load(run, partitions(day_range(day, day), sources, resources))
            assert [outcome.error for outcome in outcomes if outcome.error] == []

    return load_all


@pytest.fixture
def build():
    """Build and publish this test's warehouse."""

    def build_all(**options):
        return builds.build_warehouse(Run.create(triggered_by="test"), **options)

    return build_all
