"""Days: what is a date, and which ranges are refused."""

import datetime as dt

import pytest

from scripts.errors import UsageError
from scripts.utils.days import day_range, today


def test_both_ends_are_included():
    assert day_range("2024-02-28", "2024-03-01") == [dt.date(2024, 2, 28), dt.date(2024, 2, 29), dt.date(2024, 3, 1)]


@pytest.mark.parametrize(
    "text", ["2024-02-30", "2024-13-01", "20240101", "2024-1-1", "yesterday", "", "2024-01-01T00:00"]
)
def test_a_day_that_does_not_exist_is_refused(text):
    with pytest.raises(UsageError, match="is not a date"):
        day_range(text, "2024-03-01")


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2024-01-02", "2024-01-01", "reversed"),
        ("2020-01-01", "2024-01-01", "are 1462 days"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(start, end, words):
    with pytest.raises(UsageError, match=words):
        day_range(start, end)


def test_tomorrow_is_in_the_future():
    with pytest.raises(UsageError, match="in the future"):
        day_range("2024-01-01", today() + dt.timedelta(days=2))


def test_the_longest_range_is_a_setting(env):
    env("BACKFILL_MAX_DAYS", 2)

    with pytest.raises(UsageError, match="BACKFILL_MAX_DAYS"):
        day_range("2024-01-01", "2024-01-03")
