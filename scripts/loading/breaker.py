"""Circuit breaker: after a few loads fail because a source does not answer, the loads that follow fail at once."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING

from scripts.bronze import attempts
from scripts.errors import SourceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bronze.attempts import Attempt
    from scripts.bronze.run import Run

FAILURES = 3
"""Consecutive failed loads after which the source gets no more requests."""
_PAUSE = dt.timedelta(minutes=1)
"""Time after the last failure in which the source gets no requests; a task that is retried later sends them."""
_BACKFILL = "backfill__"
"""The run ids of Airflow's backfills begin like this."""


@contextlib.contextmanager
def watching(source: str, run: Run) -> Iterator[None]:
    """Record if the source does not answer in the block, and refuse the load if the source has failed too often.

    Each load retries its requests, with pauses. Without this check, a load of many days would take hours to fail if the
    source is down. The runs of Airflow's backfills share the count, since a backfill has a run for each day. Every
    other run asks the source by itself.

    Raises:
        SourceUnavailableError: `FAILURES` consecutive loads have failed, the last within a minute.
    """
    document = attempts.document_of_source(run.store, source)
    known = attempts.read(document)
    if known and known.count >= FAILURES and known.fingerprint == _scope(run) and _is_recent(known):
        raise SourceUnavailableError(
            f"the source was not asked: {known.count} consecutive loads failed; the last: {known.message}",
            where=source,
            hint="retry when the source answers; only missing partitions are loaded",
        )
    try:
        yield
    except SourceUnavailableError as error:
        # loads that run at the same time share one count
        with document.changing(purpose=f"load of {source}"):
            attempts.note(document, error, run, _scope(run))
        raise
    document.remove()


def _scope(run: Run) -> str:
    """Return what runs with a common count have in common."""
    return _BACKFILL if run.run_id.startswith(_BACKFILL) else run.run_id


def _is_recent(known: Attempt) -> bool:
    return abs(dt.datetime.now(dt.UTC) - known.failed_at) < _PAUSE
