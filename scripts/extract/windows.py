"""Windows: the time spans that the requests of a load ask for."""

from __future__ import annotations

import datetime as dt
import itertools
import zoneinfo
from typing import TYPE_CHECKING, NamedTuple

from scripts.contracts.load import IncrementalLoad, WatermarkLoad
from scripts.contracts.templates import format_moment, resolution

if TYPE_CHECKING:
    from scripts.contracts.load import Load
    from scripts.contracts.source import Resource


class Window(NamedTuple):
    """A time span, which includes its start and excludes its end."""

    start: dt.datetime
    end: dt.datetime

    def halves(self) -> tuple[Window, Window] | None:
        """Return its two halves, cut at a full second; None if it is too short."""
        middle = self.start + dt.timedelta(seconds=int((self.end - self.start).total_seconds()) // 2)
        return (Window(self.start, middle), Window(middle, self.end)) if middle > self.start else None


def windows(load: Load, day: dt.date, zone: str = "UTC") -> list[Window]:
    """Return the windows that a load of a day asks for, in order; a day begins at midnight in the source's zone."""
    size = load.window if isinstance(load, IncrementalLoad) else None
    if size is None:
        return [span_of_days(day, day, zone)]
    if size.hours:
        whole = span_of_days(day, day, zone)
        step = dt.timedelta(hours=size.hours)
        start, end = whole.start.astimezone(dt.UTC), whole.end.astimezone(dt.UTC)
        cuts = [start + step * number for number in range(-(-(end - start) // step))]
        wanted = zoneinfo.ZoneInfo(zone)
        bounds = [*cuts, end]
        return [Window(a.astimezone(wanted), b.astimezone(wanted)) for a, b in itertools.pairwise(bounds)]
    if size.days:
        return [span_of_days(day - dt.timedelta(days=size.days - 1), day, zone)]
    if size.calendar == "week":
        monday = day - dt.timedelta(days=day.weekday())
        return [span_of_days(monday, monday + dt.timedelta(days=6), zone)]
    if size.calendar == "month":
        first = day.replace(day=1)
        after = (first + dt.timedelta(days=31)).replace(day=1)
        return [span_of_days(first, after - dt.timedelta(days=1), zone)]
    return [span_of_days(day, day, zone)]


def window_params(resource: Resource, window: Window, since: dt.datetime | None) -> dict[str, str]:
    """Return the query parameters for the time span of a load; `since` is the watermark."""
    load = resource.load
    if isinstance(load, WatermarkLoad):
        begin = watermark(load, since)
        return {load.start_param: format_moment(begin, load.format)} if begin and load.start_param else {}
    if not isinstance(load, IncrementalLoad) or load.start_param is None:
        return {}
    params = {load.start_param: format_moment(window.start, load.format)}
    if load.end_param:
        # the last moment that the format can express: the end itself belongs to the next window
        last = window.end - resolution(load.format) if load.end == "inclusive" else window.end
        params[load.end_param] = format_moment(last, load.format)
    return params


def watermark(load: WatermarkLoad, since: dt.datetime | None) -> dt.datetime | None:
    """Return since when a load asks for changes; None for the first load."""
    return None if since is None else since - dt.timedelta(hours=load.lookback_hours)


def span_of_days(first: dt.date, last: dt.date, zone: str) -> Window:
    """Return the window from the first midnight to the one after the last day, in a time zone."""
    wanted = dt.UTC if zone == "UTC" else zoneinfo.ZoneInfo(zone)
    after = last + dt.timedelta(days=1)
    return Window(dt.datetime.combine(first, dt.time(), wanted), dt.datetime.combine(after, dt.time(), wanted))
