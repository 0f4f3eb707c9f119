"""When a build starts although loads are active."""

import datetime as dt

import pytest

from scripts.planning.build_start import can_start

BEGAN = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("running", "queued", "waited", "loaded", "starts"),
    [
        (0, 0, 0, 0, True),
        (1, 0, 100, 0, False),
        (1, 0, 130, 0, True),
        (1, 9, 600, 590, False),
        (4, 300, 3001, 3000, True),
        (0, 3, 20, 0, False),
        (0, 3, 40, 0, True),
        (0, 3, 600, 590, False),
    ],
    ids=[
        "nothing to wait for",
        "a load may end soon",
        "a load hangs",
        "a backfill goes on",
        "a backfill of hours",
        "a run may start",
        "a queued run cannot start",
        "the next run starts soon",
    ],
)
def test_a_build_waits_for_loads_that_can_end(running, queued, waited, loaded, starts):
    """`waited` and `loaded` are the seconds until now and until the last load since the build began to wait."""
    last = BEGAN + dt.timedelta(seconds=loaded)
    now = BEGAN + dt.timedelta(seconds=waited)
    assert can_start(running=running, queued=queued, last_load=last, waits_since=BEGAN, now=now) is starts
    if not loaded:
        assert can_start(running=running, queued=queued, last_load=None, waits_since=BEGAN, now=now) is starts
