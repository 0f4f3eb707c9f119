"""A source that is down: a run asks it a few times, not once for each of its days, and somebody is told."""

import datetime as dt

import pytest

from scripts.bronze import attempts
from scripts.bronze.run import Run
from scripts.errors import SourceUnavailableError
from scripts.loading import breaker
from scripts.loading.partitions import load, partitions
from scripts.monitoring.health import health
from scripts.sample_api.server import Fault
from scripts.utils.days import day_range


@pytest.fixture
def one_at_a_time(env):
    env("PARALLEL_PARTITIONS", 1)
    env("API_RETRY_WAIT", 0.01)
    env("API_RETRIES", 1)


def load_month(run):
    return load(run, partitions(day_range(dt.date(2024, 1, 1), dt.date(2024, 1, 31)), ["jsonplaceholder"], ["users"]))


def test_a_source_that_is_down_is_asked_for_three_days_of_a_run_and_again_by_the_next(api, one_at_a_time):
    down = Fault("status", path="/users", status=503, times=10_000)
    api.faults.append(down)
    run = Run.create(triggered_by="test")
    outcomes = load_month(run)
    asked = api.requests_by_path["/users"]

    assert [type(outcome.error) for outcome in outcomes] == [SourceUnavailableError] * 31
    refused = [outcome for outcome in outcomes if "not asked" in str(outcome.error)]
    assert len(refused) == 31 - breaker.FAILURES
    assert "503" in str(refused[0].error)
    (problem,) = [text for text in health(run.store)["problems"] if "does not answer" in text]
    assert "source `jsonplaceholder` does not answer: 3 loads failed in a row" in problem

    load_month(Run.create(triggered_by="test"))
    assert api.requests_by_path["/users"] == 2 * asked, "another run asks by itself"

    api.faults.clear()
    assert [outcome.error for outcome in load_month(Run.create(triggered_by="test"))] == [None] * 31
    assert attempts.unavailable_sources(run.store) == {}
    assert not [text for text in health(run.store)["problems"] if "does not answer" in text]


def test_the_runs_of_a_backfill_share_the_count(api, one_at_a_time):
    api.faults.append(Fault("status", path="/users", status=503, times=10_000))
    days = list(day_range(dt.date(2024, 1, 1), dt.date(2024, 1, 31)))
    for at, day in enumerate(days):
        run = Run.create(triggered_by="airflow", run_id=f"backfill__{day}")
        (outcome,) = load(run, partitions([day], ["jsonplaceholder"], ["users"]))
        assert isinstance(outcome.error, SourceUnavailableError)
        if at == breaker.FAILURES - 1:
            asked = api.requests_by_path["/users"]
    assert api.requests_by_path["/users"] == asked


def test_the_same_run_asks_again_after_a_while(api, one_at_a_time, mocker):
    api.faults.append(Fault("status", path="/users", status=503, times=10_000))
    run = Run.create(triggered_by="test")
    load_month(run)
    api.faults.clear()
    mocker.patch.object(breaker, "_PAUSE", dt.timedelta(0))
    assert [outcome.error for outcome in load_month(run)] == [None] * 31


def test_days_that_fail_between_days_that_do_not_stop_nothing(api, one_at_a_time):
    for day in ("2024-01-02", "2024-01-04", "2024-01-06", "2024-01-08"):
        api.faults.append(Fault("status", path="/users", status=503, times=10_000, day=day))
    outcomes = load_month(Run.create(triggered_by="test"))
    assert [outcome.partition.day.day for outcome in outcomes if outcome.error] == [2, 4, 6, 8]
