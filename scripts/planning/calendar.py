"""The calendar of a source: when a day is over, and which days are expected."""

from __future__ import annotations

import datetime as dt
import functools
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from scripts.utils.days import range_text, ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scripts.contracts.source import Source

_DAY = dt.timedelta(days=1)


def end_of(source: Source, day: dt.date) -> dt.datetime:
    """Return the moment (UTC) at which a day ends in the source's time zone."""
    return _end_of(source.time_zone, day)


# all resources of a source ask for the same days
@functools.lru_cache(maxsize=100_000)
def _end_of(time_zone: str, day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day + _DAY, dt.time(), ZoneInfo(time_zone)).astimezone(dt.UTC)


def complete_at(source: Source, day: dt.date) -> dt.datetime:
    """Return the moment from which a load has all rows of a day: its end plus the contract's `settle_hours`."""
    end = end_of(source, day)
    return end + dt.timedelta(hours=source.settle_hours) if source.settle_hours else end


def last_complete_day(source: Source, now: dt.datetime) -> dt.date:
    """Return the last day for which a load has all rows now."""
    settled = now - dt.timedelta(hours=source.settle_hours)
    return settled.astimezone(ZoneInfo(source.time_zone)).date() - _DAY


def is_future(source: Source, day: dt.date, now: dt.datetime) -> bool:
    """Return whether a day has begun neither in UTC nor in the source's time zone."""
    return day > now.astimezone(dt.UTC).date() and end_of(source, day - _DAY) > now


def expected_days(source: Source, first_loaded: dt.date | None, now: dt.datetime) -> Sequence[dt.date]:
    """Return the days that a resource must have by its contract.

    They begin with `start_date`, or else with the first loaded day, and end with the last complete day. Without
    `start_date` and loaded days, only the last complete day is expected. A source that is loaded on request has none.

    Args:
        source: The contract.
        first_loaded: The first loaded day of the resource; None if no day is loaded.
        now: The present moment.
    """
    if not source.daily:
        return []
    last = last_complete_day(source, now)
    if first_loaded is not None and is_future(source, first_loaded, now):
        # a loaded day in the future does not make the days before it expected
        first_loaded = None
    first = source.start_date or first_loaded or last
    return [first + n * _DAY for n in range((last - first).days + 1)]


def in_words(days: Iterable[dt.date]) -> str:
    """Return days as a text of ranges: `2024-01-01 to 2024-01-05, 2024-01-09`."""
    return ", ".join(range_text(first, last) for first, last in ranges(sorted(days)))
