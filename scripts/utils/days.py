"""Days: the UTC dates that partitions are named after."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FORM = re.compile(r"\d{4}-\d{2}-\d{2}")
_SKEW = dt.timedelta(minutes=5)
"""Clocks of machines that work together may differ by this much."""


def parse_day(text: str) -> dt.date:
    """Return the day that a text names.

    Raises:
        UsageError: The text is not a date that exists, in the form YYYY-MM-DD.
    """
    try:
        if _FORM.fullmatch(text):
            return dt.date.fromisoformat(text)
    except ValueError:
        pass
    raise UsageError(f"`{text}` is not a date", expected="a day that exists, as YYYY-MM-DD")


def day_range(start: str | dt.date, end: str | dt.date) -> Sequence[dt.date]:
    """Return every day from `start` to `end`, both included.

    Raises:
        UsageError: A day does not exist, the range is reversed, reaches into the future, or is too long.
    """
    first = parse_day(start) if isinstance(start, str) else start
    last = parse_day(end) if isinstance(end, str) else end
    if first > last:
        raise UsageError(f"the range is reversed: {first} is after {last}", expected="a start on or before the end")
    if last > today():
        raise UsageError(f"{last} is in the future", expected=f"days up to today, {today()} (UTC)")
    count = (last - first).days + 1
    limit = settings().backfill_max_days
    if count > limit:
        raise UsageError(
            f"{first} to {last} are {count} days",
            expected=f"at most {limit}",
            hint="ask for fewer days at a time, or raise BACKFILL_MAX_DAYS",
        )
    return [first + dt.timedelta(days=offset) for offset in range(count)]


def ranges(days: Iterable[dt.date]) -> Sequence[tuple[dt.date, dt.date]]:
    """Return days, which are in order, as ranges: the first and the last day of each."""
    found: list[tuple[dt.date, dt.date]] = []
    for day in days:
        if found and (day - found[-1][1]).days == 1:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def range_text(first: dt.date, last: dt.date) -> str:
    """Return a range of days as text: `2024-01-01 to 2024-01-05`."""
    return str(first) if first == last else f"{first} to {last}"


def is_ahead(moment: dt.datetime, now: dt.datetime) -> bool:
    """Return whether a stored moment lies in the future, so that the clock that wrote it was wrong."""
    return moment - now > _SKEW


def today() -> dt.date:
    """Return the current day in UTC."""
    return dt.datetime.now(dt.UTC).date()
