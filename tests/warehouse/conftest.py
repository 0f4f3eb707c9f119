"""Fixtures of tests that build with dbt."""

import shutil

import pytest

from scripts.bronze.run import Run
from scripts.loading.partitions import load, partitions
from scripts.utils.days import day_range
from scripts.warehouse import build as builds
from scripts.warehouse.runner import target_dir
from tests.support.project import copy_project

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
def project(tmp_path, monkeypatch):
    """A copy of the dbt project that a test may change."""
    return copy_project(tmp_path / "edited", monkeypatch)


@pytest.fixture
def build(tmp_path_factory):
    """Build and publish this test's warehouse.

    What dbt compiled for one test is used again in the others, as builds of one warehouse do, unless the project is
    another one.
    """
    kept = tmp_path_factory.getbasetemp() / "project.json"

    def build_all(**options):
        known = target_dir(builds.warehouse()) / kept.name
        if kept.exists() and not known.exists():
            known.parent.mkdir(parents=True)
            shutil.copy2(kept, known)
        done = builds.build_warehouse(Run.create(triggered_by="test"), **options)
        if not kept.exists():
            shutil.copy2(known, kept)
        return done

    return build_all
