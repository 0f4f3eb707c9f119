"""When a build starts: it waits for active loads, so that one build covers all of them, but not for ever."""

from __future__ import annotations

import datetime as dt

LONGEST = dt.timedelta(minutes=50)
"""A build starts after this time, although loads are still active: a later build covers the rest."""
_QUIET = dt.timedelta(minutes=2)
"""Active runs that load nothing for this long hang."""
_STARTS_WITHIN = dt.timedelta(seconds=30)
"""If no run is active, a queued run starts within this time, or it cannot run: its DAG or its backfill is paused."""


def can_start(
    *, running: int, queued: int, last_load: dt.datetime | None, waits_since: dt.datetime, now: dt.datetime
) -> bool:
    """Return whether a build starts now.

    Args:
        running: The number of active runs that load days.
        queued: The number of queued runs that load days; some may never start.
        last_load: When the last partition was written.
        waits_since: When the build began to wait.
        now: The present moment.
    """
    quiet_since = max(filter(None, (last_load, waits_since)))
    return now - waits_since > LONGEST or are_over(running=running, queued=queued, quiet_since=quiet_since, now=now)


def are_over(*, running: int, queued: int, quiet_since: dt.datetime | None, now: dt.datetime) -> bool:
    """Return whether the loads are over: no run loads days, or only runs that hang or can never start.

    Args:
        running: The number of active runs that load days.
        queued: The number of queued runs that load days.
        quiet_since: When the last partition was written; None if none was ever written.
        now: The present moment.
    """
    if (not running and not queued) or quiet_since is None:
        return True
    return now - quiet_since > (_QUIET if running else _STARTS_WITHIN)
