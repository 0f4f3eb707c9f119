"""Circuit breaker: after a few loads of a run fail because a source does not answer, the other loads fail at once."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING

from scripts.bronze import attempts
from scripts.config import settings
from scripts.errors import SourceUnavailableError
from scripts.utils.files import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bronze.run import Run

FAILURES = 3
"""Consecutive failed loads of a run after which the source gets no more requests."""
_PAUSE = dt.timedelta(minutes=1)
"""Time after the last failure in which the run sends no requests; a task that is retried later sends them."""


@contextlib.contextmanager
def watching(source: str, run: Run) -> Iterator[None]:
    """Record if the source does not answer in the block, and refuse the load if the source has failed too often.

    Each load retries its requests, with pauses. Without this check, a load of many days would take hours to fail if the
    source is down.

    Raises:
        SourceUnavailableError: `FAILURES` consecutive loads of this run have failed, the last within a minute.
    """
    path = attempts.path_of_source(run.store, source)
    known = attempts.read(path)
    is_of_run = known is not None and known.run_id == run.run_id
    if known and is_of_run and known.count >= FAILURES and abs(dt.datetime.now(dt.UTC) - known.failed_at) < _PAUSE:
        raise SourceUnavailableError(
            f"the source was not asked: {known.count} consecutive loads of this run failed; the last: {known.message}",
            where=source,
            hint="run the same command again when the source answers; it loads only missing partitions",
        )
    try:
        yield
    except SourceUnavailableError as error:
        # loads that run at the same time share one count
        with locked(path.with_suffix(".lock"), purpose=f"load of {source}", timeout=settings().lock_timeout):
            attempts.note(path, error, run, run.run_id)
        raise
    path.unlink(missing_ok=True)
